"""Checks the mixtures, steps and sizes of a prediction, and computes the inputs of law and GP."""

import numpy as np

from bimix_sweep.errors import LawError
from bimix_sweep.law.model.discrepancy import GPInputs
from bimix_sweep.law.model.law_inputs import LawInputs, log_proportions
from bimix_sweep.law.posterior.conditioned_law import ConditionedLaw
from bimix_sweep.mixture.simplex import Array


def prediction_inputs(
    law: ConditionedLaw,
    domains: tuple[str, ...],
    proportions: Array,
    steps: Array,
    sizes: Array | None,
) -> tuple[LawInputs, GPInputs]:
    """Computes the inputs of law and GP for n mixtures.

    Args:
        law: the law that predicts.
        domains: names of the law's domains.
        proportions: (n, domains), rows sum to 1.
        steps: (n,) optimizer steps.
        sizes: (n,) non-embedding parameters; None or NaN = the largest fitted.

    Raises:
        LawError: shapes or values for which no prediction is possible.
    """
    r = np.atleast_2d(np.asarray(proportions, dtype=np.float64))
    if r.shape[1] != len(domains):
        raise LawError(
            f"mixtures have {r.shape[1]} proportions; need {len(domains)}: {', '.join(domains)}"
        )
    if not (np.isfinite(r).all() and (r >= 0).all()):
        raise LawError("a proportion is negative or not a number; need numbers >= 0")
    log_step = np.log(_one_each(steps, len(r), "steps") / law.reference[0])
    if law.sizes is None:
        log_size = np.zeros(len(r))
    else:
        given = np.full(len(r), law.sizes[1]) if sizes is None else np.asarray(sizes, dtype=float)
        given = np.where(np.isnan(given), law.sizes[1], given)
        log_size = np.log(_one_each(given, len(r), "sizes") / law.reference[1])
    each = np.arange(len(r))
    inputs = LawInputs(
        log_proportions=log_proportions(r),
        mixture=each,
        stage=each,
        log_step=log_step,
        log_size=log_size,
    )
    last = float(law.segment_inputs.log_step.max())
    return inputs, GPInputs(
        proportions=r,
        log_size=log_size,
        log_step=np.minimum(log_step, last),
        beyond=np.maximum(log_step - last, 0.0),
    )


def _one_each(values: Array, count: int, name: str) -> Array:
    """(count,) numbers above 0."""
    given = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if given.shape != (count,) or not (np.isfinite(given).all() and (given > 0).all()):
        raise LawError(f"{name} are not {count} numbers > 0; need one for each mixture")
    return given
