"""Turns rows of (trial, target, loss) into one row a trial with a column for each target."""

from collections.abc import Sequence

import pyarrow as pa

from bimix_sweep.errors import TableError
from bimix_sweep.mixture.joining.keys import texts
from bimix_sweep.mixture.joining.sources import UserFile
from bimix_sweep.text import listed


def spread(
    file: UserFile, target: str, value: str, identity: Sequence[str]
) -> tuple[UserFile, dict[str, pa.Array]]:
    """Returns the file with one row for each distinct content of the columns `identity`, and
    {target: (rows,) values}, null where there is none.

    Args:
        file: the file in long form.
        target: the column that names a row's target.
        value: the column with the values.
        identity: columns that say which rows belong together.

    Raises:
        TableError: a column is missing, a row names no target, or two rows have the same identity
            and target.
    """
    for name in (target, value):
        if name not in file.columns:
            raise TableError(f"{file.name}: no column {name}; it has {listed(file.columns)}")
    if not identity:
        raise TableError(
            f"{file.name}: no column says which rows are one trial; name it with --trial COLUMN"
        )
    names, values = texts(file, target), file.columns[value].to_pylist()
    first: dict[tuple[str, ...], int] = {}
    cells: dict[str, dict[int, int]] = {}
    for row, content in enumerate(zip(*(texts(file, name) for name in identity), strict=True)):
        if not names[row]:
            raise TableError(f"{file.name}: row {row + 1} has no {target}; need a target's name")
        start = first.setdefault(content, row)
        other = cells.setdefault(names[row], {}).setdefault(start, row)
        if other != row:
            raise TableError(
                f"{file.name}: rows {other + 1} and {row + 1} both have {target} = {names[row]} "
                f"and the same {', '.join(identity[:4])}; need one value for each"
            )
    starts = list(first.values())
    wide = {
        name: pa.array([values[rows[start]] if start in rows else None for start in starts])
        for name, rows in cells.items()
    }
    return file.take(starts), wide
