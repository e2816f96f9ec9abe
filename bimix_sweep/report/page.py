"""Page of a sweep: one HTML file with all its data, for the person who decides the mixture."""

import html
import json

import numpy as np

from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.mixture.goals import ranged
from bimix_sweep.report import figures, tables
from bimix_sweep.report.confirmation import confirmation
from bimix_sweep.report.data import ReportData
from bimix_sweep.report.look import POLICY, SCRIPT, STYLE
from bimix_sweep.report.style import Figure, colour, percent, share
from bimix_sweep.report.ternary import ternary
from bimix_sweep.text import factor


def render(data: ReportData) -> str:
    """Page of a sweep as HTML that needs no network and no other file.

    All names and texts of the user are escaped.
    """
    from plotly.offline import get_plotlyjs

    title = html.escape(f"{data.name} – bimix-sweep")
    sections = "\n".join(
        section
        for section in (
            _answer(data),
            _where(data),
            _settling(data),
            _law(data),
            _curves(data),
            _residuals(data),
            _record(data),
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
<style>{STYLE}</style>
<script>{get_plotlyjs()}</script>
</head>
<body>
<header><p class="kicker">bimix-sweep</p><h1>{html.escape(data.name)}</h1>\
<p class="meta">{html.escape(_size_of_sweep(data))}</p></header>
<main>
{sections}
</main>
<footer><p>Proportions are shares of tokens. Statistics tell their numbers under the pointer; \
drag to zoom, double-click to go back.</p></footer>
<script>{SCRIPT}</script>
</body>
</html>
"""


def _size_of_sweep(data: ReportData) -> str:
    """Counts of trials, domains, targets and steps, and the wall time, in one line."""
    trials = list(dict.fromkeys(data.table.trials)) if data.table else []
    confirmations = sum(data.roles.get(trial, "sweep") == "confirmation" for trial in trials)
    parts = [_count(len(trials) - confirmations, "proxy training")]
    if confirmations:
        parts.append(_count(confirmations, "final training"))
    if data.failed:
        parts.append(f"{len(data.failed)} failed")
    parts.append(_count(len(data.domains), "domain"))
    if data.table:
        steps = ", ".join(f"{number:,.0f}" for number in data.lengths or [data.table.steps.max()])
        parts += [_count(len(data.table.targets), "target"), f"{steps} steps"]
        if data.several_sizes:
            parts.append(
                "sizes " + ", ".join(map(tables.quantity, np.unique(data.table.sizes).tolist()))
            )
    if data.seconds is not None:
        parts.append(tables.duration(data.seconds))
    return " · ".join(parts)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _answer(data: ReportData) -> str:
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
    facts = "".join(
        f"<div><dt>{html.escape(term)}</dt><dd>"
        f"{f'<strong>{html.escape(figure)}</strong><br>' if figure else ''}"
        f"{html.escape(text)}</dd></div>"
        for term, figure, text in _facts(data)
    )
    return f"""<section class="row" aria-label="The answer">
<div class="card wide"><h2>Recommended mixture</h2>
{_bars(data, mixture)}
<p class="note">Bars: share of tokens. \
Brackets: how far each share ranges over the mixtures predicted within
{percent(data.optimum.within)} of the best loss. \
They trade off against each other: take one share from its range, then the rest follow.</p>
{tables.mixture_table(data, mixture)}{tables.binding_table(data)}
<details><summary>Other mixtures as good</summary>{tables.alternatives_table(data)}</details></div>
<div class="card narrow"><h2>How sure</h2><dl class="facts">{facts}</dl></div>
</section>"""


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
            f'</span><span class="value">{share(mixture.proportions[d])}</span>'
            f'<span class="range">{100 * low:.0f} – {100 * high:.0f} %</span>'
        )
    said = ", ".join(f"{names[d]} {share(mixture.proportions[d])}" for d in order)
    return (
        f'<div class="stack" aria-hidden="true">{stack}</div>'
        '<div class="bars" role="img" '
        f'aria-label="{html.escape(said, quote=True)}">{"".join(rows)}</div>'
    )


def _facts(data: ReportData) -> list[tuple[str, str, str]]:
    """(name, number, sentence) of each fact to know before the mixture is used."""
    facts = []
    if data.optimum:
        regret = data.optimum.regret
        facts.append(
            (
                "Regret",
                f"≤ {percent(regret.upper95)}",
                "Against the true optimum of these proxies its loss is expected to be "
                f"{percent(regret.expected)} higher, and with 95 % confidence at most "
                f"{percent(regret.upper95)}.",
            )
        )
        if data.beyond and data.beyond.sentences:
            far = ", ".join(
                f"{factor(value)} × {name}"
                for name, value in data.beyond.extrapolation.items()
                if value > 1
            )
            facts.append(("Not tested", far, " ".join(data.beyond.sentences)))
        for target, goal in ranged(data.goals).items():
            if target in data.optimum.predicted_losses:
                facts.append(
                    (
                        target,
                        f"{data.optimum.predicted_losses[target]:.4g}",
                        f"Predicted for the optimum, in its own unit: it is {goal.words}. The loss "
                        "that the objective, regret and errors speak of is its distance from the "
                        "best end, in units of its range.",
                    )
                )
    if data.comparison:
        facts.append(("Final trainings", "", f"{_sentence(data.comparison.reason)}"))
    else:
        facts.append(
            (
                "Final trainings",
                "",
                "Not trained yet: no mixture is recommended for good before it was trained beside "
                "its rivals.",
            )
        )
    facts.append(
        (
            "Why it stopped" if data.stop_reason else "State",
            "",
            _sentence(data.stop_reason) if data.stop_reason else "The sweep is still running.",
        )
    )
    if data.law:
        laws = [
            sum(choice == name for choice in data.law.choice.values())
            for name in ("bimix", "transfer")
        ]
        which = " and ".join(
            f"{name} for {_count(n, 'target')}"
            for name, n in zip(("BiMix", "transfer"), laws, strict=True)
            if n
        )
        facts.append(
            (
                "Law",
                percent(tables.held_out_error(data.law)),
                f"mean error on mixtures left out of the fit; {which}.",
            )
        )
    return facts


def _sentence(reason: str) -> str:
    """Reason as a sentence: a capital letter at the start and a full stop at the end."""
    return f"{reason[:1].upper()}{reason[1:].rstrip('.')}."


def _where(data: ReportData) -> str:
    """Section with the ternary figure of three domains, and the confirmation trials."""
    if data.law is None or data.optimum is None:
        return ""
    if len(data.domains) != 3:
        return f'<section class="row">{_confirmation(data, "")}</section>'
    names = ", ".join(data.domains.names)
    triangle = _figure(
        "ternary",
        "Where the optimum lies",
        ternary(data, data.law, data.optimum),
        "Each point is a mixture, each corner one domain alone. Shades: predicted loss, darker is "
        "lower.",
        f"Triangle of mixtures of {names} with the mixtures tried, the near-optimal region and the "
        "predicted optimum; the numbers are in the tables.",
        "wide",
    )
    return f'<section class="row">{triangle}{_confirmation(data, "narrow")}</section>'


def _confirmation(data: ReportData, width: str) -> str:
    """Card with the comparison of the confirmation trials."""
    title = "Is it better than its rivals?"
    if data.comparison is None:
        return (
            f'<div class="card {width}"><h2>{title}</h2>'
            '<p class="note">The final trainings have not been run yet.</p></div>'
        )
    return _figure(
        "confirmation",
        title,
        confirmation(data, data.comparison),
        f"{_sentence(data.comparison.reason)} Every mixture was trained with the same "
        f"{_count(len(data.comparison.seeds), 'seed')}.",
        "Loss of each final mixture relative to the predicted optimum; the numbers are in the "
        "table.",
        width,
        after=tables.confirmation_table(data.comparison),
    )


def _settling(data: ReportData) -> str:
    """Section with the optimum and its regret against the number of trials."""
    if not data.path:
        return (
            '<section class="row"><div class="card"><h2>How the optimum settled</h2>'
            '<p class="note">No law has been fitted yet.</p></div></section>'
        )
    rows = [
        [
            str(p.num_trials),
            *(share(value) for value in p.mixture.as_array(data.domains.names)),
            percent(p.regret_expected),
            percent(p.regret_upper95),
            "–" if p.movement_tv is None else share(p.movement_tv),
        ]
        for p in data.path
    ]
    numbers = tables.table(
        "The optimum after each refit",
        ["trainings", *data.domains.names, "expected regret", "95 % bound", "moved"],
        rows,
    )
    return (
        '<section class="row">'
        + _figure(
            "path",
            "The optimum over trainings",
            figures.optimum_path(data),
            "Predicted optimum after each refit with the 95 % interval of its posterior; bars at "
            "the right: the near-optimal region.",
            "Proportions of the predicted optimum against the number of trainings; the numbers are "
            "in the table beside.",
            "half",
            numbers,
        )
        + _figure(
            "regret",
            "What a wrong choice would cost",
            figures.regret_path(data.path, data.tolerance),
            "Loss of the predicted optimum over that of the true one, as the posterior of the law "
            "expects it and its 95 % bound.",
            "Expected regret and its 95 % bound against the number of trainings; the numbers are "
            "in the table beside.",
            "half",
        )
        + "</section>"
    )


def _law(data: ReportData) -> str:
    """Section with the law against the measurements."""
    if data.law is None or data.table is None:
        return (
            '<section class="row"><div class="card"><h2>The law</h2>'
            '<p class="note">No law has been fitted yet.</p></div></section>'
        )
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in data.law.notes)
    beside = tables.law_table(data.law) + (f'<ul class="notes">{notes}</ul>' if notes else "")
    return (
        '<section class="row">'
        + _figure(
            "law",
            "The law predicts mixtures it has not seen to "
            f"{percent(tables.held_out_error(data.law))}",
            figures.law_against_measurements(data.table, data.law, data.roles),
            "Left: every measured loss against the fitted law; diamonds are final trainings, which "
            "it has not seen. Right: each mixture left out in turn; cross-validation chose the "
            "filled law.",
            "Fitted against measured losses, and errors on mixtures left out; the numbers are in "
            "the table.",
            after=beside,
            folded=tables.reason_table(data.law),
            summary="Why this law",
        )
        + "</section>"
    )


def _curves(data: ReportData) -> str:
    """Section with the loss curves."""
    table = data.comparable
    if table is None:
        return ""
    own = (
        dict(data.law.own)
        if data.law
        else {name: name for name in table.targets if name in table.domains}
    )
    left_out = len(table.targets) - figures.MAX_FACETS
    more = (
        f" The {figures.MAX_FACETS} targets that weigh most; {left_out} more are in the tables."
        if left_out > 0
        else ""
    )
    return (
        '<section class="row">'
        + _figure(
            "curves",
            "More of a domain, less loss on it",
            figures.loss_curves(table, own, dict(data.weights)),
            "Validation loss of every "
            f"training{' of the largest size' if data.several_sizes else ''}. Colour: share of the "
            f"target's own domain in the mixture.{more}",
            "Loss against optimizer step for each target; last losses are in the table of "
            "trainings.",
        )
        + "</section>"
    )


def _residuals(data: ReportData) -> str:
    """Section with the residuals of the law."""
    if data.law is None or data.table is None:
        return ""
    return (
        '<section class="row">'
        + _figure(
            "residuals",
            "What the law leaves over",
            figures.residuals(data.table, data.law, data.roles),
            "Measured loss over the fitted law, less 1: by step, and the mean of each training in "
            "the order they began. Diamonds: final trainings, not in the fit.",
            "Relative residuals of the law by step and by training.",
        )
        + "</section>"
    )


def _record(data: ReportData) -> str:
    """Section with the tables of the trials and of the provenance."""
    return f"""<section class="row"><div class="card">\
<h2>Trainings</h2>{tables.trial_table(data)}</div>
<div class="card"><h2>Provenance</h2>{tables.provenance_table(data)}</div></section>"""


def _figure(
    key: str,
    title: str,
    figure: Figure,
    caption: str,
    said: str,
    width: str = "",
    folded: str = "",
    after: str = "",
    summary: str = "The numbers",
) -> str:
    """Card with a figure and its caption.

    Args:
        key: id of the figure in the page.
        title: title of the card.
        figure: plotly JSON.
        caption: text under the title.
        said: description of the figure for a screen reader.
        width: class of the card, which sets its width; empty for the full width.
        folded: HTML that is hidden until a click on `summary`; empty for none.
        after: HTML under the figure; empty for none.
        summary: the line that opens `folded`.
    """
    content = (
        json.dumps(figure, allow_nan=False, separators=(",", ":"))
        .replace("<", "\\u003c")
        .replace("&", "\\u0026")
    )
    fold = f"<details><summary>{summary}</summary>{folded}</details>" if folded else ""
    return f"""<figure class="card {width}" aria-labelledby="{key}-title">\
<h2 id="{key}-title">{html.escape(title)}</h2>
<figcaption>{html.escape(caption)}</figcaption>
<div class="plot" id="{key}" role="img" aria-label="{html.escape(said, quote=True)}" \
style="min-height:{figure["layout"]["height"]}px"></div>
<script type="application/json" id="{key}-figure">{content}</script>{after}{fold}</figure>"""
