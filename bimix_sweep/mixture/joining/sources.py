"""Reads one of a user's files for a join: CSV, Parquet, exports of W&B or MLflow, lm-eval JSON.

An export may have a column of dictionaries, as `wandb.Api` and pandas write `config` and `summary`.
Such a column becomes one column for each entry, `config.mixture.web`. Rows of runs that did not
finish are left out where a column says so.
"""

import ast
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from bimix_sweep.errors import TableError
from bimix_sweep.mixture.columns import distinct_columns, read_columns
from bimix_sweep.mixture.joining.charts import are_charts, is_chart, of_charts, read_charts
from bimix_sweep.mixture.joining.evaluations import is_evaluation, read_evaluations
from bimix_sweep.text import shown

Source = Any
"""A file's path or URI, an Arrow table, a DataFrame, lm-eval results (a folder or JSON files), or
several charts of W&B (CSV files)."""
STATE_NAMES = ("State", "state", "Status", "status")
"""Columns in which W&B and MLflow say how a run ended."""
FINISHED = "finished"
"""State of a run that ended well, in small letters, in both trackers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserFile:
    """The columns of one of a user's files."""

    name: str
    """Name of the file, for messages."""
    columns: Mapping[str, pa.Array]
    """{name: column} as read; the fields of a CSV file are text."""
    notes: tuple[str, ...] = ()
    """Notes for a person: what reading left out."""

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values()), ()))

    def take(self, rows: Sequence[int]) -> "UserFile":
        """Returns the file with these rows, in this order."""
        index = pa.array(rows, pa.int64())
        return UserFile(
            name=self.name,
            columns={name: column.take(index) for name, column in self.columns.items()},
            notes=self.notes,
        )


def read_source(source: Source) -> UserFile:
    """Reads a file, an Arrow table, a DataFrame or lm-eval results.

    Raises:
        TableError: it cannot be read, or no row of a finished run is left.
    """
    if are_charts(source):
        name, columns, notes = read_charts(source)
        return UserFile(name=name, columns=columns, notes=notes)
    if is_evaluation(source):
        name, columns, notes = read_evaluations(source)
        return UserFile(name=name, columns=columns, notes=notes)
    if isinstance(source, pa.Table):
        name, columns = "the Arrow table", distinct_columns("the Arrow table", source)
    elif isinstance(source, str | Path):
        name, columns = str(source), read_columns(source)
        if is_chart([column.strip() for column in columns]):
            columns, notes = of_charts({name: columns})
            return UserFile(name=name, columns=columns, notes=notes)
    elif hasattr(source, "columns"):
        table = pa.Table.from_pandas(source, preserve_index=False)
        name, columns = "the DataFrame", distinct_columns("the DataFrame", table)
    else:
        raise TableError(
            f"{shown(source)} is no table; need a CSV or Parquet file, an Arrow table, a DataFrame "
            "or the JSON results of lm-eval"
        )
    spaced = pa.table([*columns.values()], names=[column.strip() for column in columns])
    file = UserFile(name=name, columns=_flattened(name, distinct_columns(name, spaced)))
    if not file.num_rows:
        raise TableError(f"{name}: no rows; need at least one finished run")
    return _finished(file)


def _finished(file: UserFile) -> UserFile:
    """Leaves out the rows of runs whose tracker says that they did not finish."""
    for name in STATE_NAMES:
        states = [
            str(value).strip().lower()
            for value in (file.columns[name].to_pylist() if name in file.columns else [])
        ]
        if FINISHED not in states:
            continue
        rows = [row for row, state in enumerate(states) if state == FINISHED]
        others = sorted({state for state in states if state != FINISHED})
        if not others:
            return file
        left = file.take(rows)
        note = (
            f"{file.name}: {len(states) - len(rows)} of {len(states)} rows are left out, as their "
            f"{name} is {', '.join(others[:5])}"
        )
        return UserFile(name=left.name, columns=left.columns, notes=(note,))
    return file


def _flattened(path: str, columns: Mapping[str, pa.Array]) -> dict[str, pa.Array]:
    """Replaces each column of dictionaries by one column for each of their entries.

    Raises:
        TableError: a dictionary cannot be read, or an entry has the name of another column.
    """
    flat: dict[str, pa.Array] = {}
    for name, column in columns.items():
        given = column.to_pylist()
        if not any(isinstance(value, dict) or str(value)[:1] == "{" for value in given):
            parts = {name: column}
        else:
            rows = [
                dict(_entries(name, _dictionary(path, row, name, value)))
                for row, value in enumerate(given)
            ]
            keys = dict.fromkeys(key for row in rows for key in row)
            parts = {
                key: pa.array([None if (v := row.get(key)) is None else str(v) for row in rows])
                for key in keys
            }
        if twice := next((key for key in parts if key in flat), None):
            raise TableError(f"{path}: column {twice} is there twice; need distinct columns")
        flat |= parts
    return flat


def _dictionary(path: str, row: int, name: str, value: Any) -> Mapping[str, Any]:
    """Reads a dictionary that JSON or Python wrote; an empty field is an empty dictionary."""
    if isinstance(value, dict):
        return value
    if value is None:
        return {}
    for read in (json.loads, ast.literal_eval):
        try:
            content = read(str(value))
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(content, dict):
            return content
    raise TableError(
        f"{path}: row {row + 1} has {name} = {shown(value)}, which is no dictionary of JSON or "
        "Python; export its entries as columns of their own"
    )


def _entries(prefix: str, content: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yields (`prefix.key`, value) of each entry, those of dictionaries inside included."""
    for key, value in content.items():
        name = f"{prefix}.{key}"
        if isinstance(value, dict):
            yield from _entries(name, value)
        else:
            yield name, value
