"""Ternary figure of a sweep with three domains.

The figure shows the predicted loss as shades, the near-optimal region, the mixtures of the trials
and of the confirmation trials, and the path of the predicted optimum.
"""

import numpy as np

from bimix_sweep.law.optimum.optimal_mixture import Optimum
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.mixture.simplex import Array
from bimix_sweep.report.data import ReportData
from bimix_sweep.report.figures.contours import sublevel_loops, triangle_grid
from bimix_sweep.report.figures.optimum_path import last_of_each
from bimix_sweep.report.figures.style import (
    ACCENT,
    QUIET,
    Figure,
    between,
    faded,
    layout,
    numbers,
    text,
)
from bimix_sweep.report.wording import percent, proportion_text

DIVISIONS = 48
"""Number of rows of small triangles in the grid of the figure."""
EXCESS = (0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16)
"""Levels of the contours: predicted loss above the loss of the optimum, as fractions of it."""
SHADES = ("#2f6fc4", "#e3ebf5")
"""Colour scale from near the optimum to far from it."""
LABELLED = 0.8
"""Largest first proportion at which the label of a contour is drawn.

The label stands at the point of the contour with the largest first proportion. A contour whose
point is nearer to the corner than this value has no label.
"""
EDGE = 1e-3
"""Smallest proportion at which the figure evaluates the law; BiMix is infinite at 0."""


def ternary(data: ReportData, law: FittedLaw, optimum: Optimum) -> Figure:
    """Ternary figure of exactly three domains; each corner is one domain alone."""
    names = data.domains.names
    inside = (1 - 3 * EDGE) * triangle_grid(DIVISIONS) + EDGE
    objective = _objective(data, law, optimum, inside)
    best = float(_objective(data, law, optimum, optimum.mixture.as_array(names)[None])[0])
    shades, labels = _contours(objective, best, optimum.within)
    axes = {
        axis: {
            "title": {"text": f"<b>{text(name)}</b>"},
            "tickformat": ".0%",
            "min": 0,
            "tickvals": [0.2, 0.4, 0.6, 0.8],
            "ticklen": 4,
        }
        for axis, name in zip(("aaxis", "baxis", "caxis"), names, strict=True)
    }
    return {
        "data": [
            *shades,
            *_region_and_bounds(data, objective, best, optimum.within),
            labels,
            *_mixtures_tried(data),
            *_optimum_markers(data, optimum),
        ],
        "layout": layout(
            540,
            showlegend=True,
            margin={"l": 52, "r": 52, "t": 28, "b": 110},
            ternary={"sum": 1, **axes},
            legend={"orientation": "h", "x": 0, "y": -0.13, "yanchor": "top"},
        ),
    }


def _contours(objective: Array, best: float, within: float) -> tuple[list[Figure], Figure]:
    """Traces of the shaded contours, and the trace of their labels.

    Args:
        objective: (n,) predicted objective on the grid.
        best: predicted objective of the optimum.
        within: fraction above `best` that bounds the near-optimal region; it is a contour, too.
    """
    traces: list[Figure] = []
    labels: list[tuple[Array, str]] = []
    levels = sorted({*EXCESS, within}, reverse=True)
    for n, excess in enumerate(levels):
        loops = sublevel_loops(objective, DIVISIONS, best * (1 + excess))
        if not loops:
            continue
        traces.append(
            _lines(
                loops,
                fill="toself",
                fillcolor=faded(between(1 - n / max(len(levels) - 1, 1), SHADES), 0.5),
                name=percent(excess),
                line={"width": 0.7, "color": faded("#2f6fc4", 0.45)},
                hoverinfo="skip",
                showlegend=False,
            )
        )
        labels.append(
            (
                max((point for loop in loops for point in loop), key=lambda point: point[0]),
                f"+{percent(excess)}",
            )
        )
    inner = [
        (point, label)
        for point, label in labels
        if point[0] < LABELLED and label != f"+{percent(within)}"
    ]
    return traces, {
        "type": "scatterternary",
        "mode": "text",
        "a": numbers(p[0] for p, _ in inner),
        "b": numbers(p[1] for p, _ in inner),
        "c": numbers(p[2] for p, _ in inner),
        "text": [label for _, label in inner],
        "hoverinfo": "skip",
        "showlegend": False,
        "textfont": {"size": 10.5, "color": "#2f6fc4"},
        "textposition": "top center",
    }


