"""Command that fits a mixing law to finished runs."""

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bimix_sweep.commands.options import (
    GoalOption,
    JsonFlag,
    RunsTable,
    goals_of,
    number_option,
    pairs,
)
from bimix_sweep.commands.printing import (
    check_outputs,
    print_json,
    print_notes,
    print_rows,
    print_written,
)
from bimix_sweep.errors import ConfigError

if TYPE_CHECKING:
    from bimix_sweep.law.posterior.fitted_law import FittedLaw
    from bimix_sweep.law.posterior.forward_means import ForwardMeans

LawOut = Annotated[str, typer.Option("-o", "--out", help="The law's file, LAW.json.")]
LawKind = Annotated[
    Literal["auto", "bimix", "transfer"],
    typer.Option(help="auto: cross-validation by mixture chooses the law of each target."),
]
OwnDomains = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TARGET=DOMAIN",
        help="The domain whose held-out text a target is; default: the domain of the same name.",
    ),
]
MinStep = Annotated[float | None, number_option("Leave out points before this step (warm-up).")]
TokensPerStep = Annotated[
    float | None,
    number_option(
        "Tokens of one step of the table; optimum then says how far the final run lies beyond "
        "the table's runs in tokens."
    ),
]


def fit(
    table: RunsTable,
    out: LawOut,
    law: LawKind = "auto",
    own: OwnDomains = None,
    goal: GoalOption = None,
    min_step: MinStep = None,
    tokens_per_step: TokensPerStep = None,
    as_json: JsonFlag = False,
) -> None:
    """Fit a mixing law to finished runs.

    Prints which law was chosen for each target, the reason, and the prediction error on mixtures
    left out of the fit.
    """
    from bimix_sweep.law.fitting.fit_law import fit_law
    from bimix_sweep.law.posterior.problem_statement import ProblemStatement
    from bimix_sweep.mixture.domains import DomainSet
    from bimix_sweep.mixture.table import LossTable

    check_outputs(out, as_json)
    if min_step is not None and not min_step >= 0:
        raise ConfigError(f"--min-step is {min_step:g}; need a number >= 0")
    runs = LossTable.read(table, goals_of(goal))
    equal = {target: target for target in runs.targets if target in runs.domains}
    fitted = fit_law(runs, law=law, own=equal | pairs(own), min_step=min_step)
    if tokens_per_step is not None:
        problem = ProblemStatement(
            domains=DomainSet(names=fitted.domains), tokens_per_step=tokens_per_step
        )
        fitted = replace(fitted, problem=problem)
    fitted.save(out)
    if as_json:
        print_json(_law_json(fitted, out))
        return
    print_notes(list(fitted.notes), err=True)
    _print_law(fitted, err=out == "-")
    print_written(out)


def _law_json(law: "FittedLaw", out: str) -> dict[str, Any]:
    """JSON result of `fit`."""
    return {
        "law": out,
        "choice": dict(law.choice),
        "cross_validation": dict(law.cross_validation),
        "own": dict(law.own),
        "goals": {target: goal.to_json() for target, goal in law.goals.items()},
        "num_trials": law.num_trials,
        "num_mixtures": law.num_mixtures,
        "steps": law.steps,
        "sizes": law.sizes,
        "notes": list(law.notes),
        "repetition": asdict(law.repetition),
    }


def _print_law(law: "FittedLaw", *, err: bool) -> None:
    """Print the chosen law and its errors for each target, and the reasons for the choice.

    Args:
        law: the fitted law.
        err: print to standard error, because standard output takes the law's file.
    """
    from bimix_sweep.law.posterior.forward_means import forward_means

    errors, reasons = law.cross_validation["by_target"], law.cross_validation["reason"]
    print_rows(
        f"{law.num_trials} trials of {law.num_mixtures} mixtures; errors on mixtures left out",
        [_target_row(law, target, errors[target]) for target in law.targets],
        err=err,
    )
    if forward := forward_means(law.cross_validation):
        print_rows(
            "errors beyond the fit, by fits without these rows",
            [_forward_row(one) for one in forward],
            err=err,
        )
    typer.echo(f"repetition: {law.repetition.words}", err=err)
    for reason in dict.fromkeys(reasons.values()):
        about = [target for target in law.targets if reasons[target] == reason]
        typer.echo(
            f"{reason} ({', '.join(about) if len(about) < len(law.targets) else 'all targets'})",
            err=err,
        )


def _forward_row(forward: "ForwardMeans") -> dict[str, Any]:
    """Row of the printed table for one forward validation."""
    return {
        "fitted up to": f"{forward.axis} {forward.fitted:g}",
        "predicted at": f"{forward.predicted:g}",
        "error %": 100 * forward.error,
        "bias %": 100 * forward.bias,
    }


def _target_row(law: "FittedLaw", target: str, errors: dict[str, Any]) -> dict[str, Any]:
    """Row of the printed table for a target.

    Args:
        law: the fitted law.
        target: name of the target.
        errors: {kind of law: its result in the cross-validation}.
    """
    from bimix_sweep.mixture.goals import PLAIN, ranged

    return {
        "target": target,
        "law": law.choice[target],
        **({"goal": law.goals.get(target, PLAIN).words} if ranged(law.goals) else {}),
        **{
            f"error {name} %": 100 * result["mean_relative_error"]
            for name, result in errors.items()
        },
        "rank correlation": errors[law.choice[target]]["rank_correlation"]
        if law.num_mixtures > 2
        else "-",
    }
