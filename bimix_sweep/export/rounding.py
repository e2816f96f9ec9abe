"""Rounds proportions so that the written numbers sum to exactly 1."""

from collections.abc import Mapping

import numpy as np

from bimix_sweep.mixture.simplex import apportion

DOCUMENT_DECIMALS = 12
"""Decimals of weights per document and per path; numpy's `choice`, which uses them, needs a sum of
1 within 1.5e-8."""
DECIMALS = 6
"""Decimals of proportions, which are written in millionths."""


def rounded(proportions: Mapping[str, float], decimals: int = DECIMALS) -> dict[str, float]:
    """The proportions rounded to multiples of 10**-decimals, by the largest remainder method.

    The rounded values, as decimal numbers, sum to exactly 1.
    """
    values = np.array(list(proportions.values()), dtype=np.float64)
    counts = apportion(values / values.sum(), 10**decimals)
    return {
        name: int(count) / 10**decimals for name, count in zip(proportions, counts, strict=True)
    }
