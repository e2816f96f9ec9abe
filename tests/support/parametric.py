"""Losses of a fitted law without its discrepancy GP."""

import numpy as np

from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.law.posterior.prediction_inputs import prediction_inputs


def parametric_losses(
    law: FittedLaw, proportions: np.ndarray, steps: np.ndarray, sizes: np.ndarray | None = None
) -> np.ndarray:
    """(n, targets) losses of the parametric law alone, not bounded."""
    inputs, _ = prediction_inputs(law.conditioned, law.domains, proportions, steps, sizes)
    return np.exp(law.conditioned.parametric(inputs, bounded=False).log_loss.T)
