"""Command that writes a recipe in the format of a trainer."""

from typing import Annotated

import typer

from bimix_sweep.commands.options import JsonFlag, number_option
from bimix_sweep.commands.printing import (
    check_outputs,
    print_json,
    print_notes,
    print_progress,
    print_written,
)
from bimix_sweep.errors import ConfigError

RecipeSource = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE.json|DIR", help="A recipe, or the folder or URI of a finished sweep."
    ),
]
TrainerId = Annotated[str, typer.Option(help="A trainer's id (they are listed below), or all.")]
ExportOut = Annotated[
    str,
    typer.Option(
        "-o",
        "--out",
        help="File to write, whose ending chooses among a trainer's forms, or - to pipe it; with "
        "--to all a folder.",
    ),
]
DomainsFile = Annotated[
    str | None,
    typer.Option(
        help="YAML {domain: {path:, tokens:, tokens_per_document:, valid:}} with the trainer's own "
        "paths; a path may be a glob or a list."
    ),
]
NamesFlag = Annotated[
    bool,
    typer.Option("--names", help="Write a domain's name where the domains file gives it no path."),
]

MinProportion = Annotated[
    float | None,
    number_option("Leave out domains below this proportion; the others grow in proportion."),
]
FloorFlag = Annotated[
    bool,
    typer.Option(
        "--floor", help="Raise domains below --min-proportion to it, in place of leaving them out."
    ),
]


def export(
    recipe: RecipeSource,
    to: TrainerId,
    out: ExportOut,
    domains: DomainsFile = None,
    names: NamesFlag = False,
    min_proportion: MinProportion = None,
    floor: FloorFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Write the mixture in the format of a large-scale trainer.

    The unit of the weights and what was not checked are written into the file where its format has
    room for notes, else they are printed.
    """
    from bimix_sweep.export.recipe import Recipe
    from bimix_sweep.export.registry import export_all, export_recipe
    from bimix_sweep.sweep.stored_law import finished_recipe, is_sweep

    check_outputs(out, as_json)
    if to == "all" and out == "-":
        raise ConfigError("--to all writes many files; need a folder: -o FOLDER")
    read = Recipe.read(finished_recipe(recipe) if is_sweep(recipe) else recipe)
    given = {"names": names, "floor": floor}
    if to == "all":
        written, skipped = export_all(read, out, domains, min_proportion=min_proportion, **given)
    else:
        one = export_recipe(read, to, out, domains, min_proportion=min_proportion, **given)
        written, skipped = [one], {}
    if as_json:
        print_json(
            {
                "written": [one.path for one in written],
                "skipped": skipped,
                "notes": {one.path: [*one.notes, *one.warnings] for one in written},
            }
        )
        return
    for one in written:
        print_written(one.path, f"{one.form.name} (unit: {one.form.unit.value})")
        print_notes([*(() if one.form.has_room else one.notes[1:]), *one.warnings], err=True)
    for name, reason in skipped.items():
        print_progress(f"skipped {name}: {reason}")
