"""What the sweep does not know, in sentences: scale, seeds, mixtures and domains not tested."""

import html
from collections.abc import Iterator

import numpy as np

from bimix_sweep.report.data import ReportData
from bimix_sweep.report.wording import count
from bimix_sweep.text import factor, listed

TOGETHER = 0.95
"""Correlation of two proportions over the mixtures from which on they count as never varied
apart."""
VARIED = 0.1
"""Smallest standard deviation of a proportion over the mixtures, as a fraction of its mean, that
counts as varied."""
UNDECIDED = 4.0
"""A domain counts as not decided where its near-optimal region reaches from less than the
recommended proportion over this number to more than this number times the lower end."""


def unknowns(data: ReportData) -> str:
    """Card with what is not known; empty without an optimum."""
    if data.optimum is None:
        return ""
    entries = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd></div>"
        for name, text in entries_of(data)
    )
    return (
        '<div class="card half"><h2>What it does not know</h2>'
        f'<dl class="facts">{entries}</dl></div>'
    )


def entries_of(data: ReportData) -> Iterator[tuple[str, str]]:
    """Yields (name, sentences) of what is not known."""
    if data.beyond and data.beyond.sentences:
        far = ", ".join(
            f"{factor(value)} × {name}"
            for name, value in data.beyond.extrapolation.items()
            if value > 1
        )
        yield f"Scale and passes{f': {far}' if far else ''}", " ".join(data.beyond.sentences)
    if data.comparison is not None:
        yield (
            "Seeds",
            f"The confirmation trials have {count(len(data.comparison.seeds), 'seed')}; a "
            "difference below their noise is not seen.",
        )
    else:
        yield "Seeds", "No mixture was trained with several seeds for a comparison."
    yield from _apart(data)
    yield from _undecided(data)
    watched = [target for target, weight in data.weights.items() if weight == 0]
    if watched:
        yield (
            "Targets that do not count",
            f"{listed(watched)}: weight 0, so the mixture was not chosen for them.",
        )


def _apart(data: ReportData) -> Iterator[tuple[str, str]]:
    """Yields the domains whose proportions the trials never varied, or not apart."""
    if data.table is None or len(data.domains) < 3:
        return
    names = data.domains.names
    kept = [name for name in names if name in data.table.domains]
    mixtures = np.unique(
        data.table.proportions[:, [data.table.domains.index(name) for name in kept]].round(9),
        axis=0,
    )
    varied = mixtures.std(axis=0) >= VARIED * np.maximum(mixtures.mean(axis=0), 1e-9)
    if fixed := [name for name, moves in zip(kept, varied, strict=True) if not moves]:
        yield (
            "Never varied",
            f"The proportion of {listed(fixed)} is about the same in all mixtures, so its effect "
            "is not known.",
        )
    moving = np.flatnonzero(varied)
    if len(moving) < 2 or len(mixtures) < 3:
        return
    correlation = np.corrcoef(mixtures[:, moving].T)
    pairs = [
        f"{kept[moving[a]]} and {kept[moving[b]]}"
        for a, b in np.argwhere(np.triu(np.abs(correlation) >= TOGETHER, k=1))
    ]
    if pairs:
        yield (
            "Never varied apart",
            f"{'; '.join(pairs)}: the trials hardly separate the effects of these domains.",
        )


def _undecided(data: ReportData) -> Iterator[tuple[str, str]]:
    """Yields the domains whose proportion the data do not decide."""
    if data.optimum is None or data.recommended is None:
        return
    best = data.recommended.as_dict()
    found = [
        f"{name} ({100 * low:.0f} to {100 * high:.0f} %)"
        for name, (low, high) in data.optimum.region.items()
        if high > 0.02 and low < best[name] / UNDECIDED and high > UNDECIDED * max(low, 1e-9)
    ]
    if found:
        yield (
            "Domains that the data do not decide",
            f"{len(found)} of {len(data.domains)}: {listed(found, 5)}. The loss hardly changes over this range, if the other domains "
            "follow.",
        )
