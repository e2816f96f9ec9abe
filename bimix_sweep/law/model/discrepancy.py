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
otherwise. Beyond the last step of the trials the error for a mixture keeps its mean, and its
variance grows, to twice at most. With the factor above the mean would return to the law, and the
order of mixtures at later steps would be predicted worse (docs/evidence.md).
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
    """(n,) log(s / s0), at most that of the last segment of the trials."""
    beyond: Array
    """(n,) log of the factor in steps beyond the last segment of the trials, 0 inside."""

    def of(self, which: Index) -> "GPInputs":
        """Returns the inputs with the given indices."""
        return GPInputs(
            proportions=self.proportions[which],
            log_size=self.log_size[which],
            log_step=self.log_step[which],
            beyond=self.beyond[which],
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
        squared = _squared_distances(left.proportions, right.proportions)
        value = np.exp(-squared / (2 * self.lengthscale**2))
        if self.size_lengthscale < np.inf:
            away = np.abs(left.log_size[:, None] - right.log_size[None, :])
            value *= np.exp(-away / self.size_lengthscale)
        if self.step_lengthscale < np.inf:
            away = np.abs(left.log_step[:, None] - right.log_step[None, :])
            beyond = np.minimum(left.beyond[:, None], right.beyond[None, :])
            value *= np.exp(-away / self.step_lengthscale) - np.expm1(
                -2 * beyond / self.step_lengthscale
            )
        return value

    def relative_variance(self, at: GPInputs) -> Array:
        """(n,) variances of the GP over its variance at the steps of the trials, from 1 to 2."""
        return np.asarray(1.0 - np.expm1(-2 * at.beyond / self.step_lengthscale))

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


def _squared_distances(left: Array, right: Array) -> Array:
    """(n, m) squared distances on the sphere of mixtures (n, domains) and (m, domains)."""
    a, b = np.sqrt(left), np.sqrt(right)
    squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None, :] - 2 * a @ b.T
    return np.asarray(np.maximum(squared, 0.0))
