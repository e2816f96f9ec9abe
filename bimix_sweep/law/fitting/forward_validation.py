"""Forward validation: predicts the ends of curves and the largest size by fits without them.

Cross-validation leaves out mixtures, so it does not test steps and sizes beyond the fitted ones. There
a parametric law errs in the same direction for all mixtures of a target. Forward validation measures
this common error, and `drift_of` estimates from it how wrong predictions beyond the trials may be.
Measurements: docs/evidence.md.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bimix_sweep.law.fitting.fit_batch import FitBatch
from bimix_sweep.law.model import transfer as tl
from bimix_sweep.law.model.law_inputs import LawInputs
from bimix_sweep.law.model.observations import Index, Trials
from bimix_sweep.law.posterior.drift import Drift
from bimix_sweep.mixture.simplex import Array

CUTS = (0.5, 0.25)
"""Fractions of the last step after which the ends of curves are left out."""
MIN_STEPS = 3
"""Smallest number of different steps in a fit without the ends of curves."""
MIN_SIZES = 3
"""Smallest number of different sizes for which the largest is left out."""
END = 0.9
"""Fraction of the last step from which points count as the end of a curve."""
STEP_DRIFT, SIZE_DRIFT = 0.02, 0.01
"""Common error of log loss that is expected for a factor of e beyond the steps and beyond three or
more sizes, before any forward validation (docs/evidence.md)."""
EXPECTED_COUNT = 0.25
"""Number of forward validations over FULL_DISTANCE that the expected error weighs as."""
FULL_DISTANCE = float(np.log(2))
"""Distance in log steps or log sizes from which a forward validation has its full weight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardError:
    """Errors of the laws of a fit without some rows, at the ends of curves that it did not see."""

    axis: str
    """"step" or "size"."""
    fitted: float
    """Largest step or size of the fit."""
    predicted: float
    """Step or size of the predicted ends, a geometric mean."""
    bias: Array
    """(targets,) mean over trials of log(predicted / measured); NaN where not measured."""
    error: Array
    """(targets,) mean over trials of its absolute value."""

    @property
    def distance(self) -> float:
        """Log ratio of the predicted step or size to the largest fitted one."""
        return float(np.log(self.predicted / self.fitted))

    def to_json(self, targets: Sequence[str]) -> dict[str, Any]:
        """Returns plain JSON values, without targets that were not measured."""
        values = {"bias": self.bias, "error": self.error}
        return {
            "axis": self.axis,
            "fitted": self.fitted,
            "predicted": self.predicted,
            **{
                key: {
                    name: float(value)
                    for name, value in zip(targets, array, strict=True)
                    if np.isfinite(value)
                }
                for key, array in values.items()
            },
        }


BatchOf = Callable[[Trials, Array], FitBatch]
"""Makes the batch of laws to fit from trials and their (targets, rows) log losses."""


def forward_validation(
    trials: Trials, y: Array, chosen: Index, batch_of: BatchOf
) -> list[ForwardError]:
    """Leaves out the ends of curves, then the largest size, and predicts them from the rest.

    Args:
        trials: all trials.
        y: (targets, rows) log losses.
        chosen: (targets,) problem of the batch that is each target's law.
        batch_of: makes the batch for some of the rows.
    """
    steps, sizes = trials.steps[trials.stage], trials.sizes[trials.stage]
    parts = []
    for cut in CUTS:
        known = steps <= cut * steps.max() * (1 + 1e-9)
        if len(np.unique(steps[known])) >= MIN_STEPS:
            parts.append(("step", steps, known, steps >= END * steps.max()))
    different = np.unique(sizes[~np.isnan(sizes)])
    if len(different) >= MIN_SIZES:
        largest = sizes == different[-1]
        ends = largest & (steps >= END * steps[largest].max())
        parts.append(("size", sizes, ~largest, ends))
    errors = []
    for axis, values, known, ends in parts:
        some = trials.rows(known)
        if some.present.any(axis=1).all() and some.mixture.max() > 0:
            error = _errors(trials, y, ends, chosen, batch_of(some, y[:, known]))
            errors.append(
                ForwardError(
                    axis=axis,
                    fitted=float(values[known].max()),
                    predicted=float(np.exp(np.log(values[ends]).mean())),
                    bias=_means(error),
                    error=_means(np.abs(error)),
                )
            )
    return errors


def drift_of(errors: Sequence[ForwardError]) -> Drift:
    """Estimates the common error beyond the trials from forward validations."""
    return Drift(
        step=_rate([one for one in errors if one.axis == "step"], STEP_DRIFT),
        size=_rate([one for one in errors if one.axis == "size"], SIZE_DRIFT),
    )


def _rate(errors: Sequence[ForwardError], expected: float) -> float:
    """Root mean square of the bias over the distance; the expected rate is one more value of it."""
    total, count = EXPECTED_COUNT * expected**2, EXPECTED_COUNT
    for one in errors:
        weight = min(1.0, one.distance / FULL_DISTANCE) ** 2
        total += weight * float(np.nanmean((one.bias / one.distance) ** 2))
        count += weight
    return float(np.sqrt(total / count))


def _errors(
    trials: Trials, y: Array, rows: npt.NDArray[np.bool_], chosen: Index, batch: FitBatch
) -> Array:
    """(targets, rows) log(predicted / measured) by the laws of a batch; NaN where not measured."""
    params = batch.fit().fit.params[chosen]
    inputs = LawInputs.of_trials(trials, *batch.reference, batch.repetition.r_star)
    law = tl.evaluate(params, inputs, ())
    return np.where(trials.present, law.log_loss - y, np.nan)[:, rows]


def _means(values: Array) -> Array:
    """(targets,) means over rows that are not NaN; NaN where all are."""
    seen = ~np.isnan(values)
    total = np.where(seen, values, 0.0).sum(axis=1)
    return np.where(seen.any(axis=1), total / np.maximum(seen.sum(axis=1), 1), np.nan)
