"""Figure of the law against the measured losses, and of its errors on mixtures left out."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.mixture.goals import ranged
from bimix_sweep.mixture.simplex import Array
from bimix_sweep.mixture.table import LossTable
from bimix_sweep.report.figures.fitted_rows import FittedRows, fitted_rows
from bimix_sweep.report.figures.style import (
    MARGIN_UNDER_LEGEND,
    MAX_POINTS,
    QUIET,
    Figure,
    colour,
    facet_title,
    faded,
    layout,
    legend_of,
    numbers,
    text,
)
from bimix_sweep.report.wording import percent

RIGHT_PANEL = 0.60
"""Left edge of the right panel, as a fraction of the width."""


def law_against_measurements(table: LossTable, law: FittedLaw, roles: Mapping[str, str]) -> Figure:
    """Figure of the law against measured losses, and of the errors on mixtures left out.

    The left panel shows the law against measured losses; diamonds are confirmation trials, which
    are not in the fit. The right panel shows the error of each law on mixtures left out of the fit;
    the bar of the chosen law is filled.
    """
    fitted = fitted_rows(table, law, roles)
    predicted = fitted.repeating(law).predict(
        table.proportions[fitted.rows], table.steps[fitted.rows], fitted.sizes
    )
    measured = fitted.measured
    legend, more = legend_of(len(law.targets))
    height = max(400, 60 + 34 * len(law.targets)) + more
    # names of targets stand between the panels, about 7 pixels a letter on a page of 1000 pixels
    longest = max(map(len, law.targets))
    left = min(0.46, max(0.25, RIGHT_PANEL - 0.05 - 0.007 * longest))
    what = ", each in its own unit" if ranged(law.goals) else " loss"
    errors = law.cross_validation.get("by_target", {})
    largest = max(
        (
            law_errors["mean_relative_error"]
            for by_law in errors.values()
            for law_errors in by_law.values()
        ),
        default=0.01,
    )
    return {
        "data": [
            _diagonal(measured),
            *_prediction_traces(fitted, law, measured, predicted),
            *_error_bars(law, errors),
        ],
        "layout": layout(
            height,
            showlegend=len(law.targets) > 1,
            legend=legend,
            bargap=0.25,
            bargroupgap=0.08,
            margin=MARGIN_UNDER_LEGEND,
            xaxis={"domain": [0, left], "title": {"text": f"measured{what}"}},
            yaxis={"title": {"text": f"by the law{what}"}},
            xaxis2={
                "domain": [RIGHT_PANEL, 1],
                "anchor": "y2",
                "title": {"text": "relative error on mixtures left out"},
                "tickformat": ".1%",
                "range": [0, 1.35 * largest],
            },
            yaxis2={
                "anchor": "x2",
                "autorange": "reversed",
                "type": "category",
                "automargin": True,
            },
            annotations=[facet_title("Error on mixtures left out", ([RIGHT_PANEL, 1], [0, 1]))],
        ),
    }


def _diagonal(measured: Array) -> Figure:
    """Line on which prediction and measurement are equal."""
    ends = [float(np.nanmin(measured)), float(np.nanmax(measured))]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": ends,
        "y": ends,
        "line": {"color": QUIET, "width": 1, "dash": "dot"},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _prediction_traces(
    fitted: FittedRows, law: FittedLaw, measured: Array, predicted: Array
) -> list[Figure]:
    """Points of each target: prediction against measurement, both (n, targets)."""
    every = max(1, int(np.isfinite(measured).sum()) // MAX_POINTS)
    traces: list[Figure] = []
    for t, target in enumerate(law.targets):
        shown = np.flatnonzero(np.isfinite(measured[:, t]))[::every]
        rows = fitted.rows[shown]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": text(target),
                "x": numbers(measured[shown, t]),
                "y": numbers(predicted[shown, t]),
                "marker": {
                    "size": 5,
                    "color": faded(colour(t), 0.65),
                    "symbol": fitted.symbols(rows),
                },
                "text": fitted.labels(rows),
                "hovertemplate": "%{text}<br>measured %{x:.4f}<br>law %{y:.4f}<extra>"
                + text(target)
                + "</extra>",
            }
        )
    return traces


def _error_bars(law: FittedLaw, errors: Mapping[str, Any]) -> list[Figure]:
    """Bars of the relative error of both laws on mixtures left out of the fit.

    Args:
        law: the fitted law.
        errors: {target: {law: its errors}}, from cross-validation.
    """
    traces: list[Figure] = []
    for name in ("bimix", "transfer"):
        known = [t for t in law.targets if name in errors.get(t, {})]
        if not known:
            continue
        colours = [colour(law.targets.index(t)) for t in known]
        traces.append(
            {
                "type": "bar",
                "orientation": "h",
                "xaxis": "x2",
                "yaxis": "y2",
                "y": [text(t) for t in known],
                "name": name,
                "showlegend": False,
                "x": numbers(errors[t][name]["mean_relative_error"] for t in known),
                "marker": {
                    "color": [
                        faded(own, 0.95 if law.choice[t] == name else 0.18)
                        for own, t in zip(colours, known, strict=True)
                    ],
                    "line": {"width": 1.2, "color": colours},
                },
                "text": [
                    f"{name} {percent(errors[t][name]['mean_relative_error'])}"
                    f"{' ✓' if law.choice[t] == name else ''}"
                    for t in known
                ],
                "textposition": "outside",
                "cliponaxis": False,
                "textfont": {"size": 11},
                "constraintext": "none",
                "hovertemplate": "%{y}: %{text}<extra></extra>",
            }
        )
    return traces
