"""Attempts at trials: how many there may be, how long one waits, and how long one may be silent.

The signs of life of an attempt are its start, its points and its end. An attempt that begins anew
repeats points that are already recorded. These points are signs of life too, but they do not reset
the count of silent attempts.
"""

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # workers import this file too, and need no law
    from bimix_sweep.sweep.history.history import SweepHistory

ATTEMPTS = 12
"""Attempts without a new point after which a trial fails; the later ones are a minute apart."""
SILENT_ATTEMPTS = 3
"""Consecutive attempts ended by `resources.max_silence` after which a trial has failed."""
MAX_WAIT_SECONDS = 60.0
"""Longest wait in seconds before an attempt that follows attempts without a new point."""
SILENCE_FACTOR, MIN_SILENCE_SECONDS = 10.0, 600.0
"""Factor and minimum for `max_silence: auto`.

A trial may be silent for SILENCE_FACTOR times the longest time between two signs of life of the
finished trials, and for at least MIN_SILENCE_SECONDS, because a first point comes after imports and
compilation.
"""
NOTE_SECONDS = 1800.0
"""Silence in seconds that is reported if no trial has finished, when `max_silence: auto` is no limit.
"""
END_SECONDS = 60.0
"""Seconds for a worker to end after its trial; a command has 30 s from SIGTERM to SIGKILL."""


def wait_seconds(fruitless: int) -> float:
    """Exponential back-off before an attempt, in seconds.

    Args:
        fruitless: number of attempts without a new point, including this one.
    """
    return min(MAX_WAIT_SECONDS, 2.0 ** (fruitless - 3)) if fruitless > 2 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptLimits:
    """Limits on the silence of an attempt and on the duration of a trial."""

    max_silence: float | Literal["auto"] | None = None
    """Longest silence in seconds; None for no limit."""
    max_hours: float | None = None
    """Longest wall time in hours of all attempts at a trial together; None for no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overdue:
    """A trial whose worker must be killed, or which must fail."""

    trial: str
    reason: str
    """Message for the user with the reason."""
    kill: bool
    fails: bool


class Attempts:
    """Tracks the last sign of life of the attempt at each running trial."""

    def __init__(self, limits: AttemptLimits) -> None:
        self._limits = limits
        self._signs: dict[str, float] = {}
        self._silent: dict[str, int] = {}  # consecutive attempts that were ended as silent
        self._ended: dict[str, float] = {}  # {trial that ended but whose worker lives: since when}
        self._told = False  # of a silence without a limit

    def begin(self, trial: str, now: float) -> None:
        """Records that an attempt begins at `now`, which may be in the future."""
        self._signs[trial] = now

    def point(self, trial: str, now: float) -> None:
        """Records a new point of a trial."""
        self._signs[trial] = now
        self._silent.pop(trial, None)

    def repeated(self, trial: str, now: float) -> None:
        """Records that a trial reported a point that was already recorded."""
        self._signs[trial] = now

    def overdue(
        self, living: Collection[str], history: "SweepHistory", now: float
    ) -> Iterator[Overdue]:
        """Yields the trials that are too slow or too silent; each attempt is reported once.

        Args:
            living: trials that have a worker now; the worker may have started just now.
            history: history of the sweep.
            now: seconds, by the history's clock.
        """
        self._signs = {name: self._signs.get(name, now) for name in living}
        self._ended = {name: since for name, since in self._ended.items() if name in living}
        for name in living:
            if history.state.trials[name].state != "running":
                if now - self._ended.setdefault(name, now) > END_SECONDS:
                    del self._ended[name]
                    reason = f"the worker of {name}, which has ended, did not end by itself: killed"
                    yield Overdue(trial=name, reason=reason, kill=True, fails=False)
            elif (late := self._too_long(name, history)) is not None:
                yield Overdue(trial=name, reason=late, kill=False, fails=True)
            elif now - self._signs[name] > (limit := self.max_silence(name, history)):
                yield self._too_silent(name, limit, now)
            elif self._unlimited(limit) and now - self._signs[name] > NOTE_SECONDS:
                self._told = True
                reason = (
                    f"note: {name} has reported nothing for {NOTE_SECONDS:.0f} s; if it hangs, set "
                    "resources.max_silence to a number of seconds, which ends such trials"
                )
                yield Overdue(trial=name, reason=reason, kill=False, fails=False)

    def _unlimited(self, limit: float) -> bool:
        """Whether `auto` gives no limit yet, and no silence was reported yet."""
        return limit == math.inf and self._limits.max_silence == "auto" and not self._told

    def max_silence(self, trial: str, history: "SweepHistory") -> float:
        """Longest silence in seconds that a trial may have; infinite if there is no limit.

        With `auto` the limit follows from the finished trials. A trial with more steps or a larger
        size may be silent for longer, in proportion to its cost.
        """
        given = self._limits.max_silence
        if given != "auto":
            return math.inf if given is None else given
        fidelity = history.state.trials[trial].fidelity
        longest = [
            seconds * max(1.0, fidelity.cost / seen.cost)
            for seen, seconds in history.longest.items()
        ]
        return max(MIN_SILENCE_SECONDS, SILENCE_FACTOR * max(longest)) if longest else math.inf

    def _too_silent(self, trial: str, limit: float, now: float) -> Overdue:
        self._signs[trial] = now  # start of the next attempt, which may be slow
        count = self._silent[trial] = self._silent.get(trial, 0) + 1
        what = f"reported nothing for {limit:.0f} s (resources.max_silence)"
        if count < SILENT_ATTEMPTS:
            reason = f"{trial} {what}; its worker is killed and it is tried again"
            return Overdue(trial=trial, reason=reason, kill=True, fails=False)
        reason = f"{count} attempts in a row {what}"
        return Overdue(trial=trial, reason=reason, kill=True, fails=True)

    def _too_long(self, trial: str, history: "SweepHistory") -> str | None:
        limit = self._limits.max_hours
        if limit is None or history.hours.lasted(trial, history.clock.now()) <= 3600 * limit:
            return None
        return f"it has lasted longer than resources.max_hours, {limit:g}"
