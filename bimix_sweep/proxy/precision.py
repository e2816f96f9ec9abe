"""Chooses how a sweep computes: the number format, and whether the model is compiled.

A short measurement decides. The result is stored and used for all trials of the sweep.
"""

import importlib.util
import os
import shutil
import socket
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor

from bimix_sweep.errors import ConfigError
from bimix_sweep.proxy.model import causal, initial, rotary, sequence_loss, views
from bimix_sweep.proxy.spec import ProxySpec

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""{name in the record: torch dtype}."""
REPEATS = 3
"""Number of timed passes of each number format."""
CLEARLY = 0.8
"""Maximum time of bfloat16 relative to float32 at which bfloat16 is chosen (docs/evidence.md)."""
COMPILING_PAYS = 600.0
"""Minimum seconds of training per worker for which the model is compiled (docs/evidence.md)."""

Loss = Callable[[Mapping[str, Tensor], Tensor, ProxySpec, Tensor, Tensor], Tensor]
"""Function with the signature of `sequence_loss`."""


def choose_precision(
    spec: ProxySpec, device: str = "cpu", *, num_trials: int = 1
) -> dict[str, Any]:
    """The faster of float32 and bfloat16 for this model on this device.

    A few passes of each format are timed, which takes tenths of a second. bfloat16 is faster only
    where the processor multiplies it natively, so the speed is measured. The losses of the two
    formats differ a little: choose once, store the record, and give it to every trial of the sweep.
    If the times are nearly equal, another measurement could change the order, so float32 is chosen.

    Args:
        spec: the proxy.
        device: "cpu" or "cuda".
        num_trials: number of trials that one worker will run; compiling pays for many trials, if a
            compiler is installed.

    Returns:
        JSON-able: {"dtype": name, "compile": bool, "milliseconds": {name: minimum time of a forward
        and backward pass}}.
    """
    place = torch.device(device)
    milliseconds: dict[str, float] = {}
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(
        0, spec.vocabulary, (spec.batch, spec.context + 1), generator=generator
    ).to(place)
    for name, dtype in DTYPES.items():
        weights = {
            k: w.detach().requires_grad_()
            for k, w in views(initial(spec, generator).to(place, dtype), spec).items()
        }
        position, mask = rotary(spec, place, dtype), causal(spec, place, dtype)
        times = []
        for _ in range(1 + REPEATS):
            start = time.perf_counter()
            sequence_loss(  # type: ignore[no-untyped-call]
                weights,
                rows,
                spec,
                position,
                mask,
            ).backward()
            if place.type == "cuda":
                torch.cuda.synchronize(place)
            times.append(time.perf_counter() - start)
        milliseconds[name] = round(1e3 * min(times[1:]), 3)
    dtype_name = (
        "bfloat16" if milliseconds["bfloat16"] < CLEARLY * milliseconds["float32"] else "float32"
    )
    worth = num_trials * spec.steps * milliseconds[dtype_name] / 1e3 > COMPILING_PAYS
    return {
        "dtype": dtype_name,
        "compile": worth and _compiler(place),
        "milliseconds": milliseconds,
    }


def check_device(device: str) -> None:
    """Check that the device exists, and raise a readable error if it does not.

    Raises:
        ConfigError: the device is a GPU and torch finds none on this machine.
    """
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        raise ConfigError(
            f"resources.gpu asks for a GPU and torch {torch.__version__} sees no CUDA device on "
            f"{socket.gethostname()} "
            f"(CUDA_VISIBLE_DEVICES {'is not set' if visible is None else f'= {visible!r}'}); need "
            "a driver and a torch with CUDA there, or resources.gpu: 0"
        )


def dtype_of(precision: Mapping[str, Any] | None) -> torch.dtype:
    """The torch dtype of a record of `choose_precision`; float32 without a record.

    Raises:
        ConfigError: the record names an unknown dtype.
    """
    name = "float32" if precision is None else precision.get("dtype")
    if name not in DTYPES:
        raise ConfigError(f"precision is {name!r}; need {' or '.join(DTYPES)}")
    return DTYPES[name]


def loss_of(precision: Mapping[str, Any] | None) -> Loss:
    """`sequence_loss`, compiled if the record says so.

    A process compiles once for all its trials of one spec.
    """
    return _compiled() if precision is not None and precision.get("compile") else sequence_loss


@cache
def _compiled() -> Loss:
    """`sequence_loss`, compiled by torch."""
    return torch.compile(sequence_loss, dynamic=False)


def _compiler(place: torch.device) -> bool:
    """True if torch.compile has what it needs: a C++ compiler for a CPU, Triton for a GPU."""
    if place.type == "cuda":
        return importlib.util.find_spec("triton") is not None
    return any(shutil.which(name) for name in ("g++", "clang++", "c++"))
