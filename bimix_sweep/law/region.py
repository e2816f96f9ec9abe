"""The near-optimal region: how far each proportion can go while the objective stays within a fraction of its minimum.

For domain j the extreme member solves max (or min) r_j subject to F(r) <= level. The first step leaves the optimum along
P e_j, P the inverse of the metric B on the free face. Then sequential quadratic programming: with gradient G at the
member, the step  d = a P e_j - P G,  a = G.PG / G.Pe_j,  goes for the domain at equal F. B starts as the Hessian at the
optimum and learns each member's own curvature from the change of its gradient (BFGS): where a proportion grows from
almost nothing the curvature at the optimum is far too large. Every step ends on a path from the optimum, bent along the
bounds, where F reaches the level: each member is verified, so the interval errs only inwards. All members move at once.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from bimix_sweep.law.minimise import Solution
from bimix_sweep.mixture.simplex import Array, project

ROUNDS = 5
"""Corrections of the first step."""


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
    count = len(best.point)
    signs, domain = np.repeat([-1.0, 1.0], count), np.tile(np.arange(count), 2)
    wanted = signs[:, None] * np.eye(count)[domain]
    members, slopes = np.tile(best.point, (2 * count, 1)), np.tile(best.gradient, (2 * count, 1))
    metric = np.tile(best.curvature, (2 * count, 1, 1))
    reach = np.zeros(2 * count)
    for turn in range(ROUNDS + 1):
        held = _held(members, wanted, slopes, lower, upper)
        along = _solve(metric, wanted, held)
        if turn == 0:
            gain = np.einsum("nd,nd->n", wanted, along)
            move = (
                np.sqrt(2 * max(level - best.value, 0.0) / np.maximum(gain, 1e-300))[:, None]
                * along
            )
        else:
            uphill = _solve(metric, slopes, held)
            cross = np.einsum("nd,nd->n", slopes, along)
            move = (
                np.einsum("nd,nd->n", slopes, uphill)
                / np.where(np.abs(cross) > 1e-300, cross, np.inf)
            )[:, None] * along - uphill
        tried = _to_level(
            values, best.point, project(members + move, lower, upper), level, lower, upper
        )
        now = signs * (tried - best.point)[np.arange(2 * count), domain]
        better = now > reach
        there = gradients(np.where(better[:, None], tried, members))
        metric = _learn(metric, np.where(better[:, None], tried - members, 0.0), there - slopes)
        members, slopes, reach = (
            np.where(better[:, None], tried, members),
            there,
            np.where(better, now, reach),
        )
    return members


def _held(
    members: Array, wanted: Array, slopes: Array, lower: Array, upper: Array
) -> npt.NDArray[np.bool_]:
    """(n, domains) True where a bound holds: at it, and the wish to save loss pushes against it (the wanted domain is never held)."""
    typical = np.median(slopes, axis=1, keepdims=True)
    held = (
        ((members <= lower + 1e-12) & (slopes >= typical))
        | ((members >= upper - 1e-12) & (slopes <= typical))
        | (lower == upper)
    )
    return np.asarray(held & ((wanted == 0) | (lower == upper)))


def _solve(metric: Array, directions: Array, held: npt.NDArray[np.bool_]) -> Array:
    """(n, domains) the x that sums to 0, is 0 where held, and has metric x = direction + constant elsewhere."""
    count = directions.shape[1]
    free = ~held
    system = np.zeros((len(metric), count + 1, count + 1))
    system[:, :-1, :-1] = metric * (free[:, :, None] & free[:, None, :])
    system[:, np.arange(count), np.arange(count)] += held
    system[:, :-1, -1] = system[:, -1, :-1] = free
    system[:, -1, -1] = np.where(free.any(axis=1), 0.0, 1.0)
    right = np.concatenate([np.where(free, directions, 0.0), np.zeros((len(metric), 1))], axis=1)
    return np.asarray(np.linalg.solve(system, right[:, :, None])[:, :-1, 0])


def _learn(metric: Array, moved: Array, change: Array) -> Array:
    """The BFGS update of each metric by a step and the change of the gradient along it, where that is curved upwards."""
    bend = np.einsum("nd,nd->n", moved, change)
    image = np.einsum("nde,ne->nd", metric, moved)
    old = np.einsum("nd,nd->n", moved, image)
    usable = (bend > 1e-12 * old) & (old > 1e-300)
    fresh = change[:, :, None] * change[:, None, :] / np.where(usable, bend, np.inf)[:, None, None]
    stale = image[:, :, None] * image[:, None, :] / np.where(usable, old, np.inf)[:, None, None]
    return np.asarray(metric + fresh - stale)


def _to_level(
    values: Callable[[Array], Array],
    centre: Array,
    ends: Array,
    level: float,
    lower: Array,
    upper: Array,
) -> Array:
    """Points where F reaches the level on the paths project(centre + t (end - centre)), which bend along the bounds; F <= level at each."""
    rays = ends - centre
    low, guess, high = np.zeros(len(rays)), np.ones(len(rays)), np.full(len(rays), np.inf)
    for _ in range(26):
        fits = values(project(centre + guess[:, None] * rays, lower, upper)) <= level
        low, high = (
            np.where(fits, np.maximum(low, guess), low),
            np.where(fits, high, np.minimum(high, guess)),
        )
        guess = np.where(np.isinf(high), 2 * guess, (low + np.where(np.isinf(high), 0, high)) / 2)
        guess = np.minimum(guess, 1e6)
    return np.asarray(project(centre + low[:, None] * rays, lower, upper))
