"""Loss tables: finished runs of any origin as CSV or Parquet, checked when they are read.

Columns: `trial` (opaque string), `step`, optional `size` (non-embedding parameters) and `seed`,
together unique; `r_<domain>` proportions; `loss_<target>`, empty where not measured: a positive
loss, or another metric whose goal is given. Other columns are not used, and the table's notes name
them. A mixture file has the same columns without `trial` and losses.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from bimix_sweep import files, locations
from bimix_sweep.errors import TableError
from bimix_sweep.mixture.curves import LossCurve
from bimix_sweep.mixture.domains import Mixture, check_names
from bimix_sweep.mixture.goals import PLAIN, Goals, first_refused, hint
from bimix_sweep.mixture.simplex import Array
from bimix_sweep.mixture.table_notes import repeated, unused

NORMALISED = 0.02
"""Largest difference from 1 of the sum of a row's proportions that is normalised, because published
tables are rounded; the table's notes report it."""
MAX_CELLS = 50_000_000
"""Largest number of fields (rows x columns) of a table that is read: about 5 GB of memory. A
Parquet file of a few kB can hold more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LossTable:
    """Rows of (trial, step) with the mixture and the measured losses of the trial."""

    domains: tuple[str, ...]
    """Names of the domains, one for each column of `proportions`."""
    targets: tuple[str, ...]
    """Names of the targets, one for each column of `losses`."""
    trials: tuple[str, ...]
    """(rows,) names of the trials."""
    steps: Array
    """(rows,) optimizer steps, > 0."""
    sizes: Array
    """(rows,) non-embedding parameters, NaN where not given."""
    seeds: Array
    """(rows,) seeds, NaN where not given."""
    proportions: Array
    """(rows, domains), rows sum to 1."""
    losses: Array
    """(rows, targets) losses, each in its target's own unit and in the range that its goal allows;
    NaN where not measured."""
    goals: Goals = field(default_factory=dict)
    """{target: direction and range}; a target without an entry is a positive loss by default,
    because no direction was stated."""
    notes: tuple[str, ...] = ()
    """Notes for a person: what reading changed or did not use."""

    def __len__(self) -> int:
        return len(self.trials)

    @classmethod
    def from_curves(cls, curves: Iterable[LossCurve]) -> "LossTable":
        """Makes a table of all points of the curves; domains and targets keep the order of their
        first appearance.

        Raises:
            TableError: there is no curve.
        """
        curves = list(curves)
        if not curves:
            raise TableError("no loss curves; need at least one")
        domains = tuple(dict.fromkeys(name for curve in curves for name in curve.mixture.names))
        targets = tuple(dict.fromkeys(name for curve in curves for name in curve.targets))
        blocks = []
        for curve in curves:
            block = np.full((len(curve.steps), len(targets)), np.nan)
            block[:, [targets.index(name) for name in curve.targets]] = curve.losses
            blocks.append(block)
        counts = [len(curve.steps) for curve in curves]
        return cls(
            domains=domains,
            targets=targets,
            trials=tuple(
                curve.trial
                for curve, count in zip(curves, counts, strict=True)
                for _ in range(count)
            ),
            steps=np.concatenate([curve.steps for curve in curves]).astype(np.float64),
            sizes=np.repeat([np.nan if c.size is None else float(c.size) for c in curves], counts),
            seeds=np.repeat([np.nan if c.seed is None else float(c.seed) for c in curves], counts),
            proportions=np.repeat([c.mixture.as_array(domains) for c in curves], counts, axis=0),
            losses=np.concatenate(blocks),
            goals={name: goal for curve in curves for name, goal in curve.goals.items()},
        )

    @classmethod
    def read(cls, path: str | Path, goals: Goals | None = None) -> "LossTable":
        """Reads a CSV or Parquet file (by its ending), local or a `pyarrow.fs` URI.

        Args:
            path: the file.
            goals: {target: direction and range} of targets that are not plain losses.

        Raises:
            TableError: the file is missing, a goal names a target that the file lacks, or a row or
                column does not have the form of the module's docstring. Row 1 is the first row
                after the header.
        """
        return cls.from_columns(path, read_columns(path), goals)

    @classmethod
    def from_arrow(cls, table: pa.Table, goals: Goals | None = None) -> "LossTable":
        """Makes a table from Arrow columns named as in a file; arguments and errors as for
        `read`."""
        return cls.from_columns(
            "the Arrow table", distinct_columns("the Arrow table", table), goals
        )

    @classmethod
    def from_pandas(cls, frame: Any, goals: Goals | None = None) -> "LossTable":
        """Makes a table from a DataFrame with columns named as in a file; the index of the
        DataFrame is not used. Arguments and errors as for `read`."""
        table = pa.Table.from_pandas(frame, preserve_index=False)
        return cls.from_columns("the DataFrame", distinct_columns("the DataFrame", table), goals)

    @classmethod
    def from_numpy(
        cls,
        *,
        domains: Sequence[str],
        targets: Sequence[str],
        proportions: Array,
        losses: Array,
        steps: Array,
        trials: Sequence[str] | None = None,
        sizes: Array | None = None,
        seeds: Array | None = None,
        goals: Goals | None = None,
    ) -> "LossTable":
        """Makes a table from arrays.

        Args:
            domains, targets: names of the columns of `proportions` and `losses`.
            proportions: (rows, domains), rows sum to 1.
            losses: (rows, targets), NaN where not measured.
            steps: (rows,) optimizer steps.
            trials: (rows,) names; default: every row is a trial of its own, named t0, t1, ...
            sizes, seeds: (rows,), NaN where not given.
            goals: {target: direction and range} of targets that are not plain losses.

        Raises:
            TableError: the shapes do not fit, or `read` would refuse the content.
        """
        rows = len(steps)
        for what, found, needed in (
            ("proportions", np.shape(proportions), (rows, len(domains))),
            ("losses", np.shape(losses), (rows, len(targets))),
        ):
            if found != needed:
                raise TableError(f"{what} has shape {found}; need {needed}, rows x names")
        names = [f"t{row}" for row in range(rows)] if trials is None else [str(t) for t in trials]
        given = {"step": steps} | {
            name: values
            for name, values in (("size", sizes), ("seed", seeds))
            if values is not None
        }
        given |= {f"r_{name}": np.asarray(proportions)[:, i] for i, name in enumerate(domains)}
        given |= {f"loss_{name}": np.asarray(losses)[:, i] for i, name in enumerate(targets)}
        if wrong := next((name for name, v in given.items() if len(v) != rows), None):
            raise TableError(f"{wrong} has {len(given[wrong])} values; need {rows}, one a row")
        if len(names) != rows:
            raise TableError(f"trials has {len(names)} names; need {rows}, one a row")
        columns = {"trial": pa.array(names, pa.string())} | {
            name: pa.array(np.asarray(values, dtype=np.float64), from_pandas=True)
            for name, values in given.items()
        }
        return cls.from_columns("the arrays", columns, goals)

    @classmethod
    def from_columns(
        cls, path: str | Path, columns: Mapping[str, pa.Array], goals: Goals | None = None
    ) -> "LossTable":
        """Makes a table from columns in the form that `read_columns` returns; `path` is for
        messages. Errors as for `read`."""
        for needed in ("trial", "step"):
            if needed not in columns:
                raise TableError(
                    f"{path}: no column {needed}; need trial, step, r_<domain> and loss_<target> "
                    "columns"
                )
        domains = tuple(name[2:] for name in columns if name.startswith("r_"))
        targets = tuple(name[5:] for name in columns if name.startswith("loss_"))
        if not domains or not targets:
            raise TableError(
                f"{path}: {'no r_<domain>' if not domains else 'no loss_<target>'} column; need "
                f"at least one{'' if domains else _hint(columns)}"
            )
        check_names(domains)
        check_names(targets, "target")
        trials = tuple(
            "" if value is None else str(value) for value in columns["trial"].to_pylist()
        )
        if not trials:
            raise TableError(f"{path}: no rows; need at least one finished run")
        if "" in trials:
            raise TableError(f"{path}: row {trials.index('') + 1} has no trial; need a name")
        steps = _numbers(path, columns, "step", minimum=0, open_end=True)
        sizes = _numbers(path, columns, "size", minimum=0, open_end=True, optional=True)
        seeds = _numbers(path, columns, "seed", optional=True)
        goals = dict(goals or {})
        if unknown := next((name for name in goals if name not in targets), None):
            raise TableError(
                f"{path} has no column loss_{unknown}, whose goal is given; its targets are "
                f"{', '.join(targets)}"
            )
        losses = np.stack(
            [_numbers(path, columns, f"loss_{t}", optional=True) for t in targets], axis=1
        )
        if (bad := first_refused(goals, targets, losses)) is not None:
            row, target = bad
            name, value = targets[target], losses[row, target]
            raise TableError(
                f"{path}: row {row + 1}, trial {trials[row]}, has loss_{name} = {value:g}; need "
                f"{goals.get(name, PLAIN).needed}, or an empty field where not measured"
                + hint(goals, name, value)
            )
        proportions, notes = _proportions(path, columns, domains)
        notes = (
            *notes,
            *unused(path, columns),
            *repeated(path, trials, steps, sizes, seeds, proportions, losses),
        )
        seen: dict[tuple[str, float, float, float], int] = {}
        mixture_of: dict[tuple[str, float, float], int] = {}
        for row, trial in enumerate(trials):
            size, seed = (
                float(np.nan_to_num(sizes[row], nan=-1)),
                float(np.nan_to_num(seeds[row], nan=-1)),
            )
            first = seen.setdefault((trial, float(steps[row]), size, seed), row)
            if first != row:
                raise TableError(
                    f"{path}: rows {first + 1} and {row + 1} are both trial {trial} at step "
                    f"{steps[row]:g}; need one row for each"
                )
            start = mixture_of.setdefault((trial, size, seed), row)
            if np.abs(proportions[start] - proportions[row]).max() > 1e-6:
                raise TableError(
                    f"{path}: trial {trial} has different proportions in rows {start + 1} and "
                    f"{row + 1}; need one mixture a trial"
                )
        return cls(
            domains=domains,
            targets=targets,
            trials=trials,
            steps=steps,
            sizes=sizes,
            seeds=seeds,
            proportions=proportions,
            losses=losses,
            goals=goals,
            notes=notes,
        )

    def write(self, path: str | Path) -> None:
        """Writes the table as CSV or Parquet by the ending of `path`; the file is replaced as a
        whole or not at all. NaN becomes an empty field."""
        columns: dict[str, pa.Array] = {
            "trial": pa.array(self.trials, pa.string()),
            "step": pa.array(self.steps),
        }
        for name, values in (("size", self.sizes), ("seed", self.seeds)):
            if not np.isnan(values).all():
                columns[name] = (
                    _whole(values) if name == "seed" else pa.array(values, from_pandas=True)
                )
        for index, name in enumerate(self.domains):
            columns[f"r_{name}"] = pa.array(self.proportions[:, index])
        for index, name in enumerate(self.targets):
            columns[f"loss_{name}"] = pa.array(self.losses[:, index], from_pandas=True)
        write_columns(path, columns)

    def select(self, rows: Sequence[int] | np.ndarray) -> "LossTable":
        """Returns the table of some rows (a boolean mask or indices)."""
        index = np.arange(len(self))[np.asarray(rows)]
        return replace(
            self,
            trials=tuple(self.trials[i] for i in index),
            steps=self.steps[index],
            sizes=self.sizes[index],
            seeds=self.seeds[index],
            proportions=self.proportions[index],
            losses=self.losses[index],
        )

    def run_ids(self) -> np.ndarray:
        """Numbers the runs: returns (rows,) int; rows of one run (same trial, size and seed) have
        the same number, in order of appearance."""
        keys = zip(
            self.trials,
            np.nan_to_num(self.sizes, nan=-1),
            np.nan_to_num(self.seeds, nan=-1),
            strict=True,
        )
        number: dict[tuple[str, float, float], int] = {}
        return np.array(
            [number.setdefault((t, float(n), float(s)), len(number)) for t, n, s in keys],
            dtype=np.int64,
        )

    def mixture_ids(self) -> np.ndarray:
        """Numbers the mixtures: returns (rows,) int; rows of equal proportions have the
        same number, in order of appearance. Cross-validation leaves out all rows of a
        mixture together."""
        number: dict[bytes, int] = {}
        rounded = np.round(self.proportions, 9) + 0.0
        return np.array(
            [number.setdefault(row.tobytes(), len(number)) for row in rounded], dtype=np.int64
        )

    def last_rows(self) -> np.ndarray:
        """Returns the index of each run's row at its largest step."""
        runs = self.run_ids()
        return np.array(
            [
                max(np.flatnonzero(runs == run), key=lambda i: self.steps[i])
                for run in range(runs.max() + 1)
            ]
        )

    def curves(self) -> list[LossCurve]:
        """Returns one loss curve for each run, in order of appearance."""
        runs = self.run_ids()
        order = np.lexsort((self.steps, runs))
        return [
            LossCurve(
                trial=self.trials[rows[0]],
                mixture=Mixture.from_array(self.domains, self.proportions[rows[0]]),
                targets=self.targets,
                steps=self.steps[rows],
                losses=self.losses[rows],
                goals=self.goals,
                size=None if np.isnan(self.sizes[rows[0]]) else float(self.sizes[rows[0]]),
                seed=None if np.isnan(self.seeds[rows[0]]) else int(self.seeds[rows[0]]),
            )
            for rows in np.split(order, np.flatnonzero(np.diff(runs[order])) + 1)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class MixtureFile:
    """Mixtures to predict or to train, with every column of their file."""

    domains: tuple[str, ...]
    """Names of the domains, one for each column of `proportions`."""
    proportions: Array
    """(rows, domains), rows sum to 1."""
    steps: Array
    """(rows,) optimizer steps, NaN where not given."""
    sizes: Array
    """(rows,) non-embedding parameters, NaN where not given."""
    columns: Mapping[str, pa.Array]
    """Every column as read, in the order of the file."""
    notes: tuple[str, ...] = ()
    """Notes for a person: what reading changed."""

    @classmethod
    def read(cls, path: str | Path) -> "MixtureFile":
        """Reads a CSV or Parquet file with `r_<domain>` columns.

        Raises:
            TableError: the file is missing, has no mixture, or has a row that does not sum to 1
                within 0.02.
        """
        columns = read_columns(path)
        domains = tuple(name[2:] for name in columns if name.startswith("r_"))
        if not domains:
            raise TableError(f"{path}: no r_<domain> column; need at least one{_hint(columns)}")
        check_names(domains)
        proportions, notes = _proportions(path, columns, domains)
        if not len(proportions):
            raise TableError(f"{path}: no rows; need at least one mixture")
        return cls(
            domains=domains,
            proportions=proportions,
            columns=columns,
            notes=notes,
            steps=_numbers(path, columns, "step", minimum=0, open_end=True, optional=True),
            sizes=_numbers(path, columns, "size", minimum=0, open_end=True, optional=True),
        )


def write_columns(path: str | Path, columns: Mapping[str, pa.Array]) -> None:
    """Writes named columns as CSV or Parquet by the ending of `path`; the file is replaced as a
    whole or not at all."""
    table, buffer = pa.table(dict(columns)), BytesIO()
    if check_ending(path) == ".parquet":
        pa.parquet.write_table(table, buffer)
    else:
        pa.csv.write_csv(table, buffer, pa.csv.WriteOptions(quoting_style="needed"))
    files.write_bytes(path, buffer.getvalue())


def check_ending(path: str | Path) -> str:
    """Returns `.csv` or `.parquet`; a device or pipe without an ending gets CSV.

    Raises:
        TableError: the file's name has another ending.
    """
    place = str(path).partition("?")[0] if locations.is_uri(path) else str(path)
    suffix = Path(place).suffix.lower() or (".csv" if files.is_stream(path) else "")
    if suffix not in (".csv", ".parquet"):
        raise TableError(f"{path} ends in {suffix or 'nothing'}; need .csv or .parquet")
    return suffix


def read_columns(path: str | Path) -> dict[str, pa.Array]:
    """Reads the columns of a CSV or Parquet file; fields of a CSV file are text, empty fields are
    null.

    Raises:
        TableError: the file is missing or unreadable, two columns have the same name, or the table
            is too large.
    """
    suffix = check_ending(path)
    try:
        data = files.read_bytes(path)
        if suffix == ".parquet":
            opened = pa.parquet.ParquetFile(pa.BufferReader(data))
            _check_cells(path, opened.metadata.num_rows, opened.metadata.num_columns)
            table = opened.read()
        else:
            # Every field is read as text. `_numbers` parses numbers, so that a message can name row
            # and column.
            header = pa.csv.open_csv(BytesIO(data)).schema.names
            convert = pa.csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()),
                strings_can_be_null=True,
                null_values=[""],
            )
            table = pa.csv.read_csv(BytesIO(data), convert_options=convert)
    except OSError as error:
        raise TableError(
            f"{path} cannot be read ({error.strerror or error}); need a CSV or Parquet file"
        ) from error
    except (pa.ArrowException, UnicodeDecodeError) as error:
        said = str(error).splitlines()[0].encode("unicode_escape").decode()[:200]
        raise TableError(f"{path} is not a readable {suffix[1:]} file: {said}") from error
    return distinct_columns(path, table)


