"""Minimises a weighting of convex losses over mixtures inside bounds.

    minimise F(r) over lower <= r <= upper, sum r = 1

with F of `law.optimum.objective`. The method is Newton's: the Hessian comes from differences of
gradients (one batched call for all D columns), each step is the exact minimiser of the quadratic
model inside the bounds (a primal active set method), and a line search follows. "worst" is smoothed
with a temperature that falls towards 0, and its curvature is added in closed form.
"""

from dataclasses import dataclass

from bimix_sweep.law.optimum.objective import Objective
from bimix_sweep.law.optimum.quadratic_step import convex, lowest_vertex, quadratic_step
from bimix_sweep.mixture.simplex import Array, project

SMOOTHING = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
"""Falling temperatures of "worst", fractions of the objective."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """A mixture and a bound on its distance from the optimum."""

    point: Array
    """(domains,), inside the bounds."""
    value: float
    """F at the point, without smoothing."""
    gap: float
    """Upper bound on F(point) - min F when the losses are convex; otherwise a measure of how far
    the point is from stationary."""
    curvature: Array
    """(domains, domains) Hessian of F at the point (of the smoothed F for "worst"), positive
    semidefinite."""
    gradient: Array
    """(domains,) gradient of F at the point (of the smoothed F for "worst")."""
    iterations: int
    """Newton steps taken."""


def minimise(
    objective: Objective,
    lower: Array,
    upper: Array,
    start: Array,
    tolerance: float = 1e-10,
    steps: int = 60,
) -> Solution:
    """Minimises F from a start.

    Args:
        objective: F.
        lower, upper: (domains,) bounds that leave a mixture.
        start: (domains,) where F is finite once moved into the bounds.
        tolerance: gap to reach, a fraction of |F|.
        steps: largest number of Newton steps for each temperature.

    Returns:
        The best point found; its gap says how good it is, also where the tolerance was not reached.
    """
    point = project(start, lower, upper)
    scale = abs(float(objective.values(point[None])[0])) or 1.0
    taken = 0
    for temperature in SMOOTHING if objective.worst else (1.0,):
        last = temperature == SMOOTHING[-1] or not objective.worst
        for _ in range(steps):
            value, gradient, hessian = objective.model(point, temperature * scale)
            gap = float(gradient @ (point - lowest_vertex(gradient, lower, upper)))
            if gap <= (tolerance if last else 0.1 * temperature) * scale:
                break
            moved = _search(
                objective,
                temperature * scale,
                point,
                value,
                gradient,
                convex(hessian),
                lower,
                upper,
            )
            taken += 1
            if moved is None:
                break
            point = moved
    value, gradient, hessian = objective.model(point, SMOOTHING[-1] * scale)
    return Solution(
        point=point,
        value=float(objective.values(point[None])[0]),
        gap=objective.gap(point, lower, upper),
        curvature=convex(hessian),
        gradient=gradient,
        iterations=taken,
    )


def _search(
    objective: Objective,
    temperature: float,
    point: Array,
    value: float,
    gradient: Array,
    hessian: Array,
    lower: Array,
    upper: Array,
) -> Array | None:
    """Returns the next point, or None where no direction descends.

    The search backtracks along the Newton step, then along the step to the best vertex.
    """
    for target in (
        quadratic_step(hessian, gradient, point, lower, upper),
        lowest_vertex(gradient, lower, upper),
    ):
        move = target - point
        descent = float(gradient @ move)
        if not descent < 0:
            continue
        length = 1.0
        for _ in range(40):
            if (
                objective.smoothed((point + length * move)[None], temperature)[0]
                <= value + 1e-4 * length * descent
            ):
                return point + length * move
            length /= 2
    return None