def _region_and_bounds(
    data: ReportData, objective: Array, best: float, within: float
) -> list[Figure]:
    """Traces of the near-optimal region and, where there are any, of the bounds of the final run.

    Args:
        data: state of the sweep.
        objective: (n,) predicted objective on the grid.
        best: predicted objective of the optimum.
        within: fraction above `best` that bounds the near-optimal region.
    """
    traces: list[Figure] = []
    bounds = (data.domains.lower, data.domains.upper)
    if region := sublevel_loops(objective, DIVISIONS, best * (1 + within), *bounds):
        traces.append(
            _lines(
                region,
                fill="toself",
                fillcolor=faded(ACCENT, 0.14),
                name=f"within {percent(within)} of the best",
                line={"width": 1.8, "color": ACCENT},
                hoverinfo="skip",
            )
        )
    if max(bounds[0]) > 0 or min(bounds[1]) < 1:
        traces.append(
            _lines(
                sublevel_loops(np.zeros(len(objective)), DIVISIONS, 1.0, *bounds),
                mode="lines",
                name="bounds of the final run",
                line={"width": 1.4, "color": QUIET, "dash": "dash"},
                hoverinfo="skip",
            )
        )
    return traces


def _optimum_markers(data: ReportData, optimum: Optimum) -> list[Figure]:
    """Traces of the path of the predicted optimum, and of the predicted optimum."""
    names = data.domains.names
    traces: list[Figure] = []
    if data.path:
        path = last_of_each(data.path)
        traces.append(
            _markers(
                names,
                np.array([point.mixture.as_array(names) for point in path]),
                [f"optimum after {point.num_trials} trials" for point in path],
                name="path of the optimum",
                mode="lines+markers",
                line={"width": 1.6, "color": faded(ACCENT, 0.8)},
                marker={"size": 5, "color": ACCENT},
            )
        )
    traces.append(
        _markers(
            names,
            optimum.mixture.as_array(names)[None],
            ["predicted optimum"],
            name="predicted optimum",
            marker={
                "size": 17,
                "symbol": "star",
                "color": ACCENT,
                "line": {"width": 1.2, "color": "#ffffff"},
            },
        )
    )
    return traces


def _objective(data: ReportData, law: FittedLaw, optimum: Optimum, proportions: Array) -> Array:
    """(n,) predicted objective of (n, domains) mixtures at the step and size of the optimum."""
    mixtures = np.zeros((len(proportions), len(law.domains)))
    mixtures[:, [law.domains.index(name) for name in data.domains.names]] = proportions
    sizes = None if optimum.size is None else np.full(len(mixtures), optimum.size)
    law = data.of_final_run(law)
    return data.objective_of(
        law.targets, law.predict(mixtures, np.full(len(mixtures), optimum.step), sizes)
    )


def _mixtures_tried(data: ReportData) -> list[Figure]:
    """Traces of the mixtures: circles for trials, squares for confirmation trials."""
    if data.table is None:
        return []
    mixtures: dict[str, dict[tuple[float, ...], list[str]]] = {"sweep": {}, "confirmation": {}}
    for curve in data.table.curves():
        proportions = tuple(curve.mixture.as_array(data.domains.names).tolist())
        mixtures[data.roles.get(curve.trial, "sweep")].setdefault(proportions, []).append(
            curve.trial
        )
    styles: dict[str, tuple[str, Figure]] = {
        "sweep": (
            "mixtures tried",
            {"size": 8, "color": "#ffffff", "line": {"width": 1.8, "color": "#39424d"}},
        ),
        "confirmation": (
            "confirmation trials",
            {
                "size": 10,
                "symbol": "square",
                "color": "#f2b632",
                "line": {"width": 1.4, "color": "#39424d"},
            },
        ),
    }
    return [
        _markers(
            data.domains.names,
            np.array(list(by_mixture)),
            [", ".join(map(text, trials)) for trials in by_mixture.values()],
            name=styles[role][0],
            marker=styles[role][1],
        )
        for role, by_mixture in mixtures.items()
        if by_mixture
    ]


def _lines(loops: list[Array], **entries: object) -> Figure:
    """Trace of closed loops (points, 3) as lines."""
    # four decimals are finer than a pixel
    points = [[*numbers(column.round(4)), None] for loop in loops for column in loop.T]
    a, b, c = ([value for column in points[axis::3] for value in column][:-1] for axis in range(3))
    return {"type": "scatterternary", "mode": "lines", "a": a, "b": b, "c": c, **entries}


def _markers(names: tuple[str, ...], points: Array, labels: list[str], **entries: object) -> Figure:
    """Trace of (n, 3) mixtures as markers; the text on hover is a label and the proportions."""
    a, b, c = (numbers(column) for column in points.T)
    hover = [
        f"{label}<br>"
        + ", ".join(f"{text(n)} {proportion_text(r)}" for n, r in zip(names, row, strict=True))
        for label, row in zip(labels, points, strict=True)
    ]
    return {
        "type": "scatterternary",
        "mode": "markers",
        "a": a,
        "b": b,
        "c": c,
        "text": hover,
        "hovertemplate": "%{text}<extra></extra>",
        **entries,
    }
