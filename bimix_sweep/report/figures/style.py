"""Style of the figures: colours for light and dark pages, axes, small multiples, numbers."""

import colorsys
import html
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from bimix_sweep.mixture.simplex import Array

Figure = dict[str, Any]
"""Plotly figure as plain JSON: `data` and `layout`.

The script of the page sets the colours of text, grid and background for the light or dark theme.
"""

PALETTE = (
    "#3f7fd9",
    "#e0861a",
    "#2f9e77",
    "#c9497a",
    "#8b6fd1",
    "#7d8f2b",
    "#d4583b",
    "#33a3b8",
    "#a0764a",
    "#76828f",
)
"""Colours of the first domains and targets, by position; `colour` makes the others."""
GOLDEN_ANGLE = 0.381966
"""Distance of two hues that follow each other, as a fraction of the circle."""
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x")
"""Symbols of the lines of domains, one for each round of the palette."""
LEGEND_BELOW = {"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top"}
"""Position of a legend with many names: below the plot, where it may take several rows."""
MAX_NAMES_ABOVE = 8
"""Largest number of names in a legend above the plot."""
PROPORTION_SCALE = ("#eeb045", "#e0774a", "#c4506d", "#914497", "#4f52c0")
"""Colour scale from a small to a large proportion."""
LEGEND = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}
"""Position of a legend: in a row above the plot."""
MARGIN_UNDER_LEGEND = {"l": 58, "r": 18, "t": 44, "b": 48}
"""Margins of a plot in pixels, with room for a legend above it."""
MAX_POINTS = 4000
"""Limit for the points of one figure; where there are more, only every n-th point is drawn."""
QUIET = "#8a929b"
"""Colour of lines and markers of low importance."""
ACCENT = "#d6336c"
"""Colour of the recommended mixture."""


def colour(index: int) -> str:
    """Colour of the domain or target at a position.

    After the palette, hues follow each other by the golden angle at two lightnesses, so that no
    colour repeats. Figures add a symbol (`symbol`) and a name where there are many.
    """
    if index < len(PALETTE):
        return PALETTE[index]
    hue = 0.05 + (index - len(PALETTE)) * GOLDEN_ANGLE
    lightness, saturation = ((0.36, 0.62), (0.66, 0.55))[index % 2]
    parts = colorsys.hls_to_rgb(hue % 1, lightness, saturation)
    return "#" + "".join(f"{round(255 * part):02x}" for part in parts)


def symbol(index: int) -> str:
    """Symbol of the line of a domain at a position: another one after each round of the palette."""
    return SYMBOLS[index // len(PALETTE) % len(SYMBOLS)]


def faded(colour_hex: str, alpha: float) -> str:
    """CSS colour with the opacity `alpha`, in [0, 1]."""
    red, green, blue = (int(colour_hex[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha:g})"


def between(position: float, colours: tuple[str, ...] = PROPORTION_SCALE) -> str:
    """Colour of a scale at a position in [0, 1], as #rrggbb; other positions are clipped."""
    place = min(max(position, 0.0), 1.0) * (len(colours) - 1)
    low = min(int(place), len(colours) - 2)
    ends = [[int(colours[low + n][i : i + 2], 16) for i in (1, 3, 5)] for n in (0, 1)]
    mixed = (round(a + (b - a) * (place - low)) for a, b in zip(*ends, strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)


def scale(colours: tuple[str, ...] = PROPORTION_SCALE) -> list[list[float | str]]:
    """Colour scale in the form that plotly reads: [position, colour] pairs."""
    return [[n / (len(colours) - 1), name] for n, name in enumerate(colours)]


def text(value: object) -> str:
    """Name escaped for a plotly label, because plotly reads some HTML in labels."""
    return html.escape(str(value))


def numbers(values: Iterable[float] | Array) -> list[float | None]:
    """Values rounded to six significant digits; NaN and infinity become None, for JSON."""
    return [
        float(f"{value:.6g}") if math.isfinite(value) else None
        for value in np.asarray(list(values), dtype=np.float64)
    ]


def layout(height: int, **entries: Any) -> dict[str, Any]:
    """Layout common to all figures, `height` pixels high; `entries` replace its entries."""
    common: dict[str, Any] = {
        "height": height,
        "margin": {"l": 58, "r": 18, "t": 34, "b": 48},
        "hovermode": "closest",
        "showlegend": False,
        "legend": LEGEND,
    }
    return common | entries


def legend_of(count: int, in_row: int = 5) -> tuple[dict[str, Any], int]:
    """Legend of `count` names, and the pixels by which the figure must be higher for it.

    Args:
        count: number of names.
        in_row: number of names that fit beside each other on a wide screen.
    """
    if count <= MAX_NAMES_ABOVE:
        return LEGEND | {"itemsizing": "constant"}, 0
    return LEGEND_BELOW | {"itemsizing": "constant"}, 22 * math.ceil(count / in_row)


def step_axis(low: float, high: float) -> dict[str, Any]:
    """Logarithmic axis of steps from `low` to `high`.

    The ticks are at 1, 2, 5, 10, ...; where these are more than six, at powers of ten only.
    """
    ticks = [
        digit * 10.0**power
        for power in range(-1, 16)
        for digit in (1, 2, 5)
        if low * 0.99 <= digit * 10.0**power <= high * 1.01
    ]
    ticks = (
        ticks if len(ticks) <= 6 else [tick for tick in ticks if str(f"{tick:e}").startswith("1")]
    )
    return {
        "type": "log",
        "title": {"text": "optimizer step"},
        "tickvals": ticks,
        "ticktext": [f"{tick:,.0f}" for tick in ticks],
        "range": [math.log10(low) - 0.06, math.log10(high) + 0.06],
    }


def facets(
    count: int,
    columns: int,
    height: float,
    gap: tuple[float, float] = (62, 62),
    width: float = 1000,
) -> list[tuple[list[float], list[float]]]:
    """Positions of small multiples, with the first row on top.

    Args:
        count: number of facets.
        columns: number of facets in a row.
        height, width: size of the plotting area in pixels; the default width is that of the page
            on a wide screen.
        gap: space between columns and between rows, in pixels.

    Returns:
        For each facet its x and y `domain`, as fractions of the plotting area.
    """
    rows = math.ceil(count / columns)
    across, down = gap[0] / width, gap[1] / height
    wide, tall = (1 - across * (columns - 1)) / columns, (1 - down * (rows - 1)) / rows
    places = []
    for n in range(count):
        row, column = divmod(n, columns)
        left, top = column * (wide + across), 1 - row * (tall + down)
        places.append(
            ([max(left, 0.0), min(left + wide, 1.0)], [max(top - tall, 0.0), min(top, 1.0)])
        )
    return places


def axis_name(letter: str, index: int) -> str:
    """Short name in plotly of the axis of a facet: x, x2, ..."""
    return letter + (str(index + 1) if index else "")


def axis_key(letter: str, index: int) -> str:
    """Layout key in plotly of the axis of a facet: xaxis, xaxis2, ..."""
    return f"{letter}axis" + (str(index + 1) if index else "")


def facet_title(label: str, place: tuple[list[float], list[float]]) -> dict[str, Any]:
    """Title above a facet, at its left edge, as a plotly annotation."""
    return {
        "text": f"<b>{label}</b>",
        "showarrow": False,
        "xref": "paper",
        "yref": "paper",
        "x": place[0][0],
        "y": place[1][1],
        "xanchor": "left",
        "yanchor": "bottom",
        "yshift": 4,
        "font": {"size": 13},
    }