def distinct_columns(path: str | Path, table: pa.Table) -> dict[str, pa.Array]:
    """Returns the columns of a table by name; `path` is for messages.

    Raises:
        TableError: two columns have the same name, or the table is too large.
    """
    _check_cells(path, table.num_rows, table.num_columns)
    if len(set(table.column_names)) < len(table.column_names):
        twice = next(name for name in table.column_names if table.column_names.count(name) > 1)
        raise TableError(f"{path}: column {twice} is there twice; need distinct columns")
    return {name: table.column(name).combine_chunks() for name in table.column_names}


def _whole(values: Array) -> pa.Array:
    """Converts to int64 where every number is whole, so that the file holds no number such as
    7.01e+14; NaN becomes an empty field."""
    given = ~np.isnan(values)
    if (np.abs(values[given]) < 2.0**63).all() and (values[given] == np.trunc(values[given])).all():
        return pa.array(
            [int(value) if there else None for value, there in zip(values, given, strict=True)],
            pa.int64(),
        )
    return pa.array(values, from_pandas=True)


def _check_cells(path: str | Path, num_rows: int, num_columns: int) -> None:
    if num_rows * num_columns > MAX_CELLS:
        raise TableError(
            f"{path} has {num_rows:,} rows of {num_columns:,} columns; need at most {MAX_CELLS:,} "
            "fields, so leave out columns that are not used or points between"
        )


