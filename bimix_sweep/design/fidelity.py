"""Fidelity of a trial: the size of its proxy and its number of steps; and how much of a sweep's
cost the target fidelity gets."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from bimix_sweep.mixture.table import LossTable

SAME_STEPS = 0.9
"""Smallest ratio of two last steps that count as the same number of steps, because the trials of a
table often end at slightly different steps."""
RARE = 3
"""Number of trials of one size that makes a number of steps common. A rarer number of steps is
replaced by the common one below it (a run that continued longer); where none is below, the trials
were cut short."""
TARGET_FIDELITY_SHARE = 0.5
"""Smallest fraction of a sweep's cost that is spent at the target fidelity (docs/evidence.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """Fidelity: the size of a proxy and its number of steps."""

    size: float
    """Non-embedding parameters."""
    steps: float
    """Optimizer steps."""

    @property
    def cost(self) -> float:
        """Cost of a trial, size x steps, in units that compare only with each other."""
        return self.size * self.steps

    def beyond(self, other: "Fidelity") -> str:
        """Names the quantities in which this fidelity exceeds another: `at a larger size`, `for
        more steps`."""
        larger = ["at a larger size"] if self.size > other.size else []
        longer = ["for more steps"] if self.steps > other.steps else []
        return " and ".join(larger + longer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelities:
    """Fidelities of a sweep's trials."""

    choices: tuple[Fidelity, ...]
    """Fidelities to choose from; the target fidelity is the first."""
    finished: Sequence[Fidelity]
    """Fidelities of the finished trials."""
    running: Sequence[Fidelity]
    """Fidelities of the running trials."""

    def of(self, candidates: int) -> list[Fidelity]:
        """Returns the fidelities of `candidates` mixtures at every choice: first all mixtures at
        the first fidelity, then all at the next."""
        return [fidelity for fidelity in self.choices for _ in range(candidates)]


def fidelities_of(table: LossTable) -> list[Fidelity]:
    """Returns the fidelity of each trial of a table, in the order of `LossTable.last_rows`: the
    last step, and the size (1 where the table gives none).

    A trial that was cut short, below the smallest common number of steps of its size, keeps its own
    last step: its losses count at that step and at that cost.
    """
    rows = table.last_rows()
    sizes, steps = np.nan_to_num(table.sizes[rows], nan=1.0), table.steps[rows]
    groups: list[float] = []
    for step in np.unique(steps)[::-1].tolist():
        if not groups or step < SAME_STEPS * groups[-1]:
            groups.append(step)
    steps = np.array(groups[::-1])[np.searchsorted(groups[::-1], steps)]
    for size in np.unique(sizes):
        there = sizes == size
        ends, counts = np.unique(steps[there], return_counts=True)
        common = ends[counts >= RARE] if (counts >= RARE).any() else ends
        below = np.searchsorted(common, steps[there], side="right")
        steps[there] = np.where(below > 0, common[np.maximum(below - 1, 0)], steps[there])
    return [
        Fidelity(size=size, steps=end)
        for size, end in zip(sizes.tolist(), steps.tolist(), strict=True)
    ]


def kinds_of(fidelities: Sequence[Fidelity]) -> list[Fidelity]:
    """Returns the distinct fidelities of `fidelities_of`, from the cheapest to the target fidelity,
    without those of trials that were cut short."""
    counts = Counter(fidelities)
    usual = {fidelity.size for fidelity, count in counts.items() if count >= RARE}
    kinds = [
        fidelity
        for fidelity, count in counts.items()
        if count >= RARE or fidelity.size not in usual
    ]
    target = target_fidelity(kinds)
    return [
        *sorted({*kinds} - {target}, key=lambda fidelity: (fidelity.cost, fidelity.size)),
        target,
    ]


def target_fidelity(fidelities: Iterable[Fidelity]) -> Fidelity:
    """Returns the target fidelity: the largest size, and the most steps at this size."""
    return max(fidelities, key=lambda fidelity: (fidelity.size, fidelity.steps))


def target_fidelity_due(fidelities: Sequence[Fidelity], target: Fidelity) -> bool:
    """Tells whether the target fidelity `target` has less than TARGET_FIDELITY_SHARE of the cost of
    trials at these fidelities."""
    return sum(
        fidelity.cost for fidelity in fidelities if fidelity == target
    ) < TARGET_FIDELITY_SHARE * sum(fidelity.cost for fidelity in fidelities)
