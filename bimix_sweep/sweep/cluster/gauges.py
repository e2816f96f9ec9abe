"""Gauges of a running sweep among Ray's metrics, which Prometheus collects.

Ray forgets a gauge that is not set again within two reports (20 s), so the LawActor's process sets
all gauges every five seconds. A restarted actor is another worker for Ray, and Ray reports both
workers for 20 s; a dashboard should therefore use `max by (sweep, folder, ...)`. A gauge `bimix_x`
arrives as `ray_bimix_x`. A value that is not known yet has no series.
"""

from collections.abc import Iterator
from typing import Any

from bimix_sweep.quoting import metric_label
from bimix_sweep.sweep.history.snapshot import PHASES
from bimix_sweep.sweep.history.statistics import Statistics

GAUGES: dict[str, tuple[str, str | None]] = {
    "bimix_optimum_proportion": ("Predicted best proportion of a domain", "domain"),
    "bimix_optimum_lower": ("2.5 % end of where the best proportion of a domain may lie", "domain"),
    "bimix_optimum_upper": (
        "97.5 % end of where the best proportion of a domain may lie",
        "domain",
    ),
    "bimix_regret_expected": (
        "Expected regret of the predicted optimum, a fraction of its loss",
        None,
    ),
    "bimix_regret_upper95": (
        "95 % bound of the regret of the predicted optimum, a fraction of its loss",
        None,
    ),
    "bimix_regret_tolerance": ("Expected regret at which the sweep stops", None),
    "bimix_objective_best": ("Lowest weighted loss measured at the end of a trial", None),
    "bimix_objective_predicted": ("Weighted loss predicted at the optimum", None),
    "bimix_law_error": ("Mean relative error of the law on mixtures left out of its fit", "target"),
    "bimix_law_error_mean": ("Mean over targets of the mean relative error of the law", None),
    "bimix_phase": ("1 for the phase the sweep is in, 0 for the others", "phase"),
    "bimix_trials": ("Trials by state", "state"),
    "bimix_points": ("Points recorded", None),
    "bimix_points_per_second": ("Points recorded per second over the last minute", None),
    "bimix_refit_seconds": ("Wall time of the last refit", None),
    "bimix_core_hours": ("CPU core-hours spent on trials", None),
    "bimix_gpu_hours": ("GPU-hours spent on trials", None),
    "bimix_budget_left": ("Budget that is left, by unit", "unit"),
    "bimix_information_per_core_hour": (
        "Fall of ln(expected regret) per core-hour, over the later half of the points",
        None,
    ),
}
"""{name: (description, name of its label beside `sweep` and `folder`, or None)}."""


class SweepGauges:
    """Sets the gauges of one sweep.

    The object can be sent to the process that sets the gauges: it uses Ray only from the first
    call.

    Args:
        folder: folder of the sweep; it distinguishes two sweeps of the same name.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._gauges: dict[str, Any] = {}

    def __call__(self, statistics: Statistics) -> None:
        """Sets all gauges whose values are known."""
        from ray.util.metrics import Gauge

        if not self._gauges:
            self._gauges = {
                name: Gauge(
                    name,
                    description=text,
                    tag_keys=("sweep", "folder", *([label] if label else [])),
                )
                for name, (text, label) in GAUGES.items()
            }
        tags = {"sweep": metric_label(statistics.name), "folder": metric_label(self._folder)}
        for name, label, value in readings(statistics):
            key = GAUGES[name][1]
            self._gauges[name].set(value, tags={**tags, key: metric_label(label)} if key else tags)


def readings(statistics: Statistics) -> Iterator[tuple[str, str, float]]:
    """Yields (gauge, value of its label or "", number) for every value that is known."""
    for domain, proportion in statistics.optimum.items():
        yield "bimix_optimum_proportion", domain, proportion
    for domain, (low, high) in statistics.interval.items():
        yield "bimix_optimum_lower", domain, low
        yield "bimix_optimum_upper", domain, high
    for target, error in statistics.law_error.items():
        yield "bimix_law_error", target, error
    for name in PHASES:
        yield "bimix_phase", name, float(name == statistics.phase)
    for state, count in statistics.trials.items():
        yield "bimix_trials", state, count
    for unit, left in statistics.budget_left.items():
        yield "bimix_budget_left", unit, left
    plain = {
        "bimix_regret_expected": statistics.regret_expected,
        "bimix_regret_upper95": statistics.regret_upper95,
        "bimix_regret_tolerance": statistics.tolerance,
        "bimix_objective_best": statistics.objective_best,
        "bimix_objective_predicted": statistics.objective_predicted,
        "bimix_law_error_mean": sum(statistics.law_error.values()) / len(statistics.law_error)
        if statistics.law_error
        else None,
        "bimix_points": statistics.points,
        "bimix_points_per_second": statistics.points_per_second,
        "bimix_refit_seconds": statistics.refit_seconds,
        "bimix_core_hours": statistics.core_hours,
        "bimix_gpu_hours": statistics.gpu_hours,
        "bimix_information_per_core_hour": statistics.information_per_core_hour,
    }
    for name, value in plain.items():
        if value is not None:
            yield name, "", value
