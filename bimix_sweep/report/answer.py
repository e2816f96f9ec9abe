"""First section of the page: the recommended mixture, its gain, its cost and what to do next."""

import html
import json
from collections.abc import Iterator

from bimix_sweep.law.optimum.gain import BASELINES
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.report import tables
from bimix_sweep.report.data import Progress, ReportData
from bimix_sweep.report.figures.style import colour
from bimix_sweep.report.packing import pack
from bimix_sweep.report.prediction_table import prediction_table
from bimix_sweep.report.verdict import verdict
from bimix_sweep.report.wording import duration, percent, proportion_text, sentence

MAX_BARS = 12
"""Largest number of domains with a bar; the other domains are folded."""


def answer(data: ReportData) -> str:
    """Section with the recommended mixture beside its gain, regret, cost and next command."""
    mixture = data.recommended
    if data.optimum is None or mixture is None:
        text = (
            "No mixture can be recommended yet: the law needs losses of at least two different "
            "mixtures."
        )
        return (
            '<section class="row" id="answer"><div class="card"><h2>Recommended mixture</h2>'
            f'<p class="lead">{text}</p></div></section>'
        )
    entries = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{text}</dd></div>"
        for name, text in _key_numbers(data)
    )
    return f"""<section class="row" id="answer" aria-label="The answer">
<div class="card wide"><h2>Recommended mixture</h2>
<p class="lead">{html.escape(verdict(data))}</p>
{_bars(data, mixture)}
<details><summary>Tokens, epochs and intervals</summary>
{tables.mixture_table(data, mixture)}{tables.binding_table(data)}</details>
<details><summary>Other mixtures as good</summary>{tables.alternatives_table(data)}</details>
<details><summary>Predicted losses and weights</summary>{prediction_table(data)}</details></div>
<div class="card narrow"><h2>Gain, cost, next step</h2><dl class="facts">{entries}</dl>
{_copy(data, mixture)}</div>
</section>"""


def _key_numbers(data: ReportData) -> Iterator[tuple[str, str]]:
    """Yields (name, HTML) of the numbers beside the mixture."""
    optimum, gain = data.optimum, data.gain
    if gain is not None:
        amount, _, ends = gain.amount.partition(" (")
        yield (
            f"{gain.words[:1].upper()}{gain.words[1:]}",
            f"<strong>{html.escape(amount)}</strong><br>{html.escape(f'({ends}. ' if ends else '')}"
            f"{html.escape(sentence(gain.source))}",
        )
    if optimum is not None:
        yield (
            "Regret",
            f"<strong>≤ {percent(optimum.regret.upper95)}</strong><br>Against the true optimum of "
            f"these proxies its loss is expected to be {percent(optimum.regret.expected)} higher, "
            f"and with 95 % confidence at most {percent(optimum.regret.upper95)}.",
        )
    if optimum is not None and data.kl > 0:
        yield (
            "Prior",
            f"<strong>{percent(optimum.prior_cost)}</strong><br>The mixture stays near the sweep's "
            f"prior (kl {data.kl:g}), which raises the loss of the optimum by this much; the regret "
            "counts the pull as part of the objective.",
        )
    if cost := _cost(data.progress, data.seconds):
        yield "Cost of the sweep", cost
    if data.stop_reason:
        yield "Why it stopped", html.escape(sentence(data.stop_reason))
    if data.progress is not None and data.progress.next_command:
        command = html.escape(data.progress.next_command)
        yield (
            "Next",
            f'<code id="next-command">{command}</code> '
            '<button type="button" data-copy="next-command">Copy</button>',
        )


def _cost(progress: Progress | None, seconds: float | None) -> str:
    """Compute and wall time that the sweep used, as HTML."""
    parts = []
    if progress is not None and progress.gpu_hours > 0:
        parts.append(f"{progress.gpu_hours:.3g} GPU-hours")
    elif progress is not None and progress.core_hours > 0:
        parts.append(f"{progress.core_hours:.3g} core-hours")
    if seconds is not None:
        parts.append(f"{duration(seconds)} of wall time")
    return f"<strong>{parts[0]}</strong>{''.join(f'<br>{p}' for p in parts[1:])}" if parts else ""


