"""Writes bimix-sweep.json, the dashboard of running sweeps: python cluster_configs/grafana/build.py

First the decision (what to train on, how much may be lost by it), then whether the law can be believed, then what it costs.
Every query is a `max by (...)`: Ray reports a restarted actor as another worker, and for 20 s both.
"""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as words
from grafana_foundation_sdk.models.dashboard import Dashboard as DashboardModel
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    Threshold,
    ThresholdsMode,
    VariableHide,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

OUT = Path(__file__).with_name("bimix-sweep.json")
UID = "bimix-sweep"
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
SHOWN = '{SessionName=~"$SessionName", sweep=~"$sweep"}'
SINCE = "$since"
"""Ray's Metrics tab asks for the last five minutes, which says nothing of a sweep that runs for days; panels of lines take their own."""

Line = tuple[str, str]
"""Query and legend."""
Panel = TypeVar("Panel", stat.Panel, timeseries.Panel)


def latest(gauge: str, *labels: str) -> str:
    """A gauge of the shown sweeps, one series for each of its labels."""
    return f"max by ({', '.join(('sweep', 'folder', *labels))}) (ray_{gauge}{SHOWN})"


def number(title: str, says: str, lines: Sequence[Line], unit: str, decimals: int) -> stat.Panel:
    """The last value of a few gauges, large."""
    panel = (
        stat.Panel().title(title).description(says).datasource(SOURCE).height(4).span(4).unit(unit).decimals(decimals)
        .graph_mode(words.BigValueGraphMode.NONE).color_mode(words.BigValueColorMode.NONE).text_mode(words.BigValueTextMode.AUTO)
        .thresholds(_plain()).reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )  # fmt: skip
    return _with(panel, lines)


def curves(
    title: str, says: str, lines: Sequence[Line], unit: str, *, log: bool = False, span: int = 12
) -> timeseries.Panel:
    """A few gauges over time."""
    panel = (
        timeseries.Panel().title(title).description(says).datasource(SOURCE).height(8).span(span).unit(unit)
        .line_width(2).fill_opacity(0).show_points(words.VisibilityMode.NEVER).thresholds(_plain())
        .legend(common.VizLegendOptions().display_mode(words.LegendDisplayMode.LIST).placement(words.LegendPlacement.BOTTOM).show_legend(True))
        .tooltip(common.VizTooltipOptions().mode(words.TooltipDisplayMode.MULTI).sort(words.SortOrder.DESCENDING))
    )  # fmt: skip
    if log:
        panel = panel.scale_distribution(
            common.ScaleDistributionConfig().type(words.ScaleDistribution.LOG).log(10)
        )
    return _with(panel, lines)


def phase() -> stat.Panel:
    """What the sweeps do, in words; asked for this moment only, for a range also has the phases before."""
    query = _query(f"{latest('bimix_phase', 'phase')} == 1", "{{sweep}}: {{phase}}", "A").instant()
    says = "What the sweep does: looking for the optimum, testing it in final trainings, or done. Empty between sweeps."
    return (
        number("Phase", says, [], "none", 0)
        .text_mode(words.BigValueTextMode.NAME)
        .with_target(query)
    )


