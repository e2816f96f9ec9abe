"""Figure of the confirmation trials: losses relative to the predicted optimum, for each seed."""

import numpy as np

from bimix_sweep.design.comparison import ComparedMixture, Comparison, role_in_words
from bimix_sweep.report.data import ReportData
from bimix_sweep.report.figures.style import (
    ACCENT,
    MARGIN_UNDER_LEGEND,
    QUIET,
    Figure,
    faded,
    layout,
    numbers,
    text,
)


def confirmation(data: ReportData, comparison: Comparison) -> Figure:
    """Figure of the objective of each compared mixture relative to the predicted optimum.

    Each seed is a line; the mean over the seeds is a marker with its 95 % interval.
    """
    own = next(
        one.objective for one in comparison.mixtures if one.difference == 0 and one.noise95 == 0
    )
    labels = [text(role_in_words(one.role)).replace(" (", "<br>(") for one in comparison.mixtures]
    traces = [
        *_seed_lines(data, comparison, labels, own),
        _means(comparison, labels, own),
    ]
    return {
        "data": traces,
        "layout": layout(
            140 + 62 * len(labels),
            showlegend=True,
            margin=MARGIN_UNDER_LEGEND,
            xaxis={
                "title": {"text": "relative to the predicted optimum"},
                "tickformat": "+.2~%",
                "zeroline": True,
                "nticks": 4,
                "tickangle": 0,
            },
            yaxis={"type": "category", "autorange": "reversed", "automargin": True},
        ),
    }


def _seed_lines(
    data: ReportData, comparison: Comparison, labels: list[str], own: float
) -> list[Figure]:
    """Line of each seed over the compared mixtures; a seed with a missing trial has no line.

    Args:
        data: state of the sweep.
        comparison: comparison of the confirmation trials.
        labels: label of each compared mixture.
        own: mean objective of the predicted optimum.
    """
    traces: list[Figure] = []
    for n, seed in enumerate(comparison.seeds):
        values = [_objective_of_seed(data, one, seed) for one in comparison.mixtures]
        if all(np.isfinite(values)):
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers",
                    "name": f"seed {n + 1}",
                    "y": labels,
                    "x": numbers(value / own - 1 for value in values),
                    "line": {
                        "width": 1.2,
                        "color": faded(QUIET, 0.7),
                        "dash": ("dot", "dash", "dashdot")[n % 3],
                    },
                    "marker": {
                        "size": 7,
                        "color": QUIET,
                        "symbol": ("circle-open", "square-open", "diamond-open")[n % 3],
                    },
                    "hovertemplate": f"%{{y}}, seed {n + 1}: %{{x:+.3%}}<extra></extra>",
                }
            )
    return traces


def _means(comparison: Comparison, labels: list[str], own: float) -> Figure:
    """Mean of each compared mixture over the seeds, with its 95 % interval."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "mean, 95 % interval",
        "y": labels,
        "x": numbers(one.difference / own for one in comparison.mixtures),
        "error_x": {
            "type": "data",
            "array": numbers(one.noise95 / own for one in comparison.mixtures),
            "thickness": 2,
            "width": 5,
            "color": "#7b8794",
        },
        "marker": {
            "size": 13,
            "line": {"width": 1.2, "color": "#ffffff"},
            "color": [
                ACCENT if one.role == comparison.recommended else "#4d76b8"
                for one in comparison.mixtures
            ],
        },
        "hovertemplate": "%{y}: %{x:+.3%}<extra></extra>",
    }


def _objective_of_seed(data: ReportData, compared: ComparedMixture, seed: int) -> float:
    """Objective of the last losses of one confirmation trial; NaN if the table lacks the trial."""
    if data.table is None:
        return np.nan
    by_seed: dict[float, float] = {}
    for curve in data.table.curves():
        same = np.allclose(
            curve.mixture.as_array(data.domains.names),
            compared.mixture.as_array(data.domains.names),
            atol=1e-9,
        )
        if data.roles.get(curve.trial) == "confirmation" and same and curve.seed is not None:
            by_seed[float(curve.seed)] = float(data.objective_of(curve.targets, curve.last()))
    # a table holds seeds as float64; equal seeds are equal after the same rounding
    return by_seed.get(float(seed), np.nan)
