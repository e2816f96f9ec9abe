"""The near-optimal region: how far each proportion can go while the objective stays within a fraction of its minimum.

For domain j the extreme member solves max (or min) r_j subject to F(r) <= level inside the bounds. F is convex where the
parametric law is minimised, and then the answer is unique; with a discrepancy process it is a local one.

1. Two starts a domain, the farther of them: the straight line from the optimum that scales all other proportions alike,
   and the step P e_j, P the inverse of the Hessian on the free face. Only the first is usable where the optimum has a
   domain at 0: the curvature of r^g, g < 1, is infinite there.
2. The metric B of all members is the Hessian changed by BFGS to agree with the change of the gradient from the optimum
   to each start, so it tells the curvature over the region's width instead of the one at a point.
3. Sequential quadratic programming: with gradient G at the member the step  d = a P e_j - P G,  a = G.PG / G.Pe_j,  goes
   for the domain at equal F. B learns each member's own curvature on the way.

Every step ends on a path from the optimum, bent along the bounds, where F reaches the level, and is taken only where it
gains: each member is verified, and holds at least what the straight line does. All members move at once.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from bimix_sweep.law.minimise import Solution, lowest_vertex
from bimix_sweep.mixture.simplex import Array, project

ROUNDS = 8
"""Corrections of the start."""
SHORTER = 0.3
"""Length of a step after one that gained nothing."""
BOUND_PASSES = 3
"""Rounds of stopping a step at the bounds it crosses."""
LINE_STEPS = 10
"""Evaluations of F to find where a path reaches the level, to 1e-5 of its length."""


def extreme_members(
    values: Callable[[Array], Array],
    gradients: Callable[[Array], Array],
    best: Solution,
    level: float,
    lower: Array,
    upper: Array,
) -> Array:
    """Members of {r : F(r) <= level} that hold as much or as little of each domain as the search finds.

    Args:
        values: (n, domains) -> (n,) F.
        gradients: (n, domains) -> (n, domains) derivatives of F.
        best: the minimum.
        level: at least F at the minimum.
        lower, upper: (domains,) bounds.

    Returns:
        (2 domains, domains): row j holds the least of domain j, row domains + j the most.
    """
    count, centre = len(best.point), best.point
    signs, domain = np.repeat([-1.0, 1.0], count), np.tile(np.arange(count), 2)
    wanted = signs[:, None] * np.eye(count)[domain]
    line = _Line(values, best, level, lower, upper)
    rows = np.arange(2 * count)

    members, slopes = np.tile(centre, (2 * count, 1)), np.tile(best.gradient, (2 * count, 1))
    metric = np.tile(best.curvature, (2 * count, 1, 1))
    along = _solve(metric, wanted, _held(members, wanted, slopes, lower, upper))
    gain = np.maximum(np.einsum("nd,nd->n", wanted, along), 1e-300)
    newton = np.sqrt(2 * max(level - best.value, 0.0) / gain)[:, None] * along
    scaled = signs[:, None] * (np.eye(count)[domain] - centre)
    cheapest = np.where(wanted != 0, np.where(wanted > 0, -np.inf, np.inf), best.gradient)
    vertices = np.stack([lowest_vertex(row, lower, upper) for row in cheapest])
    for start in (scaled, newton, vertices - centre):
        tried = line.to_level(start)
        farther = signs * (tried - members)[rows, domain] > 0
        members = np.where(farther[:, None], tried, members)
    slopes = gradients(members)
    shared = best.curvature[None]
    for member, slope in zip(members, slopes, strict=True):
        shared = _learn(shared, (member - centre)[None], (slope - best.gradient)[None])
    metric = _learn(
        np.tile(shared, (2 * count, 1, 1)), members - centre, slopes - best.gradient
    )
    length = np.ones(2 * count)
    for _ in range(ROUNDS):
        held = _held(members, wanted, slopes, lower, upper)
        along, uphill = _solve(metric, wanted, held), _solve(metric, slopes, held)
        cross = np.einsum("nd,nd->n", slopes, along)
        height = np.einsum("nd,nd->n", slopes, uphill) / np.where(
            np.abs(cross) > 1e-300, cross, np.inf
        )
        step = length[:, None] * (height[:, None] * along - uphill)
        step = _within(metric, step, held, lower - members, upper - members)
        tried = line.to_level(members + step - centre)
        farther = (signs * (tried - members)[rows, domain] > 0)[:, None]
        there = gradients(tried)
        metric = _learn(metric, tried - members, there - slopes)
        members, slopes = np.where(farther, tried, members), np.where(farther, there, slopes)
        length = np.where(farther[:, 0], np.minimum(1.0, 2 * length), SHORTER * length)
    return members
def _held(
    members: Array, wanted: Array, slopes: Array, lower: Array, upper: Array
) -> npt.NDArray[np.bool_]:
    """(n, domains) True where a bound holds: at it, and the wish to save loss pushes against it (the wanted domain is never held)."""
    inside = (members > lower + 1e-9) & (members < upper - 1e-9) & (wanted == 0)
    inside |= ~inside.any(axis=1, keepdims=True)
    typical = np.nanmedian(np.where(inside, slopes, np.nan), axis=1, keepdims=True)
    held = (
        ((members <= lower + 1e-12) & (slopes >= typical))
        | ((members >= upper - 1e-12) & (slopes <= typical))
        | (lower == upper)
    )
    return np.asarray(held & ((wanted == 0) | (lower == upper)))


def _solve(
    metric: Array,
    directions: Array,
    held: npt.NDArray[np.bool_],
    total: Array | float = 0.0,
) -> Array:
    """(n, domains) the x that sums to `total` (n,), is 0 where held, and has metric x = direction + constant elsewhere."""
    count = directions.shape[1]
    free = ~held
    system = np.zeros((len(metric), count + 1, count + 1))
    system[:, :-1, :-1] = metric * (free[:, :, None] & free[:, None, :])
    system[:, np.arange(count), np.arange(count)] += held
    system[:, :-1, -1] = system[:, -1, :-1] = free
    some = free.any(axis=1)
    system[:, -1, -1] = np.where(some, 0.0, 1.0)
    right = np.zeros((len(metric), count + 1))
    right[:, :-1], right[:, -1] = np.where(free, directions, 0.0), np.where(some, total, 0.0)
    return np.asarray(np.linalg.solve(system, right[:, :, None])[:, :-1, 0])


def _within(
    metric: Array, steps: Array, held: npt.NDArray[np.bool_], least: Array, most: Array
) -> Array:
    """Steps whose domains that would cross a bound stop there, and whose other free domains make up for it at least cost in the metric.

    Args:
        steps: (n, domains), sum 0, 0 where held.
        least, most: (n, domains) steps to the bounds.
    """
    for _ in range(BOUND_PASSES):
        stopped = np.clip(steps, least, most) - steps
        held = held | (stopped != 0)
        missing = -stopped.sum(axis=1)
        others = _solve(metric, -np.einsum("nde,ne->nd", metric, stopped), held, missing)
        steps = steps + stopped + others
    return steps


def _learn(metric: Array, moved: Array, change: Array) -> Array:
    """The BFGS update of each metric by a step and the change of the gradient along it, where that is curved upwards."""
    bend = np.einsum("nd,nd->n", moved, change)
    image = np.einsum("nde,ne->nd", metric, moved)
    old = np.einsum("nd,nd->n", moved, image)
    usable = (bend > 1e-12 * old) & (old > 1e-300)
    fresh = change[:, :, None] * change[:, None, :] / np.where(usable, bend, np.inf)[:, None, None]
    stale = image[:, :, None] * image[:, None, :] / np.where(usable, old, np.inf)[:, None, None]
    return np.asarray(metric + fresh - stale)


class _Line:
    """Finds where paths from the optimum, bent along the bounds, reach the level."""

    def __init__(
        self,
        values: Callable[[Array], Array],
        best: Solution,
        level: float,
        lower: Array,
        upper: Array,
    ) -> None:
        self._values, self._best = values, best
        self._rise = max(level - best.value, 1e-300)
        self._lower, self._upper = lower, upper

    def to_level(self, rays: Array) -> Array:
        """(n, domains) the farthest points found on  project(optimum + t ray), t > 0,  with F <= level.

        Solves  sqrt((F - minimum) / (level - minimum)) = 1,  whose left side is linear in t where F is
        quadratic, by regula falsi (Illinois), after t has grown until F exceeds the level.
        """
        low, high = np.zeros(len(rays)), np.full(len(rays), np.inf)
        below, above = np.full(len(rays), -1.0), np.full(len(rays), np.inf)
        guess, before = np.ones(len(rays)), np.zeros(len(rays), dtype=np.int64)
        reached = np.tile(self._best.point, (len(rays), 1))
        for _ in range(LINE_STEPS):
            points = project(self._best.point + guess[:, None] * rays, self._lower, self._upper)
            rise = (self._values(points) - self._best.value) / self._rise
            excess, fits = np.sqrt(np.maximum(rise, 0.0)) - 1, rise <= 1
            reached = np.where(fits[:, None], points, reached)
            below = np.where(fits, excess, np.where(before > 0, below / 2, below))
            above = np.where(fits, np.where(before < 0, above / 2, above), excess)
            low, high = np.where(fits, guess, low), np.where(fits, high, guess)
            before = np.where(fits, -1, 1)
            is_open = np.isinf(high)
            share = below / np.where(is_open, -1.0, below - above)
            inside = low + np.clip(share, 1e-3, 0.999) * (np.where(is_open, low, high) - low)
            farther = guess * np.clip(1.05 / np.maximum(1 + excess, 1e-9), 1.3, 10.0)
            guess = np.where(is_open, farther, inside)
        return reached
