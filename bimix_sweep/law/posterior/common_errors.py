"""Computes the errors of predictions that all mixtures share: beyond the trials, and from R*."""

from collections.abc import Callable

import numpy as np

from bimix_sweep.law.model import transfer as tl
from bimix_sweep.law.model.discrepancy import GPInputs
from bimix_sweep.law.model.law_inputs import LawInputs
from bimix_sweep.law.posterior.conditioned_law import ConditionedLaw
from bimix_sweep.law.posterior.drift import Drift
from bimix_sweep.mixture.simplex import Array


def drift_sd(law: ConditionedLaw, drift: Drift, inputs: LawInputs) -> Array:
    """(2, n) standard deviations of the errors beyond the trials; see `Drift`."""
    step, size = law.reference
    sizes = law.trials.sizes[~np.isnan(law.trials.sizes)]
    return drift.sd(
        inputs.log_step,
        inputs.log_size,
        float(np.log(law.trials.steps.max() / step)),
        np.unique(np.log(sizes / size)),
    )


def repetition_sd(
    law: ConditionedLaw, inputs: LawInputs, inputs_at: Callable[[float], tuple[LawInputs, GPInputs]]
) -> Array | None:
    """(targets, n) errors of log losses where log R* is one standard deviation off, to first order.

    The parameters move with R* as far as the trials repeat domains.

    Args:
        inputs: inputs of the predictions.
        inputs_at: makes these inputs for another R*.

    Returns:
        The errors, with their signs; None where neither trials nor predictions repeat a domain.
    """
    repetition = law.repetition
    if inputs.slopes is None and not repetition.repeated:
        return None
    less, more = (
        tl.evaluate(
            law.params + sign * repetition.sd * law.response,
            inputs_at(repetition.r_star * float(np.exp(sign * repetition.sd)))[0],
            (),
        ).log_loss
        for sign in (-1, 1)
    )
    return np.asarray((more - less) / 2)
