"""What is believed of a law's parameters before any run, and why."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bimix_sweep.law import transfer as tl
from bimix_sweep.mixture.simplex import Array

CENTRES = {
    tl.LEVEL: (1.0, 3.0), tl.SLOPE: (np.log(0.15), 0.7), tl.CURVATURE: (2.0, 1.5), tl.FLOOR: (np.log(0.02), 1.0), tl.FLAT: (-2.0, 1.5),
    tl.STEP_SCALE: (np.log(0.2), 1.5), tl.STEP_POWER: (np.log(0.5), 0.7), tl.STEP_SIZE: (0.0, 0.3),
    tl.SIZE_SCALE: (np.log(0.3), 1.5), tl.SIZE_POWER: (np.log(0.3), 0.5), tl.SLOPE_SIZE: (0.0, 0.1), tl.SLOPE_STEP: (0.0, 0.1),
}  # fmt: skip
"""Column: (centre, standard deviation)."""
OWN_BONUS = 2.0
"""How much more log t the own domain has than another, before any run."""
SPREAD = 1.2
"""Standard deviation of log t about its centre."""
FIXED = 1e-6
"""Standard deviation that holds a parameter where it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """Independent Gaussians over the parameters of a batch of problems; a parameter that a law lacks is held at OFF."""

    mean: Array
    """(problems, parameters)."""
    sd: Array
    """(problems, parameters)."""
    columns: tuple[int, ...]
    """Outer columns free in at least one problem."""


def prior(
    level: Array,
    own: npt.NDArray[np.int64],
    bimix: npt.NDArray[np.bool_],
    num_domains: int,
    *,
    has_steps: bool,
    has_sizes: bool,
    floor: npt.NDArray[np.bool_],
) -> Prior:
    """The prior of each problem.

    Args:
        level: (problems,) mean log loss.
        own: (problems,) index of the own domain, -1 where there is none.
        bimix: (problems,) True for the published own-domain law.
        num_domains: D.
        has_steps, has_sizes: whether the runs differ in them; otherwise the terms are left out.
        floor: (problems,) True where the own-domain law needs a floor because the proportion is 0 in some run.
    """
    count = len(level)
    mean, sd = np.empty((count, tl.NUM_SHARED + num_domains)), np.empty((count, tl.NUM_SHARED + num_domains))
    for column, (centre, spread) in CENTRES.items():
        mean[:, column], sd[:, column] = centre, spread
    mean[:, tl.LEVEL] = level
    mean[:, tl.NUM_SHARED :], sd[:, tl.NUM_SHARED :] = 0.0, SPREAD
    rows = np.flatnonzero(own >= 0)
    mean[rows, tl.NUM_SHARED + own[rows]] += OWN_BONUS

    def hold(problems: npt.NDArray[np.bool_], column: int, value: float) -> None:
        mean[problems, column], sd[problems, column] = value, FIXED

    every = np.ones(count, dtype=bool)
    if not has_steps:
        for column, value in ((tl.STEP_SCALE, tl.OFF), (tl.STEP_POWER, 0.0), (tl.SLOPE_STEP, 0.0)):
            hold(every, column, value)
    if not has_sizes:
        for column, value in ((tl.SIZE_SCALE, tl.OFF), (tl.SIZE_POWER, 0.0), (tl.SLOPE_SIZE, 0.0)):
            hold(every, column, value)
    if not (has_steps and has_sizes):
        hold(every, tl.STEP_SIZE, 0.0)
    if has_steps:
        hold(every, tl.FLAT, tl.OFF)
    for column, value in ((tl.CURVATURE, -tl.OFF), (tl.FLAT, tl.OFF), (tl.SLOPE_STEP, 0.0), (tl.SLOPE_SIZE, 0.0)):
        hold(bimix, column, value)
    hold(bimix & ~floor, tl.FLOOR, tl.OFF)
    for domain in range(num_domains):
        hold(bimix, tl.NUM_SHARED + domain, tl.OFF)
        hold(bimix & (own == domain), tl.NUM_SHARED + domain, 0.0)
    columns = tuple(c for c in tl.OUTER_COLUMNS if (sd[:, c] > FIXED).any())
    return Prior(mean=mean, sd=sd, columns=columns)
