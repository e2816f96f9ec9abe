"""Sections of the page below the answer, each as HTML; a section may have no data yet."""

import html

from bimix_sweep.report import tables
from bimix_sweep.report.card import figure_card
from bimix_sweep.report.data import ReportData
from bimix_sweep.report.figures.confirmation import confirmation
from bimix_sweep.report.figures.law_fit import law_against_measurements
from bimix_sweep.report.figures.loss_curves import MAX_FACETS, loss_curves
from bimix_sweep.report.figures.optimum_path import optimum_path, regret_path
from bimix_sweep.report.figures.residuals import residuals
from bimix_sweep.report.figures.ternary import ternary
from bimix_sweep.report.packing import pack
from bimix_sweep.report.wording import count, percent, proportion_text, sentence


def ternary_and_confirmation(data: ReportData) -> str:
    """Section with the ternary figure of three domains, and the confirmation trials."""
    if data.law is None or data.optimum is None:
        return ""
    if len(data.domains) != 3:
        return f'<section class="row" id="where">{_confirmation_card(data, "")}</section>'
    names = ", ".join(data.domains.names)
    triangle = figure_card(
        "ternary",
        "Where the optimum lies",
        ternary(data, data.law, data.optimum),
        "Each point is a mixture, each corner one domain alone. Shades: predicted loss, darker is "
        "lower.",
        f"Triangle of mixtures of {names} with the mixtures tried, the near-optimal region and the "
        "predicted optimum; the numbers are in the tables.",
        width="wide",
    )
    return (
        f'<section class="row" id="where">{triangle}{_confirmation_card(data, "narrow")}</section>'
    )


def _confirmation_card(data: ReportData, width: str) -> str:
    """Card with the comparison of the confirmation trials."""
    title = "Is it better than its rivals?"
    if data.comparison is None:
        return (
            f'<div class="card {width}"><h2>{title}</h2>'
            '<p class="note">The confirmation trials have not been run yet.</p></div>'
        )
    return figure_card(
        "confirmation",
        title,
        confirmation(data, data.comparison),
        f"{sentence(data.comparison.reason)} Every mixture was trained with the same "
        f"{count(len(data.comparison.seeds), 'seed')}.",
        "Loss of each compared mixture relative to the predicted optimum; the numbers are in the "
        "table.",
        width=width,
        after=tables.confirmation_table(data.comparison),
    )


def optimum_over_trials(data: ReportData) -> str:
    """Section with the optimum and its regret against the number of trials."""
    if not data.path:
        return (
            '<section class="row" id="settled"><div class="card"><h2>How the optimum settled</h2>'
            '<p class="note">No law has been fitted yet.</p></div></section>'
        )
    rows = [
        [
            str(p.num_trials),
            *(proportion_text(value) for value in p.mixture.as_array(data.domains.names)),
            percent(p.regret_expected),
            percent(p.regret_upper95),
            "–" if p.movement_tv is None else proportion_text(p.movement_tv),
        ]
        for p in data.path
    ]
    numbers = tables.table(
        "The optimum after each refit",
        ["trials", *data.domains.names, "expected regret", "95 % bound", "moved"],
        rows,
    )
    return (
        '<section class="row" id="settled">'
        + figure_card(
            "path",
            "The optimum over trials",
            optimum_path(data),
            "Predicted optimum after each refit with the 95 % interval of its posterior; bars at "
            "the right: the near-optimal region.",
            "Proportions of the predicted optimum against the number of trials; the numbers are "
            "in the table beside.",
            width="half",
            folded=numbers,
        )
        + figure_card(
            "regret",
            "What a wrong choice would cost",
            regret_path(data.path, data.tolerance),
            "Loss of the predicted optimum over that of the true one, as the posterior of the law "
            "expects it and its 95 % bound.",
            "Expected regret and its 95 % bound against the number of trials; the numbers are "
            "in the table beside.",
            width="half",
        )
        + "</section>"
    )


def law(data: ReportData) -> str:
    """Section with the law against the measurements."""
    if data.law is None or data.table is None:
        return (
            '<section class="row" id="the-law"><div class="card"><h2>The law</h2>'
            '<p class="note">No law has been fitted yet.</p></div></section>'
        )
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in data.law.notes)
    beside = tables.law_table(data.law) + (f'<ul class="notes">{notes}</ul>' if notes else "")
    return (
        '<section class="row" id="the-law">'
        + figure_card(
            "law",
            "The law predicts mixtures it has not seen to "
            f"{percent(tables.held_out_error(data.law))}",
            law_against_measurements(data.table, data.law, data.roles),
            "Left: every measured loss against the fitted law; diamonds are confirmation trials, "
            "which it has not seen. Right: each mixture left out in turn; cross-validation chose the "
            "filled law.",
            "Fitted against measured losses, and errors on mixtures left out; the numbers are in "
            "the table.",
            after=beside,
            folded=tables.forward_table(data.law) + tables.reason_table(data.law),
            summary="Why this law",
        )
        + "</section>"
    )


def curves(data: ReportData) -> str:
    """Section with the loss curves."""
    table = data.comparable
    if table is None:
        return ""
    own = (
        dict(data.law.own)
        if data.law
        else {name: name for name in table.targets if name in table.domains}
    )
    left_out = len(table.targets) - MAX_FACETS
    more = (
        f" The {MAX_FACETS} targets that weigh most; {left_out} more are in the tables."
        if left_out > 0
        else ""
    )
    return (
        '<section class="row" id="curves-section">'
        + figure_card(
            "curves",
            "More of a domain, less loss on it",
            loss_curves(table, own, dict(data.weights)),
            "Validation loss of every "
            f"trial{' of the largest size' if data.several_sizes else ''}. Colour: proportion of "
            f"the target's own domain in the mixture.{more}",
            "Loss against optimizer step for each target; last losses are in the table of trials.",
        )
        + "</section>"
    )


def law_residuals(data: ReportData) -> str:
    """Section with the residuals of the law."""
    if data.law is None or data.table is None:
        return ""
    return (
        '<section class="row" id="left-over">'
        + figure_card(
            "residuals",
            "What the law leaves over",
            residuals(data.table, data.law, data.roles),
            "Measured loss over the fitted law, less 1: by step, and the mean of each trial in "
            "the order they began. Diamonds: confirmation trials, not in the fit.",
            "Relative residuals of the law by step and by trial.",
        )
        + "</section>"
    )


def record(data: ReportData) -> str:
    """Section with the tables of the trials and of the provenance.

    The table of the trials grows with trials times domains, so the page holds it packed.
    """
    return f"""<section class="row" id="trials"><div class="card"><h2>Trials</h2>\
<div id="trial-table"></div>\
<script type="text/plain" data-into="trial-table">{pack(tables.trial_table(data))}</script></div>
<div class="card"><h2>Provenance</h2>{tables.provenance_table(data)}</div></section>"""
