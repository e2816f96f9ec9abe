"""Finds the near-optimal region: how far each proportion can go at almost the same objective.

A mixture belongs to the region if its objective is within a fraction of the minimum.

For domain j the extreme member solves max (or min) r_j subject to F(r) <= level inside the bounds.
F is convex where the parametric law is minimised, and the solution is unique then. With a
discrepancy GP it is a local solution.

1. Starts. There are three, and the farthest is used: the straight line from the optimum that scales
all other proportions equally; the line to the extreme mixture of the domain that is cheapest to
first order; and the step P e_j, where P is the inverse of the Hessian on the free face. The lines
matter where the optimum has a domain at 0: there the curvature of r^g, g < 1, is infinite, and the
step P e_j is close to zero.

2. Metric. The metric B of all members is the Hessian, changed by BFGS to agree with the change of
the gradient from the optimum to each start. So B has the curvature over the width of the region
instead of the curvature at the optimum.

3. Sequential quadratic programming. With gradient G at the member, the step d = a P e_j - P G, a =
G.PG / G.Pe_j, increases (or decreases) the domain at equal F. Domains that the step would carry
over a bound stop at the bound. B learns the curvature of each member at every step, and a step that
gains nothing is followed by a shorter step.

For the largest of several losses ("worst"), the gradient at one member has no information about the
targets that limit the member elsewhere. There the third point is the extended supporting hyperplane
method (Kronqvist, Lundell and Westerlund 2016, Journal of Global Optimization 64): a linear
programme inside the tangent planes of all targets, at the optimum and at the points where its
solutions met the level. With a discrepancy GP the losses are not convex, and the planes at the
optimum can exclude members: near a proportion of 0 the GP falls with its square root. So a second
linear programme has the planes at the newest point alone.

Every step ends on a path from the optimum, bent along the bounds, at the point where F reaches the
level. A step is taken only where it gains. So each member is verified, and the interval of a domain
can be too narrow but not too wide. All members move at once.

Where the discrepancy GP is in use the set need not be convex, so a range may be too small. This was
seen for the worst target inside bounds, in 1 of 8 published problems (0.21 instead of 0.22).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.optimize

from bimix_sweep.law.optimum.level_paths import LevelPaths
from bimix_sweep.law.optimum.objective import Objective
from bimix_sweep.law.optimum.quadratic_step import lowest_vertex
from bimix_sweep.law.optimum.solver import Solution
from bimix_sweep.mixture.simplex import Array

ROUNDS = 8
"""Number of steps from the start (docs/evidence.md)."""
MAX_STEP = 0.5
"""Largest total variation of a step."""
SHORTER = 0.3
"""Length of a step after one that gained nothing, as a fraction of the length of that step."""
BOUND_PASSES = 3
"""Rounds of stopping a step at the bounds that it crosses."""
CUTS = 4
"""Rounds of linear programmes for "worst"."""


def extreme_members(
    objective: Objective, best: Solution, level: float, lower: Array, upper: Array
) -> Array:
    """Finds members of {r : F(r) <= level} with extreme proportions.

    A member has the largest or the smallest proportion of one domain that the search finds.

    Args:
        objective: F.
        best: minimum of F.
        level: at least F at the minimum.
        lower, upper: (domains,) bounds.

    Returns:
        (2 domains, domains): row j has the smallest proportion of domain j, row domains + j the
        largest.
    """
    count = len(best.point)
    wanted = np.concatenate([-np.eye(count), np.eye(count)])
    line = LevelPaths(objective.values, best, level, lower, upper)
    members = _starts(line, wanted, best, level, lower, upper)
    if objective.worst:
        return _between_planes(objective, line, members, wanted, best, level, lower, upper)
    slopes = objective.gradients(members)
    metric = best.curvature[None]
    for member, slope in zip(members, slopes, strict=True):
        metric = _learn(metric, (member - best.point)[None], (slope - best.gradient)[None])
    metric = np.tile(metric, (2 * count, 1, 1))
    metric = _learn(metric, members - best.point, slopes - best.gradient)
    length = np.full(2 * count, MAX_STEP)
    for _ in range(ROUNDS):
        held = _held(members, wanted, slopes, lower, upper)
        step = _step(metric, wanted, slopes, held, lower - members, upper - members, length)
        tried = line.to_level(members + step - best.point)
        farther = _dot(wanted, tried - members) > 0
        there = objective.gradients(tried)
        metric = _learn(metric, tried - members, there - slopes)
        members = np.where(farther[:, None], tried, members)
        slopes = np.where(farther[:, None], there, slopes)
        shorter = SHORTER * np.minimum(length, np.abs(step).sum(axis=1) / 2)
        length = np.where(farther, np.minimum(MAX_STEP, 2 * length), shorter)
    return members


def _starts(
    line: LevelPaths, wanted: Array, best: Solution, level: float, lower: Array, upper: Array
) -> Array:
    """(n, domains) members to start from: the farthest of three in the wanted direction.

    Each of the three is the first point where F reaches the level in its direction.
    """
    members = np.tile(best.point, (len(wanted), 1))
    slopes = np.tile(best.gradient, (len(wanted), 1))
    scaled = wanted - wanted.sum(axis=1, keepdims=True) * best.point
    forced = np.where(wanted == 0, best.gradient, np.where(wanted > 0, -np.inf, np.inf))
    cheapest = np.stack([lowest_vertex(row, lower, upper) for row in forced]) - best.point
    held = _held(members, wanted, slopes, lower, upper)
    along = _solve(np.tile(best.curvature, (len(wanted), 1, 1)), wanted, held)
    gain = np.maximum(_dot(wanted, along), 1e-300)
    newton = np.sqrt(2 * max(level - best.value, 0.0) / gain)[:, None] * along
    for rays in (scaled, cheapest, newton):
        tried = line.to_level(rays)
        members = np.where(_dot(wanted, tried - members)[:, None] > 0, tried, members)
    return members


def _between_planes(
    objective: Objective,
    line: LevelPaths,
    members: Array,
    wanted: Array,
    best: Solution,
    level: float,
    lower: Array,
    upper: Array,
) -> Array:
    """(n, domains) members farther than the given ones, by linear programmes inside the targets'
    tangent planes."""
    slopes, offsets = objective.planes(np.concatenate([best.point[None], members]))
    count = len(members)
    planes = [np.concatenate([slopes[0], slopes[1 + row]]) for row in range(count)]
    rooms = [level - np.concatenate([offsets[0], offsets[1 + row]]) for row in range(count)]
    newest, newest_rooms = list(slopes[1:]), list(level - offsets[1:])
    for _ in range(CUTS):
        for some, limits in ((planes, rooms), (newest, newest_rooms)):
            ends = _farthest(wanted, some, limits, members, lower, upper)
            tried = line.to_level(ends - best.point)
            members = np.where(_dot(wanted, tried - members)[:, None] > 0, tried, members)
            slopes, offsets = objective.planes(tried)
            planes = [np.concatenate(pair) for pair in zip(planes, slopes, strict=True)]
            rooms = [np.concatenate([r, level - o]) for r, o in zip(rooms, offsets, strict=True)]
        newest, newest_rooms = list(slopes), list(level - offsets)
    return members


def _farthest(
    wanted: Array,
    planes: Sequence[Array],
    rooms: Sequence[Array],
    members: Array,
    lower: Array,
    upper: Array,
) -> Array:
    """(n, domains) farthest mixtures inside planes; the member itself where there are none.

    Args:
        planes, rooms: for each member (m, domains) and (m,): planes @ mixture <= rooms.
    """
    ends = members.copy()
    for row, (slopes, room) in enumerate(zip(planes, rooms, strict=True)):
        found = scipy.optimize.linprog(
            -wanted[row],
            A_ub=slopes,
            b_ub=room,
            A_eq=np.ones((1, len(lower))),
            b_eq=[1.0],
            bounds=np.stack([lower, upper], axis=1),
            method="highs",
        )
        if found.success:
            ends[row] = found.x
    return ends


def _held(
    members: Array, wanted: Array, slopes: Array, lower: Array, upper: Array
) -> npt.NDArray[np.bool_]:
    """(n, domains) True where a domain stays at a bound, because a lower loss pushes it outwards.

    The wanted domain is never held.
    """
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
    """(n, domains) solution x of metric x = direction + constant on the domains that are not held.

    x is 0 where held and sums to `total` (n,).
    """
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


def _step(
    metric: Array,
    wanted: Array,
    slopes: Array,
    held: npt.NDArray[np.bool_],
    least: Array,
    most: Array,
    length: Array,
) -> Array:
    """(n, domains) step of the module's third point.

    A domain that the step would carry over a bound stops there, and the rest is solved again.

    Args:
        least, most: (n, domains) steps to the bounds.
        length: (n,) longest step, as a total variation.
    """
    step = np.zeros_like(slopes)
    for _ in range(BOUND_PASSES):
        stopped = np.where(held, step, 0.0)
        along = _solve(metric, wanted, held)
        pulled = slopes + np.einsum("nde,ne->nd", metric, stopped)
        down = stopped + _solve(metric, -pulled, held, -stopped.sum(axis=1))
        cross = _dot(slopes, along)
        height = -_dot(slopes, down) / np.where(np.abs(cross) > 1e-300, cross, np.inf)
        step = down + height[:, None] * along
        travel = np.abs(step).sum(axis=1) / 2
        step *= np.minimum(1.0, length / np.maximum(travel, 1e-300))[:, None]
        inside = np.clip(step, least, most)
        held, step = held | (inside != step), inside
    return step


def _learn(metric: Array, moved: Array, change: Array) -> Array:
    """Updates each metric by BFGS from a step and the change of the gradient along it.

    The update is made only where the objective is curved upwards along the step.
    """
    bend = _dot(moved, change)
    image = np.einsum("nde,ne->nd", metric, moved)
    old = _dot(moved, image)
    usable = (bend > 1e-12 * old) & (old > 1e-300)
    fresh = change[:, :, None] * change[:, None, :] / np.where(usable, bend, np.inf)[:, None, None]
    stale = image[:, :, None] * image[:, None, :] / np.where(usable, old, np.inf)[:, None, None]
    return np.asarray(metric + fresh - stale)


def _dot(left: Array, right: Array) -> Array:
    """(n,) dot products of the rows of two (n, domains) arrays."""
    return np.asarray(np.einsum("nd,nd->n", left, right))
