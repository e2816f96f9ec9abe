"""Command that finds the mixture with the lowest predicted loss."""

from dataclasses import replace
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
from bimix_sweep.commands.options import JsonFlag, LawSource, MaxOption, MinOption, number_option
from bimix_sweep.commands.printing import check_outputs, print_notes, print_recipe, print_written
from bimix_sweep.errors import ConfigError

if TYPE_CHECKING:
    from bimix_sweep.sweep.stored_law import StoredLaw

RecipeOut = Annotated[str, typer.Option("-o", "--out", help="The recipe's file, RECIPE.json.")]
Today = Annotated[
    str | None,
    typer.Option(
        metavar="MIXTURE",
        help="Today's mixture; the recipe states the gain over it. A JSON file {domain: proportion "
        "or tokens}, natural or uniform.",
    ),
]
Within = Annotated[
    float,
    number_option("The near-optimal region holds every mixture within this fraction of the best."),
]


def optimum(
    law: LawSource,
    out: RecipeOut,
    step: Step = None,
    size: Size = None,
    weight: WeightOption = None,
    reference: ReferenceOption = None,
    objective: Objective = None,
    maximum: MaxOption = None,
    minimum: MinOption = None,
    fixed: SetOption = None,
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
    run. Each option replaces one of them, and the recipe records the change. To look at an answer
    without a file, use ask, which takes the same options.
    """
    from bimix_sweep.sweep.stored_law import stored_law

    check_outputs(out, as_json)
    if not 0 < within < 1:
        raise ConfigError(f"--within is {within:g}; need a fraction above 0 and below 1")
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
    problem, notes = options.applied_to(stored)
    if today is not None:
        mixture, more_notes = stated("--today", today, problem)
        problem, notes = replace(problem, today=mixture), (*notes, *more_notes)
    recipe = stored.recipe(problem, within, _provenance(law, stored))
    recipe.write(out)
    print_notes([*stored.notes, *notes], err=True)
    print_recipe(recipe, None, as_json, err=out == "-")
    print_written(out)


def _provenance(place: str, stored: "StoredLaw") -> dict[str, Any]:
    """Origin of a recipe that the law in `place` answers."""
    from bimix_sweep.export.provenance import commit, versions

    return {
        "law_file": place,
        "law_digest": stored.law.digest,
        "targets": list(stored.law.targets),
        "versions": versions("bimix-sweep", "numpy", "scipy"),
        **commit(),
    }
