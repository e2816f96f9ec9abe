"""Command that answers a what-if question about a law, in the terminal."""

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bimix_sweep.commands.laws.problem_options import (
    DomainTokens,
    FinalSize,
    FinalTokens,
    Kl,
    MaxEpochs,
    Objective,
    Prior,
    ProblemOptions,
    ReferenceOption,
    SetOption,
    Size,
    Step,
    WeightOption,
    stated,
)
from bimix_sweep.commands.options import JsonFlag, LawSource, MaxOption, MinOption
from bimix_sweep.commands.printing import print_json, print_notes, print_rows
from bimix_sweep.errors import ConfigError
from bimix_sweep.text import factor, printable

if TYPE_CHECKING:
    from bimix_sweep.law.optimum.what_if import Standing, WhatIf

GivenMixture = Annotated[
    str | None,
    typer.Option(
        "--mixture",
        metavar="MIXTURE",
        help="The mixture in question, instead of the best one: a JSON file {domain: proportion or "
        "tokens}, natural, uniform or today.",
    ),
]


def ask(
    law: LawSource,
    fixed: SetOption = None,
    mixture: GivenMixture = None,
    weight: WeightOption = None,
    reference: ReferenceOption = None,
    maximum: MaxOption = None,
    minimum: MinOption = None,
    final_tokens: FinalTokens = None,
    final_size: FinalSize = None,
    max_epochs: MaxEpochs = None,
    domain_tokens: DomainTokens = None,
    objective: Objective = None,
    prior: Prior = None,
    kl: Kl = None,
    step: Step = None,
    size: Size = None,
    as_json: JsonFlag = False,
) -> None:
    """Ask what if: the best mixture under another question, or how good a mixture is.

    Prints the mixture beside the recommended one: predicted losses, objective, their differences
    with 95 % intervals, passes, and whether it lies in the near-optimal region. Writes no file: for
    a recipe give the same options to optimum, for many mixtures use predict.
    """
    from bimix_sweep.law.optimum.what_if import what_if
    from bimix_sweep.sweep.stored_law import stored_law

    if fixed and mixture:
        raise ConfigError("--set and --mixture are both given; give one of them")
    stored = stored_law(law)
    options = ProblemOptions(
        step=step,
        size=size,
        weight=weight,
        reference=reference,
        objective=objective,
        maximum=maximum,
        minimum=minimum,
        fixed=fixed,
        domain_tokens=domain_tokens,
        final_tokens=final_tokens,
        final_size=final_size,
        max_epochs=max_epochs,
        prior=prior,
        kl=kl,
    )
    problem, notes = replace(options, fixed=None).applied_to(stored)
    given, more_notes = stated("--mixture", mixture, problem) if mixture else (None, ())
    held = options.applied_to(stored)[0] if fixed else None
    answer = what_if(stored.law, problem, stored.recommended, mixture=given, fixed=held)
    changes, notes = stored.changes(problem), (*stored.notes, *notes, *more_notes)
    if as_json:
        print_json(_as_json(answer, changes, notes))
        return
    print_notes([*notes, *(f"asked: {change}" for change in changes)], err=True)
    _print_answer(answer, _title(mixture, fixed))


def _title(mixture: str | None, fixed: list[str] | None) -> str:
    """Says which mixture is in question, by the options."""
    if mixture:
        return f"the mixture {mixture}"
    return "the best mixture" + (f" with {', '.join(fixed)} fixed" if fixed else "")


def _print_answer(answer: "WhatIf", title: str) -> None:
    """Print an answer on one screen."""
    print_rows(title, _mixture_rows(answer))
    print_rows(_predicted_title(answer), _target_rows(answer))
    found = answer.beside
    typer.echo(
        f"objective {found.objective:.4g}, {found.difference.words} that of the recommended mixture"
    )
    typer.echo(f"this mixture {_stands(answer.standing, answer.best.within)}")
    if answer.mixture != answer.recommended:
        typer.echo(
            f"the recommended one {_stands(answer.recommended_standing, answer.best.within)}"
        )
    if answer.regret is not None:
        typer.echo(
            f"regret of this decision: expected {answer.regret.expected:.2%}, at most "
            f"{answer.regret.upper95:.2%} (95 %)"
        )


def _mixture_rows(answer: "WhatIf") -> list[dict[str, Any]]:
    """Table of the two mixtures: one row for each domain."""
    recommended = answer.recommended.as_dict()
    rows = []
    for name, proportion in answer.mixture.as_dict().items():
        low, high = answer.best.region[name]
        row: dict[str, Any] = {
            "domain": name,
            "proportion": f"{proportion:.4f}",
            "recommended": f"{recommended.get(name, 0.0):.4f}",
            "near-optimal": f"{low:.3f}-{high:.3f}",
        }
        if answer.passes:
            passes = answer.passes[name]
            row["passes"] = "-" if passes is None else f"{passes:.2f}"
        rows.append(row)
    return rows


def _predicted_title(answer: "WhatIf") -> str:
    """Title of the table of losses, which says how far they are extrapolated."""
    beyond = [
        f"{factor(times)} times the trials' {name}"
        for name, times in answer.best.extrapolation.items()
        if times > 1
    ]
    return "predicted losses" + (f" at {', '.join(beyond)}" if beyond else "")


def _target_rows(answer: "WhatIf") -> list[dict[str, Any]]:
    """Table of the predicted losses and their differences to the recommended mixture: one row for
    each target."""
    return [
        {
            "target": target,
            "loss": f"{one.loss:.4g}",
            "95 %": f"{one.low:.4g} to {one.high:.4g}",
            "difference": f"{one.difference.value:+.2%}",
            "95 % of it": f"{one.difference.low:.2%} to {one.difference.high:.2%}",
            "weight": f"{answer.beside.weights[target]:.3g}",
        }
        for target, one in answer.beside.targets.items()
    ]


def _stands(standing: "Standing", within: float) -> str:
    """Says whether a mixture lies in the near-optimal region."""
    if standing.broken:
        return printable(f"breaks the bounds of {', '.join(standing.broken)}")
    place = "lies in" if standing.near_optimal else "lies outside"
    return (
        f"{place} the near-optimal region: {max(standing.above, 0.0):.2%} above the lowest "
        f"objective, at most {within:.2%}"
    )


def _as_json(answer: "WhatIf", changes: tuple[str, ...], notes: tuple[str, ...]) -> dict[str, Any]:
    """JSON result of `ask`."""
    return {
        "changes": list(changes),
        "mixture": answer.mixture.as_dict(),
        "recommended": answer.recommended.as_dict(),
        **asdict(answer.beside),
        "standing": asdict(answer.standing),
        "recommended_standing": asdict(answer.recommended_standing),
        "within": answer.best.within,
        "region": {name: list(ends) for name, ends in answer.best.region.items()},
        "passes": dict(answer.passes),
        "regret": None if answer.regret is None else asdict(answer.regret),
        "step": answer.best.step,
        "size": answer.best.size,
        "extrapolation": dict(answer.best.extrapolation),
        "notes": list(notes),
    }
