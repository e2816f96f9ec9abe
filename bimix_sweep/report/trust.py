"""Health checks of the page: each passes, warns or fails, and opens its evidence."""

import html
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.mixture.goals import losses_of
from bimix_sweep.report import tables
from bimix_sweep.report.data import ReportData
from bimix_sweep.report.figures.fitted_rows import fitted_rows
from bimix_sweep.report.wording import count, percent, sentence

Outcome = Literal["pass", "warn", "fail"]
MARKS: dict[Outcome, str] = {"pass": "✓", "warn": "!", "fail": "✕"}
"""Marks of the outcomes, beside their words."""
LAW_ERRORS = (0.015, 0.04)
"""Mean relative errors on mixtures left out: up to the first a check passes, up to the second it
warns."""
RANK_CORRELATIONS = (0.9, 0.6)
"""Smallest rank correlations on mixtures left out at which a check passes, and at which it warns.
"""
MOVEMENTS = (0.03, 0.1)
"""Largest movements of the optimum at the last refit, total variation: pass and warn."""
MAX_FAILED = 0.2
"""Largest part of failed trials at which the check warns instead of failing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One health check."""

    name: str
    """What is checked, as a question."""
    outcome: Outcome
    """Result."""
    text: str
    """The result in a sentence with its numbers."""
    evidence: str = ""
    """HTML with the numbers behind the result."""
    figure: str = ""
    """Id of the figure or section that shows the evidence; empty for none."""


def trust(data: ReportData) -> str:
    """Card with the health checks; empty without a law."""
    if data.law is None or data.optimum is None:
        return ""
    found = list(checks(data))
    rows = "".join(_row(check) for check in found)
    counts = [f"{sum(check.outcome == outcome for check in found)} {outcome}" for outcome in MARKS]
    return (
        f'<div class="card half"><h2>Can I trust it?</h2><p class="note">{", ".join(counts)}. Open '
        f'a line for its evidence.</p><div class="checks">{rows}</div></div>'
    )


def _row(check: Check) -> str:
    """One check as a line that opens its evidence."""
    link = f'<p><a href="#{check.figure}">Show the evidence</a></p>' if check.figure else ""
    return (
        f'<details class="check {check.outcome}"><summary><span class="mark" aria-hidden="true">'
        f"{MARKS[check.outcome]}</span><span><b>{html.escape(check.name)}</b> "
        f'<span class="outcome">{check.outcome}</span></span></summary>'
        f"<p>{html.escape(check.text)}</p>{check.evidence}{link}</details>"
    )


def checks(data: ReportData) -> Iterator[Check]:
    """Yields the checks in the order of the page; a check without its data is left out."""
    if data.law is not None:
        yield from _law_checks(data.law)
    yield _confirmed(data)
    yield from _against_confirmation(data)
    yield from _regret(data)
    yield from _settled(data)
    yield from _bounds(data)
    yield _failed_trials(data)


def _graded(value: float, limits: tuple[float, float]) -> Outcome:
    """Outcome of a number that should be small."""
    return "pass" if value <= limits[0] else "warn" if value <= limits[1] else "fail"


def _law_checks(law: FittedLaw) -> Iterator[Check]:
    """Error and order of the predictions for mixtures left out of the fit."""
    error = tables.held_out_error(law)
    if math.isfinite(error):
        yield Check(
            name="Does the law predict mixtures that it has not seen?",
            outcome=_graded(error, LAW_ERRORS),
            text=f"The mean error on mixtures left out of the fit is {percent(error)}; up to "
            f"{percent(LAW_ERRORS[0])} passes.",
            evidence=tables.law_table(law),
            figure="law",
        )
    by_target = law.cross_validation.get("by_target", {})
    found = {
        target: value
        for target in law.targets
        if math.isfinite(
            value := by_target.get(target, {})
            .get(law.choice[target], {})
            .get("rank_correlation", math.nan)
        )
    }
    if found:
        worst = min(found, key=lambda target: found[target])
        value = found[worst]
        good, bearable = RANK_CORRELATIONS
        yield Check(
            name="Does it put mixtures in the right order?",
            outcome="pass" if value >= good else "warn" if value >= bearable else "fail",
            text=f"On mixtures left out of the fit the smallest rank correlation is {value:.3f}, "
            f"for {worst}; {good:g} passes.",
            figure="law",
        )
    if law.notes:
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in law.notes)
        yield Check(
            name="Did the fit have reservations?",
            outcome="warn",
            text=f"The fit has {count(len(law.notes), 'note')}.",
            evidence=f'<ul class="notes">{notes}</ul>',
            figure="law",
        )


