"""What a training is besides its mixture: how large its proxy is and for how many steps it trains."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from bimix_sweep.mixture.table import LossTable

SAME_STEPS = 0.9
"""Last steps of a table's trainings of which the smaller is at least this part of the larger are one number of steps: their ends are ragged."""
RARE = 3
"""A number of steps that fewer trainings of a size have is taken for the one below, some run that went on; where none is below, they were cut short."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The size of a proxy and its number of steps."""

    size: float
    """Non-embedding parameters."""
    steps: float
    """Optimizer steps."""

    @property
    def cost(self) -> float:
        """What a training costs, in units that only compare with each other."""
        return self.size * self.steps

    def beyond(self, other: "Scale") -> str:
        """In what it exceeds another one, in words: `at a larger size`, `for more steps`."""
        said = [
            word
            for word, more in (
                ("at a larger size", self.size > other.size),
                ("for more steps", self.steps > other.steps),
            )
            if more
        ]
        return " and ".join(said)


def scales_of(table: LossTable) -> list[Scale]:
    """Of each training of a table, in the order of `LossTable.last_rows`: its last step, and its size, 1 where the table gives none.

    One that was cut short, below the fewest steps that are common at its size, keeps its own: it tells what it tells at that step, at what it costs.
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
        Scale(size=size, steps=end)
        for size, end in zip(sizes.tolist(), steps.tolist(), strict=True)
    ]


def kinds_of(scales: Sequence[Scale]) -> list[Scale]:
    """The different ones among `scales_of`, from the cheapest to the dearest, without those of trainings that were cut short."""
    counts = Counter(scales)
    usual = {scale.size for scale, count in counts.items() if count >= RARE}
    kinds = [scale for scale, count in counts.items() if count >= RARE or scale.size not in usual]
    asked = dearest(kinds)
    return [*sorted({*kinds} - {asked}, key=lambda scale: (scale.cost, scale.size)), asked]


def dearest(scales: Iterable[Scale]) -> Scale:
    """Of the largest size, and there of the most steps: the one that is asked about."""
    return max(scales, key=lambda scale: (scale.size, scale.steps))
