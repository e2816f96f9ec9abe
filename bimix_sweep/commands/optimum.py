"""Command that finds the mixture with the lowest predicted loss."""

from pathlib import Path
from typing import Annotated, Literal

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
    typer.Option(help="How often the final run may repeat a domain's tokens; default 4."),
]
Prior = Annotated[
    Path | None, typer.Option(help="JSON {domain: proportion} to stay near; needs --kl.")
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
    prior: Prior = None,
    kl: Kl = None,
    within: Within = 0.005,
    as_json: JsonFlag = False,
) -> None:
    """Find the mixture with the lowest predicted loss.

    The recipe also holds the near-optimal region, the expected regret and the certificate. For the
    law of a sweep the defaults are the sweep's own: weights, objective, bounds and final run. Each
    option replaces one of these defaults, and the recipe records the change.
    """
    from bimix_sweep.export.provenance import commit, versions
    from bimix_sweep.law.posterior.problem_change import ProblemChange
    from bimix_sweep.sweep.stored_law import stored_law

    check_outputs(out, as_json)
    if not 0 < within < 1:
        raise ConfigError(f"--within is {within:g}; need a fraction above 0 and below 1")
    stored = stored_law(law)
    problem = ProblemChange(
        step=step,
        size=size,
        weights=numbers_in(weights),
        objective=objective,
        lower=bounds("--min", minimum),
        upper=bounds("--max", maximum),
        available=numbers_in(domain_tokens),
        final={"tokens": final_tokens, "size": final_size, "max_epochs": max_epochs},
        prior=numbers_in(prior),
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
    if not as_json:
        print_notes(list(stored.notes), err=True)
    print_recipe(recipe, None, as_json, err=out == "-")
    if not as_json:
        print_written(out)
