"""Statistics of the page; each function returns plain plotly JSON."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.mixture.goals import losses_of, ranged
from bimix_sweep.mixture.simplex import Array
from bimix_sweep.mixture.table import LossTable
from bimix_sweep.report.data import PathPoint, ReportData
from bimix_sweep.report.style import (
    ACCENT,
    LEGEND,
    QUIET,
    Figure,
    axis_key,
    axis_name,
    between,
    colour,
    facet_title,
    facets,
    faded,
    layout,
    numbers,
    percent,
    scale,
    share,
    step_axis,
    text,
)

MAX_FACETS = 12
"""Largest number of targets drawn as small multiples; the tables have all targets."""
MAX_POINTS = 4000
"""Limit for the points of one figure; where there are more, only every n-th point is drawn."""
SHADES = 12
"""Number of steps of the colour scale.

All curves of one shade are one trace, so that the page of a sweep with 500 trials stays fast.
"""


def main_targets(table: LossTable, weights: dict[str, float]) -> list[int]:
    """Indices of the targets to draw: the largest weights, in the order of the table."""
    order = sorted(
        range(len(table.targets)),
        key=lambda t: -weights.get(table.targets[t], 0.0 if weights else 1.0),
    )
    return sorted(order[:MAX_FACETS])


def loss_curves(table: LossTable, own: dict[str, str], weights: dict[str, float]) -> Figure:
    """Figure of loss against step for each target.

    The colour of a curve is the proportion of the target's own domain in the mixture.
    """
    targets = main_targets(table, weights)
    curves = table.curves()
    columns = min(3, len(targets))
    crowded = len(table) * len(targets) > 4 * MAX_POINTS
    height = 285 * -(-len(targets) // columns) + 70
    places = facets(len(targets), columns, height - 82)
    domain_of = {
        t: table.domains.index(own[table.targets[t]])
        for t in targets
        if own.get(table.targets[t]) in table.domains
    }
    largest = max((table.proportions[:, d].max() for d in domain_of.values()), default=1.0)
    traces: list[Figure] = []
    axes: dict[str, Figure] = {}
    notes: list[Figure] = []
    steps = step_axis(table.steps.min(), table.steps.max())
    for n, target in enumerate(targets):
        shades: dict[int, tuple[list[float | None], list[float | None], list[str | None]]] = {}
        for curve in curves:
            proportions = curve.mixture.as_array(table.domains)
            own_share = proportions[domain_of[target]] if target in domain_of else None
            shade = -1 if own_share is None else min(int(SHADES * own_share / largest), SHADES - 1)
            x, y, labels = shades.setdefault(shade, ([], [], []))
            measured = curve.losses[:, target]
            x += [*numbers(curve.steps), None]
            y += [*numbers(measured), None]
            label = (
                text(curve.trial)
                if crowded
                else f"{text(curve.trial)}<br>{_mixture_label(table.domains, proportions)}"
            )
            labels += [label] * len(measured) + [None]
        for shade in sorted(shades):
            x, y, labels = shades[shade]
            line = QUIET if shade < 0 else between((shade + 0.5) / SHADES)
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines" if crowded else "lines+markers",
                    "x": x,
                    "y": y,
                    "text": labels,
                    "xaxis": axis_name("x", n),
                    "yaxis": axis_name("y", n),
                    "line": {"color": faded(line, 0.85), "width": 1.6},
                    "marker": {"size": 4, "color": line},
                    "hovertemplate": "%{text}<br>step %{x:,}: loss %{y:.4f}<extra></extra>",
                }
            )
        axes[axis_key("x", n)] = steps | {"domain": places[n][0], "anchor": axis_name("y", n)}
        axes[axis_key("y", n)] = {"domain": places[n][1], "anchor": axis_name("x", n)}
        if n < len(targets) - columns:
            del axes[axis_key("x", n)]["title"]
        if n % columns == 0:
            axes[axis_key("y", n)]["title"] = {"text": "loss"}
        name = table.targets[target]
        way = f", {table.goals[name].words}" if name in ranged(table.goals) else ""
        notes.append(facet_title(text(f"{name}{way}"), places[n]))
    figure: Figure = {"data": traces, "layout": layout(height, annotations=notes, **axes)}
    if domain_of:
        figure["layout"]["margin"]["r"] = 84
        figure["layout"]["coloraxis"] = {
            "cmin": 0,
            "cmax": float(largest),
            "colorscale": scale(),
            "colorbar": {
                "title": {"text": "own domain", "font": {"size": 12.5}},
                "tickformat": ".0%",
                "thickness": 10,
                "len": min(1.0, 300 / height),
                "x": 1.01,
                "outlinewidth": 0,
            },
        }
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [None],
                "y": [None],
                "marker": {"coloraxis": "coloraxis", "color": [0], "size": 0},
                "hoverinfo": "skip",
                "xaxis": "x",
                "yaxis": "y",
            }
        )
    return figure


def law_against_measurements(table: LossTable, law: FittedLaw, roles: Mapping[str, str]) -> Figure:
    """Figure of the law against measured losses, and of the errors on mixtures left out.

    The left panel shows the law against measured losses; diamonds are confirmation trials, which
    are not in the fit. The right panel shows the error of each law on mixtures left out of the fit;
    the bar of the chosen law is filled.
    """
    rows, columns = _fitted_columns(table, law)
    predicted = law.predict(
        table.proportions[rows], table.steps[rows], None if law.sizes is None else table.sizes[rows]
    )
    measured = table.losses[rows][:, columns]
    height = max(400, 60 + 34 * len(law.targets))
    what = ", each in its own unit" if ranged(law.goals) else " loss"
    every = max(1, int(np.isfinite(measured).sum()) // MAX_POINTS)
    traces: list[Figure] = []
    ends = [float(np.nanmin(measured)), float(np.nanmax(measured))]
    traces.append(
        {
            "type": "scatter",
            "mode": "lines",
            "x": ends,
            "y": ends,
            "line": {"color": QUIET, "width": 1, "dash": "dot"},
            "hoverinfo": "skip",
            "showlegend": False,
        }
    )
    for t, target in enumerate(law.targets):
        shown = np.flatnonzero(np.isfinite(measured[:, t]))[::every]
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
                    "symbol": _symbols(table, roles, rows[shown]),
                },
                "text": [
                    f"{text(table.trials[rows[n]])}, step {table.steps[rows[n]]:,.0f}"
                    for n in shown
                ],
                "hovertemplate": "%{text}<br>measured %{x:.4f}<br>law %{y:.4f}<extra>"
                + text(target)
                + "</extra>",
            }
        )
    errors = law.cross_validation.get("by_target", {})
    largest = max(
        (
            law_errors["mean_relative_error"]
            for by_law in errors.values()
            for law_errors in by_law.values()
        ),
        default=0.01,
    )
    for name in ("bimix", "transfer"):
        known = [t for t in law.targets if name in errors.get(t, {})]
        if known:
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
                            faded(
                                colour(law.targets.index(t)),
                                0.95 if law.choice[t] == name else 0.18,
                            )
                            for t in known
                        ],
                        "line": {
                            "width": 1.2,
                            "color": [colour(law.targets.index(t)) for t in known],
                        },
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
    return {
        "data": traces,
        "layout": layout(
            height,
            showlegend=1 < len(law.targets) <= 8,
            legend=LEGEND | {"itemsizing": "constant"},
            bargap=0.25,
            bargroupgap=0.08,
            margin={"l": 58, "r": 18, "t": 44, "b": 48},
            xaxis={"domain": [0, 0.46], "title": {"text": f"measured{what}"}},
            yaxis={"title": {"text": f"by the law{what}"}},
            xaxis2={
                "domain": [0.60, 1],
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
            annotations=[facet_title("Error on mixtures left out", ([0.60, 1], [0, 1]))],
        ),
    }


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
    shown = sorted(range(len(names)), key=lambda d: -path[-1].mixture.as_array(names)[d])[:10]
    spread = max(max(trials) - min(trials), 1)
    beside = max(trials) + 0.035 * spread
    traces: list[Figure] = []
    for d in shown:
        band = [point.interval.get(names[d], (np.nan, np.nan)) for point in path]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": [*trials, *trials[::-1]],
                "y": numbers([b[0] for b in band] + [b[1] for b in band[::-1]]),
                "fill": "toself",
                "fillcolor": faded(colour(d), 0.16),
                "line": {"width": 0},
                "hoverinfo": "skip",
                "showlegend": False,
            }
        )
    for d in shown:
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": text(names[d]),
                "x": trials,
                "y": numbers(point.mixture.as_array(names)[d] for point in path),
                "line": {"color": colour(d), "width": 2.2},
                "marker": {"size": 6},
                "hovertemplate": "%{y:.1%} after %{x} trainings<extra>"
                + text(names[d])
                + "</extra>",
            }
        )
    if data.optimum:
        for n, d in enumerate(shown):
            low, high = data.optimum.region[names[d]]
            x = beside + n * 0.018 * spread
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "x": [x, x],
                    "y": numbers((low, high)),
                    "line": {"color": faded(colour(d), 0.55), "width": 6},
                    "hovertemplate": f"near-optimal region {share(low)} to "
                    f"{share(high)}<extra>{text(names[d])}</extra>",
                    "showlegend": False,
                }
            )
    return {
        "data": traces,
        "layout": layout(
            400,
            showlegend=True,
            xaxis={
                "title": {"text": "trainings"},
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
                "hovertemplate": "%{y:.2%} after %{x} trainings<extra>" + label + "</extra>",
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
            xaxis={"title": {"text": "trainings"}, "tickformat": "d"},
            yaxis={
                "title": {"text": "regret, part of the loss"},
                "type": "log",
                "tickformat": "~%",
                "nticks": 6,
            },
        ),
    }


def residuals(table: LossTable, law: FittedLaw, roles: Mapping[str, str]) -> Figure:
    """Figure of the relative residuals: measured loss over the law, less 1.

    The left panel shows the residuals against step. The right panel shows the mean of each trial,
    in the order in which the trials began. Diamonds are confirmation trials, which are not in the
    fit.
    """
    rows, columns = _fitted_columns(table, law)
    predicted = law.losses(
        table.proportions[rows], table.steps[rows], None if law.sizes is None else table.sizes[rows]
    )
    measured = losses_of(law.goals, law.targets, table.losses[rows][:, columns])
    relative = measured / predicted - 1
    runs = table.run_ids()[rows]
    every = max(1, int(np.isfinite(relative).sum()) // MAX_POINTS)
    traces: list[Figure] = []
    for t, target in enumerate(law.targets):
        shown = np.flatnonzero(np.isfinite(relative[:, t]))[::every]
        jitter = 1 + 0.03 * (t - (len(law.targets) - 1) / 2) / max(1, len(law.targets) / 3)
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": text(target),
                "legendgroup": text(target),
                "x": numbers(table.steps[rows][shown] * jitter),
                "y": numbers(relative[shown, t]),
                "marker": {
                    "size": 4.5,
                    "color": faded(colour(t), 0.6),
                    "symbol": _symbols(table, roles, rows[shown]),
                },
                "text": [
                    f"{text(table.trials[rows[n]])}, step {table.steps[rows[n]]:,.0f}"
                    for n in shown
                ],
                "hovertemplate": "%{text}: %{y:+.2%}<extra>" + text(target) + "</extra>",
            }
        )
        trainings = [
            run
            for run in dict.fromkeys(runs.tolist())
            if np.isfinite(relative[runs == run, t]).any()
        ]
        first = np.array([rows[np.flatnonzero(runs == run)[0]] for run in trainings], dtype=np.intp)
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "legendgroup": text(target),
                "showlegend": False,
                "xaxis": "x2",
                "yaxis": "y2",
                "x": [run + 1 for run in trainings],
                "y": numbers(np.nanmean(relative[runs == run, t]) for run in trainings),
                "marker": {
                    "size": 6.5,
                    "color": faded(colour(t), 0.8),
                    "symbol": _symbols(table, roles, first),
                },
                "text": [text(table.trials[row]) for row in first],
                "hovertemplate": "%{text}: %{y:+.2%}<extra>" + text(target) + "</extra>",
            }
        )
    same = {"tickformat": "+.1%", "zeroline": True}
    return {
        "data": traces,
        "layout": layout(
            360,
            showlegend=1 < len(law.targets) <= 8,
            legend=LEGEND | {"itemsizing": "constant"},
            margin={"l": 58, "r": 18, "t": 44, "b": 48},
            xaxis=step_axis(table.steps[rows].min(), table.steps[rows].max())
            | {"domain": [0, 0.48]},
            yaxis=same | {"title": {"text": "measured over law, less 1"}},
            xaxis2={
                "domain": [0.56, 1],
                "anchor": "y2",
                "title": {"text": "training"},
                "tickformat": "d",
            },
            yaxis2=same | {"anchor": "x2"},
        ),
    }


def _fitted_columns(table: LossTable, law: FittedLaw) -> tuple[npt.NDArray[np.intp], list[int]]:
    """Rows of the table inside the fitted steps, and the column of each target of the law."""
    rows = np.flatnonzero((table.steps >= law.steps[0]) & (table.steps <= law.steps[1]))
    return rows, [table.targets.index(target) for target in law.targets]


def _symbols(table: LossTable, roles: Mapping[str, str], rows: npt.NDArray[np.intp]) -> list[str]:
    """Marker symbol of each row: a diamond for a confirmation trial, else a circle."""
    return [
        "diamond-open" if roles.get(table.trials[row]) == "confirmation" else "circle"
        for row in rows
    ]


def _mixture_label(domains: tuple[str, ...], proportions: Array) -> str:
    """The five largest proportions of a mixture, in one line."""
    largest = np.argsort(-proportions, kind="stable")[:5]
    return ", ".join(
        f"{text(domains[d])} {share(proportions[d])}" for d in largest if proportions[d] > 0
    )