def optimum_table() -> table.Panel:
    """The predicted mixture with its interval, a row for each domain."""
    panel = (
        table.Panel().title("Predicted optimum now").datasource(SOURCE).height(9).span(9).unit("percentunit").decimals(1)
        .description("The mixture the law predicts to be best, and the 95 % interval of where the best one may be. Empty between sweeps.")
        .thresholds(_plain())
    )  # fmt: skip
    for gauge in ("proportion", "lower", "upper"):
        expr = latest(f"bimix_optimum_{gauge}", "domain")
        panel = panel.with_target(_query(expr, "", gauge).instant().format(PromQueryFormat.TABLE))
    named = {"Value #proportion": "proportion", "Value #lower": "from", "Value #upper": "to"}
    order = {"sweep": 0, "domain": 1, **{name: 2 + place for place, name in enumerate(named)}}
    return (
        panel.with_transformation(DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(
            DataTransformerConfig(
                id_val="organize",
                options={
                    "excludeByName": {"Time": True, "folder": True},
                    "indexByName": order,
                    "renameByName": named,
                },
            )
        )
        .override_by_name(
            "proportion",
            [
                DynamicConfigValue(
                    id_val="custom.cellOptions", value={"type": "gauge", "mode": "basic"}
                )
            ],
        )
    )


def build() -> DashboardModel:
    """The whole dashboard."""
    decision = [
        number("Expected regret", "What training on the predicted optimum is expected to lose, as a fraction of its loss. "
               "The sweep stops when this stays within the tolerance.", [(latest("bimix_regret_expected"), "{{sweep}}")], "percentunit", 2),
        number("Regret, 95 % bound", "The loss that the regret stays below in 95 of 100 cases.",
               [(latest("bimix_regret_upper95"), "{{sweep}}")], "percentunit", 2),
        number("Best measured", "Lowest weighted loss at the end of a training.", [(latest("bimix_objective_best"), "{{sweep}}")], "none", 4),
        number("Predicted at the optimum", "Weighted loss the law predicts at the predicted optimum.",
               [(latest("bimix_objective_predicted"), "{{sweep}}")], "none", 4),
        number("Trainings", "By state.", [(latest("bimix_trials", "state"), "{{sweep}} {{state}}")], "none", 0),
        phase(),
    ]  # fmt: skip
    settling = curves(
        "Predicted optimum settling", "Proportions of the predicted optimum. Where the loss is flat it may wander at no cost: see the regret.",
        [(latest("bimix_optimum_proportion", "domain"), "{{sweep}} {{domain}}")], "percentunit", span=15,
    ).height(9)  # fmt: skip
    evidence = [
        curves("Regret", "Expected regret and its 95 % bound against the tolerance at which the sweep stops.",
               [(latest("bimix_regret_expected"), "{{sweep}} expected"), (latest("bimix_regret_upper95"), "{{sweep}} 95 % bound"),
                (latest("bimix_regret_tolerance"), "{{sweep}} tolerance")], "percentunit", log=True),
        curves("Loss", "Best measured and predicted at the optimum; the predicted one should lie at or below the best measured.",
               [(latest("bimix_objective_best"), "{{sweep}} best measured"),
                (latest("bimix_objective_predicted"), "{{sweep}} predicted at the optimum")], "none"),
        curves("Law error", "Mean relative error on mixtures left out of the fit, by target and their mean.",
               [(latest("bimix_law_error", "target"), "{{sweep}} {{target}}"), (latest("bimix_law_error_mean"), "{{sweep}} mean")],
               "percentunit"),
        curves("Width of the interval", "How far apart the ends of each domain's interval are: what is still open about where the optimum is.",
               [(f"{latest('bimix_optimum_upper', 'domain')} - {latest('bimix_optimum_lower', 'domain')}", "{{sweep}} {{domain}}")],
               "percentunit"),
    ]  # fmt: skip
    cost = [
        curves("Trainings by state", "Failed ones leave the law without their points; a failed training is not run again.",
               [(latest("bimix_trials", "state"), "{{sweep}} {{state}}")], "none", span=8),
        curves("Points per second", "Losses recorded durably, over the last minute.",
               [(latest("bimix_points_per_second"), "{{sweep}}")], "none", span=8),
        curves("Refit", "Wall time of the last refit of the law. It runs beside the trainings.",
               [(latest("bimix_refit_seconds"), "{{sweep}}")], "s", span=8),
        curves("Hours spent", "Core- and GPU-hours of all attempts at trainings; 0 GPU-hours where none is used.",
               [(latest("bimix_core_hours"), "{{sweep}} core-hours"), (latest("bimix_gpu_hours"), "{{sweep}} GPU-hours")], "none", span=8),
        curves("Budget left", "Trainings that may still be proposed, and hours where budget.core_hours or budget.gpu_hours limits them.",
               [(latest("bimix_budget_left", "unit"), "{{sweep}} {{unit}}")], "none", span=8),
        curves("Information per core-hour", "Fall of ln(expected regret) per core-hour over the later half of the points: .69 halves the regret in an "
               "hour. Below 0 while new points show that the law knew less than it said.",
               [(latest("bimix_information_per_core_hour"), "{{sweep}}")], "none", span=8),
    ]  # fmt: skip
    board = (
        dashboard.Dashboard("bimix-sweep").uid(UID).tags(["bimix-sweep"]).time("now-6h", "now").refresh("5s").timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
    )  # fmt: skip
    for variable in _variables():
        board = board.with_variable(variable)
    rows: dict[str, list[stat.Panel | table.Panel | timeseries.Panel]] = {
        "The decision": [*decision, optimum_table(), settling],
        "Can it be believed?": [*evidence],
        "Throughput and cost": [*cost],
    }
    ids = itertools.count(1)
    for title, panels in rows.items():
        board = board.with_row(dashboard.Row(title).id(next(ids)))
        for panel in panels:
            board = board.with_panel(panel.id(next(ids)))
    return board.build()


def as_json() -> str:
    """What lies beside this script."""
    return json.dumps(build(), cls=JSONEncoder, indent=2, ensure_ascii=False) + "\n"


def _variables() -> list[
    dashboard.DatasourceVariable | dashboard.QueryVariable | dashboard.CustomVariable
]:
    def of_series(name: str, label: str, says: str) -> dashboard.QueryVariable:
        return (
            dashboard.QueryVariable(name).label(label).description(says).datasource(SOURCE)
            .query({"query": f"label_values(ray_bimix_trials, {name})", "refId": f"Values-{name}"})
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.ALPHABETICAL_ASC)
            .multi(True).include_all(True).all_value(".+").current(VariableOption(selected=True, text="All", value="$__all"))
        )  # fmt: skip

    def shown(value: str) -> VariableOption:
        return VariableOption(selected=value == "6h", text=value, value=value)

    spans = ("30m", "6h", "1d", "3d", "14d")
    return [
        dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus").hide(VariableHide.HIDE_VARIABLE),
        of_series("SessionName", "Ray session", "Which start of a Ray cluster; Ray's dashboard asks for its own"),
        of_series("sweep", "Sweep", "Sweeps that ran in the chosen time"),
        dashboard.CustomVariable("since").label("Shown since").values(",".join(spans)).options([shown(s) for s in spans]).current(shown("6h")),
    ]  # fmt: skip


def _query(expr: str, legend: str, ref: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(expr).legend_format(legend).ref_id(ref).datasource(SOURCE)


def _with(panel: Panel, lines: Sequence[Line]) -> Panel:
    for place, (expr, legend) in enumerate(lines):
        panel = panel.time_from(SINCE).with_target(
            _query(expr, legend, chr(ord("A") + place)).range()
        )
    return panel


def _plain() -> dashboard.ThresholdsConfig:
    """No colour means anything here that a person did not ask for."""
    return (
        dashboard.ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps([Threshold(value=None, color="text")])
    )


if __name__ == "__main__":
    OUT.write_text(as_json(), encoding="utf-8")
