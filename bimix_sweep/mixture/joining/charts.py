"""Reads the CSV files that W&B exports from a chart of several runs: one row a run and step.

Such a file has the column of the chart's x axis (`Step`), and for each run `RUN - METRIC` with
`RUN - METRIC__MIN` and `RUN - METRIC__MAX`. Where a curve has more points than the chart draws, W&B
writes the mean of neighbouring points, and their smallest and largest value.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from bimix_sweep.errors import TableError
from bimix_sweep.mixture.column_parsing import MISSING
from bimix_sweep.mixture.columns import read_columns

ENDS = ("__MIN", "__MAX")
"""Endings of the columns with the smallest and the largest of the points that a value stands for."""
RUN, STEP = "Name", "step"
"""Columns of the result. W&B's table of runs calls the name of a run `Name`, too."""
Columns = dict[str, pa.Array]
"""{name: column} of a file."""
Cells = dict[tuple[str, str], dict[str, Any]]
"""{(run, step): {metric: value}}."""


def is_chart(names: Sequence[str]) -> bool:
    """Tells by its columns whether a file is the export of a chart."""
    _, *others = names or [""]
    bases = {name for name in others if not name.endswith(ENDS)}
    whole = {base + end for base in bases for end in ("", *ENDS)}
    return bool(bases) and set(others) == whole and all(" - " in name for name in bases)


def are_charts(source: Any) -> bool:
    """Tells whether a source is a list of files of which none is JSON."""
    return (
        isinstance(source, list | tuple)
        and bool(source)
        and all(isinstance(one, str | Path) for one in source)
        and not any(Path(one).suffix.lower() == ".json" for one in source)
    )


def read_charts(paths: Sequence[str | Path]) -> tuple[str, Columns, tuple[str, ...]]:
    """Returns the name of several charts, their columns and notes; see `of_charts`."""
    name = f"{len(paths)} charts"
    return name, *of_charts({str(path): read_columns(path) for path in paths})


def of_charts(charts: Mapping[str, Columns]) -> tuple[Columns, tuple[str, ...]]:
    """Returns the columns of one table of charts {path: columns}, and notes.

    Raises:
        TableError: a file is no chart, the charts have different x axes, or two charts differ in a
            value.
    """
    axes, cells, notes = set(), Cells(), []
    for path, given in charts.items():
        columns = {column.strip(): values for column, values in given.items()}
        if not is_chart([*columns]):
            raise TableError(
                f"{path} is no chart of W&B; of more than two files the others need to be charts, "
                "with columns 'RUN - METRIC', or JSON results of lm-eval"
            )
        axes.add(next(iter(columns)))
        if len(axes) > 1:
            raise TableError(
                f"{path}: the x axes of the charts differ ({', '.join(sorted(axes))}); export all "
                "of them over Step"
            )
        if binned := _take(path, columns, cells):
            notes.append(
                f"{path}: {binned} values are means of several points of a curve, as W&B draws them"
            )
    axis = STEP if axes == {"Step"} else next(iter(axes))
    metrics = dict.fromkeys(metric for row in cells.values() for metric in row)
    table = {
        RUN: pa.array([run for run, _ in cells]),
        axis: pa.array([step for _, step in cells]),
        **{metric: pa.array([row.get(metric) for row in cells.values()]) for metric in metrics},
    }
    return table, tuple(notes)


def _take(path: str, columns: Mapping[str, pa.Array], cells: Cells) -> int:
    """Adds the values of one chart; returns how many of them are means of different points."""
    axis, *others = columns
    steps = [str(step) for step in columns[axis].to_pylist()]
    binned = 0
    for column in others:
        if column.endswith(ENDS):
            continue
        run, _, metric = column.rpartition(" - ")
        ends = [columns[column + end].to_pylist() for end in ENDS]
        for step, value, low, high in zip(steps, columns[column].to_pylist(), *ends, strict=True):
            if value is None or str(value).strip().lower() in MISSING:
                continue
            row = cells.setdefault((run, step), {})
            if row.setdefault(metric, value) != value:
                raise TableError(
                    f"{path}: run {run} has {metric} = {value} at step {step}, and another chart "
                    f"has {row[metric]}; need runs of different names"
                )
            binned += low != high
    return binned
