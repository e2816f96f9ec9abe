"""Page of a sweep: one HTML file with all its data, for the person who decides the mixture."""

import html

from bimix_sweep.report import sections
from bimix_sweep.report.answer import answer
from bimix_sweep.report.bar import bar
from bimix_sweep.report.data import ReportData
from bimix_sweep.report.look import LIVE_POLICY, POLICY, asset, plotting_library
from bimix_sweep.report.trust import trust
from bimix_sweep.report.tryout import tryout
from bimix_sweep.report.unknowns import unknowns

MENU = {
    "answer": "Answer",
    "trust": "Trust",
    "try": "Try your own",
    "where": "Rivals",
    "settled": "Trials and regret",
    "the-law": "The law",
    "curves-section": "Curves",
    "trials": "Trials",
}
"""{id of a section: its name in the menu}, in the order of the page."""


def render(data: ReportData, *, live: float | None = None, inside: str | None = None) -> str:
    """Page of a sweep as HTML that needs no network and no other file.

    All names and texts of the user are escaped.

    Args:
        data: state of the sweep.
        live: seconds after which the page asks its server for new content (`content`); None: the
            page asks for nothing.
        inside: `content(data)`, where it is made already.
    """
    over = data.progress is not None and data.progress.state == "complete"
    flags = "" if live is None else f' data-live="{live:g}" data-over="{"yes" if over else "no"}"'
    scripts = ["page.js", "try.js"] + ([] if live is None else ["live.js"])
    title = html.escape(f"{data.name} – bimix-sweep")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY if live is None else LIVE_POLICY}">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{asset("page.css")}</style>
</head>
<body{flags}>
{content(data) if inside is None else inside}
<footer><p>A proportion is a part of the tokens. Figures show their numbers under the pointer; \
drag to zoom, double-click to go back.</p></footer>
<script type="text/plain" id="plotly">{plotting_library()}</script>
<script>{"".join(map(asset, scripts))}
start();</script>
</body>
</html>
"""


def content(data: ReportData) -> str:
    """Bar and sections of the page, the part that changes while a sweep runs."""
    found = [
        section
        for section in (
            answer(data),
            _doubts(data),
            tryout(data),
            sections.ternary_and_confirmation(data),
            sections.optimum_over_trials(data),
            sections.law(data),
            sections.curves(data),
            sections.law_residuals(data),
            sections.record(data),
        )
        if section
    ]
    links = {key: name for key, name in MENU.items() if any(f'id="{key}"' in one for one in found)}
    body = "\n".join(found)
    return f"{bar(data, links)}\n<main>\n{body}\n</main>"


def _doubts(data: ReportData) -> str:
    """Section with the health checks and what is not known."""
    cards = trust(data) + unknowns(data)
    return f'<section class="row" id="trust">{cards}</section>' if cards else ""
