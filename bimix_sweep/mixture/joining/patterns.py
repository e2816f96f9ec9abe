"""Patterns that choose columns of a user's files and name domains and targets.

A pattern is the name of a column, or has a `*` for the part of the name that differs. This part is
the name of the domain or target: `eval/*/loss` names the column `eval/web/loss` as `web`. With
several `*`, the name reaches from the first to the last of them.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

import pyarrow as pa

from bimix_sweep.errors import TableError
from bimix_sweep.mixture.column_parsing import MISSING
from bimix_sweep.mixture.goals import LOSS_NAME, named_accuracy
from bimix_sweep.text import listed


def matching(columns: Iterable[str], pattern: str) -> dict[str, str]:
    """Returns {column: name} of the columns that a pattern chooses."""
    if "*" not in pattern:
        return {name: name for name in columns if name == pattern}
    before, *middle, after = map(re.escape, pattern.split("*"))
    inner = ".+?".join(["", *middle, ""]) if middle else ".+"
    found = ((name, re.fullmatch(f"{before}({inner}){after}", name)) for name in columns)
    return {name: match[1] for name, match in found if match}


def chosen(
    path: str,
    columns: Mapping[str, pa.Array],
    patterns: Sequence[str],
    option: str,
    usable: Collection[str],
) -> dict[str, str]:
    """Returns {column: name} of the columns that the patterns choose, in the order of the file.

    Args:
        path: name of the file, for messages.
        columns: {name: column} of the file.
        patterns: the patterns.
        option: `mixture` or `loss`, for messages.
        usable: columns to name where a pattern chooses nothing.

    Raises:
        TableError: a pattern chooses no column.
    """
    found: dict[str, str] = {}
    for pattern in patterns:
        matched = matching(columns, pattern)
        if not matched:
            raise TableError(
                f"{path}: --{option} {pattern} chooses no column; its columns of numbers are "
                f"{listed(usable) or 'none'}"
            )
        found |= {name: new for name, new in matched.items() if name not in found}
    return {name: found[name] for name in columns if name in found}


def named(
    path: str, names: Mapping[str, str], prefixes: Sequence[str], what: str
) -> dict[str, str]:
    """Returns {column: name} with the first prefix that a name begins with removed from it.

    Args:
        path: name of the file, for messages.
        names: {column: name}.
        prefixes: the prefixes.
        what: `domain` or `target`, for messages.

    Raises:
        TableError: two columns give one name.
    """
    short = {
        column: next((name[len(p) :] for p in prefixes if name.startswith(p) and name != p), name)
        for column, name in names.items()
    }
    owner: dict[str, str] = {}
    for column, name in short.items():
        if (other := owner.setdefault(name, column)) != column:
            raise TableError(
                f"{path}: columns {other} and {column} both give the {what} {name}; need patterns "
                "that choose one of them"
            )
    return short


def numeric(columns: Mapping[str, pa.Array], *, fractions: bool = False) -> list[str]:
    """Returns the columns that hold numbers, at least one; with `fractions`, those among them that
    hold not only whole numbers."""
    found = []
    for name, column in columns.items():
        try:
            values = [
                float(value)
                for value in column.to_pylist()
                if value is not None and str(value).strip().lower() not in MISSING
            ]
        except (TypeError, ValueError):
            continue
        if values and not (fractions and all(value.is_integer() for value in values)):
            found.append(name)
    return found


def like_losses(names: Iterable[str]) -> list[str]:
    """Returns the names that a loss or another metric may have."""
    return [n for n in names if LOSS_NAME.search(n.lower()) or named_accuracy(n)]
