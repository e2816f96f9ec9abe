"""The gain of the recommended mixture over a baseline, as the law predicts it.

    gain = (F(baseline) - F(mixture)) / F(baseline)

F is the objective without the pull to a prior. The interval is that of the difference of the two
objectives (`objective_difference`): errors that both have in common cancel.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bimix_sweep.law.optimum.objective_difference import objective_difference
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.law.posterior.problem_statement import Baseline
from bimix_sweep.mixture.domains import Mixture

BASELINES: dict[Baseline, str] = {
    "today": "today's mixture",
    "natural": "the natural mixture",
    "uniform": "the uniform mixture",
}
"""Baselines in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """How much lower the objective of a mixture is than that of a baseline.

    Fractions of the baseline's objective; negative where the baseline is better.
    """

    baseline: Baseline
    """Name of the baseline."""
    mixture: Mixture
    """Proportions of the baseline."""
    value: float
    """The gain."""
    lower: float
    """Lower end of its 95 % interval."""
    upper: float
    """Upper end of its 95 % interval."""
    measured: bool
    """Whether confirmation trials measured it; otherwise the law predicts it."""

    @property
    def is_baseline(self) -> bool:
        """Whether the mixture is the baseline itself, so that there is nothing to gain."""
        return self.lower == self.upper == 0

    @property
    def amount(self) -> str:
        """The gain and its interval in words."""
        if self.is_baseline:
            return "none, that mixture itself is recommended"
        return f"{self.value:.2%} of its loss (95 % interval {self.lower:.2%} to {self.upper:.2%})"

    @property
    def words(self) -> str:
        """What the gain is, in words: `gain over today's mixture`."""
        kind = "gain" if self.measured else "predicted gain"
        return f"{kind} over {BASELINES[self.baseline]}"

    @property
    def source(self) -> str:
        """Where the number comes from, and what the baseline is, as a sentence."""
        how = (
            "measured by confirmation trials with paired seeds"
            if self.measured
            else "predicted by the law, not measured by confirmation trials"
        )
        if self.baseline == "today":
            return f"{how}."
        why = (
            ""
            if self.baseline == "natural"
            else ", and the natural mixture is not known without the tokens of all domains"
        )
        return f"{how}. Today's mixture is not stated{why}."


def predicted_gain(
    law: FittedLaw,
    mixture: Mixture,
    over: Mixture,
    *,
    baseline: Baseline = "today",
    weights: Mapping[str, float] | None = None,
    objective: str = "mean",
    step: float | None = None,
    size: float | None = None,
    generator: np.random.Generator | None = None,
) -> Gain:
    """Predicts the gain of a mixture over a baseline.

    Args:
        law: fitted losses.
        mixture: mixture whose gain is wanted.
        over: proportions of the baseline.
        baseline: name of the baseline.
        weights, objective, step, size: as for `optimal_mixture`.
        generator: for posterior draws; None = a fixed one.

    Raises:
        OptimumError: unknown targets, or a step or size that the law cannot predict.
        MixtureError: the law does not know a domain of a mixture.
    """
    beside = objective_difference(
        law,
        mixture.as_array(law.domains)[None],
        over,
        steps=None if step is None else np.array([step]),
        sizes=None if size is None else np.array([size]),
        weights=weights,
        objective=objective,
        generator=generator,
    )
    return Gain(
        baseline=baseline,
        mixture=over,
        value=-float(beside.difference[0]),
        lower=-float(beside.high[0]),
        upper=-float(beside.low[0]),
        measured=False,
    )
