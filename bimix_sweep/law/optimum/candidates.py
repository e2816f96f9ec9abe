"""Proposes candidates for the optimum: optima of posterior draws, and mixtures scattered around it.

Each draw's gradient at the predicted optimum gives the minimum of its quadratic model inside the
bounds.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from bimix_sweep.law.optimum.decision_problem import SOFT, DecisionProblem
from bimix_sweep.law.optimum.quadratic_step import convex, quadratic_step
from bimix_sweep.law.optimum.solver import Solution
from bimix_sweep.law.posterior.gaussian import Posterior
from bimix_sweep.mixture.simplex import Array, sample

CONCENTRATIONS = (1000.0, 200.0, 50.0, 15.0, 5.0)
"""Concentrations of the Dirichlet mixtures scattered around the optimum: from about 1 % away to
anywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuadraticModel:
    """Quadratic model of the objective around its optimum, with points for finite differences of a
    belief."""

    point: Array
    """(domains,) the optimum."""
    gradient: Array
    """(domains,) gradient of the objective at the optimum."""
    hessian: Array
    """(domains, domains) Hessian of the objective at the optimum."""
    difference_points: Array
    """(domains + 1, domains) finite-difference points: the optimum and one mixture towards each
    domain."""
    difference_step: Array
    """(domains,) step from the optimum to each of these mixtures."""

    @classmethod
    def at(cls, problem: DecisionProblem, best: Solution) -> Self:
        """Makes the quadratic model at an optimum.

        For "worst" it is the model of the smoothed maximum. The maximum itself has kinks at which
        it rises steeply on both sides, so no belief would move the optimum away from a kink.
        """
        _, gradient, hessian = problem.objective_function(parametric=False).model(
            best.point, SOFT * abs(best.value)
        )
        difference_step = np.clip(0.3 * best.point, 0.003, 0.05)
        difference_points = np.concatenate(
            [
                best.point[None],
                best.point + difference_step[:, None] * (np.eye(len(best.point)) - best.point),
            ]
        )
        return cls(
            point=best.point,
            gradient=gradient,
            hessian=hessian,
            difference_points=difference_points,
            difference_step=difference_step,
        )

    def slopes(self, values: Array) -> Array:
        """Computes (n, domains, ...) derivatives by the proportions from (n, domains + 1, ...)
        values at the finite-difference points."""
        return np.asarray(
            (values[:, 1:] - values[:, :1])
            / self.difference_step.reshape(-1, *[1] * (values.ndim - 2))
        )


def drawn_optima(
    problem: DecisionProblem,
    quadratic: QuadraticModel,
    belief: Posterior,
    generator: np.random.Generator,
    count: int,
) -> Array:
    """Returns (count, domains) optima of draws of a belief at the finite-difference points.

    Each optimum is that of the quadratic model of the objective with the slopes of one draw.
    """
    deviation = belief.draws(generator, count) - belief.mean
    slopes = quadratic.slopes(np.einsum("cmt,mt->cm", deviation, problem.sensitivity(belief.mean)))
    curvature, lower, upper = convex(quadratic.hessian), problem.lower, problem.upper
    return np.stack(
        [
            quadratic_step(curvature, quadratic.gradient + slope, quadratic.point, lower, upper)
            for slope in slopes
        ]
    )


def scattered(
    problem: DecisionProblem, centre: Array, generator: np.random.Generator, count: int
) -> Array:
    """Draws (count, domains) random mixtures inside the bounds around a centre, near and far."""
    spread = np.maximum(
        0.9 * centre + 0.1 * (problem.upper > 0) / max(1, (problem.upper > 0).sum()), 1e-6
    )
    each = -(-count // len(CONCENTRATIONS))
    return np.concatenate(
        [sample(generator, each, spread, k, problem.lower, problem.upper) for k in CONCENTRATIONS]
    )[:count]
