"""Panels and variables of the dashboard of running sweeps, from which `build` composes it."""

from collections.abc import Sequence
from typing import TypeVar

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.models import common as words
from grafana_foundation_sdk.models.dashboard import (
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

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
SHOWN = '{SessionName=~"$SessionName", sweep=~"$sweep"}'
SINCE = "$since"
"""Time range of the panels of curves. Ray's Metrics tab asks for the last five minutes, which says
nothing of a sweep that runs for days."""

Line = tuple[str, str]
"""Query and legend of one curve or number."""
Panel = TypeVar("Panel", stat.Panel, timeseries.Panel)


def latest(gauge: str, *labels: str) -> str:
    """Query of a gauge of the shown sweeps, one series for each of its labels."""
    return f"max by ({', '.join(('sweep', 'folder', *labels))}) (ray_{gauge}{SHOWN})"


def number(
    title: str, description: str, lines: Sequence[Line], unit: str, decimals: int
) -> stat.Panel:
    """Panel with the last value of a few gauges, in large type."""
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .height(4)
        .span(4)
        .unit(unit)
        .decimals(decimals)
        .graph_mode(words.BigValueGraphMode.NONE)
        .color_mode(words.BigValueColorMode.NONE)
        .text_mode(words.BigValueTextMode.AUTO)
        .thresholds(_plain())
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    return _with(panel, lines)


def curves(
    title: str,
    description: str,
    lines: Sequence[Line],
    unit: str,
    *,
    log: bool = False,
    span: int = 12,
) -> timeseries.Panel:
    """Panel with a few gauges over time."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .height(8)
        .span(span)
        .unit(unit)
        .line_width(2)
        .fill_opacity(0)
        .show_points(words.VisibilityMode.NEVER)
        .thresholds(_plain())
        .legend(
            common.VizLegendOptions()
            .display_mode(words.LegendDisplayMode.LIST)
            .placement(words.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(
            common.VizTooltipOptions()
            .mode(words.TooltipDisplayMode.MULTI)
            .sort(words.SortOrder.DESCENDING)
        )
    )
    if log:
        panel = panel.scale_distribution(
            common.ScaleDistributionConfig().type(words.ScaleDistribution.LOG).log(10)
        )
    return _with(panel, lines)


def phase() -> stat.Panel:
    """Panel that says in words what the sweeps do.

    The query asks for this moment only, because a range also has the phases before.
    """
    query = _query(f"{latest('bimix_phase', 'phase')} == 1", "{{sweep}}: {{phase}}", "A").instant()
    description = (
        "What the sweep does: looking for the optimum, testing it in confirmation trials, or done. "
        "Empty between sweeps."
    )
    return (
        number("Phase", description, [], "none", 0)
        .text_mode(words.BigValueTextMode.NAME)
        .with_target(query)
    )


def optimum_table() -> table.Panel:
    """Table of the predicted mixture with its interval, a row for each domain."""
    panel = (
        table.Panel()
        .title("Predicted optimum now")
        .datasource(SOURCE)
        .height(9)
        .span(9)
        .unit("percentunit")
        .decimals(1)
        .description(
            "The mixture the law predicts to be best, and the 95 % interval of where the best one "
            "may be. Empty between sweeps."
        )
        .thresholds(_plain())
    )
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


def variables() -> list[
    dashboard.DatasourceVariable | dashboard.QueryVariable | dashboard.CustomVariable
]:
    """Makes the choices above the panels: data source, Ray session, sweeps and time range."""

    def of_series(name: str, label: str, description: str) -> dashboard.QueryVariable:
        return (
            dashboard.QueryVariable(name)
            .label(label)
            .description(description)
            .datasource(SOURCE)
            .query({"query": f"label_values(ray_bimix_trials, {name})", "refId": f"Values-{name}"})
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(VariableSort.ALPHABETICAL_ASC)
            .multi(True)
            .include_all(True)
            .all_value(".+")
            .current(VariableOption(selected=True, text="All", value="$__all"))
        )

    def shown(value: str) -> VariableOption:
        return VariableOption(selected=value == "6h", text=value, value=value)

    spans = ("30m", "6h", "1d", "3d", "14d")
    return [
        dashboard.DatasourceVariable("datasource")
        .label("Prometheus")
        .type("prometheus")
        .hide(VariableHide.HIDE_VARIABLE),
        of_series(
            "SessionName",
            "Ray session",
            "Which start of a Ray cluster; Ray's dashboard asks for its own",
        ),
        of_series("sweep", "Sweep", "Sweeps that ran in the chosen time"),
        dashboard.CustomVariable("since")
        .label("Shown since")
        .values(",".join(spans))
        .options([shown(s) for s in spans])
        .current(shown("6h")),
    ]


def _query(expr: str, legend: str, ref: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(expr).legend_format(legend).ref_id(ref).datasource(SOURCE)


def _with(panel: Panel, lines: Sequence[Line]) -> Panel:
    for place, (expr, legend) in enumerate(lines):
        panel = panel.time_from(SINCE).with_target(
            _query(expr, legend, chr(ord("A") + place)).range()
        )
    return panel


def _plain() -> dashboard.ThresholdsConfig:
    """Thresholds without colours."""
    return (
        dashboard.ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps([Threshold(value=None, color="text")])
    )
