"""The numbers a person decides by, taken from the record of a running sweep."""

import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.sweep.history.history import SweepHistory
from bimix_sweep.sweep.history.snapshot import STATES

PHASES = ("sweep", "final trainings", "done")
RATE_SECONDS = 60.0
"""Points per second are counted over it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """A sweep at one moment, in numbers. What is not known yet is None or left out of its mapping."""

    name: str
    """Of the sweep."""
    phase: str
    """One of `PHASES`."""
    trials: Mapping[str, int]
    """{state: trainings in it}, the final ones among them."""
    points: int
    """Recorded, of trainings the law is fitted to."""
    points_per_second: float
    """Over the last minute, or since this process looked first."""
    optimum: Mapping[str, float]
    """Predicted best proportions by domain."""
    interval: Mapping[str, Sequence[float]]
    """Ends of each proportion's 95 % interval: what the posterior leaves open about where the optimum is."""
    objective_predicted: float | None
    """Weighted loss at the predicted optimum."""
    objective_best: float | None
    """Lowest weighted loss at the last step of a finished training of the (largest) size and the (most) steps that the optimum is for."""
    regret_expected: float | None
    """Expected regret of the predicted optimum, a fraction of its loss."""
    regret_upper95: float | None
    """Its 95 % bound."""
    tolerance: float
    """Expected regret at which the sweep stops."""
    law_error: Mapping[str, float]
    """{target: mean relative error of the chosen law on mixtures left out of its fit}."""
    refit_seconds: float | None
    """Of the last refit."""
    core_hours: float
    """CPU core-hours of all attempts at trainings."""
    gpu_hours: float
    """The same of GPU-hours."""
    budget_left: Mapping[str, float]
    """{"trials", "core_hours", "gpu_hours": what may still be spent}, each only where it is limited."""
    information_per_core_hour: float | None
    """What an hour teaches: see `information_rate`; None before two refits with a law."""


class Figurer:
    """Takes the figures again and again; keeps what cannot change, so that a look costs as little after 2000 trainings as after 20."""

    def __init__(self) -> None:
        self._spec: SweepSpec | None = None
        self._objectives: dict[str, float | None] = {}  # of finished trainings
        self._seen: deque[tuple[float, int]] = deque()  # (monotonic seconds, points)

    def take(self, history: SweepHistory) -> Figures:
        """The figures now."""
        spec, core_hours, gpu_hours = (
            history.spec,
            history.hours.core_hours,
            history.hours.gpu_hours,
        )
        if self._spec is not spec:  # another question: other weights, other domains
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
                and record.role in ("sweep", "final")
                and record.scale == spec.asked
                and name not in self._objectives
            ):
                self._objectives[name] = history.objective(name)
        last = next((event for event in reversed(history.refits) if event["optimum"]), None)
        optimum, decision = (last["optimum"], last["decision"]) if last else ({}, {})
        limits = {
            "core_hours": (spec.core_hours, core_hours),
            "gpu_hours": (spec.gpu_hours, gpu_hours),
        }
        return Figures(
            name=history.first["name"],
            phase=phase(history),
            trials=trials,
            points=points,
            points_per_second=self._rate(points),
            optimum=optimum.get("mixture", {}),
            interval=optimum.get("interval", {}),
            objective_predicted=optimum.get("objective"),
            objective_best=min(
                (value for value in self._objectives.values() if value is not None), default=None
            ),
            regret_expected=decision.get("regret_expected"),
            regret_upper95=decision.get("regret_upper95"),
            tolerance=spec.tolerance,
            law_error=last["law"].get("error", {}) if last else {},
            refit_seconds=history.refits[-1]["seconds"] if history.refits else None,
            core_hours=core_hours,
            gpu_hours=gpu_hours,
            budget_left={"trials": spec.max_trials - proposed}
            | {
                unit: max(0.0, most - spent)
                for unit, (most, spent) in limits.items()
                if most is not None
            },
            information_per_core_hour=information_rate(history.refits, points, core_hours),
        )

    def _rate(self, points: int) -> float:
        now = time.monotonic()
        while len(self._seen) > 1 and now - self._seen[1][0] >= RATE_SECONDS:
            self._seen.popleft()
        self._seen.append((now, points))
        since, before = self._seen[0]
        return max(0, points - before) / (now - since) if now > since else 0.0


def phase(history: SweepHistory) -> str:
    """How far a sweep is, one of `PHASES`."""
    return "done" if history.complete else "sweep" if history.finals is None else "final trainings"


def information_rate(
    refits: Sequence[Mapping[str, Any]], points: int, core_hours: float
) -> float | None:
    """Nats by which the log of the expected regret falls per core-hour of training; .69 means that an hour halves the regret.

    The slope of a least-squares line of -ln(expected regret) over points, through the refits since half of today's points
    were there, times the points that a core-hour has brought so far. It scatters as the regret's estimate does, and is
    below 0 while new points show that the law knew less than it said.

    Args:
        refits: `refit` events in order.
        points: recorded so far.
        core_hours: used so far.

    Returns:
        None while fewer than two such refits differ in their points.
    """
    xs, ys = [], []
    for event in reversed(refits):
        if event["num_points"] < points / 2:
            break
        regret = event["decision"].get("regret_expected")
        if regret is not None and regret > 0:
            xs.append(event["num_points"])
            ys.append(-math.log(regret))
    if core_hours <= 0 or len(set(xs)) < 2:
        return None
    x, y = np.array(xs) - np.mean(xs), np.array(ys)
    return float(x @ y / (x @ x)) * points / core_hours
