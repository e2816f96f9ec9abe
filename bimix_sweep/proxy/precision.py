"""Which number format a sweep trains in: measured in a moment, recorded, and then the same for all its trials."""

import time
from typing import Any

import torch

from bimix_sweep.errors import ConfigError
from bimix_sweep.proxy.model import causal, hidden, initial, mean_loss, rotary, views
from bimix_sweep.proxy.spec import ProxySpec

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
REPEATS = 3


def choose_precision(spec: ProxySpec, device: str = "cpu") -> dict[str, Any]:
    """The faster of float32 and bfloat16 for this model on this device, by a few steps of each (tenths of a second).

    bfloat16 pays only where the processor multiplies it natively, so this is measured and not guessed. Losses differ a
    little between the two: choose once, store the record, and give it to every trial of the sweep.

    Returns:
        JSON-able: {"dtype": name, "milliseconds": {name: least time of a forward and backward pass}}.
    """
    place = torch.device(device)
    milliseconds: dict[str, float] = {}
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, spec.vocabulary, (spec.batch, spec.context + 1), generator=generator).to(place)
    for name, dtype in DTYPES.items():
        weights = {k: w.detach().requires_grad_() for k, w in views(initial(spec, generator).to(place, dtype), spec).items()}
        position, mask = rotary(spec, place, dtype), causal(spec, place, dtype)
        times = []
        for _ in range(1 + REPEATS):
            start = time.perf_counter()
            mean_loss(hidden(weights, tokens[:, :-1], spec, position, mask), weights["head"], tokens[:, 1:]).backward()  # type: ignore[no-untyped-call]
            if place.type == "cuda":
                torch.cuda.synchronize(place)
            times.append(time.perf_counter() - start)
        milliseconds[name] = round(1e3 * min(times[1:]), 3)
    return {"dtype": min(milliseconds, key=lambda name: milliseconds[name]), "milliseconds": milliseconds}


def dtype_of(precision: dict[str, Any] | None) -> torch.dtype:
    """The torch dtype of a record of `choose_precision`; float32 without one.

    Raises:
        ConfigError: the record names another.
    """
    name = "float32" if precision is None else precision.get("dtype")
    if name not in DTYPES:
        raise ConfigError(f"precision is {name!r}; need {' or '.join(DTYPES)}")
    return DTYPES[name]
