"""Estimates how much is lost by training on the predicted optimum instead of the true one."""

from dataclasses import dataclass

import numpy as np

from bimix_sweep.law.optimum.candidates import QuadraticModel, drawn_optima, scattered
from bimix_sweep.law.optimum.decision_problem import DecisionProblem
from bimix_sweep.law.optimum.solver import Solution
from bimix_sweep.mixture.simplex import Array

NUM_DRAWS = 600
"""Posterior draws for interval and regret; a 95 % quantile of them scatters by 10 % of itself."""
REALISED = 0.7
"""Factor from the mean regret of the draws to the expected regret (docs/evidence.md).

The 95 % quantile sets the width of the draws, and real regrets have a longer tail.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Regret:
    """Loss from training on the predicted optimum instead of the true one, fractions of the
    objective, which includes the pull to a prior."""

    expected: float
    """Mean over the posterior times `REALISED` (docs/evidence.md)."""
    upper95: float
    """95 % quantile over the posterior."""


def regret(
    problem: DecisionProblem, best: Solution, extremes: Array, generator: np.random.Generator
) -> tuple[Regret, Array]:
    """Computes expected and 95 % regret of the optimum over posterior draws.

    The candidates for the true optimum are the predicted optimum, the optima of draws, extreme
    members of the near-optimal region, and mixtures scattered around it.

    Args:
        extremes: (n, domains) extreme members of the near-optimal region.

    Returns:
        the regret, and (m, domains) the optima of the draws.
    """
    quadratic = QuadraticModel.at(problem, best)
    drawn = drawn_optima(
        problem, quadratic, problem.posterior(quadratic.difference_points), generator, 64
    )
    candidates = np.concatenate(
        [best.point[None], drawn, extremes[:64], scattered(problem, best.point, generator, 60)]
    )
    losses = np.exp(problem.posterior(candidates).draws(generator, NUM_DRAWS))
    values = problem.objective(losses) + problem.pull(candidates)
    lowest = values.min(axis=1)
    regrets = (values[:, 0] - lowest) / lowest
    return Regret(
        expected=float(REALISED * regrets.mean()), upper95=float(np.quantile(regrets, 0.95))
    ), np.concatenate([drawn, candidates[values.argmin(axis=1)]])
