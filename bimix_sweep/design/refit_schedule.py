"""Which law a proposal is made from: the chain of fits that proposals carry.

Up to EACH trainings every proposal is made from a law of everything recorded, and where many run at once from one that lacks the last few
of those that ended (SHARE). A fit costs the square to the cube of the trainings, so beyond, a law serves until GROWTH of further trainings have
ended; those that began since count as seen. The first proposal made from
a law carries where the next fit starts and what the law had seen, so proposals stay a function of the record, also after
a restart, which fits that law once more.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from bimix_sweep.law.fitting.warm_start import WarmStart
from bimix_sweep.law.posterior.fitted_law import FittedLaw

T = TypeVar("T")

EACH = 100
"""Trainings up to which nothing is put off."""
GROWTH = 0.05
"""Share of the trainings beyond that must end before the next fit: at 2000 of them one fit for 95 proposals."""
SHARE = 1 / 16
"""Of the slots: so many trainings at least must end before the next fit. With 64 slots a proposal lacks the results of 64 that run anyway, so 4 more
change little, and where trainings are short their slots would wait for fits."""

FIRST, LAST = 150, 450
"""Trainings that a law sees while the sweep goes on: where there are more, the first ones, which spread widely, and the last, chosen for what
was open then. A fit takes the cube of them in time and the square in memory. The law that the final trainings test sees all."""


def in_view(evidence: Sequence[T]) -> Sequence[T]:
    """Of trainings in the order they were proposed, those that a law sees while the sweep goes on."""
    return evidence if len(evidence) <= FIRST + LAST else [*evidence[:FIRST], *evidence[-LAST:]]


def due(num_over: int, slots: int) -> int:
    """How many trainings must have ended since the last fit for the next one, where so many are over and `slots` run at a time."""
    return max(1, int(SHARE * slots), int(GROWTH * (num_over - EACH)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """How far a sweep's record had come."""

    num_points: int
    """Points of trainings that are evidence."""
    num_over: int
    """Trainings that had ended."""
    num_failed: int
    """Failed ones among them."""
    num_proposals: int
    """Proposals made before."""


class LawChain:
    """The laws of proposals, one after another, each fitted from the start that an earlier one left."""

    def __init__(
        self, fit: Callable[[Moment, WarmStart | None], FittedLaw | None], slots: int
    ) -> None:
        """An empty chain of a sweep with so many slots; `fit` gives the law of what was recorded at a moment, None where that determines none."""
        self._fit, self._slots = fit, slots
        self._links: list[tuple[Moment, Mapping[str, Any]]] = []
        self._last: tuple[Moment, FittedLaw] | None = None

    def carried(self, moment: Moment, law: FittedLaw) -> dict[str, Any]:
        """What a proposal made from that law carries: JSON, empty where an earlier one carries it already."""
        if self._links and self._links[-1][0] == moment:
            return {}
        return {"num_over": moment.num_over, **WarmStart.of(law).to_json()}

    def link(self, moment: Moment, carried: Mapping[str, Any]) -> None:
        """Take in what a proposal carries, when it is made or read again."""
        self._links.append((moment, carried))

    def law(self, now: Moment) -> tuple[Moment, FittedLaw] | None:
        """The law to propose from and the moment that it is of; None while what was recorded determines none."""
        return self.law_of(now if self._stale(now) else self._links[-1][0])

    def law_of(self, moment: Moment) -> tuple[Moment, FittedLaw] | None:
        """The law of exactly that moment."""
        if self._last is None or self._last[0] != moment:
            starts = [
                carried for link, carried in self._links if link.num_points < moment.num_points
            ]
            law = self._fit(moment, WarmStart.from_json(starts[-1]) if starts else None)
            self._last = (moment, law) if law else None
        return self._last

    def _stale(self, now: Moment) -> bool:
        if not self._links:
            return True
        of = self._links[-1][0]
        if (of.num_points, of.num_failed) == (now.num_points, now.num_failed):
            return False
        needed = due(now.num_over, self._slots)
        return needed == 1 or now.num_over - of.num_over >= needed
