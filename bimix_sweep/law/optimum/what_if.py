"""Answers a what-if question: how good a mixture is beside the recommended one.

The question is a decision problem, changed or not. Its mixture is a given one, the best one where
some proportions are fixed, or the best one of the problem.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bimix_sweep.law.optimum.answer import best_mixture, for_final_run
from bimix_sweep.law.optimum.decision_problem import DecisionProblem
from bimix_sweep.law.optimum.objective_difference import objective_difference
from bimix_sweep.law.optimum.optimal_mixture import Optimum
from bimix_sweep.law.optimum.regret import Regret
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.law.posterior.problem_statement import ProblemStatement
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.mixture.goals import value_scales, values_of
from bimix_sweep.mixture.simplex import SUM_TOLERANCE, Array

Z95 = 1.96
"""Half the width of a 95 % interval in standard deviations."""
NOTHING = 5e-5
"""Differences within this fraction on both ends of the interval are called none in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Difference of a predicted loss or objective to that of another mixture, as a fraction."""

    value: float
    """The difference; negative where it is lower."""
    low: float
    """Lower end of its 95 % interval."""
    high: float
    """Upper end of its 95 % interval."""

    @property
    def words(self) -> str:
        """`0.31% higher (95 %: 0.10% to 0.52%) than`, or `equal to`."""
        if max(abs(self.low), abs(self.high)) < NOTHING:
            return "equal to"
        sign, word = (-1, "lower") if self.value < 0 else (1, "higher")
        low, high = sorted((sign * self.low, sign * self.high))
        return f"{abs(self.value):.2%} {word} (95 %: {low:.2%} to {high:.2%}) than"


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetPrediction:
    """The predicted loss of one target, beside that of the other mixture."""

    loss: float
    """Predicted loss, or the value in the target's own unit where its goal has a range."""
    low: float
    """Lower end of its 95 % interval, without the noise of a run."""
    high: float
    """Upper end of its 95 % interval, without the noise of a run."""
    difference: Difference
    """Difference of the loss to that of the other mixture; where the goal has a range, of the
    distance from the best end of the range."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Predictions for a mixture beside another one, at one step and size."""

    objective: float
    """Predicted objective, without the pull to a prior."""
    difference: Difference
    """Difference of the objective to that of the other mixture."""
    targets: Mapping[str, TargetPrediction]
    """{target: prediction}."""
    weights: Mapping[str, float]
    """{target: fraction of the objective}."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a mixture stands in a decision problem."""

    above: float
    """How far its objective lies above the lowest one, as a fraction; a pull to a prior counts."""
    broken: tuple[str, ...]
    """Domains whose bounds or caps the mixture breaks."""
    near_optimal: bool
    """Whether the mixture lies in the near-optimal region: it breaks no bound, and `above` is at
    most the width of the region."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """Answer to a what-if question."""

    mixture: Mixture
    """The mixture of the question."""
    recommended: Mixture
    """The mixture that it is compared with."""
    beside: Beside
    """Predictions for the mixture, beside the recommended one."""
    standing: Standing
    """Where the mixture stands in the problem without the fixed proportions."""
    recommended_standing: Standing
    """Where the recommended mixture stands in the same problem."""
    best: Optimum
    """Optimum of the problem without the fixed proportions; its region is the near-optimal one."""
    regret: Regret | None
    """Expected loss of deciding for the mixture; None where it is a given one."""
    passes: Mapping[str, float | None]
    """{domain: passes of the final run over its tokens}; None where its tokens are not known, empty
    where this is so for all domains, or the tokens of the final run are not stated."""


def what_if(
    law: FittedLaw,
    problem: ProblemStatement,
    recommended: Mixture,
    *,
    mixture: Mixture | None = None,
    fixed: ProblemStatement | None = None,
    within: float = 0.005,
) -> WhatIf:
    """Answers a what-if question.

    Args:
        law: fitted losses.
        problem: decision problem of the question.
        recommended: mixture to compare with.
        mixture: mixture in question; None: the best one.
        fixed: the same problem with some proportions fixed, whose best mixture is in question;
            None: no proportion is fixed.
        within: width of the near-optimal region, a fraction of the objective.

    Raises:
        OptimumError: the law cannot solve the problem.
        MixtureError: the bounds leave no mixture, or the law does not know a domain of a mixture.
    """
    best = best_mixture(law, problem, within=within)
    asked = best if fixed is None else best_mixture(law, fixed, within=within)
    taken = asked.mixture if mixture is None else mixture
    decision = DecisionProblem.of(
        for_final_run(law, problem),
        problem.final_domains,
        weights=problem.weights,
        objective=problem.objective,
        step=best.step,
        size=best.size,
        prior=problem.prior,
        kl=problem.kl,
    )
    return WhatIf(
        mixture=taken,
        recommended=recommended,
        beside=beside(law, problem, taken, recommended, step=best.step, size=best.size),
        standing=_standing(decision, best, taken),
        recommended_standing=_standing(decision, best, recommended),
        best=best,
        regret=asked.regret if mixture is None else None,
        passes=_passes(problem, taken),
    )


def beside(
    law: FittedLaw,
    problem: ProblemStatement,
    mixture: Mixture,
    other: Mixture,
    *,
    step: float,
    size: float | None,
) -> Beside:
    """Predicts the losses of a mixture and how they differ from those of another one, in runs that
    repeat domains as the final run does.

    Args:
        law: fitted losses.
        problem: decision problem, for weights, objective and final run.
        mixture: mixture in question.
        other: mixture to compare with.
        step, size: fidelity at which the losses are predicted.

    Raises:
        LawError, MixtureError, OptimumError: the law cannot predict it.
    """
    law = for_final_run(law, problem)
    row, steps = mixture.as_array(law.domains)[None], np.array([step])
    sizes = None if size is None else np.array([size])
    found = objective_difference(
        law,
        row,
        other,
        steps=steps,
        sizes=sizes,
        weights=problem.weights,
        objective=problem.objective,
        generator=problem.generator(),
    )
    values = _values(law, row, steps, sizes)
    return Beside(
        objective=float(found.objective[0]),
        difference=_difference([found.difference[0], found.low[0], found.high[0]]),
        targets={
            target: TargetPrediction(
                loss=float(values[1, i]),
                low=float(values[:, i].min()),
                high=float(values[:, i].max()),
                difference=_difference(found.by_target[0, i]),
            )
            for i, target in enumerate(law.targets)
        },
        weights=_fractions(law, problem),
    )


def _fractions(law: FittedLaw, problem: ProblemStatement) -> dict[str, float]:
    """{target: fraction of the objective}."""
    weights = dict.fromkeys(law.targets, 1.0) if problem.weights is None else problem.weights
    total = sum(weights.get(target, 0.0) for target in law.targets)
    return {target: weights.get(target, 0.0) / total for target in law.targets}


def _values(law: FittedLaw, row: Array, steps: Array, sizes: Array | None) -> Array:
    """(3, targets) predicted values and the ends of their 95 % intervals, the value in the middle.

    The belief is about log losses, so the interval of a loss does not reach below 0.
    """
    losses, (_, sd) = law.losses(row, steps, sizes), law.predict_with_sd(row, steps, sizes)
    log_sd = sd / (losses * value_scales(law.goals, law.targets))
    ends = losses * np.exp(np.array([-Z95, 0.0, Z95])[:, None] * log_sd)
    return np.asarray(values_of(law.goals, law.targets, ends))


def _difference(values: Array | list[float]) -> Difference:
    value, low, high = map(float, values)
    return Difference(value=value, low=low, high=high)


def _standing(decision: DecisionProblem, best: Optimum, mixture: Mixture) -> Standing:
    law = decision.law
    points = np.stack([one.as_array(law.domains) for one in (best.mixture, mixture)])
    sizes = None if decision.size is None else np.full(2, decision.size)
    losses = law.losses(points, np.full(2, decision.step), sizes)
    lowest, here = decision.objective(losses) + decision.pull(points)
    low, high = decision.lower - SUM_TOLERANCE, decision.upper + SUM_TOLERANCE
    outside = np.flatnonzero((points[1] < low) | (points[1] > high))
    broken, above = tuple(law.domains[i] for i in outside), float(here / lowest - 1)
    return Standing(above=above, broken=broken, near_optimal=not broken and above <= best.within)


def _passes(problem: ProblemStatement, mixture: Mixture) -> dict[str, float | None]:
    names = problem.domains.names
    if (unique := problem.unique(names)) is None:
        return {}
    return {
        name: float(proportion / part) if math.isfinite(part) else None
        for name, part, proportion in zip(names, unique, mixture.as_array(names), strict=True)
    }
