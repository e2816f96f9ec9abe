"""Parses columns into numbers and proportions; a message about a wrong field names row and column.

Row 1 is the first row after the header.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from bimix_sweep.errors import TableError
from bimix_sweep.mixture.simplex import Array
from bimix_sweep.text import shown

NORMALISED = 0.02
"""Largest difference from 1 of the sum of a row's proportions that is normalised, because published
tables are rounded; the table's notes report it."""
COMMA = re.compile(r"[+-]?\d*,\d+(e[+-]?\d+)?", re.IGNORECASE)
"""A number with a decimal comma."""
MISSING = frozenset({"", "nan", "na", "n/a", "null", "none"})
"""Texts, in small letters, that programs write for a value that is missing."""


def numbers(
    path: str | Path,
    columns: Mapping[str, pa.Array],
    name: str,
    *,
    minimum: float = -np.inf,
    open_end: bool = False,
    optional: bool = False,
) -> Array:
    """Parses a column as (rows,) float64, NaN where empty or MISSING; all NaN without the column.

    Args:
        path: name of the table, for messages.
        columns: {name: column} of the table.
        name: the column to parse.
        minimum: smallest value that is allowed.
        open_end: whether `minimum` itself is refused.
        optional: whether a field may be missing.

    Raises:
        TableError: a field is text, infinite, below `minimum`, or missing and not optional.
    """
    if name not in columns:
        return np.full(len(next(iter(columns.values()))), np.nan)
    out = np.full(len(columns[name]), np.nan)
    for row, value in enumerate(columns[name].to_pylist()):
        if value is None or str(value).strip().lower() in MISSING:
            if not optional:
                raise TableError(f"{path}: row {row + 1} has no {name}; need a number")
            continue
        try:
            out[row] = float(value)
        except (TypeError, ValueError):
            comma = COMMA.fullmatch(str(value).strip())
            raise TableError(
                f"{path}: row {row + 1} has {name} = {shown(value)}; need a number"
                f"{' with a decimal point, not a comma' if comma else ''}"
            ) from None
        if not np.isfinite(out[row]) or out[row] < minimum or (open_end and out[row] == minimum):
            need = "a finite number" + (
                "" if minimum == -np.inf else f" {'>' if open_end else '>='} {minimum:g}"
            )
            hint = ", or an empty field where not measured" if optional else ""
            raise TableError(f"{path}: row {row + 1} has {name} = {value}; need {need}{hint}")
    return out


def proportions(
    path: str | Path, columns: Mapping[str, pa.Array], domains: Sequence[str]
) -> tuple[Array, tuple[str, ...]]:
    """Parses the columns `r_<domain>`: returns (rows, domains) proportions, whose rows sum to 1,
    and notes on rows that were normalised.

    Rows that all sum to about 100 are percent. Rows of whole numbers are counts, such as tokens.

    Raises:
        TableError: a proportion is no number >= 0, or the rows are neither percent nor counts and
            the sum of one differs from 1 by more than NORMALISED.
    """
    raw = np.stack([numbers(path, columns, f"r_{name}", minimum=0) for name in domains], axis=1)
    sums = raw.sum(axis=1)
    what = ""
    if sums.size and (np.abs(sums / 100 - 1) <= NORMALISED + 1e-9).all():
        what = " as percent"
    elif sums.size and (raw == np.trunc(raw)).all() and sums.min() > 1:
        what = " as counts"
    elif (bad := np.flatnonzero(np.abs(sums - 1) > NORMALISED + 1e-9)).size:
        raise TableError(
            f"{path}: the proportions of row {bad[0] + 1} sum to {sums[bad[0]]:.6g}; need 1 "
            f"(rounding up to {NORMALISED:g} is normalised), or in every row 100 percent or "
            "whole numbers of tokens"
        )
    off = np.flatnonzero(np.abs(sums - 1) > 1e-6)
    notes = (
        (
            f"{path}: {off.size} of {len(sums)} rows summed to "
            f"{sums[off].min():.4g}-{sums[off].max():.4g} and were normalised{what}",
        )
        if off.size
        else ()
    )
    return raw / sums[:, None], notes


def epochs_of(
    path: str | Path, columns: Mapping[str, pa.Array], domains: Sequence[str]
) -> Array | None:
    """Parses the columns `epochs_<domain>`: returns (rows, domains) passes, 0 for a domain without
    a column; None without such columns.

    Raises:
        TableError: a column is of no domain, or a field is no number >= 0.
    """
    names = [name.removeprefix("epochs_") for name in columns if name.startswith("epochs_")]
    if unknown := next((name for name in names if name not in domains), None):
        raise TableError(
            f"{path} has a column epochs_{unknown} and no r_{unknown}; its domains are "
            f"{', '.join(domains)}"
        )
    if not names:
        return None
    rows = len(columns[f"epochs_{names[0]}"])
    return np.stack(
        [
            numbers(path, columns, f"epochs_{name}", minimum=0) if name in names else np.zeros(rows)
            for name in domains
        ],
        axis=1,
    )


def hint_for_proportions(columns: Mapping[str, pa.Array]) -> str:
    """Returns a hint that names columns that may be proportions under another name: numbers from 0
    to 1."""
    likely = []
    for name in columns:
        try:
            values = [float(value) for value in columns[name].to_pylist() if value is not None]
        except (TypeError, ValueError):
            continue
        if (
            values
            and not name.startswith("loss_")
            and name not in ("trial", "step", "size", "seed")
            and 0 <= min(values) <= max(values) <= 1
        ):
            likely.append(name)
    return (
        f" (if {', '.join(likely[:8])} are proportions, call them "
        f"{', '.join(f'r_{name}' for name in likely[:8])})"
        if likely
        else ""
    )
