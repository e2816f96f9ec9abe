"""Figures of the predicted optimum and of its regret against the number of trials."""

import numpy as np

from bimix_sweep.report.data import PathPoint, ReportData
from bimix_sweep.report.figures.style import (
    ACCENT,
    QUIET,
    Figure,
    colour,
    faded,
    layout,
    legend_of,
    numbers,
    symbol,
    text,
)
from bimix_sweep.report.wording import percent, proportion_text

MAX_DOMAINS = 10
"""Largest number of domains drawn in the figure of the optimum; the table has all domains."""


def last_of_each(path: tuple[PathPoint, ...]) -> list[PathPoint]:
    """Point of the last refit at each number of trials."""
    return list({point.num_trials: point for point in path}.values())


def optimum_path(data: ReportData) -> Figure:
    """Figure of the predicted optimum against the number of trials.

    Each line is the proportion of one domain with its 95 % interval; the bars at the right are the
    near-optimal region. The figure shows the ten domains with the largest last proportions.
    """
    path, names = last_of_each(data.path), data.domains.names
    trials = [point.num_trials for point in path]
    shown = sorted(range(len(names)), key=lambda d: -path[-1].mixture.as_array(names)[d])
    shown = shown[:MAX_DOMAINS]
    spread = max(max(trials) - min(trials), 1)
    beside = max(trials) + 0.035 * spread
    traces = [_interval_band(path, trials, names[d], d) for d in shown]
    traces += [_proportion_line(path, trials, names, d) for d in shown]
    if data.optimum:
        for n, d in enumerate(shown):
            x = beside + n * 0.018 * spread
            traces.append(_region_bar(data.optimum.region[names[d]], x, names[d], d))
    legend, more = legend_of(len(shown), in_row=2)
    return {
        "data": traces,
        "layout": layout(
            400 + more,
            showlegend=True,
            legend=legend,
            xaxis={
                "title": {"text": "trials"},
                "tickformat": "d",
                "range": [min(trials) - 0.03 * spread, beside + 0.02 * len(shown) * spread],
            },
            yaxis={
                "title": {"text": "proportion of the predicted optimum"},
                "tickformat": ".0%",
                "rangemode": "tozero",
            },
        ),
    }


def _interval_band(path: list[PathPoint], trials: list[int], name: str, index: int) -> Figure:
    """Band of the 95 % interval of one domain's proportion."""
    band = [point.interval.get(name, (np.nan, np.nan)) for point in path]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [*trials, *trials[::-1]],
        "y": numbers([b[0] for b in band] + [b[1] for b in band[::-1]]),
        "fill": "toself",
        "fillcolor": faded(colour(index), 0.16),
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _proportion_line(
    path: list[PathPoint], trials: list[int], names: tuple[str, ...], index: int
) -> Figure:
    """Line of one domain's proportion in the predicted optimum."""
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": text(names[index]),
        "x": trials,
        "y": numbers(point.mixture.as_array(names)[index] for point in path),
        "line": {"color": colour(index), "width": 2.2},
        "marker": {"size": 6, "symbol": symbol(index)},
        "hovertemplate": "%{y:.1%} after %{x} trials<extra>" + text(names[index]) + "</extra>",
    }


def _region_bar(region: tuple[float, float], x: float, name: str, index: int) -> Figure:
    """Vertical bar at `x` over the near-optimal region of one domain."""
    low, high = region
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [x, x],
        "y": numbers((low, high)),
        "line": {"color": faded(colour(index), 0.55), "width": 6},
        "hovertemplate": f"near-optimal region {proportion_text(low)} to "
        f"{proportion_text(high)}<extra>{text(name)}</extra>",
        "showlegend": False,
    }


def regret_path(path: tuple[PathPoint, ...], tolerance: float | None) -> Figure:
    """Figure of the regret of the predicted optimum against the number of trials.

    The lines are the expected regret, its 95 % bound, and the tolerance at which the sweep stops.
    """
    last = last_of_each(path)
    trials = [point.num_trials for point in last]
    traces: list[Figure] = []
    for label, values, dash, width in (
        ("95 % bound", [point.regret_upper95 for point in last], "solid", 2.4),
        ("expected", [point.regret_expected for point in last], "dot", 1.8),
    ):
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": label,
                "x": trials,
                "y": numbers(max(v, 1e-9) for v in values),
                "line": {"color": ACCENT, "width": width, "dash": dash},
                "marker": {"size": 6},
                "hovertemplate": "%{y:.2%} after %{x} trials<extra>" + label + "</extra>",
            }
        )
    if tolerance:
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": f"tolerance {percent(tolerance)}",
                "x": [min(trials), max(trials)],
                "y": [tolerance] * 2,
                "line": {"color": QUIET, "width": 1.4, "dash": "dash"},
                "hoverinfo": "skip",
            }
        )
    return {
        "data": traces,
        "layout": layout(
            400,
            showlegend=True,
            xaxis={"title": {"text": "trials"}, "tickformat": "d"},
            yaxis={
                "title": {"text": "regret, part of the loss"},
                "type": "log",
                "tickformat": "~%",
                "nticks": 6,
            },
        ),
    }
