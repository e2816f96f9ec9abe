"""Figure of the residuals of the law, by step and by trial."""

from collections.abc import Mapping

import numpy as np

from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.mixture.goals import losses_of
from bimix_sweep.mixture.simplex import Array
from bimix_sweep.mixture.table import LossTable
from bimix_sweep.report.figures.fitted_rows import FittedRows, fitted_rows
from bimix_sweep.report.figures.style import (
    MARGIN_UNDER_LEGEND,
    MAX_POINTS,
    Figure,
    colour,
    faded,
    layout,
    legend_of,
    numbers,
    step_axis,
    text,
)


def residuals(table: LossTable, law: FittedLaw, roles: Mapping[str, str]) -> Figure:
    """Figure of the relative residuals: measured loss over the law, less 1.

    The left panel shows the residuals against step. The right panel shows the mean of each trial,
    in the order in which the trials began. Diamonds are confirmation trials, which are not in the
    fit.
    """
    fitted = fitted_rows(table, law, roles)
    steps = table.steps[fitted.rows]
    predicted = fitted.repeating(law).losses(table.proportions[fitted.rows], steps, fitted.sizes)
    relative = losses_of(law.goals, law.targets, fitted.measured) / predicted - 1
    every = max(1, int(np.isfinite(relative).sum()) // MAX_POINTS)
    traces: list[Figure] = []
    for t, target in enumerate(law.targets):
        jitter = 1 + 0.03 * (t - (len(law.targets) - 1) / 2) / max(1, len(law.targets) / 3)
        traces.append(_residuals_by_step(fitted, target, t, relative[:, t], jitter, every))
        traces.append(_mean_residuals(fitted, target, t, relative[:, t]))
    legend, more = legend_of(len(law.targets))
    same = {"tickformat": "+.1%", "zeroline": True}
    return {
        "data": traces,
        "layout": layout(
            360 + more,
            showlegend=len(law.targets) > 1,
            legend=legend,
            margin=MARGIN_UNDER_LEGEND,
            xaxis=step_axis(steps.min(), steps.max()) | {"domain": [0, 0.48]},
            yaxis=same | {"title": {"text": "measured over law, less 1"}},
            xaxis2={
                "domain": [0.56, 1],
                "anchor": "y2",
                "title": {"text": "trial"},
                "tickformat": "d",
            },
            yaxis2=same | {"anchor": "x2"},
        ),
    }


def _residuals_by_step(
    fitted: FittedRows, target: str, index: int, relative: Array, jitter: float, every: int
) -> Figure:
    """Points of one target's residuals against step.

    Args:
        fitted: the points.
        target: name of the target.
        index: position of the target, which gives its colour.
        relative: (n,) relative residuals; NaN where nothing was measured.
        jitter: factor for the steps, so that the targets do not hide each other.
        every: only every so many points are drawn.
    """
    shown = np.flatnonzero(np.isfinite(relative))[::every]
    rows = fitted.rows[shown]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": text(target),
        "legendgroup": text(target),
        "x": numbers(fitted.table.steps[rows] * jitter),
        "y": numbers(relative[shown]),
        "marker": {
            "size": 4.5,
            "color": faded(colour(index), 0.6),
            "symbol": fitted.symbols(rows),
        },
        "text": fitted.labels(rows),
        "hovertemplate": "%{text}: %{y:+.2%}<extra>" + text(target) + "</extra>",
    }


def _mean_residuals(fitted: FittedRows, target: str, index: int, relative: Array) -> Figure:
    """Points of one target's mean residual for each trial; `relative` is (n,)."""
    ids = fitted.table.run_ids()[fitted.rows]
    trials = [
        trial for trial in dict.fromkeys(ids.tolist()) if np.isfinite(relative[ids == trial]).any()
    ]
    first = np.array([fitted.rows[np.flatnonzero(ids == trial)[0]] for trial in trials], np.intp)
    return {
        "type": "scatter",
        "mode": "markers",
        "legendgroup": text(target),
        "showlegend": False,
        "xaxis": "x2",
        "yaxis": "y2",
        "x": [trial + 1 for trial in trials],
        "y": numbers(np.nanmean(relative[ids == trial]) for trial in trials),
        "marker": {
            "size": 6.5,
            "color": faded(colour(index), 0.8),
            "symbol": fitted.symbols(first),
        },
        "text": [text(fitted.table.trials[row]) for row in first],
        "hovertemplate": "%{text}: %{y:+.2%}<extra>" + text(target) + "</extra>",
    }
