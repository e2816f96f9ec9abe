"""Estimates what a trial of some size and steps will use, from what earlier trials have used.

The cost of a trial is a start-up cost plus a rate times size x steps. Start-up does not grow with
size or steps: if the whole cost were scaled, a second of start-up in a trial of seconds would
become minutes in a trial of hours. The rate is measured between the points of a trial.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from bimix_sweep.design.fidelity import Fidelity
from bimix_sweep.sweep.history.history import SweepHistory


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """Start-up cost and cost per unit of one trial."""

    used: float
    start: float
    rate: float
    """Cost for each unit of `Fidelity.cost`, after the start-up."""
    finished: bool

    def of(self, fidelity: Fidelity) -> float:
        """Cost of this trial if it had fidelity `fidelity`."""
        return self.start + self.rate * fidelity.cost


class Prices:
    """Expected costs of trials, in the unit of `used`: core-hours, GPU-hours or seconds."""

    def __init__(
        self, history: SweepHistory, used: Mapping[str, float], signed: Mapping[str, float]
    ) -> None:
        """Estimates start-up cost and rate of each trial.

        Args:
            history: history of the sweep.
            used: {trial: what it has used until now}, in core-hours, GPU-hours or seconds.
            signed: {trial: what it had used at its last sign of life}, in the same unit.
        """
        self._at: dict[Fidelity, list[_Seen]] = {}
        self._longest = 0.0  # largest use of a running trial that has no points
        steady, seconds = history.hours.steady, history.hours.seconds
        sudden = []  # trials with one point an attempt: start-up unknown
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
                self._at.setdefault(record.fidelity, []).append(
                    _Seen(used=used[name], start=start, rate=rate, finished=finished)
                )
            else:
                sudden.append((record.fidelity, used[name], done, finished))
        start = sum(starts) / len(starts) if starts else 0.0
        for fidelity, total, done, finished in sudden:
            first = min(start, total)
            self._at.setdefault(fidelity, []).append(
                _Seen(used=total, start=first, rate=(total - first) / done, finished=finished)
            )

    def measured(self, fidelity: Fidelity) -> bool:
        """Whether a trial at fidelity `fidelity` has shown its rate."""
        return fidelity in self._at

    def of(self, fidelity: Fidelity) -> float:
        """Expected cost of a trial at fidelity `fidelity`; 0 while nothing is known.

        The estimate is the first of these that is available:

        * the mean cost of the finished trials at this fidelity;
        * the largest expected cost of the running trials at this fidelity, if they continue at
          their rate;
        * the mean cost that trials at the fidelity nearest in cost would have at this one;
        * the largest cost so far of a running trial that has no points.
        """
        there = self._at.get(fidelity, [])
        if finished := [seen.used for seen in there if seen.finished]:
            return sum(finished) / len(finished)
        if there:
            return max(seen.of(fidelity) for seen in there)
        if not self._at:
            return self._longest
        nearest = min(self._at, key=lambda known: abs(math.log(known.cost / fidelity.cost)))
        near = [seen for seen in self._at[nearest] if seen.finished] or self._at[nearest]
        return sum(seen.of(fidelity) for seen in near) / len(near)
