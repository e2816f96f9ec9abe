"""Bar at the top of the page: name, state, progress, time left, date, and links to the sections."""

import html
import time

import numpy as np

from bimix_sweep.report.data import Progress, ReportData
from bimix_sweep.report.wording import count, duration, quantity


def bar(data: ReportData, links: dict[str, str]) -> str:
    """The bar as HTML.

    Args:
        data: state of the sweep.
        links: {id of a section: its name in the menu}.
    """
    menu = "".join(f'<a href="#{key}">{html.escape(name)}</a>' for key, name in links.items())
    return (
        f'<header id="bar"><p class="kicker">bimix-sweep</p><h1>{html.escape(data.name)}</h1>'
        f"{_state(data.progress)}"
        f'<p class="meta">{html.escape(_size_of_sweep(data))}</p>'
        f'<nav aria-label="Sections">{menu}</nav></header>'
    )


def _state(progress: Progress | None) -> str:
    """State, progress, time left and date; empty where no sweep stands behind the data."""
    if progress is None:
        return ""
    parts = [f'<strong class="state {progress.state}">{progress.state}</strong>']
    if progress.words:
        parts.append(f"<span>{html.escape(progress.words)}</span>")
    if progress.planned and progress.state != "complete":
        parts.append(
            f'<span><progress max="{progress.planned}" value="{progress.done}" '
            f'aria-label="trials that ended"></progress> '
            f"{progress.done} of at most {count(progress.planned, 'trial')}</span>"
        )
    if progress.seconds_left is not None and progress.state == "running":
        parts.append(f"<span>about {duration(progress.seconds_left)} left</span>")
    if progress.last_event is not None:
        at = time.gmtime(progress.last_event)
        shown = time.strftime("%d %b %Y, %H:%M", at)
        exact = time.strftime("%Y-%m-%dT%H:%M:%SZ", at)
        parts.append(f'<time datetime="{exact}">last event {shown} UTC</time>')
    return f'<p class="status">{"".join(parts)}<span id="updated"></span></p>'


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
