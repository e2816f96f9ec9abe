"""Checkpoints of a proxy training: one file, replaced whole, read without unpickling anything."""

import io
import logging
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bimix_sweep import files
from bimix_sweep.errors import TrainingError

FILE = "checkpoint.pt"
TENSORS = ("weights", "average", "first_moment", "second_moment")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """All that a training is after some step; its batches are a function of the step, so they are not in it."""

    identity: Mapping[str, Any]
    """JSON-able: what is trained; a checkpoint only continues the training it came from."""
    step: int
    """Optimizer steps done."""
    points: Mapping[int, Mapping[str, float]]
    """Losses measured so far, by step."""
    weights: Tensor
    """(parameters,) float32."""
    average: Tensor
    """(parameters,) float32, the moving average of the weights."""
    first_moment: Tensor
    """(parameters,) float32, AdamW's."""
    second_moment: Tensor
    """(parameters,) float32, AdamW's."""

    def save(self, folder: Path) -> None:
        """Write beside, then rename: a reader finds the old one or the new one.

        Raises:
            OSError: the disk is full, or the folder cannot be written.
        """
        content = {
            "identity": dict(self.identity),
            "step": self.step,
            "points": {step: dict(losses) for step, losses in self.points.items()},
            **{name: getattr(self, name).cpu() for name in TENSORS},
        }
        buffer = (
            io.BytesIO()
        )  # torch's own writing to a full disk ends in a RuntimeError that does not say so
        torch.save(content, buffer)
        files.write_local(folder / FILE, lambda beside: beside.write_bytes(buffer.getbuffer()))


def load(folder: Path, identity: Mapping[str, Any], num_parameters: int) -> Checkpoint | None:
    """The checkpoint in a folder; None, with a line in the log, where there is none that can be read.

    Raises:
        TrainingError: it belongs to another training; the message says in what they differ.
    """
    path = folder / FILE
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        found = Checkpoint(
            identity=dict(content["identity"]),
            step=int(content["step"]),
            **{name: content[name] for name in TENSORS},
            points={
                int(step): {str(t): float(v) for t, v in losses.items()}
                for step, losses in content["points"].items()
            },
        )
    except FileNotFoundError:
        return None
    except (
        OSError,
        EOFError,
        RuntimeError,
        ValueError,
        TypeError,
        AttributeError,
        KeyError,
        pickle.UnpicklingError,
    ) as error:
        logging.getLogger(__name__).warning(
            "%s is not a readable checkpoint (%s); training starts anew", path, type(error).__name__
        )
        return None
    if differing := [name for name in identity if found.identity.get(name) != identity[name]]:
        raise TrainingError(
            f"{path} belongs to another training: {differing[0]} is {found.identity.get(differing[0])!r} there and "
            f"{identity[differing[0]]!r} here; give this training another folder"
        )
    if any(
        getattr(found, name).shape != (num_parameters,)
        or getattr(found, name).dtype != torch.float32
        for name in TENSORS
    ):
        raise TrainingError(
            f"{path} holds no {num_parameters} float32 parameters though it says so; delete it to start this training anew"
        )
    return found
