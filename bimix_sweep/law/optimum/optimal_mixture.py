"""Finds the mixture with the lowest predicted objective, and what a user must know about it.

The parametric law is convex in the proportions, so its minimum is global and a duality gap proves
it (`law/optimum/solver.py`). Where a discrepancy GP is used, law + GP is minimised from several
starts, the law's own minimum first. The gap then says only how stationary the best of them is. The
result also has the near-optimal region (`law/optimum/near_optimal_region.py`), the binding bounds
and their cost, and the belief about where the true optimum is and how much is lost by this mixture
(`law/optimum/decision_problem.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bimix_sweep.errors import OptimumError
from bimix_sweep.law.optimum.decision_problem import (
    DecisionProblem,
    QuadraticModel,
    correlated_draws,
    drawn_optima,
    scattered,
)
from bimix_sweep.law.optimum.near_optimal_region import extreme_members
from bimix_sweep.law.optimum.solver import Objective, Solution, minimise
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.law.posterior.problem_statement import OBJECTIVES
from bimix_sweep.mixture.domains import DomainSet, Mixture
from bimix_sweep.mixture.goals import values_of
from bimix_sweep.mixture.simplex import Array, project, total_variation

NUM_ALTERNATIVES = 6
"""Number of extreme members shown, chosen to lie far apart."""
MAX_PULL = 1e9
"""Largest `kl`; far smaller values already keep a mixture at its prior."""
NUM_DRAWS = 600
"""Posterior draws for interval and regret; a 95 % quantile of them scatters by 10 % of itself."""
REALISED = 0.7
"""Factor from the mean regret of the draws to the expected regret (docs/evidence.md).

The 95 % quantile sets the width of the draws, and real regrets have a longer tail.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """A bound that keeps the optimum from a lower objective."""

    domain: str
    """Name of the domain."""
    bound: str
    """"min" or "max"."""
    cost: float
    """Fraction by which the objective would fall without the bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Regret:
    """Loss from training on the predicted optimum instead of the true one, fractions of the
    objective."""

    expected: float
    """Mean over the posterior times `REALISED` (docs/evidence.md)."""
    upper95: float
    """95 % quantile over the posterior."""


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
    gap: float
    """Upper bound on the difference between what is minimised and its minimum (`global`); a measure
    of how far the mixture is from stationary (`local`)."""
    scope: str
    """"global" where the parametric law is minimised, "local" where a discrepancy GP is used."""
    binding: tuple[Binding, ...]
    """Bounds that have a cost, highest cost first."""
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
        domains: names that the law knows, with bounds; include token caps in the upper bounds first
            (`DomainSet.capped`).
        weights: {target: importance >= 0}, a missing target counts 0; None weighs all targets
            equally.
        objective: "mean", the weighted mean loss, or "worst", the largest loss (each times its
            weight over the mean weight).
        step, size: fidelity at which to minimise; None = the largest fitted.
        prior, kl: adds kl x KL(mixture || prior), in units of the objective.
        within: width of the near-optimal region, a fraction of the objective.
        generator: for posterior draws; None = a fixed one.

    Raises:
        OptimumError: unknown domains or targets, weights without a positive one, a size of which
            the law knows nothing, or a prior that the bounds exclude.
    """
    generator = generator or np.random.default_rng(0)
    problem = ask(
        law, domains, weights=weights, objective=objective, step=step, size=size, prior=prior, kl=kl
    )
    best, scope = solve(problem, generator)
    objective_of = problem.objective_function(parametric=scope == "global")
    level = best.value + within * abs(best.value)
    extremes = extreme_members(objective_of, best, level, problem.lower, problem.upper)
    regret, drawn = _regret(problem, best, extremes, generator)
    names = domains.names
    columns = [law.domains.index(name) for name in names]
    count = len(law.domains)
    predicted = law.gradient(best.point[None], problem.step, problem.size)[0][0]
    values = values_of(law.goals, law.targets, predicted)
    spread = np.quantile(np.concatenate([drawn, best.point[None]]), [0.025, 0.975], axis=0)
    largest = {"step": law.steps, "size": law.sizes}
    asked = {"step": problem.step, "size": problem.size}
    return Optimum(
        mixture=_mixture(names, best.point[columns]),
        objective=float(problem.objective(predicted)),
        predicted_losses=dict(zip(law.targets, map(float, values), strict=True)),
        gap=best.gap,
        scope=scope,
        binding=_binding(problem, objective_of, best),
        region={
            n: (float(extremes[:, c].min()), float(extremes[:, c].max()))
            for n, c in zip(names, columns, strict=True)
        },
        alternatives=tuple(
            _mixture(names, row[columns]) for row in _far_apart(extremes[: 2 * count], best.point)
        ),
        interval={
            n: (float(spread[0, c]), float(spread[1, c]))
            for n, c in zip(names, columns, strict=True)
        },
        regret=regret,
        step=problem.step,
        size=problem.size,
        within=within,
        extrapolation={k: _beyond(asked[k], fitted) for k, fitted in largest.items()},
    )


