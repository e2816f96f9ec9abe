"""Columns of the transfer law's parameters; `law.model.transfer` gives the formula."""

(
    LEVEL,
    SLOPE,
    CURVATURE,
    FLOOR,
    FLAT,
    STEP_SCALE,
    STEP_POWER,
    STEP_SIZE,
    SIZE_SCALE,
    SIZE_POWER,
    SLOPE_SIZE,
    SLOPE_STEP,
    TRANSIENT_SCALE,
    TRANSIENT_POWER,
    PIVOT,
) = range(15)
"""Columns of a parameter row.

They are c, log a, logit g, log e, logit f, log B, log b, c (how b grows with size), log E, log n,
kN, ks, log D, log h, and the pivot.

The pivot is a fixed value of log v, about the mean over the trials, where a change of the slope
does not change the loss. It makes slope and level separately identifiable.
"""
NUM_SHARED = PIVOT + 1
"""Number of columns before the (domains,) log t and, for several sizes, the (domains,) d."""
OFF = -40.0
"""Logarithm or logit of a term that the law does not have."""
MIXTURE_COLUMNS = (CURVATURE, FLOOR)
"""Columns that act through log v, besides log t and d."""
OUTER_COLUMNS = tuple(column for column in range(PIVOT) if column not in MIXTURE_COLUMNS)
"""Columns that act on a row directly."""
