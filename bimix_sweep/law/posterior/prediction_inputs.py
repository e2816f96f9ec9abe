"""Checks the mixtures, steps and sizes of a prediction, and computes the inputs of law and GP."""

from dataclasses import replace

import numpy as np

from bimix_sweep.errors import LawError
from bimix_sweep.law.model.discrepancy import GPInputs
from bimix_sweep.law.model.law_inputs import LawInputs, log_proportions
from bimix_sweep.law.model.repetition import marginal_worth, worth
from bimix_sweep.law.posterior.conditioned_law import ConditionedLaw
from bimix_sweep.mixture.simplex import Array


def prediction_inputs(
    law: ConditionedLaw,
    domains: tuple[str, ...],
    proportions: Array,
    steps: float | Array,
    sizes: float | Array | None,
    unique: Array | None = None,
    r_star: float | None = None,
) -> tuple[LawInputs, GPInputs]:
    """Computes the inputs of law and GP for n mixtures.

    Args:
        law: the law that predicts.
        domains: names of the law's domains.
        proportions: (n, domains), rows sum to 1.
        steps: optimizer steps, one for all mixtures or (n,).
        sizes: non-embedding parameters, one for all mixtures or (n,); None or NaN = the largest
            fitted.
        unique: as in `FittedLaw`.
        r_star: R* to take; None: that of the law.

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
        given = np.asarray(law.sizes[1] if sizes is None else sizes, dtype=float)
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
    if unique is not None:
        passes = r / unique
        if (passes > 1).any():
            inputs = _repeated(inputs, passes, law.repetition.r_star if r_star is None else r_star)
    last = float(law.segment_inputs.log_step.max())
    return inputs, GPInputs(
        proportions=r,
        log_size=log_size,
        log_step=np.minimum(log_step, last),
        beyond=np.maximum(log_step - last, 0.0),
    )


def _repeated(inputs: LawInputs, passes: Array, r_star: float) -> LawInputs:
    """The inputs with effective proportions, for (n, domains) numbers of passes."""
    return replace(
        inputs,
        log_proportions=inputs.log_proportions + np.log(worth(passes, r_star)),
        slopes=marginal_worth(passes, r_star),
    )


def _one_each(values: float | Array, count: int, name: str) -> Array:
    """(count,) numbers above 0."""
    given = np.asarray(values, dtype=np.float64)
    if given.ndim == 0:
        given = np.full(count, given)
    if given.shape != (count,) or not (np.isfinite(given).all() and (given > 0).all()):
        raise LawError(f"{name} are not {count} numbers > 0; need one for each mixture")
    return given
