"""Command that finds the mixture with the lowest predicted loss."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bimix_sweep.commands.options import (
    JsonFlag,
    LawSource,
    MaxOption,
    MinOption,
    bounds,
    numbers_in,
)
from bimix_sweep.commands.printing import check_outputs, print_notes, print_recipe, print_written
from bimix_sweep.errors import ConfigError

if TYPE_CHECKING:
    from bimix_sweep.mixture.domains import Mixture
    from bimix_sweep.sweep.stored_law import StoredLaw

RecipeOut = Annotated[str, typer.Option("-o", "--out", help="The recipe's file, RECIPE.json.")]
Step = Annotated[float | None, typer.Option(help="Optimizer step at which losses are compared.")]
Size = Annotated[
    float | None, typer.Option(help="Non-embedding parameters at which losses are compared.")
]
Weights = Annotated[
    Path | None,
    typer.Option(help="JSON {target: weight}; a target that it does not name has weight 0."),
]
Objective = Annotated[
    Literal["mean", "worst"] | None,
    typer.Option(help="Weighted mean of the targets' losses, or the largest of them."),
]
DomainTokens = Annotated[
    Path | None,
    typer.Option(help="JSON {domain: tokens available to the final run}; needs --final-tokens."),
]
FinalTokens = Annotated[float | None, typer.Option(help="Tokens of the final run.")]
FinalSize = Annotated[float | None, typer.Option(help="Non-embedding parameters of the final run.")]
MaxEpochs = Annotated[
    float | None,
    typer.Option(help="Most passes of the final run over a domain's tokens; default 16."),
]
Today = Annotated[
    Path | None,
    typer.Option(
        help="JSON {domain: proportion} of today's mixture; the recipe states the gain over it."
    ),
]
Prior = Annotated[
    Path | None,
    typer.Option(
        help="JSON {domain: proportion} to stay near; needs --kl. Numbers of tokens will do."
    ),
]
Kl = Annotated[
    float | None,
    typer.Option(help="Strength of the pull towards --prior: loss per nat of divergence from it."),
]
Within = Annotated[
    float,
    typer.Option(
        help="The near-optimal region holds every mixture within this fraction of the best."
    ),
]


def optimum(
    law: LawSource,
    out: RecipeOut,
    step: Step = None,
    size: Size = None,
    weights: Weights = None,
    objective: Objective = None,
    maximum: MaxOption = None,
    minimum: MinOption = None,
    domain_tokens: DomainTokens = None,
    final_tokens: FinalTokens = None,
    final_size: FinalSize = None,
    max_epochs: MaxEpochs = None,
    today: Today = None,
    prior: Prior = None,
    kl: Kl = None,
    within: Within = 0.005,
    as_json: JsonFlag = False,
) -> None:
    """Find the mixture with the lowest predicted loss.

    The recipe also holds the gain over today's mixture, the near-optimal region, the regret and the
    certificate. The defaults are those of the law's sweep: weights, objective, bounds and final
    run. Each option replaces one of them, and the recipe records the change.
    """
    from bimix_sweep.export.provenance import commit, versions
    from bimix_sweep.law.posterior.problem_change import ProblemChange
    from bimix_sweep.sweep.stored_law import stored_law

    check_outputs(out, as_json)
    if not 0 < within < 1:
        raise ConfigError(f"--within is {within:g}; need a fraction above 0 and below 1")
    stored = stored_law(law)
    today_mixture, notes = _stated(today, "--today", stored)
    prior_mixture, more_notes = _stated(prior, "--prior", stored)
    problem = ProblemChange(
        step=step,
        size=size,
        weights=numbers_in(weights),
        objective=objective,
        lower=bounds("--min", minimum),
        upper=bounds("--max", maximum),
        available=numbers_in(domain_tokens),
        final={"tokens": final_tokens, "size": final_size, "max_epochs": max_epochs},
        today=today_mixture,
        prior=prior_mixture,
        kl=kl,
    ).applied_to(stored.problem)
    provenance = {
        "law_file": law,
        "law_digest": stored.law.digest,
        "targets": list(stored.law.targets),
        "versions": versions("bimix-sweep", "numpy", "scipy"),
        **commit(),
    }
    recipe = stored.recipe(problem, within, provenance)
    recipe.write(out)
    print_notes([*stored.notes, *notes, *more_notes], err=True)
    print_recipe(recipe, None, as_json, err=out == "-")
    print_written(out)


def _stated(
    path: Path | None, option: str, stored: "StoredLaw"
) -> tuple["Mixture | None", tuple[str, ...]]:
    """The mixture that an option's file states, with notes; None without the option.

    Args:
        path: the option's file.
        option: name of the option, for messages.
        stored: the law, which knows the domains.
    """
    from bimix_sweep.mixture.stated_mixture import StatedMixture

    numbers = numbers_in(path)
    if numbers is None:
        return None, ()
    read = StatedMixture.of(option, numbers, stored.problem.domains)
    return read.mixture, read.notes
