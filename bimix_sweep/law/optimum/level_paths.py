"""Finds where paths from the optimum, bent along the bounds, reach a level of the objective."""

from collections.abc import Callable

import numpy as np

from bimix_sweep.law.optimum.solver import Solution
from bimix_sweep.mixture.simplex import Array, project

LINE_STEPS = 10
"""Evaluations of F to find where a path reaches the level, to about 1e-5 of its length."""


class LevelPaths:
    """Finds the points where paths from the optimum, bent along the bounds, reach the level."""

    def __init__(
        self,
        values: Callable[[Array], Array],
        best: Solution,
        level: float,
        lower: Array,
        upper: Array,
    ) -> None:
        """Prepares the search; nothing is evaluated.

        Args:
            values: F of (n, domains) mixtures.
            best: minimum of F.
            level: value of F to reach.
            lower, upper: (domains,) bounds.
        """
        self._values, self._best = values, best
        self._rise = max(level - best.value, 1e-300)
        self._lower, self._upper = lower, upper

    def to_level(self, rays: Array) -> Array:
        """(n, domains) farthest points found on project(optimum + t ray), t > 0, with F <= level.

        The method solves sqrt((F - minimum) / (level - minimum)) = 1, whose left side is linear in
        t where F is quadratic, by regula falsi (Illinois). Before that, t grows until F exceeds the
        level.
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
            position = below / np.where(is_open, -1.0, below - above)
            inside = low + np.clip(position, 1e-3, 0.999) * (np.where(is_open, low, high) - low)
            farther = guess * np.clip(1.05 / np.maximum(1 + excess, 1e-9), 1.3, 10.0)
            guess = np.where(is_open, farther, inside)
        return reached
