"""The measured points that a law was fitted to, as the figures of the fit draw them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bimix_sweep.law.model.repetition import unique_of
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.mixture.simplex import Array
from bimix_sweep.mixture.table import LossTable
from bimix_sweep.report.figures.style import text


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedRows:
    """The points inside the steps that the law was fitted to."""

    table: LossTable
    """All measured points."""
    roles: Mapping[str, str]
    """{trial: "sweep" or "confirmation"}."""
    rows: npt.NDArray[np.intp]
    """(n,) rows of the table."""
    columns: list[int]
    """Column of the table for each target of the law."""
    sizes: Array | None
    """(n,) non-embedding parameters; None for a law without sizes."""

    @property
    def measured(self) -> Array:
        """(n, targets of the law) measured values, in the unit of each target."""
        return self.table.losses[self.rows][:, self.columns]

    def repeating(self, law: FittedLaw) -> FittedLaw:
        """The law whose n predictions are of runs that repeat domains as the trials did."""
        epochs = None if self.table.epochs is None else self.table.epochs[self.rows]
        return law.for_run(unique_of(self.table.proportions[self.rows], epochs))

    def symbols(self, rows: npt.NDArray[np.intp]) -> list[str]:
        """Marker symbol of rows of the table: a diamond for a confirmation trial, else a circle."""
        return [
            "diamond-open" if self.roles.get(self.table.trials[row]) == "confirmation" else "circle"
            for row in rows
        ]

    def labels(self, rows: npt.NDArray[np.intp]) -> list[str]:
        """Trial and step of rows of the table, as text on hover."""
        table = self.table
        return [f"{text(table.trials[row])}, step {table.steps[row]:,.0f}" for row in rows]


def fitted_rows(table: LossTable, law: FittedLaw, roles: Mapping[str, str]) -> FittedRows:
    """Points of the table inside the fitted steps, with the columns of the law's targets."""
    rows = np.flatnonzero((table.steps >= law.steps[0]) & (table.steps <= law.steps[1]))
    return FittedRows(
        table=table,
        roles=roles,
        rows=rows,
        columns=[table.targets.index(target) for target in law.targets],
        sizes=None if law.sizes is None else table.sizes[rows],
    )
