"""Pool of a replay: the finished runs of a table, and the ways to select further runs from it."""

from collections.abc import Iterable

import numpy as np

from bimix_sweep.design.acquisition.optimality import optimality_criterion
from bimix_sweep.design.acquisition.scores import choose
from bimix_sweep.design.fidelity import (
    SAME_STEPS,
    Fidelity,
    fidelities_of,
    kinds_of,
    target_fidelity_due,
)
from bimix_sweep.design.initial_design import REPEATED, initial_fidelities, most_informative
from bimix_sweep.errors import SweepError
from bimix_sweep.law.fitting.fit_law import FittedLaw
from bimix_sweep.law.optimum.decision_problem import DecisionProblem
from bimix_sweep.mixture.domains import DomainSet
from bimix_sweep.mixture.table import LossTable

LEARNING = 30.0
"""Weight of the variance over all mixtures, relative to the regret, in
`acquisition.scores.choose`."""
JUDGED = 3
"""Number of runs of the target fidelity that are kept for judging where other fidelities exist:
with fewer runs a rank correlation is not defined."""


class RunPool:
    """The runs of a table, each identified by its number."""

    def __init__(self, table: LossTable) -> None:
        """Makes a pool in which every run may be selected."""
        self.table, self.last, self.fidelities = table, table.last_rows(), fidelities_of(table)
        self.mixtures, self.kinds = table.proportions[self.last], kinds_of(self.fidelities)
        self.target_fidelity = self.kinds[-1]
        self.open = np.arange(len(self.last))
        ids, at_target = table.run_ids(), {*self.at(self.target_fidelity, self.open)}
        there = (table.steps >= SAME_STEPS * self.target_fidelity.steps) & (
            table.steps <= self.target_fidelity.steps
        )
        rising = (
            row
            for row in np.argsort(table.steps, kind="stable").tolist()
            if there[row] and int(ids[row]) in at_target
        )
        self.judged = {int(ids[row]): row for row in rising}
        """{run of the target fidelity: its row at the last step}."""

    @property
    def several(self) -> bool:
        """Whether runs have several fidelities; runs that were cut short are one cause."""
        return len({*self.fidelities}) > 1

    def at(self, fidelity: Fidelity, runs: Iterable[int]) -> list[int]:
        """Returns the runs among `runs` that have this fidelity."""
        return [int(run) for run in runs if self.fidelities[run] == fidelity]

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
        self.open = np.setdiff1d(self.open, generator.choice(there, JUDGED, replace=False))

    def unseen(self, seen: list[int]) -> LossTable:
        """Returns the rows at the target fidelity's last step of its runs that were not
        selected."""
        return self.table.select(
            np.array(
                [row for run, row in sorted(self.judged.items()) if run not in seen], dtype=np.int64
            )
        )

    def cost(self, seen: list[int]) -> float:
        """Returns the cost of runs, in units of one run at the target fidelity."""
        return sum(self.fidelities[run].cost for run in seen) / self.target_fidelity.cost

    def drawn(self, count: int, seen: list[int], generator: np.random.Generator) -> list[int]:
        """Returns `count` further runs, drawn at random."""
        return [
            int(run)
            for run in generator.choice(np.setdiff1d(self.open, seen), count, replace=False)
        ]

    def first(self, count: int, generator: np.random.Generator) -> list[int]:
        """Returns the first runs, as far as the table has them: as in a sweep most runs at the
        cheapest fidelity, and some of their mixtures again at more expensive fidelities."""
        num_repeated = REPEATED + len(self.kinds) - 2 if len(self.kinds) > 1 else 0
        order = initial_fidelities(max(2, count - num_repeated), len(self.kinds), count)
        seen: list[int] = []
        for index in (*order, *[0] * (count - len(order))):
            left = np.setdiff1d(self.open, seen)
            there = self.at(self.kinds[index], seen)
            candidates = self.at(self.kinds[index], left) or left.tolist()
            if index:
                known = self.mixtures[self.at(self.kinds[0], seen)]
                candidates = [
                    run
                    for run in candidates
                    if (np.abs(known - self.mixtures[run]).max(axis=1) < 1e-6).any()
                ] or candidates
            if seen:
                tried = generator.permutation(candidates)[:400]
                seen.append(
                    int(tried[most_informative(self.mixtures[tried], self.mixtures[there])])
                )
            else:
                far = np.abs(self.mixtures[candidates] - 1 / self.mixtures.shape[1]).sum(axis=1)
                seen.append(candidates[int(far.argmin())])
        return seen

    def chosen(
        self, law: FittedLaw, count: int, seen: list[int], generator: np.random.Generator
    ) -> list[int]:
        """Returns `count` further runs, chosen as in a sweep."""
        size = None if law.sizes is None else self.target_fidelity.size
        problem = DecisionProblem.of(
            law, DomainSet(names=law.domains), step=self.target_fidelity.steps, size=size
        )
        criterion = optimality_criterion(problem, generator)
        picked: list[int] = []
        for _ in range(count):
            left = np.setdiff1d(self.open, [*seen, *picked]).tolist()
            if target_fidelity_due(
                [self.fidelities[run] for run in (*seen, *picked)], self.target_fidelity
            ):
                left = self.at(self.target_fidelity, left) or left
            left.sort(key=lambda run: (-self.fidelities[run].size, -self.fidelities[run].steps))
            at, running = ([self.fidelities[run] for run in runs] for runs in (left, picked))
            best, _ = choose(
                problem,
                criterion,
                self.mixtures[left],
                at,
                self.mixtures[picked],
                running,
                LEARNING,
            )
            picked.append(left[best])
        return picked
