"""The result of the confirmation trials: the compared mixtures, and the gain that they measured."""

from collections.abc import Mapping
from dataclasses import dataclass

from bimix_sweep.law.optimum.gain import Gain
from bimix_sweep.law.posterior.problem_statement import Baseline
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.mixture.simplex import total_variation

SAME_MIXTURE = 0.005
"""Total variation distance below which two confirmation mixtures are trained once."""
NEAR_BASELINE = 2 * SAME_MIXTURE
"""Largest total variation distance between a baseline and the mixture that was trained for it. An
earlier trial may be reused for a mixture that is itself trained once with another one."""
ROLES = {
    "predicted": "predicted optimum",
    "measured": "best measured",
    "today": "today's mixture",
}
"""Roles of confirmation mixtures in words; roles that are not listed are shown as they are. One
mixture may have several roles."""


def role_in_words(role: str) -> str:
    """Writes a role in words: `uniform = measured` becomes `uniform (also best measured)`."""
    first, *others = (ROLES.get(part, part) for part in role.split(" = "))
    return f"{first} (also {' and '.join(others)})" if others else first


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedMixture:
    """One mixture of the confirmation trials."""

    role: str
    """`predicted`, `measured`, `today`, `uniform` or `natural`; several roles of one mixture are
    joined by ` = `."""
    mixture: Mixture
    """Proportions of the mixture."""
    losses: Mapping[str, float]
    """Target -> mean loss over the seeds."""
    objective: float
    """Mean of the objective over the seeds, without the pull to a prior."""
    difference: float
    """Objective of this mixture minus the predicted optimum's, mean over shared seeds; 0 for the
    predicted optimum."""
    noise95: float
    """Half width of the 95 % interval of the difference; 0 for the predicted optimum."""
    differs: bool
    """Whether the difference is larger than `noise95`."""
    pull: float = 0.0
    """Pull to the prior, in units of the objective; 0 without a prior."""
    barred: str = ""
    """Reason why the mixture may not be recommended, in words; empty where it may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The confirmation trials, best objective first, and the recommendation."""

    mixtures: tuple[ComparedMixture, ...]
    """Compared mixtures, sorted by objective."""
    seeds: tuple[int, ...]
    """Seeds that all mixtures were trained with."""
    recommended: str
    """Role of the recommended mixture."""
    reason: str
    """Reason for the recommendation in words, with the numbers."""
    noise: float
    """Standard deviation of one trial's objective after the common effect of its seed is
    removed."""
    bound: float
    """Half width of the 95 % interval of the difference between two mixtures."""

    @property
    def differ(self) -> bool:
        """Whether any mixture differs from the predicted optimum."""
        return any(compared.differs for compared in self.mixtures)

    @property
    def recommended_mixture(self) -> ComparedMixture:
        """The recommended mixture."""
        return next(one for one in self.mixtures if one.role == self.recommended)

    def gain(self, baseline: Baseline, mixture: Mixture) -> Gain | None:
        """Returns the measured gain of the recommended mixture over a baseline.

        The difference is the mean over pairs of trials with the same seed, with the interval of
        the module `confirmation`. It is 0 where the baseline itself is recommended.

        Args:
            baseline: name of the baseline.
            mixture: its proportions.

        Returns:
            The gain; None if no mixture within `NEAR_BASELINE` of the baseline was trained.
        """
        chosen, names = self.recommended_mixture, mixture.names
        distance, index = min(
            (total_variation(one.mixture.as_array(names), mixture.as_array()), index)
            for index, one in enumerate(self.mixtures)
        )
        if distance > NEAR_BASELINE:
            return None
        known = self.mixtures[index]
        value = (known.objective - chosen.objective) / known.objective
        bound = 0.0 if known is chosen else self.bound / known.objective
        return Gain(
            baseline=baseline,
            mixture=mixture,
            value=value,
            lower=value - bound,
            upper=value + bound,
            measured=True,
        )
