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

from bimix_sweep.law.optimum.decision_problem import Bowl, Question, drawn_optima, scattered
from bimix_sweep.law.optimum.optimal_mixture import solve
from bimix_sweep.law.optimum.solver import convex
from bimix_sweep.law.posterior.gaussian import Posterior
from bimix_sweep.mixture.simplex import Array

NEAR_BOUND = 1e-4
"""Largest distance of a proportion from a bound that counts as active."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """The quadratic model of the objective at the predicted optimum, and the cost of errors of its
    gradient."""

    bowl: Bowl
    """Quadratic model of the objective at the predicted optimum."""
    price: Array
    """(domains, domains) reduced inverse Hessian P: an error s of the objective's gradient costs s'
    P s / 2."""
    near: Array
    """(n, domains) the optimum, optima of posterior draws, and mixtures around the optimum:
    candidates for the next trial."""


def aim_at(question: Question, generator: np.random.Generator) -> Aim:
    """Finds the law's optimum and builds the optimality criterion there."""
    best, _ = solve(question, generator, num_starts=1)
    bowl = Bowl.at(question, best)
    belief = question.searching(bowl.stencil)
    drawn = drawn_optima(question, bowl, belief, generator, 24)
    near = np.concatenate([best.point[None], drawn, scattered(question, best.point, generator, 40)])
    return Aim(bowl=bowl, price=_price(question, bowl, belief), near=near)


def _price(question: Question, bowl: Bowl, belief: Posterior) -> Array:
    """Computes `Aim.price`. Rows and columns are 0 for domains at an active bound whose gradient
    differs from the median by more than its standard deviation."""
    price, point, gradient = np.zeros_like(bowl.hessian), bowl.point, bowl.gradient
    inside = (point > question.lower + NEAR_BOUND) & (point < question.upper - NEAR_BOUND)
    level = float(np.median(gradient[inside] if inside.any() else gradient))
    moved = np.abs(gradient - level) < _doubt(question, bowl, belief)
    free = np.flatnonzero((inside | moved) & (question.lower < question.upper))
    if len(free) > 1:
        inverse = np.linalg.inv(convex(bowl.hessian[np.ix_(free, free)]))
        total = inverse.sum(axis=1)
        price[np.ix_(free, free)] = inverse - np.outer(total, total) / total.sum()
    return price


def _doubt(question: Question, bowl: Bowl, belief: Posterior) -> Array:
    """Computes (domains,) standard deviations of the objective's derivatives. They are computed
    from variances of differences, because the covariance of exact losses may have no Cholesky
    factor."""
    sensitivity = question.sensitivity(belief.mean).T
    moved = belief.covariance * sensitivity[:, :, None] * sensitivity[:, None, :]
    variance = np.einsum("tmm->tm", moved)
    apart = (variance[:, 1:] + variance[:, :1] - 2 * moved[:, 0, 1:]).sum(axis=0)
    return np.asarray(np.sqrt(np.maximum(apart, 0.0)) / bowl.reach)
