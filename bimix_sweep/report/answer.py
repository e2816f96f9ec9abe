"""First section of the page: the recommended mixture beside the facts to know before its use."""

import html

from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.report import tables
from bimix_sweep.report.data import ReportData
from bimix_sweep.report.facts import facts
from bimix_sweep.report.figures.style import colour
from bimix_sweep.report.prediction_table import prediction_table
from bimix_sweep.report.wording import percent, proportion_text, sentence


def answer(data: ReportData) -> str:
    """Section with the recommended mixture, its regret, and why the sweep stopped."""
    mixture = data.recommended
    if data.optimum is None or mixture is None:
        text = (
            "No mixture can be recommended yet: the law needs losses of at least two different "
            "mixtures."
        )
        return (
            '<section class="row"><div class="card"><h2>Recommended mixture</h2>'
            f'<p class="lead">{text}</p></div></section>'
        )
    entries = "".join(
        f"<div><dt>{html.escape(fact.name)}</dt><dd>"
        f"{f'<strong>{html.escape(fact.value)}</strong><br>' if fact.value else ''}"
        f"{html.escape(fact.text)}</dd></div>"
        for fact in facts(data)
    )
    return f"""<section class="row" aria-label="The answer">
<div class="card wide"><h2>Recommended mixture</h2>
{_gain(data)}{_bars(data, mixture)}
<p class="note">Bars: proportion of tokens. \
Brackets: how far each proportion ranges over the mixtures predicted within
{percent(data.optimum.within)} of the best loss. \
They trade off against each other: take one proportion from its range, then the rest follow.</p>
{tables.mixture_table(data, mixture)}{tables.binding_table(data)}
<details><summary>Other mixtures as good</summary>{tables.alternatives_table(data)}</details>
<details><summary>Predicted losses and weights</summary>{prediction_table(data)}</details></div>
<div class="card narrow"><h2>How sure</h2><dl class="facts">{entries}</dl></div>
</section>"""


def _gain(data: ReportData) -> str:
    """Gain over the baseline with its interval, the first number of the page."""
    if data.gain is None:
        return ""
    gain = data.gain
    return (
        f'<p class="lead">{html.escape(f"{gain.words[:1].upper()}{gain.words[1:]}")}: '
        f"<strong>{html.escape(gain.amount)}</strong><br>"
        f'<span class="note">{html.escape(sentence(gain.source))}</span></p>'
    )


def _bars(data: ReportData, mixture: Mixture) -> str:
    """Stacked bar of the mixture, and a bar for each domain with its near-optimal region."""
    if data.optimum is None:
        return ""
    names = data.domains.names
    order = sorted(range(len(names)), key=lambda d: -mixture.proportions[d])
    full = max(data.optimum.region[name][1] for name in names)
    stack = "".join(
        f'<span style="flex:{mixture.proportions[d]:.6f};background:{colour(d)}">'
        f"{html.escape(names[d]) if mixture.proportions[d] > 0.12 else ''}</span>"
        for d in order
        if mixture.proportions[d] > 0
    )
    rows = []
    for d in order:
        low, high = data.optimum.region[names[d]]
        rows.append(
            f'<span class="name">{html.escape(names[d])}</span><span class="track">'
            f'<i style="left:0;width:{100 * mixture.proportions[d] / full:.2f}%;'
            f'background:{colour(d)}"></i>'
            f'<b style="left:{100 * low / full:.2f}%;width:{100 * (high - low) / full:.2f}%"></b>'
            f'</span><span class="value">{proportion_text(mixture.proportions[d])}</span>'
            f'<span class="range">{100 * low:.0f} – {100 * high:.0f} %</span>'
        )
    description = ", ".join(f"{names[d]} {proportion_text(mixture.proportions[d])}" for d in order)
    return (
        f'<div class="stack" aria-hidden="true">{stack}</div>'
        '<div class="bars" role="img" '
        f'aria-label="{html.escape(description, quote=True)}">{"".join(rows)}</div>'
    )