def _confirmed(data: ReportData) -> Check:
    """Whether confirmation trials compared the recommended mixture with its rivals."""
    name = "Was it trained beside its rivals?"
    if data.comparison is None:
        text = (
            "Not trained yet: no mixture is recommended for good before it was trained beside its "
            "rivals."
        )
        return Check(name=name, outcome="warn", text=text)
    overruled = data.comparison.recommended.split(" = ")[0] != "predicted"
    return Check(
        name=name,
        outcome="warn" if overruled else "pass",
        text=sentence(data.comparison.reason),
        evidence=tables.confirmation_table(data.comparison),
        figure="confirmation",
    )


def _against_confirmation(data: ReportData) -> Iterator[Check]:
    """Whether the law predicted the losses of the confirmation trials."""
    law, table = data.law, data.table
    if law is None or table is None or data.comparison is None:
        return
    confirming = [
        row for row in table.last_rows() if data.roles.get(table.trials[row]) == "confirmation"
    ]
    ends = fitted_rows(table.select(np.array(confirming, dtype=np.intp)), law, data.roles)
    if not len(ends.rows) or (ends.sizes is not None and np.isnan(ends.sizes).any()):
        return
    predicted = ends.repeating(law).losses(
        ends.table.proportions[ends.rows], ends.table.steps[ends.rows], ends.sizes
    )
    measured = losses_of(law.goals, law.targets, ends.measured)
    error = float(np.nanmean(np.abs(measured / predicted - 1)))
    if math.isfinite(error):
        yield Check(
            name="Did the confirmation trials come out as predicted?",
            outcome=_graded(error, LAW_ERRORS),
            text=f"Over {count(len(ends.rows), 'confirmation trial')}, which the law has not seen, the "
            f"mean error is {percent(error)}; up to {percent(LAW_ERRORS[0])} passes.",
            figure="residuals",
        )


def _regret(data: ReportData) -> Iterator[Check]:
    """Whether the expected regret is within the tolerance of the sweep."""
    if data.optimum is None or not data.tolerance:
        return
    expected = data.optimum.regret.expected
    yield Check(
        name="Would more trials gain much?",
        outcome=_graded(expected, (data.tolerance, 3 * data.tolerance)),
        text=f"The expected regret is {percent(expected)}; the sweep's tolerance is "
        f"{percent(data.tolerance)}.",
        figure="regret" if data.path else "",
    )


def _settled(data: ReportData) -> Iterator[Check]:
    """Whether the optimum moved at the last refit."""
    moved = data.path[-1].movement_tv if data.path else None
    if moved is not None:
        yield Check(
            name="Has the optimum settled?",
            outcome=_graded(moved, MOVEMENTS),
            text=f"At the last refit {percent(moved)} of the tokens moved between domains; up to "
            f"{percent(MOVEMENTS[0])} passes.",
            figure="path",
        )


def _bounds(data: ReportData) -> Iterator[Check]:
    """Whether bounds of the configuration keep the loss up."""
    if data.optimum is None or not data.optimum.binding:
        return
    first = data.optimum.binding[0]
    dear = first.cost > (data.tolerance or data.optimum.within)
    yield Check(
        name="Do bounds hold it back?",
        outcome="warn" if dear else "pass",
        text=f"The {first.bound} bound of {first.domain} costs {percent(first.cost)} of the loss.",
        evidence=tables.binding_table(data),
    )


def _failed_trials(data: ReportData) -> Check:
    """Whether trials failed."""
    ended = len(dict.fromkeys(data.table.trials)) if data.table else 0
    part = len(data.failed) / max(1, ended + len(data.failed))
    return Check(
        name="Did the trials run?",
        outcome="pass" if not data.failed else "warn" if part <= MAX_FAILED else "fail",
        text=f"{count(len(data.failed), 'trial')} failed."
        if data.failed
        else f"None of {count(ended, 'trial')} failed.",
        evidence=tables.table(
            "Failed trials", ["trial", "reason"], [list(item) for item in data.failed.items()]
        )
        if data.failed
        else "",
        figure="trials",
    )
