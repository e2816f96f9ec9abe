"""Geometry of the simplex of proportions under bounds: projection, random points, apportionment to
whole numbers."""

import numpy as np
import numpy.typing as npt

from bimix_sweep.errors import MixtureError

Array = npt.NDArray[np.float64]

SUM_TOLERANCE = 1e-6
"""Largest difference from 1 of the sum of a mixture's proportions."""


def check_bounds(lower: Array, upper: Array, names: tuple[str, ...]) -> None:
    """Refuses bounds that leave no mixture.

    Args:
        lower, upper: (domains,) with 0 <= lower <= upper <= 1.
        names: the domains, for the message.

    Raises:
        MixtureError: a bound is out of order, the lower bounds sum to more than 1, or the upper
            bounds sum to less than 1.
    """
    for name, low, high in zip(names, lower, upper, strict=True):
        if not 0 <= low <= high <= 1:
            raise MixtureError(
                f"domain {name} has bounds min {low:g}, max {high:g}; need 0 <= min <= max <= 1"
            )
    if lower.sum() > 1 + SUM_TOLERANCE:
        raise MixtureError(
            f"the domains' min sum to {lower.sum():g}; need at most 1, so lower some of them"
        )
    if upper.sum() < 1 - SUM_TOLERANCE:
        raise MixtureError(
            f"the domains' max sum to {upper.sum():g}; need at least 1, so raise some of them"
        )


def project(points: Array, lower: Array, upper: Array) -> Array:
    """Returns the nearest mixtures (Euclidean) inside the bounds.

    x = clip(p - m, lower, upper) with the one m for which the sum is 1. The sum falls piecewise
    linearly in m, so m is found exactly between two of the 2 D breakpoints p - lower, p - upper.

    Args:
        points: (..., domains), any real numbers.
        lower, upper: (domains,), as `check_bounds` allows them.

    Returns:
        Array of the same shape; rows sum to 1 and lie inside the bounds.
    """
    flat = np.atleast_2d(np.asarray(points, dtype=np.float64)).reshape(-1, np.shape(points)[-1])
    breaks = np.sort(np.concatenate([flat - lower, flat - upper], axis=1), axis=1)
    sums = np.clip(flat[:, None, :] - breaks[:, :, None], lower, upper).sum(
        axis=2
    )  # the sums fall along axis 1
    row = np.arange(len(flat))
    right = np.clip((sums > 1).sum(axis=1), 1, breaks.shape[1] - 1)
    left = right - 1
    fall = sums[row, left] - sums[row, right]
    share = np.where(fall > 0, (sums[row, left] - 1) / np.where(fall > 0, fall, 1), 0.0)
    multiplier = breaks[row, left] + np.clip(share, 0, 1) * (breaks[row, right] - breaks[row, left])
    inside: Array = np.clip(flat - multiplier[:, None], lower, upper).reshape(np.shape(points))
    return inside


def sample(
    generator: np.random.Generator,
    count: int,
    centre: Array,
    concentration: float,
    lower: Array,
    upper: Array,
) -> Array:
    """Draws random mixtures from a Dirichlet distribution with mean `centre` and the given
    concentration, projected into the bounds.

    Args:
        count: number of mixtures.
        centre: (domains,), the mean of the Dirichlet, > 0 where a domain may appear.
        concentration: sum of the Dirichlet's parameters; a small sum gives sparse mixtures, a large
            sum gives mixtures near `centre`.
        lower, upper: (domains,) bounds.

    Returns:
        (count, domains), rows sum to 1.
    """
    gamma = generator.standard_gamma(
        np.maximum(concentration * centre, 1e-12), size=(count, len(centre))
    )
    total = gamma.sum(axis=1, keepdims=True)
    return project(np.where(total > 0, gamma / np.where(total > 0, total, 1), centre), lower, upper)


def apportion(proportions: Array, total: int) -> npt.NDArray[np.int64]:
    """Divides `total` into whole numbers by the proportions. Each number is within 1 of its exact
    value (largest-remainder method; ties go to the first domain).

    Args:
        proportions: (domains,), >= 0, sum 1.
        total: whole number to divide, >= 0.
    """
    exact = np.asarray(proportions, dtype=np.float64) * total
    counts = np.floor(exact).astype(np.int64)
    order = np.argsort(-(exact - counts), kind="stable")
    counts[order[: total - int(counts.sum())]] += 1
    return counts


def total_variation(first: Array, second: Array) -> float:
    """Fraction of tokens by which two mixtures differ: half the sum of the absolute differences, in
    [0, 1]."""
    return float(np.abs(np.asarray(first) - np.asarray(second)).sum() / 2)
