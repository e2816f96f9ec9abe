"""Finds what keeps an optimum from a lower objective, bounds and the prior, and what it costs."""

from dataclasses import dataclass, replace

from bimix_sweep.law.optimum.decision_problem import DecisionProblem
from bimix_sweep.law.optimum.objective import Objective
from bimix_sweep.law.optimum.solver import Solution, minimise


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingBound:
    """A bound that keeps the optimum from a lower objective."""

    domain: str
    """Name of the domain."""
    bound: str
    """"min" or "max"."""
    cost: float
    """Fraction by which the objective would fall without the bound."""


def binding_bounds(
    problem: DecisionProblem, objective: Objective, best: Solution
) -> tuple[BindingBound, ...]:
    """Finds the binding bounds, other than 0 and 1, and the gain in the objective without each.

    Args:
        objective: what `best` minimises.

    Returns:
        The bounds that have a cost, highest cost first.
    """
    binding = []
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
                binding.append(BindingBound(domain=name, bound=bound, cost=float(cost)))
    return tuple(sorted(binding, key=lambda bound: -bound.cost))


def prior_cost(problem: DecisionProblem, objective: Objective, best: Solution) -> float:
    """Computes the fraction by which the loss would fall without the pull to the prior; 0 without.

    Domains that the prior does not hold stay at 0.

    Args:
        objective: what `best` minimises.
    """
    if problem.kl == 0:
        return 0.0
    loss = replace(objective, prior=None, kl=0.0)
    here = float(loss.values(best.point[None])[0])
    free = minimise(loss, problem.lower, problem.upper, best.point, 1e-8).value
    return max(0.0, (here - float(free)) / abs(here))
