"""Computes the numbers that a user decides by from the history of a running sweep."""

import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.sweep.history.history import SweepHistory
from bimix_sweep.sweep.history.refits import PastRefit, last_with_optimum
from bimix_sweep.sweep.history.snapshot import STATES, phase_of
from bimix_sweep.sweep.history.usage import Hours

RATE_SECONDS = 60.0
"""Window in seconds over which points per second are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """A sweep at one moment, in numbers.

    A number that is not known yet is None, or is left out of its mapping.
    """

    name: str
    """Name of the sweep."""
    phase: str
    """One of `snapshot.PHASES`."""
    trials: Mapping[str, int]
    """{state: number of trials}, including the confirmation trials."""
    points: int
    """Number of recorded points of the trials to which the law is fitted."""
    points_per_second: float
    """Points per second over the last minute, or since the first call in this process."""
    optimum: Mapping[str, float]
    """{domain: predicted best proportion}."""
    interval: Mapping[str, Sequence[float]]
    """{domain: [low, high]}, the posterior's 95 % interval of the optimum's proportion."""
    objective_predicted: float | None
    """Weighted loss at the predicted optimum."""
    objective_best: float | None
    """Lowest weighted loss at the last step of a finished trial at the target fidelity."""
    regret_expected: float | None
    """Expected regret of the predicted optimum, as a fraction of its loss."""
    regret_upper95: float | None
    """Upper 95 % bound of the regret, as a fraction of the loss."""
    tolerance: float
    """Expected regret at which the sweep stops."""
    law_error: Mapping[str, float]
    """{target: mean relative error of the chosen law on held-out mixtures}."""
    refit_seconds: float | None
    """Duration of the last refit in seconds."""
    core_hours: float
    """CPU core-hours of all attempts at trials."""
    gpu_hours: float
    """GPU-hours of all attempts at trials."""
    budget_left: Mapping[str, float]
    """{"trials", "core_hours", "gpu_hours": what is left of the budget}, only for limited ones."""
    information_per_core_hour: float | None
    """Result of `information_rate`; None before two refits with a law."""


class StatisticsCollector:
    """Computes the statistics repeatedly, and caches what cannot change.

    A call therefore costs about as much after 2000 trials as after 20.
    """

    def __init__(self) -> None:
        self._spec: SweepSpec | None = None
        self._objectives: dict[str, float | None] = {}  # by finished trial
        self._seen: deque[tuple[float, int]] = deque()  # (monotonic seconds, points)

    def take(self, history: SweepHistory) -> Statistics:
        """The statistics of a sweep now."""
        spec, hours = history.spec, history.hours
        if self._spec is not spec:  # a changed spec: other weights or domains
            self._spec, self._objectives = spec, {}
        trials = dict.fromkeys(STATES, 0)
        points = proposed = 0
        for name, record in history.state.trials.items():
            trials[record.state] += 1
            if record.role == "sweep":
                points += len(record.points)
                proposed += 1
            if (
                record.state == "finished"
                and record.role in ("sweep", "confirmation")
                and record.fidelity == spec.target_fidelity
                and name not in self._objectives
            ):
                self._objectives[name] = history.objective(name)
        last = last_with_optimum(history.refits)
        optimum, decision = (last.optimum, last.decision) if last else (None, None)
        return Statistics(
            name=history.first.name,
            phase=phase_of(history),
            trials=trials,
            points=points,
            points_per_second=self._rate(points),
            optimum=optimum.mixture if optimum else {},
            interval=optimum.interval if optimum else {},
            objective_predicted=optimum.objective if optimum else None,
            objective_best=min(
                (value for value in self._objectives.values() if value is not None), default=None
            ),
            regret_expected=decision.regret_expected if decision else None,
            regret_upper95=decision.regret_upper95 if decision else None,
            tolerance=spec.tolerance,
            law_error=last.law.error if last and last.law else {},
            refit_seconds=history.refits[-1].seconds if history.refits else None,
            core_hours=hours.core_hours,
            gpu_hours=hours.gpu_hours,
            budget_left=_budget_left(spec, proposed, hours),
            information_per_core_hour=information_rate(history.refits, points, hours.core_hours),
        )

    def _rate(self, points: int) -> float:
        now = time.monotonic()
        while len(self._seen) > 1 and now - self._seen[1][0] >= RATE_SECONDS:
            self._seen.popleft()
        self._seen.append((now, points))
        since, before = self._seen[0]
        return max(0, points - before) / (now - since) if now > since else 0.0


def _budget_left(spec: SweepSpec, proposed: int, hours: Hours) -> dict[str, float]:
    """Computes `Statistics.budget_left`, after `proposed` trials."""
    limits = {
        "core_hours": (spec.core_hours, hours.core_hours),
        "gpu_hours": (spec.gpu_hours, hours.gpu_hours),
    }
    return {"trials": spec.max_trials - proposed} | {
        unit: max(0.0, limit - spent)
        for unit, (limit, spent) in limits.items()
        if limit is not None
    }


def information_rate(refits: Sequence[PastRefit], points: int, core_hours: float) -> float | None:
    """Nats by which the log of the expected regret falls per core-hour of trials.

    A value of 0.69 means that each core-hour halves the regret. The value is the slope of a
    least-squares line of -ln(expected regret) over points, times the points per core-hour so far.
    The line goes through the refits since half of the present points were recorded. The value
    scatters as the estimate of the regret does. A negative value means that new points show that
    the law was overconfident.

    Args:
        refits: the refits in order.
        points: number of points recorded so far.
        core_hours: core-hours used so far.

    Returns:
        None while fewer than two such refits have different numbers of points.
    """
    xs, ys = [], []
    for refit in reversed(refits):
        if refit.num_points < points / 2:
            break
        regret = refit.decision.regret_expected
        if regret is not None and regret > 0:
            xs.append(refit.num_points)
            ys.append(-math.log(regret))
    if core_hours <= 0 or len(set(xs)) < 2:
        return None
    x, y = np.array(xs) - np.mean(xs), np.array(ys)
    return float(x @ y / (x @ x)) * points / core_hours
