"""Figure of the loss curves: small multiples of loss against step, one for each target."""

from dataclasses import dataclass

import numpy as np

from bimix_sweep.mixture.curves import LossCurve
from bimix_sweep.mixture.goals import ranged
from bimix_sweep.mixture.simplex import Array
from bimix_sweep.mixture.table import LossTable
from bimix_sweep.report.figures.style import (
    MAX_POINTS,
    QUIET,
    Figure,
    axis_key,
    axis_name,
    between,
    facet_title,
    facets,
    faded,
    layout,
    numbers,
    scale,
    step_axis,
    text,
)
from bimix_sweep.report.wording import proportion_text

MAX_FACETS = 12
"""Largest number of targets drawn as small multiples; the tables have all targets."""
SHADES = 12
"""Number of steps of the colour scale.

All curves of one shade are one trace, so that the page of a sweep with 500 trials stays fast.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shading:
    """Colours of the curves: the proportion of the target's own domain in the mixture."""

    own_domain: dict[int, int]
    """{index of a target: index of its own domain}; a target without an own domain is left out."""
    largest: float
    """Proportion at the end of the colour scale: the largest one of any own domain."""

    def shade(self, target: int, proportions: Array) -> int:
        """Step of the colour scale from 0 to SHADES - 1; -1 for a target without an own domain."""
        if target not in self.own_domain:
            return -1
        return min(int(SHADES * proportions[self.own_domain[target]] / self.largest), SHADES - 1)


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

    Args:
        table: measured points; their losses must be comparable at each step.
        own: {target: its own domain}.
        weights: {target: weight in the objective}; empty means equal weights.
    """
    targets = main_targets(table, weights)
    curves = table.curves()
    columns = min(3, len(targets))
    crowded = len(table) * len(targets) > 4 * MAX_POINTS
    height = 285 * -(-len(targets) // columns) + 70
    places = facets(len(targets), columns, height - 82)
    shading = _shading(table, targets, own)
    traces: list[Figure] = []
    axes: dict[str, Figure] = {}
    notes: list[Figure] = []
    steps = step_axis(table.steps.min(), table.steps.max())
    for n, target in enumerate(targets):
        traces += _target_traces(table.domains, curves, target, n, shading, crowded)
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
    if shading.own_domain:
        _add_colour_bar(figure, shading.largest, height)
    return figure


def _shading(table: LossTable, targets: list[int], own: dict[str, str]) -> _Shading:
    own_domain = {
        t: table.domains.index(own[table.targets[t]])
        for t in targets
        if own.get(table.targets[t]) in table.domains
    }
    largest = max((table.proportions[:, d].max() for d in own_domain.values()), default=1.0)
    return _Shading(own_domain=own_domain, largest=largest)


def _target_traces(
    domains: tuple[str, ...],
    curves: list[LossCurve],
    target: int,
    facet: int,
    shading: _Shading,
    crowded: bool,
) -> list[Figure]:
    """Traces of the curves of one target, one trace for each shade.

    Args:
        domains: names of the domains.
        curves: loss curves of all trials.
        target: index of the target.
        facet: position of the target's small multiple.
        shading: colours of the curves.
        crowded: True where the figure has so many points that markers and mixtures are left out.
    """
    shades: dict[int, tuple[list[float | None], list[float | None], list[str | None]]] = {}
    for curve in curves:
        proportions = curve.mixture.as_array(domains)
        shade = shading.shade(target, proportions)
        x, y, labels = shades.setdefault(shade, ([], [], []))
        measured = curve.losses[:, target]
        x += [*numbers(curve.steps), None]
        y += [*numbers(measured), None]
        label = (
            text(curve.trial)
            if crowded
            else f"{text(curve.trial)}<br>{_mixture_label(domains, proportions)}"
        )
        labels += [label] * len(measured) + [None]
    traces: list[Figure] = []
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
                "xaxis": axis_name("x", facet),
                "yaxis": axis_name("y", facet),
                "line": {"color": faded(line, 0.85), "width": 1.6},
                "marker": {"size": 4, "color": line},
                "hovertemplate": "%{text}<br>step %{x:,}: loss %{y:.4f}<extra></extra>",
            }
        )
    return traces


def _add_colour_bar(figure: Figure, largest: float, height: int) -> None:
    """Adds the colour scale, and an invisible trace without which plotly draws no scale."""
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
    figure["data"].append(
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


def _mixture_label(domains: tuple[str, ...], proportions: Array) -> str:
    """The five largest proportions of a mixture, in one line."""
    largest = np.argsort(-proportions, kind="stable")[:5]
    return ", ".join(
        f"{text(domains[d])} {proportion_text(proportions[d])}"
        for d in largest
        if proportions[d] > 0
    )
