"""States what repeated text is worth: effective unique tokens (Muennighoff et al., arXiv:2305.16264).

A run that draws D tokens from a domain of U unique tokens passes over it D / U times. With
R = D / U - 1 repetitions the D tokens are worth

    D_eff = U (1 + R* (1 - exp(-R / R*)))        for R > 0, else D

tokens that are not repeated. R* (`r_star`) says how soon repetition wears off: a pass after R*
repetitions is worth 1/e of the first one. The law sees the effective proportion r D_eff / D in the
place of the proportion r of a domain. It is concave in r, it rises, and it is not normalised again.
So every target's loss stays convex in the mixture, and the certificate of an optimum stays valid.
"""

from dataclasses import dataclass

import numpy as np

from bimix_sweep.mixture.simplex import Array

R_STAR = 15.0
"""R* expected before any trial (docs/evidence.md)."""
LOG_R_STAR_SD = 0.7
"""Standard deviation of log R* before any trial: 5 and 40 lie within 1.6 of them."""
MOSTLY_TRIALS = 0.5
"""Proportion of the prior variance of log R* that trials must remove for R* to rest on them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repetition:
    """R*, and how sure it is."""

    r_star: float = R_STAR
    """R*, the exponential of the mean of log R*."""
    sd: float = LOG_R_STAR_SD
    """Standard deviation of log R*."""
    repeated: bool = False
    """Whether a trial repeats a domain."""

    @property
    def rests_on_trials(self) -> bool:
        """Whether R* rests on the trials more than on its prior."""
        return 1 - (self.sd / LOG_R_STAR_SD) ** 2 >= MOSTLY_TRIALS

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of R*."""
        factor = float(np.exp(1.96 * self.sd))
        return self.r_star / factor, self.r_star * factor

    @property
    def words(self) -> str:
        """R*, its interval, and what it rests on, in words."""
        low, high = self.interval
        if self.rests_on_trials:
            source = "which rests on the trials"
        elif self.repeated:
            source = "which rests on its prior more than on the trials"
        else:
            source = "which rests on its prior alone: no trial repeats a domain"
        return f"R* = {self.r_star:.3g} (95 % interval {low:.2g} to {high:.2g}), {source}"


def unique_of(proportions: Array, epochs: Array | None) -> Array | None:
    """Computes the unique tokens of each domain as fractions of a run's tokens.

    Args:
        proportions: (n, domains).
        epochs: (n, domains) passes over the unique tokens; None where not known.

    Returns:
        (n, domains), infinite where a run has no pass; None where `epochs` is.
    """
    if epochs is None:
        return None
    drawn = (epochs > 0) & (proportions > 0)
    return np.where(drawn, proportions / np.where(drawn, epochs, 1.0), np.inf)


def worth(passes: Array, r_star: float) -> Array:
    """Computes D_eff / D for any array of numbers of passes D / U; 1 up to one pass."""
    again = np.maximum(passes - 1, 0.0)
    return np.asarray((1 - r_star * np.expm1(-again / r_star)) / np.maximum(passes, 1.0))


def marginal_worth(passes: Array, r_star: float) -> Array:
    """Computes dD_eff / dD, what one more token is worth, for any array of numbers of passes."""
    return np.asarray(np.exp(-np.maximum(passes - 1, 0.0) / r_star))
