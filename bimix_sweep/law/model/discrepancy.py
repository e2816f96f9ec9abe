"""Defines the discrepancy GP: a Gaussian process over mixtures for the error of the parametric law.

The GP models the residual of the log loss (Kennedy and O'Hagan). Its kernel is

    variance_k exp(-|sqrt(r) - sqrt(r')|**2 / (2 lengthscale**2))

Square roots map the simplex to a piece of the sphere, where a move between 0 and 1 % counts as much
as one between 50 and 62 %. All targets share one lengthscale, and each has its own variance. Both
are estimated by marginal likelihood, with the law's parameters integrated out in the linear
approximation. A prior pulls the variance to 0: where the law suffices, the GP vanishes.

The error of the law for a mixture at one size or step may differ from the error at another. So the
correlation also falls with distance in log size and in log step, by the factor

    exp(-|log N - log N'| / size_lengthscale - |log s - log s'| / step_lengthscale)

The marginal likelihood selects both lengthscales. They are infinite unless the trials show
otherwise.
"""

from dataclasses import asdict, dataclass

import numpy as np

from bimix_sweep.law.model.observations import Index
from bimix_sweep.mixture.simplex import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class GPInputs:
    """Inputs of the discrepancy GP: mixtures with sizes and steps."""

    proportions: Array
    """(n, domains)."""
    log_size: Array
    """(n,) log(N / N0), 0 where sizes are not given."""
    log_step: Array
    """(n,) log(s / s0)."""

    def of(self, which: Index) -> "GPInputs":
        """Returns the inputs with the given indices."""
        return GPInputs(
            proportions=self.proportions[which],
            log_size=self.log_size[which],
            log_step=self.log_step[which],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelParams:
    """Correlation parameters of the discrepancy GP, and the proportion of noise within a trial.

    All targets share them.
    """

    lengthscale: float
    """Lengthscale over mixtures, on the sphere."""
    size_lengthscale: float = np.inf
    """Lengthscale over sizes, in log N; infinite: the error for a mixture is the same at all
    sizes."""
    step_lengthscale: float = np.inf
    """Lengthscale over steps, in log s; infinite: the error for a mixture is the same at all
    steps."""
    noise_fraction: float = 1.0
    """Proportion of the variance between the segments of a trial that is noise of the segments.

    The rest is the correlation that the GP loses over steps. The marginal likelihood selects
    `noise_fraction` and `step_lengthscale` together, and a warm refit keeps both.
    """

    def correlation(self, left: GPInputs, right: GPInputs) -> Array:
        """(n, m) correlations of the GP between n and m points."""
        value = _over_mixtures(left.proportions, right.proportions, self.lengthscale)
        for scale, a, b in (
            (self.size_lengthscale, left.log_size, right.log_size),
            (self.step_lengthscale, left.log_step, right.log_step),
        ):
            if scale < np.inf:
                value *= np.exp(-np.abs(a[:, None] - b[None, :]) / scale)
        return value

    def slopes(self, left: GPInputs, right: GPInputs) -> Array:
        """(n, m, domains) derivatives of the correlations by the proportions of the n points."""
        root = np.sqrt(np.maximum(left.proportions, 1e-9))[:, None]
        value = self.correlation(left, right)
        return np.asarray(
            value[:, :, None]
            * (np.sqrt(right.proportions) - root)
            / (2 * self.lengthscale**2 * root)
        )

    def to_json(self) -> dict[str, float]:
        """Returns the parameters that are finite; a missing lengthscale is infinite."""
        return {name: value for name, value in asdict(self).items() if value < np.inf}


def _over_mixtures(left: Array, right: Array, lengthscale: float) -> Array:
    """(n, m) correlations of the GP at mixtures (n, domains) and (m, domains)."""
    a, b = np.sqrt(left), np.sqrt(right)
    squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None, :] - 2 * a @ b.T
    return np.asarray(np.exp(-np.maximum(squared, 0.0) / (2 * lengthscale**2)))
