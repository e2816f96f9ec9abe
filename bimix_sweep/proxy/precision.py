"""How a sweep computes - number format, compiled or not: measured in a moment, recorded, the same for all its trials."""

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
REPEATS = 3
CLEARLY = 0.8
"""bfloat16 is taken where its time is below this part of float32's: least times of a busy machine scatter by a tenth."""
COMPILING_PAYS = 600.0
"""Seconds of training left to each worker from which compiling pays: it takes up to a minute and saves about a third."""

Loss = Callable[[Mapping[str, Tensor], Tensor, ProxySpec, Tensor, Tensor], Tensor]


def choose_precision(spec: ProxySpec, device: str = "cpu", *, trainings: int = 1) -> dict[str, Any]:
    """The faster of float32 and bfloat16 for this model on this device, by a few steps of each (tenths of a second).

    bfloat16 pays only where the processor multiplies it natively, so this is measured and not guessed. Losses differ a
    little between the two: choose once, store the record, and give it to every trial of the sweep. A near tie, which
    another measurement could turn, is float32.

    Args:
        trainings: how many of them one worker will run; many of them are worth compiling, if a compiler is there.

    Returns:
        JSON-able: {"dtype": name, "compile": bool, "milliseconds": {name: least time of a forward and backward pass}}.
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
            sequence_loss(weights, rows, spec, position, mask).backward()  # type: ignore[no-untyped-call]
            if place.type == "cuda":
                torch.cuda.synchronize(place)
            times.append(time.perf_counter() - start)
        milliseconds[name] = round(1e3 * min(times[1:]), 3)
    dtype_name = (
        "bfloat16" if milliseconds["bfloat16"] < CLEARLY * milliseconds["float32"] else "float32"
    )
    worth = trainings * spec.steps * milliseconds[dtype_name] / 1e3 > COMPILING_PAYS
    return {
        "dtype": dtype_name,
        "compile": worth and _compiler(place),
        "milliseconds": milliseconds,
    }


def check_device(device: str) -> None:
    """Say in words what torch would say in a traceback.

    Raises:
        ConfigError: a GPU was asked for and torch finds none on this machine.
    """
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        raise ConfigError(
            f"resources.gpu asks for a GPU and torch {torch.__version__} sees no CUDA device on {socket.gethostname()} "
            f"(CUDA_VISIBLE_DEVICES {'is not set' if visible is None else f'= {visible!r}'}); need a driver and a torch with CUDA there, or resources.gpu: 0"
        )


def dtype_of(precision: Mapping[str, Any] | None) -> torch.dtype:
    """The torch dtype of a record of `choose_precision`; float32 without one.

    Raises:
        ConfigError: the record names another.
    """
    name = "float32" if precision is None else precision.get("dtype")
    if name not in DTYPES:
        raise ConfigError(f"precision is {name!r}; need {' or '.join(DTYPES)}")
    return DTYPES[name]


def loss_of(precision: Mapping[str, Any] | None) -> Loss:
    """`sequence_loss`, compiled where the record says so; a process compiles once for all its trainings of one spec."""
    return _compiled() if precision is not None and precision.get("compile") else sequence_loss


@cache
def _compiled() -> Loss:
    return torch.compile(sequence_loss, dynamic=False)


def _compiler(place: torch.device) -> bool:
    """Is there what torch.compile needs: a C++ compiler for the processor, Triton for a GPU?"""
    if place.type == "cuda":
        return importlib.util.find_spec("triton") is not None
    return any(shutil.which(name) for name in ("g++", "clang++", "c++"))
