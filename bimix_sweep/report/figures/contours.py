"""Contours on the triangle of three proportions: closed loops around `function <= level`.

The triangle is divided into small triangles, and the function is taken as linear on each of them.
Each small triangle is clipped to `function <= level`. An edge between two clipped pieces appears
once in each direction and cancels, so the remaining edges are the outline.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from bimix_sweep.mixture.simplex import Array


def triangle_grid(divisions: int) -> Array:
    """Grid of mixtures on the triangle, in rows of equal first proportion from 0 to 1.

    Returns:
        ((divisions + 1)(divisions + 2) / 2, 3) proportions.
    """
    return (
        np.array(
            [
                (i, j, divisions - i - j)
                for i in range(divisions + 1)
                for j in range(divisions + 1 - i)
            ],
            dtype=np.float64,
        )
        / divisions
    )


def sublevel_loops(
    values: Array,
    divisions: int,
    level: float,
    lower: Sequence[float] = (0, 0, 0),
    upper: Sequence[float] = (1, 1, 1),
) -> list[Array]:
    """Outlines of the region where the function is at most `level`, within bounds.

    Args:
        values: values of the function on `triangle_grid(divisions)`.
        divisions: number of intervals along each edge of the triangle.
        level: the largest value inside the region.
        lower, upper: bounds of each proportion.

    Returns:
        Closed loops (points, 3), whose last point repeats the first; none for an empty region.
    """
    grid = triangle_grid(divisions)
    index = {tuple(np.rint(point * divisions).astype(int)): n for n, point in enumerate(grid)}
    columns = np.column_stack([grid, values])
    edges: dict[tuple[float, ...], list[tuple[float, ...]]] = defaultdict(list)
    for i in range(divisions):
        for j in range(divisions - i):
            k = divisions - i - j
            corners = [((i, j, k), (i + 1, j, k - 1), (i, j + 1, k - 1))]
            if k >= 2:
                corners.append(((i + 1, j, k - 1), (i + 1, j + 1, k - 2), (i, j + 1, k - 1)))
            for triangle in corners:
                piece = columns[[index[corner] for corner in triangle]]
                for axis in range(3):
                    if upper[axis] < 1:
                        piece = _clip(piece, piece[:, axis] - upper[axis])
                    if lower[axis] > 0 and len(piece):
                        piece = _clip(piece, lower[axis] - piece[:, axis])
                piece = _clip(piece, piece[:, 3] - level)
                points = [tuple(np.round(point[:3], 9) + 0.0) for point in piece]
                for start, end in zip(points, points[1:] + points[:1], strict=True):
                    if start == end:
                        continue
                    if start in edges[end]:
                        edges[end].remove(start)
                    else:
                        edges[start].append(end)
    return _chain(edges)


def _clip(polygon: Array, excess: Array) -> Array:
    """Clip a convex polygon to the part where a linear function is at most 0.

    Args:
        polygon: (points, columns) corners.
        excess: (points,) values of the linear function at the corners.
    """
    kept = []
    for n in range(len(polygon)):
        here, after = excess[n], excess[(n + 1) % len(polygon)]
        if here <= 0:
            kept.append(polygon[n])
        if (here <= 0) != (after <= 0):
            first, second = (
                (polygon[n], polygon[(n + 1) % len(polygon)])
                if here < after
                else (polygon[(n + 1) % len(polygon)], polygon[n])
            )
            # the same order from both sides, so that neighbours get the same point
            low, high = min(here, after), max(here, after)
            kept.append(first + (second - first) * (-low / (high - low)))
    return np.array(kept).reshape(-1, polygon.shape[1])


def _chain(edges: dict[tuple[float, ...], list[tuple[float, ...]]]) -> list[Array]:
    """Join edges {start: ends} to closed loops (points, 3)."""
    loops = []
    while start := next((point for point, ends in edges.items() if ends), None):
        loop = [start]
        while edges[loop[-1]]:
            loop.append(edges[loop[-1]].pop())
            if loop[-1] == start:
                break
        if len(loop) > 3:
            loops.append(np.array(loop))
    return loops
