"""What a training of some size and steps is expected to use, from what trainings of a sweep have used so far.

Start-up does not grow with size or steps: a second of it in a training of seconds would become minutes in one of hours, were the whole
scaled. So a training is taken to use a start and then so much per size x step, and the latter is what passes between its points.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from bimix_sweep.design.fidelity import Scale
from bimix_sweep.sweep.history.history import SweepHistory


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What one training tells."""

    used: float
    start: float
    rate: float
    """For each unit of `Scale.cost`, after the start."""
    finished: bool

    def of(self, scale: Scale) -> float:
        return self.start + self.rate * scale.cost


class Prices:
    """Prices of trainings, in the unit in which it is given what they used."""

    def __init__(
        self, history: SweepHistory, used: Mapping[str, float], signed: Mapping[str, float]
    ) -> None:
        """
        Args:
            history: of the sweep.
            used: {training: what it used until now}: core-hours, GPU-hours or seconds.
            signed: the same until its last sign of life.
        """
        self._at: dict[Scale, list[_Seen]] = {}
        self._longest = 0.0  # of running trainings that have not shown yet how fast they are
        steady, seconds = history.hours.steady, history.hours.seconds
        sudden = []  # trainings with one point an attempt, of which the start is not known
        starts = []
        for name, record in history.state.trials.items():
            if name not in used or record.state == "failed":
                continue
            finished = record.state == "finished"
            done = record.size * (record.steps if finished else max(record.points, default=0))
            if not done:
                self._longest = max(self._longest, used[name])
            elif name in steady and seconds.get(name, 0.0) > 0:
                passed, steps = steady[name]
                rate = passed / steps / record.size * signed.get(name, 0.0) / seconds[name]
                start = max(0.0, signed.get(name, 0.0) - rate * done)
                starts.append(start)
                self._at.setdefault(record.scale, []).append(
                    _Seen(used=used[name], start=start, rate=rate, finished=finished)
                )
            else:
                sudden.append((record.scale, used[name], done, finished))
        start = sum(starts) / len(starts) if starts else 0.0
        for scale, total, done, finished in sudden:
            first = min(start, total)
            self._at.setdefault(scale, []).append(
                _Seen(used=total, start=first, rate=(total - first) / done, finished=finished)
            )

    def measured(self, scale: Scale) -> bool:
        """A training there has shown how fast it is."""
        return scale in self._at

    def of(self, scale: Scale) -> float:
        """Expected of a training there; 0 while nothing is known.

        The mean of those that finished there; before any did, what the longest running one there comes to if it goes on as between its points;
        before any has points, what those at the scale nearest in cost would use there.
        """
        there = self._at.get(scale, [])
        if finished := [seen.used for seen in there if seen.finished]:
            return sum(finished) / len(finished)
        if there:
            return max(seen.of(scale) for seen in there)
        if not self._at:
            return self._longest
        nearest = min(self._at, key=lambda known: abs(math.log(known.cost / scale.cost)))
        near = [seen for seen in self._at[nearest] if seen.finished] or self._at[nearest]
        return sum(seen.of(scale) for seen in near) / len(near)
