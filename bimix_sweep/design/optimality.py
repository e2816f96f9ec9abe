"""The predicted optimum as what runs are chosen for: what errors of the gradient there cost, and mixtures near it.

Let r* be the predicted optimum, H the curvature of the objective F there and s an error of its gradient. The real optimum lies a step
-P s away, P the inverse of H among moves that keep the sum 1 and the bounds that hold, and staying at r* costs  s' P s / 2.  On average

    regret = tr(P S) / 2,     S the covariance of s under a belief.
"""

from dataclasses import dataclass

import numpy as np

from bimix_sweep.law.optimum.decision_problem import Bowl, Question, drawn_optima, scattered
from bimix_sweep.law.optimum.optimal_mixture import solve
from bimix_sweep.law.optimum.solver import convex
from bimix_sweep.law.posterior.gaussian import Posterior
from bimix_sweep.mixture.simplex import Array

NEAR_BOUND = 1e-4
"""A share this near to a bound is held by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """The predicted optimum, and what errors of the gradient there cost."""

    bowl: Bowl
    """The objective there."""
    price: Array
    """(domains, domains) P: an error s of the objective's gradient costs s' P s / 2."""
    near: Array
    """(n, domains) the optimum, optima of posterior draws, and mixtures around: candidates for the next run."""


def aim_at(question: Question, generator: np.random.Generator) -> Aim:
    """Where the law has its optimum."""
    best, _ = solve(question, generator, num_starts=1)
    bowl = Bowl.at(question, best)
    belief = question.searching(bowl.stencil)
    drawn = drawn_optima(question, bowl, belief, generator, 24)
    near = np.concatenate([best.point[None], drawn, scattered(question, best.point, generator, 40)])
    return Aim(bowl=bowl, price=_price(question, bowl, belief), near=near)


def _price(question: Question, bowl: Bowl, belief: Posterior) -> Array:
    """`Aim.price`: 0 for domains that their bounds hold, beyond the belief's doubt of the gradient."""
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
    """(domains,) standard deviations of the objective's derivatives; of differences, for a covariance of exact losses may have no root."""
    sensitivity = question.sensitivity(belief.mean).T
    moved = belief.covariance * sensitivity[:, :, None] * sensitivity[:, None, :]
    variance = np.einsum("tmm->tm", moved)
    apart = (variance[:, 1:] + variance[:, :1] - 2 * moved[:, 0, 1:]).sum(axis=0)
    return np.asarray(np.sqrt(np.maximum(apart, 0.0)) / bowl.reach)