def _copy(data: ReportData, mixture: Mixture) -> str:
    """The mixture as text to copy: as YAML, and in the form of each trainer."""
    numbers = "".join(f"{name}: {value:.6f}\n" for name, value in mixture.as_dict().items())
    forms = {"YAML": numbers} | dict(data.exports)
    options = "".join(f"<option>{html.escape(name)}</option>" for name in forms)
    texts = f'<script type="text/plain" id="form-texts">{pack(json.dumps(forms))}</script>'
    return (
        '<div class="copy" id="forms"><label>The mixture as <select id="form" '
        f'data-keep="yes">{options}</select></label> '
        '<button type="button" data-copy="form-text">Copy</button>'
        f'<pre id="form-text" tabindex="0">{html.escape(numbers)}</pre>{texts}</div>'
    )


def _stack(label: str, mixture: Mixture, names: tuple[str, ...], order: list[int]) -> str:
    """Stacked bar of a mixture."""
    values = mixture.as_array(names)
    parts = "".join(
        f'<span style="flex:{values[d]:.6f};background:{colour(d)}">'
        f"{html.escape(names[d]) if values[d] > 0.12 else ''}</span>"
        for d in order
        if values[d] > 0
    )
    return f'<p class="stack-name">{html.escape(label)}</p><div class="stack">{parts}</div>'


def _bars(data: ReportData, mixture: Mixture) -> str:
    """Stacked bars of the baseline and the mixture, and a bar for each domain with its region."""
    if data.optimum is None:
        return ""
    names, gain = data.domains.names, data.gain
    over = gain.mixture.as_array(names) if gain is not None else None
    label = BASELINES[gain.baseline] if gain is not None else ""
    values = mixture.as_array(names)
    order = sorted(range(len(names)), key=lambda d: -values[d])
    full = max(
        *(data.optimum.region[name][1] for name in names),
        values.max(),
        0.0 if over is None else over.max(),
    )
    rows = []
    for d in order:
        low, high = data.optimum.region[names[d]]
        tick = "" if over is None else f'<u style="left:{100 * over[d] / full:.2f}%"></u>'
        rows.append(
            f'<span class="name">{html.escape(names[d])}</span><span class="track">'
            f'<i style="left:0;width:{100 * values[d] / full:.2f}%;background:{colour(d)}"></i>'
            f'<b style="left:{100 * low / full:.2f}%;width:{100 * (high - low) / full:.2f}%"></b>'
            f'{tick}</span><span class="value">{proportion_text(values[d])}</span>'
            f'<span class="range">{100 * low:.0f} – {100 * high:.0f} %</span>'
        )
    description = ", ".join(f"{names[d]} {proportion_text(values[d])}" for d in order)
    shown, others = rows[:MAX_BARS], rows[MAX_BARS:]
    more = (
        f"<details><summary>{len(others)} more domains, "
        f"{proportion_text(sum(values[d] for d in order[MAX_BARS:]))} in all</summary>"
        f'<div class="bars">{"".join(others)}</div></details>'
        if others
        else ""
    )
    stacks = _stack("recommended", mixture, names, order)
    if gain is not None and not gain.is_baseline:
        stacks = _stack(label, gain.mixture, names, order) + stacks
    legend = "" if over is None else f" Dotted lines: {label}."
    return (
        f'<div aria-hidden="true">{stacks}</div>'
        '<div class="bars" role="img" '
        f'aria-label="{html.escape(description, quote=True)}">{"".join(shown)}</div>{more}'
        f'<p class="note">Bars: proportion of tokens.{html.escape(legend)} Brackets: how far each '
        "proportion ranges over the mixtures predicted within "
        f"{percent(data.optimum.within)} of the best loss. They trade off against each other: "
        "take one proportion from its range, then the rest follow.</p>"
    )
