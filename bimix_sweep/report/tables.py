"""Tables of the page, as escaped HTML."""

import html
import json
import math
from collections.abc import Sequence

import numpy as np

from bimix_sweep.design.comparison import Comparison, role_in_words
from bimix_sweep.law.model import columns as col
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.law.posterior.forward_means import forward_means
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.mixture.goals import ranged
from bimix_sweep.report.data import ReportData
from bimix_sweep.report.wording import percent, proportion_text, quantity

MAX_TRIALS = 1000
"""Largest number of rows of the table of trials; the file runs.csv has all trials."""


def table(caption: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """HTML table with escaped text; a column of numbers is aligned to the right."""
    numeric = [
        all(row[n][:1].isdigit() or row[n][:1] in "-+–≤" or not row[n] for row in rows)
        for n in range(len(header))
    ]
    classes = [' class="number"' if right else "" for right in numeric]
    head = "".join(
        f'<th scope="col"{c}>{html.escape(name)}</th>'
        for name, c in zip(header, classes, strict=True)
    )
    body = "".join(
        f'<tr><th scope="row"{classes[0]}>{html.escape(row[0])}</th>'
        + "".join(
            f"<td{c}>{html.escape(cell)}</td>" for cell, c in zip(row[1:], classes[1:], strict=True)
        )
        + "</tr>\n"
        for row in rows
    )
    return (
        f'<div class="scroll"><table><caption>{html.escape(caption)}</caption><thead>'
        f"<tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>"
    )


def mixture_table(data: ReportData, recommended: Mixture) -> str:
    """Table of the recommended mixture, one row for each domain.

    The columns are proportion, near-optimal region, 95 % interval and, where the tokens of the
    final run are known, tokens and epochs.
    """
    if data.optimum is None:
        return ""
    header = ["domain", "proportion", "near-optimal region", "95 % interval"]
    if data.token_budget:
        header += ["tokens", "epochs"]
    rows = []
    for name, available in zip(data.domains.names, data.domains.tokens, strict=True):
        proportion = recommended.as_dict()[name]
        row = [
            name,
            proportion_text(proportion),
            "{} – {}".format(*map(proportion_text, data.optimum.region[name])),
            "{} – {}".format(*map(proportion_text, data.optimum.interval[name])),
        ]
        if data.token_budget:
            row += [
                quantity(proportion * data.token_budget),
                f"{proportion * data.token_budget / available:.2f}"
                if math.isfinite(available)
                else "–",
            ]
        rows.append(row)
    return table(
        "Proportions of tokens, their near-optimal region, and where the true optimum lies (95 %)",
        header,
        rows,
    )


def alternatives_table(data: ReportData) -> str:
    """Table of extreme mixtures of the near-optimal region."""
    if data.optimum is None:
        return ""
    rows = [
        [str(n + 1), *map(proportion_text, mixture.as_array(data.domains.names))]
        for n, mixture in enumerate(data.optimum.alternatives)
    ]
    return table(
        f"Far apart, and each predicted within {percent(data.optimum.within)} of the best",
        ["", *data.domains.names],
        rows,
    )


def binding_table(data: ReportData) -> str:
    """Table of the bounds that raise the loss of the optimum; empty if there is no such bound."""
    if data.optimum is None or not data.optimum.binding:
        return ""
    rows = [[bound.domain, bound.bound, percent(bound.cost)] for bound in data.optimum.binding]
    return table(
        "Bounds that cost something",
        ["domain", "bound", "loss that would be saved without it"],
        rows,
    )


def confirmation_table(comparison: Comparison) -> str:
    """Table of the mixtures of the confirmation trials, best first.

    The columns are the mean loss over the seeds and the paired difference to the predicted optimum.
    """
    rows = [
        [
            role_in_words(one.role),
            f"{one.objective:.4f}",
            "0" if one.noise95 == 0 else f"{one.difference:+.4f} ± {one.noise95:.4f}",
            "yes" if one.differs else "no",
        ]
        for one in comparison.mixtures
    ]
    return table(
        "Mean loss over the seeds; differences to the predicted optimum with their 95 % interval",
        ["mixture", "loss", "difference", "differs"],
        rows,
    )


def law_table(law: FittedLaw) -> str:
    """Table of the laws, one row for each target.

    The columns are the chosen law, the errors of both laws on mixtures left out of the fit, and the
    main parameters of the law.
    """
    errors = law.cross_validation.get("by_target", {})
    names = [
        name
        for name in ("bimix", "transfer")
        if any(name in errors.get(target, {}) for target in law.targets)
    ]
    header = [
        "target",
        "law",
        *(f"error of {name}" for name in names),
        "rank correlation",
        "own domain",
        "a (proportion)",
        "b (step)",
    ]
    rows = []
    for t, target in enumerate(law.targets):
        held_out = errors.get(target, {})
        chosen = held_out.get(law.choice[target], {})
        correlation = chosen.get("rank_correlation")
        rows.append(
            [
                target,
                law.choice[target],
                *(
                    percent(held_out[name]["mean_relative_error"]) if name in held_out else "–"
                    for name in names
                ),
                "–"
                if correlation is None or not math.isfinite(correlation)
                else f"{correlation:.3f}",
                law.own.get(target, "–"),
                f"{math.exp(law.params[t, col.SLOPE]):.3f}",
                f"{math.exp(law.params[t, col.STEP_POWER]):.3f}",
            ]
        )
    return table(
        "The law of each target; errors are relative, on mixtures left out of the fit", header, rows
    )


def forward_table(law: FittedLaw) -> str:
    """Table of the forward validations, empty where none was possible."""
    rows = [
        [
            f"{one.axis} {quantity(one.fitted)}",
            quantity(one.predicted),
            percent(one.error),
            percent(one.bias),
        ]
        for one in forward_means(law.cross_validation)
    ]
    return (
        table(
            "Beyond the fit: the ends of curves and the largest size, predicted by fits without "
            "them; means over the targets",
            ["fitted up to", "predicted at", "error", "bias"],
            rows,
        )
        if rows
        else ""
    )


def reason_table(law: FittedLaw) -> str:
    """Table of the reasons for the choice of each target's law."""
    reasons = law.cross_validation.get("reason", {})
    return table(
        "Why this law",
        ["target", "reason"],
        [[target, str(reasons[target])] for target in law.targets if target in reasons],
    )


def trial_table(data: ReportData) -> str:
    """Table of all trials: mixture, state and last losses, or the reason of a failure."""
    names, rows = data.domains.names, []
    targets = data.table.targets if data.table else ()
    sized, counted = data.several_sizes, ranged(data.goals)
    for curve in data.table.curves() if data.table else ():
        if curve.trial in data.failed:
            continue
        proportions = curve.mixture.as_array(names)
        last = ["–" if math.isnan(loss) else f"{loss:.4f}" for loss in curve.last()]
        rows.append(
            [
                curve.trial,
                data.roles.get(curve.trial, "sweep"),
                data.states.get(curve.trial, "finished"),
                *([quantity(curve.size)] if sized else []),
                *(proportion_text(value) for value in proportions),
                f"{curve.steps[-1]:,.0f}",
                *last,
            ]
        )
    for trial, reason in data.failed.items():
        rows.append(
            [
                trial,
                data.roles.get(trial, "sweep"),
                f"failed: {reason}",
                *[""] * (len(names) + sized + 1 + len(targets)),
            ]
        )
    header = [
        "trial",
        "role",
        "state",
        *(["size"] if sized else []),
        *names,
        "last step",
        *(
            f"{target}, {data.goals[target].words}" if target in counted else f"loss {target}"
            for target in targets
        ),
    ]
    caption = (
        "Mixture, state and last losses of each"
        if len(rows) <= MAX_TRIALS
        else f"The first {MAX_TRIALS} of {len(rows)} trials; all are in runs.csv"
    )
    return (
        table(caption, header, rows[:MAX_TRIALS])
        if rows
        else "<p>No trial has reported a loss yet.</p>"
    )


def provenance_table(data: ReportData) -> str:
    """Table of the provenance of the results."""
    rows = [
        [str(key), value if isinstance(value, str) else json.dumps(value, default=str)]
        for key, value in data.provenance.items()
    ]
    return (
        table("Provenance", ["what", "value"], rows)
        if rows
        else "<p>No provenance was recorded.</p>"
    )


def held_out_error(law: FittedLaw) -> float:
    """Mean over the targets of the chosen law's relative error on mixtures left out of the fit.

    The mean is NaN where no such error is known.
    """
    errors = law.cross_validation.get("by_target", {})
    chosen = [
        errors[t][law.choice[t]]["mean_relative_error"]
        for t in law.targets
        if law.choice[t] in errors.get(t, {})
    ]
    return float(np.mean(chosen)) if chosen else math.nan
