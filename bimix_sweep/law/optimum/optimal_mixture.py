"""Finds the mixture with the lowest predicted objective, and what a user must know about it.

The parametric law is convex in the proportions, so its minimum is global and a duality gap proves
it (`law/optimum/objective.py`). Where a discrepancy GP is used, law + GP is minimised from several
starts, the law's own minimum first. The gap then says only how stationary the best of them is. The
result also has the near-optimal region, the binding bounds and their cost, and the belief about
where the true optimum is and how much is lost by this mixture.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bimix_sweep.law.optimum.binding_bounds import BindingBound, binding_bounds, prior_cost
from bimix_sweep.law.optimum.candidates import scattered
from bimix_sweep.law.optimum.decision_problem import DecisionProblem
from bimix_sweep.law.optimum.near_optimal_region import extreme_members
from bimix_sweep.law.optimum.regret import Regret, regret
from bimix_sweep.law.optimum.solver import Solution, minimise
from bimix_sweep.law.posterior.beyond_trials import beyond
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.mixture.domains import DomainSet, Mixture
from bimix_sweep.mixture.goals import values_of
from bimix_sweep.mixture.simplex import Array, project, total_variation

NUM_ALTERNATIVES = 6
"""Number of extreme members shown, chosen to lie far apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimumAtTrials:
    """Predicted optimum at the steps and size of the trials, beside that for the final run."""

    mixture: Mixture
    """Proportions."""
    distance: float
    """Total variation to the optimum for the final run, in [0, 1]."""
    regret: Regret
    """Expected loss of deciding for this mixture, at the steps and size of the trials."""
    step: float
    """Optimizer step of the trials."""
    size: float | None
    """Non-embedding parameters of the trials; None where the law has no sizes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimum:
    """The predicted optimum and its evidence."""

    mixture: Mixture
    """Mixture with the smallest predicted objective."""
    objective: float
    """Weighted loss of the mixture, without the pull to a prior."""
    predicted_losses: Mapping[str, float]
    """{target: predicted loss of the mixture}, or the value in the target's own unit where its goal
    has a range."""
    predicted_sd: Mapping[str, float]
    """{target: standard deviation of the prediction}, of the noise-free mean, in the unit of
    `predicted_losses`."""
    gap: float
    """Upper bound on the difference between what is minimised and its minimum (`global`); a measure
    of how far the mixture is from stationary (`local`)."""
    scope: str
    """"global" where the parametric law is minimised, "local" where a discrepancy GP is used."""
    binding: tuple[BindingBound, ...]
    """Bounds that have a cost, highest cost first."""
    prior_cost: float
    """Fraction by which the loss would fall without the pull to a prior; 0 without one."""
    region: Mapping[str, tuple[float, float]]
    """{domain: smallest and largest proportion} over mixtures predicted within `within` of the
    minimum."""
    alternatives: tuple[Mixture, ...]
    """A few members of the region, far apart."""
    interval: Mapping[str, tuple[float, float]]
    """{domain: 2.5 and 97.5 % quantiles of its proportion} over the optima of posterior draws."""
    regret: Regret
    """Expected loss of the decision."""
    step: float
    """Optimizer step at which losses are compared."""
    size: float | None
    """Non-embedding parameters at which losses are compared; None where the law has no sizes."""
    extrapolation: Mapping[str, float]
    """{"step", "size"}: factor beyond the fitted range, 1 inside."""
    within: float
    """Width of the region, a fraction of the objective."""
    at_trials: OptimumAtTrials | None = None
    """Optimum at the steps and size of the trials, where another one was chosen for the final
    run."""


def optimal_mixture(
    law: FittedLaw,
    domains: DomainSet,
    *,
    weights: Mapping[str, float] | None = None,
    objective: str = "mean",
    step: float | None = None,
    size: float | None = None,
    prior: Mixture | None = None,
    kl: float = 0.0,
    within: float = 0.005,
    generator: np.random.Generator | None = None,
) -> Optimum:
    """Minimises the predicted objective over mixtures of `domains` inside their bounds.

    Args:
        law: fitted losses.
        domains: names that the law knows, with bounds that include token caps (`capped`).
        weights: {target: importance >= 0}, a missing target counts 0; None: all count equally.
        objective: "mean", the weighted mean loss, or "worst", the largest loss (each times its
            weight over the mean weight).
        step, size: fidelity at which to minimise; None = the largest fitted.
        prior, kl: adds kl x KL(mixture || prior), in units of the objective.
        within: width of the near-optimal region, a fraction of the objective.
        generator: for posterior draws; None = a fixed one.

    Raises:
        OptimumError: unknown domains or targets, no positive weight, a size of which the law knows
            nothing, or a prior that the bounds exclude.
    """
    problem = DecisionProblem.of(
        law, domains, weights=weights, objective=objective, step=step, size=size, prior=prior, kl=kl
    )
    return optimum_in(
        problem,
        domains.names,
        within=within,
        generator=generator or np.random.default_rng(0),
    )


def optimum_in(
    problem: DecisionProblem,
    names: Sequence[str],
    *,
    within: float = 0.005,
    generator: np.random.Generator,
) -> Optimum:
    """Solves a decision problem.

    Args:
        problem: decision problem.
        names: domains of the result, in its order.
        within: width of the near-optimal region, a fraction of the objective.
        generator: for posterior draws.
    """
    law = problem.law
    best, scope = solve(problem, generator)
    minimised = problem.objective_function(parametric=scope == "global")
    level = best.value + within * abs(best.value)
    extremes = extreme_members(minimised, best, level, problem.lower, problem.upper)
    lost, drawn = regret(problem, best, extremes, generator)
    columns = {name: law.domains.index(name) for name in names}
    predicted = law.gradient(best.point[None], problem.step, problem.size)[0][0]
    ends = np.quantile(np.concatenate([drawn, best.point[None]]), [0.025, 0.975], axis=0)
    return Optimum(
        mixture=_mixture(columns, best.point),
        objective=float(problem.objective(predicted)),
        predicted_losses=_by_target(law, values_of(law.goals, law.targets, predicted)),
        predicted_sd=_by_target(law, _sd(problem, best.point)),
        gap=best.gap,
        scope=scope,
        binding=binding_bounds(problem, minimised, best),
        prior_cost=prior_cost(problem, minimised, best),
        region=_ranges(columns, extremes.min(axis=0), extremes.max(axis=0)),
        alternatives=tuple(_mixture(columns, row) for row in _far_apart(extremes, best.point)),
        interval=_ranges(columns, ends[0], ends[1]),
        regret=lost,
        step=problem.step,
        size=problem.size,
        within=within,
        extrapolation=_extrapolation(problem),
    )


def solve(
    problem: DecisionProblem, generator: np.random.Generator, num_starts: int = 3
) -> tuple[Solution, str]:
    """Minimises the law, or law + GP where there is one.

    Returns the solution and the scope of its certificate, "global" or "local".

    Law + GP is minimised from `num_starts` starts: the law's own minimum, and the measured and
    scattered mixtures with the best predictions.
    """
    open_to = (problem.upper > 0).astype(np.float64)
    convex = minimise(
        problem.objective_function(parametric=True),
        problem.lower,
        problem.upper,
        open_to / open_to.sum(),
    )
    if not problem.law.has_discrepancy:
        return convex, "global"
    full, starts = problem.objective_function(parametric=False), convex.point[None]
    if num_starts > 1:
        measured = project(problem.law.trials.proportions, problem.lower, problem.upper)
        candidates = np.concatenate([scattered(problem, convex.point, generator, 200), measured])
        starts = np.concatenate(
            [starts, candidates[np.argsort(full.values(candidates))[: num_starts - 1]]]
        )
    solutions = [minimise(full, problem.lower, problem.upper, start, 1e-7) for start in starts]
    return min(solutions, key=lambda solution: solution.value), "local"


def _sd(problem: DecisionProblem, point: Array) -> Array:
    """(targets,) standard deviations of the predictions of a (domains,) mixture."""
    size = None if problem.size is None else np.array([problem.size])
    _, sd = problem.law.predict_with_sd(point[None], np.array([problem.step]), size)
    return np.asarray(sd[0])


def _by_target(law: FittedLaw, values: Array) -> dict[str, float]:
    """{target: value} of (targets,) values."""
    return dict(zip(law.targets, map(float, values), strict=True))


def _extrapolation(problem: DecisionProblem) -> dict[str, float]:
    return {
        "step": beyond(problem.step, problem.law.steps) or 1.0,
        "size": beyond(problem.size, problem.law.sizes) or 1.0,
    }


def _ranges(columns: Mapping[str, int], low: Array, high: Array) -> dict[str, tuple[float, float]]:
    """{domain: (low, high)} from arrays of (law's domains,)."""
    return {name: (float(low[column]), float(high[column])) for name, column in columns.items()}


def _far_apart(members: Array, centre: Array) -> list[Array]:
    """Selects a few members, each the farthest from the centre and from those before (total
    variation)."""
    chosen = [centre]
    for _ in range(min(NUM_ALTERNATIVES, len(members))):
        nearest = np.array(
            [min(total_variation(row, other) for other in chosen) for row in members]
        )
        if nearest.max() < 0.01:
            break
        chosen.append(members[int(nearest.argmax())])
    return chosen[1:]


def _mixture(columns: Mapping[str, int], proportions: Array) -> Mixture:
    """Makes a mixture in which proportions below rounding are 0.

    A domain that the optimum leaves out is then exactly 0.

    Args:
        columns: {domain: its index in the law}.
        proportions: (law's domains,).
    """
    values = proportions[list(columns.values())]
    kept = np.where(values < 1e-9, 0.0, values)
    return Mixture.from_array(tuple(columns), kept / kept.sum())
