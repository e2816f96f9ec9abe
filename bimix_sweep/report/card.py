"""Card of the page that holds a figure, its caption and the table of its numbers."""

import html
import json

from bimix_sweep.report.figures.style import Figure
from bimix_sweep.report.packing import pack


def figure_card(
    key: str,
    title: str,
    figure: Figure,
    caption: str,
    description: str,
    *,
    width: str = "",
    folded: str = "",
    after: str = "",
    summary: str = "The numbers",
) -> str:
    """Card with a figure and its caption, as HTML.

    Args:
        key: id of the figure in the page.
        title: title of the card.
        figure: plotly JSON.
        caption: text under the title.
        description: description of the figure for a screen reader.
        width: class of the card, which sets its width; empty for the full width.
        folded: HTML that is hidden until a click on `summary`; empty for none.
        after: HTML under the figure; empty for none.
        summary: the line that opens `folded`.
    """
    content = pack(json.dumps(figure, allow_nan=False, separators=(",", ":")))
    fold = f"<details><summary>{summary}</summary>{folded}</details>" if folded else ""
    return f"""<figure class="card {width}" aria-labelledby="{key}-title">\
<h2 id="{key}-title">{html.escape(title)}</h2>
<figcaption>{html.escape(caption)}</figcaption>
<div class="plot" id="{key}" role="img" aria-label="{html.escape(description, quote=True)}" \
style="min-height:{figure["layout"]["height"]}px"></div>
<script type="text/plain" id="{key}-figure">{content}</script>{after}{fold}</figure>"""
