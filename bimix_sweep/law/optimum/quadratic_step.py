"""Minimises linear and quadratic functions of mixtures exactly inside bounds."""

import numpy as np

from bimix_sweep.mixture.simplex import Array, project


def quadratic_step(
    hessian: Array, gradient: Array, point: Array, lower: Array, upper: Array
) -> Array:
    """Minimises gradient.(x - point) + (x - point)' hessian (x - point) / 2 inside the bounds.

    x is on the simplex. The method is a primal active set: minimise on the free face; stop at the
    first bound in the way and hold it; otherwise release the held bound with the most wrong sign.
    The objective falls at each change, so the method ends.

    Args:
        hessian: (domains, domains), positive definite.
        gradient, point: (domains,); the point is feasible.

    Returns:
        (domains,) feasible, with a value no higher than that of `point`.
    """
    x, count = point.copy(), len(point)
    held = (
        ((x <= lower) & (gradient > np.median(gradient)))
        | ((x >= upper) & (gradient < np.median(gradient)))
        | (lower == upper)
    )
    for _ in range(6 * count + 10):
        free = np.flatnonzero(~held)
        slope = gradient + hessian @ (x - point)
        move = np.zeros(count)
        multiplier = 0.0
        if len(free):
            system = np.ones((len(free) + 1, len(free) + 1))
            system[:-1, :-1], system[-1, -1] = hessian[np.ix_(free, free)], 0.0
            solved = np.linalg.solve(system, np.append(-slope[free], 0.0))
            move[free], multiplier = solved[:-1], -float(solved[-1])
        room = np.full(count, np.inf)
        np.divide(upper - x, move, out=room, where=move > 1e-15)
        np.divide(lower - x, move, out=room, where=move < -1e-15)
        blocking = int(np.argmin(room))
        if room[blocking] < 1:
            x = x + max(room[blocking], 0.0) * move
            x[blocking] = upper[blocking] if move[blocking] > 0 else lower[blocking]
            held[blocking] = True
            continue
        x = x + move
        slope = gradient + hessian @ (x - point)
        reduced = slope - (multiplier if len(free) else float(np.median(slope)))
        wrong = np.where(held & (lower < upper), np.where(x <= lower, -reduced, reduced), -np.inf)
        release = int(np.argmax(wrong))
        if wrong[release] <= 1e-13 * (1 + float(np.abs(gradient).max())):
            break
        held[release] = False
        if not len(free):  # one free domain cannot move: release a second domain
            partner = int(np.argmin(np.where(held & (lower < upper), wrong * -1, np.inf)))
            held[partner] = False
    return project(x, lower, upper)


def lowest_vertex(gradient: Array, lower: Array, upper: Array) -> Array:
    """Returns the minimiser of gradient.v over the bounded simplex.

    The cheapest domains are filled to their bounds first.
    """
    order = np.argsort(gradient, kind="stable")
    room = (upper - lower)[order]
    spare = 1 - lower.sum()
    filled = np.clip(spare - (np.cumsum(room) - room), 0, room)
    vertex = lower.copy()
    vertex[order] += filled
    return np.asarray(vertex)


def convex(hessian: Array) -> Array:
    """Makes a symmetric matrix positive definite.

    Eigenvalues become their absolute values, at least a small floor.
    """
    values, vectors = np.linalg.eigh(hessian)
    floor = max(1e-10, 1e-9 * float(np.abs(values).max()))
    return np.asarray((vectors * np.maximum(np.abs(values), floor)) @ vectors.T)
