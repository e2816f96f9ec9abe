"""Pool of a replay: the finished runs of a table, which of them may be selected, and which of their
rows the law is judged on."""

from collections.abc import Collection, Iterable

import numpy as np

from bimix_sweep.design.fidelity import SAME_STEPS, fidelities_of, kinds_of
from bimix_sweep.errors import SweepError
from bimix_sweep.mixture.table import LossTable

JUDGED = 3
"""Number of runs of the target fidelity that are kept for judging where other fidelities exist:
with fewer runs a rank correlation is not defined."""


class RunPool:
    """The runs of a table, each identified by its number."""

    def __init__(self, table: LossTable) -> None:
        """Makes a pool in which every run may be selected that was not cut short."""
        self.table, self.fidelities = table, fidelities_of(table)
        last = table.last_rows()
        self.mixtures, self.names = table.proportions[last], [table.trials[row] for row in last]
        self.kinds = kinds_of(self.fidelities)
        """Fidelities of the runs, from the cheapest to the target fidelity, without those of runs
        that were cut short."""
        self.target_fidelity = self.kinds[-1]
        self.open = [run for run, own in enumerate(self.fidelities) if own in self.kinds]
        """Runs that may be selected."""
        self._ids = table.run_ids()
        there = (table.steps >= SAME_STEPS * self.target_fidelity.steps) & (
            table.steps <= self.target_fidelity.steps
        )
        rising = (
            row
            for row in np.argsort(table.steps, kind="stable").tolist()
            if there[row] and self.fidelities[self._ids[row]] == self.target_fidelity
        )
        self.judged = {int(self._ids[row]): row for row in rising}
        """{run of the target fidelity: its row at the last step}."""

    @property
    def several(self) -> bool:
        """Whether the runs have several fidelities."""
        return len(self.kinds) > 1

    @property
    def num_cut_short(self) -> int:
        """Number of runs that were cut short: a sweep has no such trials."""
        return sum(own not in self.kinds for own in self.fidelities)

    def reserve(self, generator: np.random.Generator) -> None:
        """Keeps JUDGED runs of the target fidelity out of the selection.

        Raises:
            SweepError: the target fidelity has too few runs.
        """
        there = sorted(self.judged)
        if len(there) <= JUDGED:
            size = (
                ""
                if np.isnan(self.table.sizes).all()
                else f"size {self.target_fidelity.size:g} and "
            )
            raise SweepError(
                f"{len(there)} runs have {size}last step {self.target_fidelity.steps:g}; need more "
                f"than {JUDGED}, to select some and judge on the others, or a held-out table"
            )
        kept = {*generator.choice(there, JUDGED, replace=False).tolist()}
        self.open = [run for run in self.open if run not in kept]

    def unseen(self, seen: Collection[int]) -> LossTable:
        """Returns the rows at the target fidelity's last step of its runs that were not
        selected."""
        return self.table.select(
            np.array(
                [row for run, row in sorted(self.judged.items()) if run not in seen], dtype=np.int64
            )
        )

    def rows(self, runs: Iterable[int]) -> LossTable:
        """Returns all rows of some runs, run by run and in the order of their steps."""
        rows = [np.flatnonzero(self._ids == run) for run in runs]
        return self.table.select(
            np.concatenate([own[np.argsort(self.table.steps[own])] for own in rows])
        )

    def cost(self, seen: Iterable[int]) -> float:
        """Returns the cost of runs, in units of one run at the target fidelity."""
        return sum(self.fidelities[run].cost for run in seen) / self.target_fidelity.cost
