"""Finds the key of two files, and the rows that belong together."""

import re
from collections.abc import Sequence

from bimix_sweep.errors import TableError
from bimix_sweep.mixture.joining.sources import UserFile
from bimix_sweep.text import listed

_WHOLE = re.compile(r"([+-]?\d+)\.0+")


def texts(file: UserFile, name: str) -> list[str]:
    """Returns a column as text, "" where empty; a whole number has no decimals, whatever format the
    file is in."""
    values = ("" if v is None else str(v).strip() for v in file.columns[name].to_pylist())
    return [whole[1] if (whole := _WHOLE.fullmatch(value)) else value for value in values]


def key_of(first: UserFile, second: UserFile, on: str | None) -> tuple[str, str]:
    """Returns the columns of the two files that are joined.

    Args:
        first: the file of mixtures.
        second: the file of losses.
        on: the column, or `A=B` with its names in the first and the second file; None: the first
            column that both files have and that has a different value in each row of `first`.

    Raises:
        TableError: there is no such column.
    """
    if on is not None:
        left, equals, right = on.partition("=")
        if on in first.columns and on in second.columns:
            left = right = on
        for file, name in ((first, left), (second, right if equals else left)):
            if name not in file.columns:
                raise TableError(
                    f"{file.name}: no column {name} to join on; it has {listed(file.columns)}"
                )
        return left, right or left
    if names := names_of_rows(first, second):
        return names[0], names[0]
    shared = [name for name in first.columns if name in second.columns]
    raise TableError(
        f"{first.name} and {second.name} have "
        + (
            f"only columns in common that repeat or are empty ({listed(shared)})"
            if shared
            else "no column in common"
        )
        + "; name the key with --on COLUMN, or --on A=B where its names differ"
    )


def names_of_rows(first: UserFile, second: UserFile) -> list[str]:
    """Returns the columns that both files have and that name each row of `first`; the number of a
    row, which pandas writes without a name, is none of them."""
    found = []
    for name in first.columns:
        if name in second.columns and name.strip() and not name.startswith("Unnamed:"):
            values = texts(first, name)
            if len(set(values)) == len(values) and "" not in values:
                found.append(name)
    return found


def check_agreement(first: UserFile, second: UserFile, key: str, names: Sequence[str]) -> None:
    """Checks that rows that were joined on a key that nobody stated agree in the other columns that
    name them.

    Args:
        first, second: the joined rows.
        key: the column that they were joined on.
        names: columns that may be the key.

    Raises:
        TableError: two rows differ.
    """
    for name in names:
        for one, other in zip(texts(first, name), texts(second, name), strict=True):
            if one != other:
                raise TableError(
                    f"rows of {first.name} and {second.name} that have one {key} have different "
                    f"{name} ({one}, {other or 'empty'}); say which of them is the key: --on {key} "
                    f"or --on {name}"
                )


def match_rows(
    first: UserFile, second: UserFile, key: tuple[str, str]
) -> tuple[list[int], list[int], tuple[str, ...]]:
    """Returns rows of `first` and rows of `second` that belong together, in the order of `second`,
    and notes on rows without a partner.

    Raises:
        TableError: a key stands twice in `first`, or no rows belong together.
    """
    left, right = texts(first, key[0]), texts(second, key[1])
    row_of: dict[str, int] = {}
    for row, value in enumerate(left):
        if value and (other := row_of.setdefault(value, row)) != row:
            raise TableError(
                f"{first.name}: rows {other + 1} and {row + 1} both have {key[0]} = {value}; need "
                "one mixture for each key"
            )
    pairs = [(row_of[value], row) for row, value in enumerate(right) if value in row_of]
    if not pairs:
        raise TableError(
            f"no {key[0]} of {first.name} ({listed(left, 3)}) is a {key[1]} of {second.name} "
            f"({listed(right, 3)}); name the key with --on A=B"
        )
    notes = [
        f"{file.name}: {len(alone)} of {file.num_rows} rows have no partner in {other.name} and "
        f"are left out, such as {name} {listed(alone, 3)}"
        for file, other, name, alone in (
            (first, second, key[0], _without(left, set(right))),
            (second, first, key[1], _without(right, set(row_of))),
        )
        if alone
    ]
    return [one for one, _ in pairs], [two for _, two in pairs], tuple(notes)


def _without(values: Sequence[str], known: set[str]) -> list[str]:
    return [value or "(empty)" for value in values if not value or value not in known]
