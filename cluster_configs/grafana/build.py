"""Writes bimix-sweep.json, the dashboard of running sweeps: python cluster_configs/grafana/build.py

The first row shows the decision (what to train on, how much may be lost by it), the second whether
the law can be believed, the third what the sweep costs. Every query is a `max by (...)`, because
Ray reports a restarted actor as another worker, and reports both workers for 20 s.
"""

import itertools
import json
from pathlib import Path

from grafana_foundation_sdk.builders import dashboard, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard as DashboardModel
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync
from panels import curves, latest, number, optimum_table, phase, variables

OUT = Path(__file__).with_name("bimix-sweep.json")
UID = "bimix-sweep"


def build() -> DashboardModel:
    """Makes the whole dashboard."""
    board = (
        dashboard.Dashboard("bimix-sweep")
        .uid(UID)
        .tags(["bimix-sweep"])
        .time("now-6h", "now")
        .refresh("5s")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
    )
    for variable in variables():
        board = board.with_variable(variable)
    rows: dict[str, list[stat.Panel | table.Panel | timeseries.Panel]] = {
        "The decision": [*_decision_numbers(), optimum_table(), _optimum_curves()],
        "Can it be believed?": [*_evidence()],
        "Throughput and cost": [*_throughput(), *_cost()],
    }
    ids = itertools.count(1)
    for title, panels in rows.items():
        board = board.with_row(dashboard.Row(title).id(next(ids)))
        for panel in panels:
            board = board.with_panel(panel.id(next(ids)))
    return board.build()


def _decision_numbers() -> list[stat.Panel]:
    """Makes the large numbers of the first row, and the phase."""
    return [
        number(
            "Expected regret",
            "What training on the predicted optimum is expected to lose, as a fraction of its "
            "loss. The sweep stops when this stays within the tolerance.",
            [(latest("bimix_regret_expected"), "{{sweep}}")],
            "percentunit",
            2,
        ),
        number(
            "Regret, 95 % bound",
            "The loss that the regret stays below in 95 of 100 cases.",
            [(latest("bimix_regret_upper95"), "{{sweep}}")],
            "percentunit",
            2,
        ),
        number(
            "Best measured",
            "Lowest weighted loss at the end of a trial.",
            [(latest("bimix_objective_best"), "{{sweep}}")],
            "none",
            4,
        ),
        number(
            "Predicted at the optimum",
            "Weighted loss the law predicts at the predicted optimum.",
            [(latest("bimix_objective_predicted"), "{{sweep}}")],
            "none",
            4,
        ),
        number(
            "Trials",
            "By state.",
            [(latest("bimix_trials", "state"), "{{sweep}} {{state}}")],
            "none",
            0,
        ),
        phase(),
    ]


def _optimum_curves() -> timeseries.Panel:
    """Makes the panel of the predicted optimum over time."""
    return curves(
        "Predicted optimum settling",
        "Proportions of the predicted optimum. Where the loss is flat it may wander at no cost: "
        "see the regret.",
        [(latest("bimix_optimum_proportion", "domain"), "{{sweep}} {{domain}}")],
        "percentunit",
        span=15,
    ).height(9)


def _evidence() -> list[timeseries.Panel]:
    """Makes the panels that say whether the law can be believed."""
    width = f"{latest('bimix_optimum_upper', 'domain')} - {latest('bimix_optimum_lower', 'domain')}"
    return [
        curves(
            "Regret",
            "Expected regret and its 95 % bound against the tolerance at which the sweep stops.",
            [
                (latest("bimix_regret_expected"), "{{sweep}} expected"),
                (latest("bimix_regret_upper95"), "{{sweep}} 95 % bound"),
                (latest("bimix_regret_tolerance"), "{{sweep}} tolerance"),
            ],
            "percentunit",
            log=True,
        ),
        curves(
            "Loss",
            "Best measured and predicted at the optimum; the predicted one should lie at or below "
            "the best measured.",
            [
                (latest("bimix_objective_best"), "{{sweep}} best measured"),
                (latest("bimix_objective_predicted"), "{{sweep}} predicted at the optimum"),
            ],
            "none",
        ),
        curves(
            "Law error",
            "Mean relative error on mixtures left out of the fit, by target and their mean.",
            [
                (latest("bimix_law_error", "target"), "{{sweep}} {{target}}"),
                (latest("bimix_law_error_mean"), "{{sweep}} mean"),
            ],
            "percentunit",
        ),
        curves(
            "Width of the interval",
            "How far apart the ends of each domain's interval are: what is still open about where "
            "the optimum is.",
            [(width, "{{sweep}} {{domain}}")],
            "percentunit",
        ),
    ]


def _throughput() -> list[timeseries.Panel]:
    """Makes the panels of trials, points and refits."""
    return [
        curves(
            "Trials by state",
            "Failed trials leave the law without their points; a failed trial is not run again.",
            [(latest("bimix_trials", "state"), "{{sweep}} {{state}}")],
            "none",
            span=8,
        ),
        curves(
            "Points per second",
            "Losses recorded durably, over the last minute.",
            [(latest("bimix_points_per_second"), "{{sweep}}")],
            "none",
            span=8,
        ),
        curves(
            "Refit",
            "Wall time of the last refit of the law. It runs beside the trials.",
            [(latest("bimix_refit_seconds"), "{{sweep}}")],
            "s",
            span=8,
        ),
    ]


def _cost() -> list[timeseries.Panel]:
    """Makes the panels of hours and budget."""
    return [
        curves(
            "Hours spent",
            "Core- and GPU-hours of all attempts at trials; 0 GPU-hours where none is used.",
            [
                (latest("bimix_core_hours"), "{{sweep}} core-hours"),
                (latest("bimix_gpu_hours"), "{{sweep}} GPU-hours"),
            ],
            "none",
            span=8,
        ),
        curves(
            "Budget left",
            "Trials that may still be proposed, and hours where budget.core_hours or "
            "budget.gpu_hours limits them.",
            [(latest("bimix_budget_left", "unit"), "{{sweep}} {{unit}}")],
            "none",
            span=8,
        ),
        curves(
            "Information per core-hour",
            "Fall of ln(expected regret) per core-hour over the later half of the points: 0.69 "
            "halves the regret in an hour. Below 0 while new points show that the law knew less "
            "than it said.",
            [(latest("bimix_information_per_core_hour"), "{{sweep}}")],
            "none",
            span=8,
        ),
    ]


def as_json() -> str:
    """Returns the content of the file that lies beside this script."""
    return json.dumps(build(), cls=JSONEncoder, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    OUT.write_text(as_json(), encoding="utf-8")
