"""Uncertainty beyond the fitted steps and sizes that all mixtures of a target share.

What a parametric law misses along steps and sizes, it misses for all mixtures in the same direction.
The standard deviation of this common error grows in proportion to the distance from the trials, in
log steps and in log size. Forward validation (`law.fitting.forward_validation`) estimates how fast.
"""

from dataclasses import asdict, dataclass

import numpy as np

from bimix_sweep.mixture.simplex import Array

ONE_SIZE_DRIFT = 0.1
"""Standard deviation of log loss for a factor of e in size away from the only fitted size
(docs/evidence.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Standard deviations of the common error of log loss, for a factor of e beyond the trials."""

    step: float
    """Beyond the last step of the trials."""
    size: float
    """Beyond the largest of three or more sizes. With two sizes the uncertainty of the size term
    is already as large as the errors seen; with one size ONE_SIZE_DRIFT holds instead."""

    def sd(self, log_step: Array, log_size: Array, last_log_step: float, log_sizes: Array) -> Array:
        """Computes (2, n) standard deviations of the common errors along steps and along sizes.

        Args:
            log_step, log_size: (n,) where losses are predicted.
            last_log_step: last step of the trials.
            log_sizes: different sizes of the trials, rising; empty without sizes.
        """
        along_steps = self.step * np.maximum(log_step - last_log_step, 0.0)
        if len(log_sizes) == 1:
            along_sizes = ONE_SIZE_DRIFT * (log_size - log_sizes[0])
        elif len(log_sizes) > 2:
            along_sizes = self.size * np.maximum(log_size - log_sizes[-1], 0.0)
        else:
            along_sizes = np.zeros_like(log_size)
        return np.stack([along_steps, along_sizes])

    def to_json(self) -> dict[str, float]:
        """Returns plain JSON values."""
        return asdict(self)
