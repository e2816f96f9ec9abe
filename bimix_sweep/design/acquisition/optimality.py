"""Optimality criterion at the predicted optimum, which trials are chosen to reduce: the cost of
errors of the gradient; and mixtures near the optimum.

Let r* be the predicted optimum, H the curvature of the objective F there and s an error of its
gradient. Let P be the inverse of H on the moves that keep the sum 1 and the active bounds. The real
optimum lies a step -P s away from r*, and the regret of r* is  s' P s / 2.  Its mean is

    regret = tr(P S) / 2

where S is the covariance of s under a belief.
"""

from dataclasses import dataclass

import numpy as np

from bimix_sweep.law.optimum.candidates import QuadraticModel, drawn_optima, scattered
from bimix_sweep.law.optimum.decision_problem import DecisionProblem
from bimix_sweep.law.optimum.optimal_mixture import solve
from bimix_sweep.law.optimum.quadratic_step import convex
from bimix_sweep.law.posterior.gaussian import Posterior
from bimix_sweep.mixture.simplex import Array

NEAR_BOUND = 1e-4
"""Largest distance of a proportion from a bound that counts as active."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimalityCriterion:
    """The quadratic model of the objective at the predicted optimum, and the cost of errors of its
    gradient."""

    quadratic: QuadraticModel
    """Quadratic model of the objective at the predicted optimum."""
    inverse_hessian: Array
    """(domains, domains) reduced inverse Hessian P: an error s of the objective's gradient costs s'
    P s / 2."""
    near: Array
    """(n, domains) the optimum, optima of posterior draws, and mixtures around the optimum:
    candidates for the next trial."""


def optimality_criterion(
    problem: DecisionProblem, generator: np.random.Generator
) -> OptimalityCriterion:
    """Finds the law's optimum and builds the optimality criterion there."""
    best, _ = solve(problem, generator, num_starts=1)
    quadratic = QuadraticModel.at(problem, best)
    belief = problem.searching(quadratic.difference_points)
    drawn = drawn_optima(problem, quadratic, belief, generator, 24)
    near = np.concatenate([best.point[None], drawn, scattered(problem, best.point, generator, 40)])
    return OptimalityCriterion(
        quadratic=quadratic,
        inverse_hessian=_reduced_inverse_hessian(problem, quadratic, belief),
        near=near,
    )


def _reduced_inverse_hessian(
    problem: DecisionProblem, quadratic: QuadraticModel, belief: Posterior
) -> Array:
    """Computes `OptimalityCriterion.inverse_hessian`. Rows and columns are 0 for domains at an
    active bound whose gradient differs from the median by more than its standard deviation."""
    inverse_hessian, point, gradient = (
        np.zeros_like(quadratic.hessian),
        quadratic.point,
        quadratic.gradient,
    )
    inside = (point > problem.lower + NEAR_BOUND) & (point < problem.upper - NEAR_BOUND)
    level = float(np.median(gradient[inside] if inside.any() else gradient))
    moved = np.abs(gradient - level) < _gradient_sd(problem, quadratic, belief)
    free = np.flatnonzero((inside | moved) & (problem.lower < problem.upper))
    if len(free) > 1:
        inverse = np.linalg.inv(convex(quadratic.hessian[np.ix_(free, free)]))
        total = inverse.sum(axis=1)
        inverse_hessian[np.ix_(free, free)] = inverse - np.outer(total, total) / total.sum()
    return inverse_hessian


def _gradient_sd(problem: DecisionProblem, quadratic: QuadraticModel, belief: Posterior) -> Array:
    """Computes (domains,) standard deviations of the objective's derivatives. They are computed
    from variances of differences, because the covariance of exact losses may have no Cholesky
    factor."""
    sensitivity = problem.sensitivity(belief.mean).T
    moved = belief.covariance * sensitivity[:, :, None] * sensitivity[:, None, :]
    variance = np.einsum("tmm->tm", moved)
    apart = (variance[:, 1:] + variance[:, :1] - 2 * moved[:, 0, 1:]).sum(axis=0)
    return np.asarray(np.sqrt(np.maximum(apart, 0.0)) / quadratic.difference_step)
