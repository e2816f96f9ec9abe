"""Writes and reads the checkpoints of a trial: one file, replaced as a whole.

Reading executes no pickled code.
"""

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
"""Name of the checkpoint file in the trial's folder."""
TENSORS = ("weights", "average", "first_moment", "second_moment")
"""Names of the tensors in a checkpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Complete state of a trial after a step; the batches are not included, because they depend
    only on the step."""

    identity: Mapping[str, Any]
    """JSON-able: identity of the trial; a checkpoint continues only the trial that wrote it."""
    step: int
    """Number of completed optimizer steps."""
    points: Mapping[int, Mapping[str, float]]
    """{step: {target: loss}} measured so far."""
    weights: Tensor
    """(parameters,) float32."""
    average: Tensor
    """(parameters,) float32, the moving average of the weights."""
    first_moment: Tensor
    """(parameters,) float32, AdamW's first moment."""
    second_moment: Tensor
    """(parameters,) float32, AdamW's second moment."""

    def save(self, folder: Path) -> None:
        """Write a temporary file, then rename it over the old checkpoint.

        A reader finds either the old or the new checkpoint.

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
        )  # torch.save on a full disk raises a RuntimeError that does not name the cause
        torch.save(content, buffer)
        files.write_local(folder / FILE, lambda beside: beside.write_bytes(buffer.getbuffer()))


def load(folder: Path, identity: Mapping[str, Any], num_parameters: int) -> Checkpoint | None:
    """The checkpoint in a folder; None if there is none that can be read.

    A checkpoint that cannot be read is reported as a warning in the log.

    Args:
        folder: the trial's folder.
        identity: identity of the trial that continues.
        num_parameters: parameters of the proxy.

    Raises:
        TrainingError: the checkpoint belongs to another trial (the message names the first
            difference), or its tensors do not have `num_parameters` float32 values.
    """
    path = folder / FILE
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        stored = Checkpoint(
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
            "%s is not a readable checkpoint (%s); the trial starts anew",
            path,
            type(error).__name__,
        )
        return None
    if differing := [name for name in identity if stored.identity.get(name) != identity[name]]:
        raise TrainingError(
            f"{path} belongs to another trial: {differing[0]} is "
            f"{stored.identity.get(differing[0])!r} there and "
            f"{identity[differing[0]]!r} here; give this trial another folder"
        )
    if any(
        getattr(stored, name).shape != (num_parameters,)
        or getattr(stored, name).dtype != torch.float32
        for name in TENSORS
    ):
        raise TrainingError(
            f"{path} holds no {num_parameters} float32 parameters though it says so; delete it to "
            "start this trial anew"
        )
    return stored
