"""Loss tables: finished runs of any origin as CSV or Parquet, checked when they are read.

Columns: `trial` (opaque string; by default the row's number), `step` (not needed where each row is
the end of a trial), optional `size` (non-embedding parameters) and `seed`, together unique;
`r_<domain>` proportions, percent or counts; `loss_<target>`, empty where not measured: a positive
loss, or another metric whose goal is given; optional `epochs_<domain>`, the passes over the domain's
tokens up to the row, by default at most one. Other columns are not used, and the table's notes name
them. A mixture file has the same columns without `trial` and losses.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import pyarrow as pa

from bimix_sweep.mixture.array_columns import columns_of_arrays
from bimix_sweep.mixture.column_parsing import epochs_of, numbers, proportions
from bimix_sweep.mixture.columns import (
    distinct_columns,
    read_columns,
    write_columns,
)
from bimix_sweep.mixture.curves import LossCurve, stacked
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.mixture.goals import Goals
from bimix_sweep.mixture.joining.join import ColumnOptions, joined
from bimix_sweep.mixture.joining.sources import Source
from bimix_sweep.mixture.simplex import Array
from bimix_sweep.mixture.table_checks import (
    NO_STEP,
    check_curves,
    check_epochs,
    check_losses,
    check_rows,
    goals_by_target,
    names_of,
)
from bimix_sweep.mixture.table_notes import repeated, unused


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
    """(rows,) optimizer steps, > 0; NO_STEP in every row of a table without steps."""
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
    epochs: Array | None = None
    """(rows, domains) passes over each domain's unique tokens from the start of the trial to the
    row's step; None where not known, and then no trial is taken to repeat a domain."""

    def __len__(self) -> int:
        return len(self.trials)

    @classmethod
    def from_curves(cls, curves: Iterable[LossCurve]) -> "LossTable":
        """Makes a table of all points of the curves; domains and targets keep the order of their
        first appearance.

        Raises:
            TableError: there is no curve.
        """
        return cls(**stacked(list(curves)))

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
    def join(
        cls,
        mixtures: Source,
        losses: Source | None = None,
        goals: Goals | None = None,
        **options: Unpack[ColumnOptions],
    ) -> "LossTable":
        """Makes a table from the files that people have: `mixtures` and `losses` are joined on a
        key, and patterns name the columns.

        Args:
            mixtures: a CSV or Parquet file, an Arrow table or a DataFrame with proportions.
            losses: the same with losses, or the JSON results of lm-eval (a folder or a list of
                files); None: `mixtures` holds the losses too.
            goals: {target: direction and range} of targets that are not plain losses.
            options: which columns are used, as `ColumnOptions` describes them.

        Raises:
            TableError: a file cannot be read, a pattern matches no column, the files have no key in
                common, or `read` would refuse the rows.
        """
        path, columns, notes = joined(mixtures, losses, options)
        table = cls.from_columns(path, columns, goals)
        return replace(table, notes=(*notes, *table.notes))

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
        steps: Array | None = None,
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
            steps: (rows,) optimizer steps; default: each row is the end of a trial.
            trials: (rows,) names; default: every row is a trial of its own, named 1, 2, ...
            sizes, seeds: (rows,), NaN where not given.
            goals: {target: direction and range} of targets that are not plain losses.

        Raises:
            TableError: the shapes do not fit, or `read` would refuse the content.
        """
        columns = columns_of_arrays(
            domains=domains,
            targets=targets,
            proportions=proportions,
            losses=losses,
            steps=steps,
            trials=trials,
            sizes=sizes,
            seeds=seeds,
        )
        return cls.from_columns("the arrays", columns, goals)

    @classmethod
    def from_columns(
        cls, path: str | Path, columns: Mapping[str, pa.Array], goals: Goals | None = None
    ) -> "LossTable":
        """Makes a table from columns in the form that `read_columns` returns; `path` is for
        messages. Errors as for `read`."""
        domains, targets, trials = names_of(path, columns)
        steps = (
            numbers(path, columns, "step", minimum=0, open_end=True)
            if "step" in columns
            else np.full(len(trials), NO_STEP)
        )
        sizes = numbers(path, columns, "size", minimum=0, open_end=True, optional=True)
        seeds = numbers(path, columns, "seed", optional=True)
        goals = goals_by_target(path, goals or {}, targets)
        losses = np.stack(
            [numbers(path, columns, f"loss_{target}", optional=True) for target in targets], axis=1
        )
        check_losses(path, goals, targets, trials, losses)
        mixtures, notes = proportions(path, columns, domains)
        check_rows(path, trials, steps, sizes, seeds, mixtures, stated="step" in columns)
        if "trial" not in columns:
            check_curves(path, steps, mixtures)
        epochs = epochs_of(path, columns, domains)
        check_epochs(path, domains, trials, steps, sizes, seeds, epochs)
        return cls(
            domains=domains,
            targets=targets,
            trials=trials,
            steps=steps,
            sizes=sizes,
            seeds=seeds,
            proportions=mixtures,
            losses=losses,
            goals=goals,
            notes=(
                *notes,
                *unused(path, columns),
                *repeated(path, trials, steps, sizes, seeds, mixtures, losses),
            ),
            epochs=epochs,
        )

    def write(self, path: str | Path) -> None:
        """Writes the table as CSV or Parquet by the ending of `path`, whole or not at all."""
        columns = columns_of_arrays(
            domains=self.domains,
            targets=self.targets,
            proportions=self.proportions,
            losses=self.losses,
            trials=self.trials,
            steps=None if (self.steps == NO_STEP).all() else self.steps,
            sizes=None if np.isnan(self.sizes).all() else self.sizes,
            seeds=None if np.isnan(self.seeds).all() else self.seeds,
            epochs=self.epochs,
        )
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
            epochs=None if self.epochs is None else self.epochs[index],
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
                epochs=None if self.epochs is None else self.epochs[rows],
            )
            for rows in np.split(order, np.flatnonzero(np.diff(runs[order])) + 1)
        ]
