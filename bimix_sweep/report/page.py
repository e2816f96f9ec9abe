"""Page of a sweep: one HTML file with all its data, for the person who decides the mixture."""

import html

import numpy as np

from bimix_sweep.report import sections
from bimix_sweep.report.answer import answer
from bimix_sweep.report.data import ReportData
from bimix_sweep.report.look import POLICY, asset, plotting_library
from bimix_sweep.report.wording import count, duration, quantity


def render(data: ReportData) -> str:
    """Page of a sweep as HTML that needs no network and no other file.

    All names and texts of the user are escaped.
    """
    title = html.escape(f"{data.name} – bimix-sweep")
    body = "\n".join(
        section
        for section in (
            answer(data),
            sections.ternary_and_confirmation(data),
            sections.optimum_over_trials(data),
            sections.law(data),
            sections.curves(data),
            sections.law_residuals(data),
            sections.record(data),
        )
        if section
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{asset("page.css")}</style>
</head>
<body>
<header><p class="kicker">bimix-sweep</p><h1>{html.escape(data.name)}</h1>\
<p class="meta">{html.escape(_size_of_sweep(data))}</p></header>
<main>
{body}
</main>
<footer><p>A proportion is a part of the tokens. Figures show their numbers under the pointer; \
drag to zoom, double-click to go back.</p></footer>
<script type="text/plain" id="plotly">{plotting_library()}</script>
<script>{asset("page.js")}
start();</script>
</body>
</html>
"""


def _size_of_sweep(data: ReportData) -> str:
    """Counts of trials, domains, targets and steps, and the wall time, in one line."""
    trials = list(dict.fromkeys(data.table.trials)) if data.table else []
    confirmations = sum(data.roles.get(trial, "sweep") == "confirmation" for trial in trials)
    parts = [count(len(trials) - confirmations, "trial")]
    if confirmations:
        parts.append(count(confirmations, "confirmation trial"))
    if data.failed:
        parts.append(f"{len(data.failed)} failed")
    parts.append(count(len(data.domains), "domain"))
    if data.table:
        steps = ", ".join(f"{number:,.0f}" for number in data.lengths or [data.table.steps.max()])
        parts += [count(len(data.table.targets), "target"), f"{steps} steps"]
        if data.several_sizes:
            parts.append("sizes " + ", ".join(map(quantity, np.unique(data.table.sizes).tolist())))
    if data.seconds is not None:
        parts.append(duration(data.seconds))
    return " · ".join(parts)
