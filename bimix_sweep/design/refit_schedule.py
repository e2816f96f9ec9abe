"""Refit schedule: when a new law is fitted for proposals, and the warm-start state stored with the
first proposal made from it.

Up to EACH finished trials, a new law is fitted for each proposal when there is new evidence; where
many trials run at once, some more must end first (SHARE). The cost of a fit grows with the square
to the cube of the number of trials. Therefore, beyond EACH trials, a law is used until a fraction
GROWTH of further trials has ended; trials that began since then are taken as measured. The first
proposal made from a law stores the start of the next fit and the record position of the law.
Proposals are therefore a function of the record, also after a restart, which fits this law once
more.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from bimix_sweep.law.fitting.warm_start import WarmStart
from bimix_sweep.law.posterior.fitted_law import FittedLaw

T = TypeVar("T")

EACH = 100
"""Number of finished trials up to which GROWTH does not delay a fit."""
GROWTH = 0.05
"""Fraction of the finished trials beyond EACH that must end before the next fit
(docs/evidence.md)."""
SHARE = 1 / 16
"""The next fit waits until at least SHARE x slots trials have ended (docs/evidence.md)."""

FIRST, LAST = 150, 450
"""Window of trials that a law is fitted to while the sweep is running: the first ones, which spread
widely, and the last ones, chosen for the questions still open. The time of a fit grows with the
cube of the number of trials, the memory with the square. The law that the confirmation trials test
is fitted to all trials."""


def in_window(evidence: Sequence[T]) -> Sequence[T]:
    """Returns the trials that a law is fitted to while the sweep is running: the first FIRST and
    the last LAST of `evidence`, which is in the order of the proposals."""
    return evidence if len(evidence) <= FIRST + LAST else [*evidence[:FIRST], *evidence[-LAST:]]


def due(num_over: int, slots: int) -> int:
    """Returns how many trials must end after a fit before the next fit, when `num_over` trials have
    ended and `slots` run at a time."""
    return max(1, int(SHARE * slots), int(GROWTH * (num_over - EACH)))


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPosition:
    """Position in a sweep's record: how much was recorded at one time."""

    num_points: int
    """Number of points of trials that are evidence."""
    num_over: int
    """Number of trials that had ended."""
    num_failed: int
    """Number of failed trials among these."""
    num_proposals: int
    """Number of proposals made before."""


class RefitSchedule:
    """The sequence of laws that proposals are made from; each fit starts from the warm-start state
    that an earlier fit stored."""

    def __init__(
        self, fit: Callable[[RecordPosition, WarmStart | None], FittedLaw | None], slots: int
    ) -> None:
        """Makes an empty schedule for a sweep with `slots` slots. `fit` returns the law of what was
        recorded at a position, or None where the record determines none."""
        self._fit, self._slots = fit, slots
        self._warm_starts: list[tuple[RecordPosition, Mapping[str, Any]]] = []
        self._last: tuple[RecordPosition, FittedLaw] | None = None

    def warm_start(self, position: RecordPosition, law: FittedLaw) -> dict[str, Any]:
        """Returns the JSON that a proposal made from this law stores; empty where an earlier
        proposal stores it already."""
        if self._warm_starts and self._warm_starts[-1][0] == position:
            return {}
        return {"num_over": position.num_over, **WarmStart.of(law).to_json()}

    def append(self, position: RecordPosition, warm_start: Mapping[str, Any]) -> None:
        """Appends what a proposal stores, when the proposal is made or is read from the journal."""
        self._warm_starts.append((position, warm_start))

    def law(self, now: RecordPosition) -> tuple[RecordPosition, FittedLaw] | None:
        """Returns the law to propose from and its record position; None while the record determines
        no law."""
        return self.law_of(now if self._stale(now) else self._warm_starts[-1][0])

    def law_of(self, position: RecordPosition) -> tuple[RecordPosition, FittedLaw] | None:
        """Returns the law of exactly this record position, and the position; None where the record
        determines no law."""
        if self._last is None or self._last[0] != position:
            starts = [
                warm_start
                for link, warm_start in self._warm_starts
                if link.num_points < position.num_points
            ]
            law = self._fit(position, WarmStart.from_json(starts[-1]) if starts else None)
            self._last = (position, law) if law else None
        return self._last

    def _stale(self, now: RecordPosition) -> bool:
        if not self._warm_starts:
            return True
        of = self._warm_starts[-1][0]
        if (of.num_points, of.num_failed) == (now.num_points, now.num_failed):
            return False
        needed = due(now.num_over, self._slots)
        return needed == 1 or now.num_over - of.num_over >= needed
