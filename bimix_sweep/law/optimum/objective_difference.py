"""Compares the predicted objective of mixtures with that of a reference mixture.

The belief is the one by which the regret is judged (`DecisionProblem.posterior`; docs/evidence.md).
Each mixture is drawn jointly with the reference mixture at the same step and size, because most
errors of a law are common to both and cancel in the difference. Two separate standard deviations
would overstate it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bimix_sweep.law.optimum.decision_problem import DecisionProblem
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.law.posterior.gaussian import Posterior
from bimix_sweep.mixture.domains import DomainSet, Mixture
from bimix_sweep.mixture.simplex import Array

NUM_DRAWS = 1000
"""Posterior draws for the interval; each end scatters by 4 % of the interval's width."""
CHUNK = 64
"""Number of mixtures that are compared at a time, which bounds the memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveDifference:
    """Predicted objectives of n mixtures, and their differences to a reference mixture at the same
    step and size."""

    objective: Array
    """(n,) predicted objective, in the unit of the losses."""
    difference: Array
    """(n,) objective less that of the reference, as a fraction of the reference's objective."""
    low: Array
    """(n,) 2.5 % quantile of the difference of the noise-free objectives."""
    high: Array
    """(n,) 97.5 % quantile of the difference of the noise-free objectives."""
    by_target: Array
    """(n, targets, 3) the same for the loss of each target: difference, 2.5 % and 97.5 %
    quantile, as fractions of the reference's loss."""


def objective_difference(
    law: FittedLaw,
    proportions: Array,
    reference: Mixture,
    *,
    steps: Array | None = None,
    sizes: Array | None = None,
    weights: Mapping[str, float] | None = None,
    objective: str = "mean",
    generator: np.random.Generator | None = None,
) -> ObjectiveDifference:
    """Predicts how much the objective of mixtures lies above that of a reference mixture.

    Example:
        optimum = optimal_mixture(law, DomainSet(names=("web", "code", "news")))
        rows = np.array([[0.5, 0.4, 0.1], [0.8, 0.1, 0.1]])
        beside = objective_difference(law, rows, optimum.mixture)
        print(beside.difference, beside.low, beside.high)

    Args:
        law: fitted losses.
        proportions: (n, domains) in the law's order, rows sum to 1.
        reference: mixture to compare with, such as the predicted optimum.
        steps: (n,) optimizer steps; None = the largest fitted.
        sizes: (n,) non-embedding parameters; None or NaN = the largest fitted.
        weights: {target: importance >= 0}, a missing target counts 0; None weighs all targets
            equally.
        objective: "mean", the weighted mean loss, or "worst", the largest loss (each times its
            weight over the mean weight).
        generator: for posterior draws; None = a fixed one.

    Raises:
        LawError: shapes or values for which no prediction is possible.
        MixtureError: the reference holds a domain that the law does not know.
        OptimumError: unknown targets, or weights without a positive one.
    """
    problem = DecisionProblem.of(
        law, DomainSet(names=law.domains), weights=weights, objective=objective
    )
    rows = np.atleast_2d(np.asarray(proportions, dtype=np.float64))
    count = len(rows)
    steps = np.full(count, problem.step) if steps is None else np.asarray(steps, dtype=np.float64)
    sizes = np.full(count, np.nan) if sizes is None else np.asarray(sizes, dtype=np.float64)
    beside = np.tile(reference.as_array(law.domains), (count, 1))
    losses, losses_beside = (law.losses(points, steps, sizes) for points in (rows, beside))
    values, values_beside = problem.objective(losses), problem.objective(losses_beside)
    seed = int((generator or np.random.default_rng(0)).integers(2**63))
    ends, by_target = np.empty((2, count)), np.empty((count, len(law.targets), 3))
    by_target[:, :, 0] = losses / losses_beside - 1
    for start in range(0, count, CHUNK):
        part = slice(start, start + CHUNK)
        points = np.concatenate([rows[part], beside[part]])
        belief = problem.posterior(points, np.tile(steps[part], 2), np.tile(sizes[part], 2))
        ends[:, part], by_target[part, :, 1:] = _intervals(problem, belief, seed)
    difference = values / values_beside - 1
    return ObjectiveDifference(
        objective=values, difference=difference, low=ends[0], high=ends[1], by_target=by_target
    )


def _intervals(problem: DecisionProblem, belief: Posterior, seed: int) -> tuple[Array, Array]:
    """Computes quantiles of the differences of n mixtures to the n mixtures after them.

    Args:
        seed: of the posterior draws.

    Returns:
        (2, n) of the objective, and (n, targets, 2) of the losses.
    """
    generator = np.random.default_rng(seed)
    drawn, beside = map(np.exp, belief.paired_draws(generator, NUM_DRAWS))
    of_objective = np.quantile(
        problem.objective(drawn) / problem.objective(beside) - 1, [0.025, 0.975], axis=0
    )
    of_losses = np.quantile(drawn / beside - 1, [0.025, 0.975], axis=0)
    return np.asarray(of_objective), np.moveaxis(of_losses, 0, -1)
