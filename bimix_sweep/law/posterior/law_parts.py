"""Reads the parts of a law file that the start of a warm refit holds too, as untrusted input."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from bimix_sweep.law.model import columns as col
from bimix_sweep.law.model.discrepancy import KernelParams
from bimix_sweep.law.model.repetition import Repetition
from bimix_sweep.law.posterior.drift import Drift
from bimix_sweep.text import shown

R_STAR_RANGE = (0.1, 1000.0)
"""Allowed range of R*."""
MAX_DRIFT = 10.0
"""Largest drift of log loss for a factor of e in steps or size."""
MIN_LENGTHSCALE = 1e-6
"""Smallest lengthscale and noise fraction of the discrepancy GP."""


def read_drift(data: Mapping[str, Any]) -> Drift:
    """Reads what `Drift.to_json` gave; raises ValueError for numbers that no fit gives."""
    drift = Drift(step=float(data["step"]), size=float(data["size"]))
    if not all(0 < value <= MAX_DRIFT for value in (drift.step, drift.size)):
        raise ValueError(
            f"drift is {shown(dict(data))}; need numbers above 0, at most {MAX_DRIFT:g}"
        )
    return drift


def read_repetition(data: Mapping[str, Any]) -> Repetition:
    """Reads the R* of a law; raises ValueError for numbers that no fit gives."""
    repetition = Repetition(
        r_star=float(data["r_star"]), sd=float(data["sd"]), repeated=bool(data["repeated"])
    )
    low, high = R_STAR_RANGE
    if not (low <= repetition.r_star <= high and 0 < repetition.sd <= 1):
        raise ValueError(f"repetition is {shown(dict(data))}; need r_star {low:g} to {high:g}")
    return repetition


def read_kernel(data: Mapping[str, Any]) -> KernelParams:
    """Reads the kernel parameters of a discrepancy GP; a missing lengthscale is infinite.

    Raises:
        KeyError, TypeError, ValueError: the data are no such parameters.
    """
    kernel = KernelParams(
        lengthscale=float(data["lengthscale"]),
        size_lengthscale=float(data.get("size_lengthscale", np.inf)),
        step_lengthscale=float(data.get("step_lengthscale", np.inf)),
        noise_fraction=float(data.get("noise_fraction", 1.0)),
    )
    largest = {"lengthscale": 1 / MIN_LENGTHSCALE, "noise_fraction": 1.0}
    for name, value in asdict(kernel).items():
        if not MIN_LENGTHSCALE < value <= largest.get(name, np.inf):
            raise ValueError(f"{name} of the discrepancy is {value:g}")
    return kernel


def check_hyper(hyper: Mapping[str, Any], num_domains: int) -> None:
    """Checks the shape of what a warm refit reads.

    Raises:
        KeyError, TypeError, ValueError: the shape is another, or a value is not finite.
    """
    fits = hyper["fits"]
    numbers = [
        hyper["own_domain_offset"],
        hyper["spread"],
        *hyper["transfer_weights"],
        *(v for row in hyper["columns"] for v in row),
    ]
    numbers += [
        v for one in fits for v in (one["trial_variance"], one["point_variance"], *one["params"])
    ]
    (parameters,) = {len(one["params"]) for one in fits}
    check_width(parameters, num_domains)
    finite = np.isfinite(np.array(numbers, dtype=np.float64)).all()
    if (
        np.shape(hyper["columns"]) != (2, col.NUM_SHARED)
        or len(hyper["transfer_weights"]) != num_domains
        or not finite
    ):
        raise ValueError(
            "what a refit starts from has another shape, or values that are not finite"
        )


def check_width(parameters: int, num_domains: int) -> None:
    """Checks the length of a parameter row.

    A row has the shared columns, log t and, where trials differ in size, d.

    Raises:
        ValueError: the row has another length.
    """
    if parameters - col.NUM_SHARED not in (num_domains, 2 * num_domains):
        raise ValueError(f"a row of parameters has {parameters} values")
