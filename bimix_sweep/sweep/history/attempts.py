"""Attempts at trials: how often one is tried again, how long it waits, may be silent and may last.

A sign of life of an attempt is its start, a point, or its end. An attempt that begins anew repeats points that are
recorded already: these are signs of life, too, but do not set the count of silent attempts back.
"""

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # workers load this too, and need no law
    from bimix_sweep.sweep.history.history import SweepHistory

ATTEMPTS = 12
"""At a trial without a new point in between, the later ones a minute apart; then it has failed."""
SILENT_ATTEMPTS = 3
"""Attempts in a row that ended by `resources.max_silence`; then the trial has failed."""
MAX_WAIT_SECONDS = 60.0
"""Longest wait before an attempt that follows fruitless ones."""
SILENCE_FACTOR, MIN_SILENCE_SECONDS = 10.0, 600.0
"""With `max_silence: auto` a trial may be silent for so many times the longest time between two
signs of life of those that finished, and at least for so many seconds: a first point comes after
imports and compiling."""
END_SECONDS = 60.0
"""For a worker to end after its trial has ended: a command has 30 s between SIGTERM and SIGKILL."""


def wait_seconds(fruitless: int) -> float:
    """Exponential back-off before an attempt.

    `fruitless` counts the attempts without a new point, this one included.
    """
    return min(MAX_WAIT_SECONDS, 2.0 ** (fruitless - 3)) if fruitless > 2 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptLimits:
    """How long an attempt may be silent, and a trial may last."""

    max_silence: float | Literal["auto"] | None = None
    """Seconds; None for no limit."""
    max_hours: float | None = None
    """Wall hours of all attempts at a trial together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overdue:
    """A trial whose worker must be killed, or which must fail."""

    trial: str
    said: str
    """Why, for a person."""
    kill: bool
    fails: bool


class Attempts:
    """When the attempt at each running trial gave its last sign of life."""

    def __init__(self, limits: AttemptLimits) -> None:
        self._limits = limits
        self._signs: dict[str, float] = {}
        self._silent: dict[str, int] = {}  # attempts in a row that were ended for their silence
        self._ended: dict[str, float] = {}  # trials that ended and whose workers live

    def begin(self, trial: str, now: float) -> None:
        """An attempt begins at `now`, which may lie ahead."""
        self._signs[trial] = now

    def point(self, trial: str, now: float) -> None:
        """A new point is recorded."""
        self._signs[trial] = now
        self._silent.pop(trial, None)

    def repeated(self, trial: str, now: float) -> None:
        """A point that was recorded before is reported again."""
        self._signs[trial] = now

    def overdue(
        self, living: Collection[str], history: "SweepHistory", now: float
    ) -> Iterator[Overdue]:
        """What must be done about trials that are too slow; each attempt is named once.

        Args:
            living: trials that have a worker now, which may have been started a moment ago.
            history: of the sweep.
            now: seconds, by the clock of the history.
        """
        self._signs = {name: self._signs.get(name, now) for name in living}
        self._ended = {name: since for name, since in self._ended.items() if name in living}
        for name in living:
            if history.state.trials[name].state != "running":
                if now - self._ended.setdefault(name, now) > END_SECONDS:
                    del self._ended[name]
                    said = f"the worker of {name}, which has ended, did not end by itself: killed"
                    yield Overdue(trial=name, said=said, kill=True, fails=False)
            elif (late := self._too_long(name, history)) is not None:
                yield Overdue(trial=name, said=late, kill=False, fails=True)
            elif now - self._signs[name] > (limit := self.max_silence(name, history)):
                yield self._too_silent(name, limit, now)

    def max_silence(self, trial: str, history: "SweepHistory") -> float:
        """Seconds that a trial may be silent; infinite where nothing limits it.

        With `auto` that follows from the trials that finished. One of more steps or a larger size
        may be silent for longer, as its cost says.
        """
        given = self._limits.max_silence
        if given != "auto":
            return math.inf if given is None else given
        scale = history.state.trials[trial].scale
        longest = [
            seconds * max(1.0, scale.cost / seen.cost) for seen, seconds in history.longest.items()
        ]
        return max(MIN_SILENCE_SECONDS, SILENCE_FACTOR * max(longest)) if longest else math.inf

    def _too_silent(self, trial: str, limit: float, now: float) -> Overdue:
        self._signs[trial] = now  # of the next attempt, which may be slow to begin
        count = self._silent[trial] = self._silent.get(trial, 0) + 1
        what = f"reported nothing for {limit:.0f} s (resources.max_silence)"
        if count < SILENT_ATTEMPTS:
            said = f"{trial} {what}; its worker is killed and it is tried again"
            return Overdue(trial=trial, said=said, kill=True, fails=False)
        said = f"{count} attempts in a row {what}"
        return Overdue(trial=trial, said=said, kill=True, fails=True)

    def _too_long(self, trial: str, history: "SweepHistory") -> str | None:
        limit = self._limits.max_hours
        if limit is None or history.hours.lasted(trial, history.clock.now()) <= 3600 * limit:
            return None
        return f"it has lasted longer than resources.max_hours, {limit:g}"