def ask(
    law: FittedLaw,
    domains: DomainSet,
    *,
    weights: Mapping[str, float] | None = None,
    objective: str = "mean",
    step: float | None = None,
    size: float | None = None,
    prior: Mixture | None = None,
    kl: float = 0.0,
) -> DecisionProblem:
    """Checks the arguments of `optimal_mixture` and returns the decision problem.

    Arrays are in the law's order of domains and targets.

    Raises:
        OptimumError: see `optimal_mixture`.
    """
    if unknown := [name for name in domains.names if name not in law.domains]:
        raise OptimumError(
            f"the law has never seen {', '.join(unknown)}; it knows {', '.join(law.domains)}"
        )
    if objective not in OBJECTIVES:
        raise OptimumError(f'objective is {objective!r}; need "mean" or "worst"')
    weights = dict.fromkeys(law.targets, 1.0) if weights is None else weights
    if unknown := [name for name in weights if name not in law.targets]:
        raise OptimumError(
            f"weights name {', '.join(unknown)}; the law's targets are {', '.join(law.targets)}"
        )
    values = np.array([float(weights.get(target, 0.0)) for target in law.targets])
    if not (np.isfinite(values).all() and (values >= 0).all() and values.sum() > 0):
        raise OptimumError(f"weights are {dict(weights)}; need numbers >= 0, one of them above 0")
    for name, value in (("step", step), ("size", size)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise OptimumError(f"{name} is {value:g}; need a number > 0")
    if size is not None and law.sizes is None:
        raise OptimumError(
            f"size is {size:g}, and this law was fitted without sizes; leave it out, or fit runs "
            "that give their size"
        )
    if not 0 <= kl <= MAX_PULL:
        raise OptimumError(f"kl is {kl:g}; need a number from 0 to {MAX_PULL:g}")
    if kl > 0 and prior is None:
        raise OptimumError("kl is given without a prior; name the mixture to stay near")
    lower, upper = np.zeros(len(law.domains)), np.zeros(len(law.domains))
    columns = [law.domains.index(name) for name in domains.names]
    lower[columns], upper[columns] = domains.lower, domains.upper
    pull = prior.as_array(law.domains) if prior is not None and kl > 0 else None
    if pull is not None:
        upper = np.where(pull > 0, upper, 0.0)
        if upper.sum() < 1 - 1e-9 or (upper < lower).any():
            raise OptimumError(
                "the prior gives nothing to domains that the bounds need; give every such domain a "
                "share in it"
            )
    worst = objective == "worst"
    return DecisionProblem(
        law=law,
        weights=values / (values[values > 0].mean() if worst else values.sum()),
        worst=worst,
        lower=lower,
        upper=upper,
        step=float(law.steps[1] if step is None else step),
        size=None if law.sizes is None else float(law.sizes[1] if size is None else size),
        prior=pull,
        kl=kl if pull is not None else 0.0,
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
    if not problem.law.has_process:
        return convex, "global"
    full, starts = problem.objective_function(parametric=False), convex.point[None]
    if num_starts > 1:
        measured = project(problem.law.runs.proportions, problem.lower, problem.upper)
        cloud = np.concatenate([scattered(problem, convex.point, generator, 200), measured])
        starts = np.concatenate([starts, cloud[np.argsort(full.values(cloud))[: num_starts - 1]]])
    found = [minimise(full, problem.lower, problem.upper, start, 1e-7) for start in starts]
    return min(found, key=lambda solution: solution.value), "local"


def _regret(
    problem: DecisionProblem, best: Solution, extremes: Array, generator: np.random.Generator
) -> tuple[Regret, Array]:
    """Computes expected and 95 % regret of the optimum over posterior draws, and the optima of the
    draws."""
    quadratic = QuadraticModel.at(problem, best)
    drawn = drawn_optima(
        problem, quadratic, problem.posterior(quadratic.difference_points), generator, 64
    )
    cloud = np.concatenate(
        [best.point[None], drawn, extremes[:64], scattered(problem, best.point, generator, 60)]
    )
    losses = np.exp(correlated_draws(problem.posterior(cloud), generator, NUM_DRAWS))
    values = problem.objective(losses)
    lowest = values.min(axis=1)
    regrets = (values[:, 0] - lowest) / lowest
    return Regret(
        expected=float(REALISED * regrets.mean()), upper95=float(np.quantile(regrets, 0.95))
    ), np.concatenate([drawn, cloud[values.argmin(axis=1)]])


def _binding(problem: DecisionProblem, objective: Objective, best: Solution) -> tuple[Binding, ...]:
    """Finds the binding bounds, other than 0 and 1, and the gain in the objective without each
    bound."""
    found = []
    for index, name in enumerate(problem.law.domains):
        for bound, limits, open_end in (("min", problem.lower, 0.0), ("max", problem.upper, 1.0)):
            if (
                limits[index] == open_end
                or abs(best.point[index] - limits[index]) > 1e-7
                or problem.lower[index] == problem.upper[index] == 0
            ):
                continue
            freed = limits.copy()
            freed[index] = open_end
            lower, upper = (freed, problem.upper) if bound == "min" else (problem.lower, freed)
            cost = (best.value - minimise(objective, lower, upper, best.point, 1e-8).value) / abs(
                best.value
            )
            if cost > 1e-9:
                found.append(Binding(domain=name, bound=bound, cost=float(cost)))
    return tuple(sorted(found, key=lambda binding: -binding.cost))


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


def _mixture(names: Sequence[str], shares: Array) -> Mixture:
    """Makes a mixture in which proportions below rounding are 0.

    A domain that the optimum leaves out is then exactly 0.
    """
    kept = np.where(shares < 1e-9, 0.0, shares)
    return Mixture.from_array(names, kept / kept.sum())


def _beyond(asked: float | None, fitted: tuple[float, float] | None) -> float:
    if asked is None or fitted is None:
        return 1.0
    return float(max(1.0, asked / fitted[1], fitted[0] / asked))