def _hint(columns: Mapping[str, pa.Array]) -> str:
    """Returns a hint that names columns that may be proportions under another name: numbers from 0
    to 1."""
    found = []
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
            found.append(name)
    return (
        f" (if {', '.join(found[:8])} are proportions, call them "
        f"{', '.join(f'r_{name}' for name in found[:8])})"
        if found
        else ""
    )


def _numbers(
    path: str | Path,
    columns: Mapping[str, pa.Array],
    name: str,
    *,
    minimum: float = -np.inf,
    open_end: bool = False,
    optional: bool = False,
) -> Array:
    """Reads a column as float64, NaN where empty (only if `optional`); refuses text, NaN, infinity
    and values below `minimum`."""
    if name not in columns:
        return np.full(len(next(iter(columns.values()))), np.nan)
    out = np.full(len(columns[name]), np.nan)
    for row, value in enumerate(columns[name].to_pylist()):
        if value is None:
            if not optional:
                raise TableError(f"{path}: row {row + 1} has no {name}; need a number")
            continue
        try:
            out[row] = float(value)
        except (TypeError, ValueError):
            raise TableError(
                f"{path}: row {row + 1} has {name} = {value!r}; need a number"
            ) from None
        if not np.isfinite(out[row]) or out[row] < minimum or (open_end and out[row] == minimum):
            need = "a finite number" + (
                "" if minimum == -np.inf else f" {'>' if open_end else '>='} {minimum:g}"
            )
            hint = ", or an empty field where not measured" if optional else ""
            raise TableError(f"{path}: row {row + 1} has {name} = {value}; need {need}{hint}")
    return out


def _proportions(
    path: str | Path, columns: Mapping[str, pa.Array], domains: Sequence[str]
) -> tuple[Array, tuple[str, ...]]:
    raw = np.stack([_numbers(path, columns, f"r_{name}", minimum=0) for name in domains], axis=1)
    sums = raw.sum(axis=1)
    if (bad := np.flatnonzero(np.abs(sums - 1) > NORMALISED + 1e-9)).size:
        raise TableError(
            f"{path}: the proportions of row {bad[0] + 1} sum to {sums[bad[0]]:.6g}; need 1 "
            f"(rounding up to {NORMALISED:g} is normalised)"
        )
    off = np.flatnonzero(np.abs(sums - 1) > 1e-6)
    notes = (
        (
            f"{path}: {off.size} of {len(sums)} rows summed to "
            f"{sums[off].min():.4g}-{sums[off].max():.4g} and were normalised",
        )
        if off.size
        else ()
    )
    return raw / sums[:, None], notes
