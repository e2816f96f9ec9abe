"""Command that makes a loss table from the files that people have."""

from typing import TYPE_CHECKING, Annotated

import typer

from bimix_sweep.commands.options import GoalOption, JsonFlag, goals_of
from bimix_sweep.commands.printing import (
    check_outputs,
    print_json,
    print_notes,
    print_progress,
    print_written,
)

if TYPE_CHECKING:
    from bimix_sweep.mixture.table import LossTable

Files = Annotated[
    list[str],
    typer.Argument(
        metavar="MIXTURES [LOSSES]",
        help="CSV (commas, semicolons or tabs) or Parquet with proportions; then, where they are "
        "elsewhere, the losses: such a file, charts of W&B (CSV), or the JSON results of lm-eval "
        "(files or a folder).",
    ),
]
TableOut = Annotated[
    str, typer.Option("-o", "--out", help="The table: .csv, .tsv, .parquet, or - to pipe it.")
]
On = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN|A=B",
        help="Column of both files that says which rows belong together, or its names in the first "
        "and the second file; default: the first one in common that names each mixture.",
    ),
]
MixturePatterns = Annotated[
    list[str] | None,
    typer.Option(
        "--mixture",
        metavar="PATTERN",
        help="Columns with proportions, percent or counts; * stands for the domain's name: "
        "'train_*'. Default: r_*, else the numbers of the first of two files.",
    ),
]
LossPatterns = Annotated[
    list[str] | None,
    typer.Option(
        "--loss",
        metavar="PATTERN",
        help="Columns with losses; * stands for the target's name: 'eval/*/loss'. Default: loss_*, "
        "else the fractional numbers of the second of two files.",
    ),
]
Strip = Annotated[
    list[str] | None,
    typer.Option(metavar="TEXT", help="Remove this beginning of domains' and targets' names."),
]
Target = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="Each row is one loss: the column that names its target; --loss then names the column "
        "of the values.",
    ),
]
Trial = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="Name of a row's trial; default: trial, else the key, else the row's number.",
    ),
]
StepColumn = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="Optimizer step; default: step or _step, else none."),
]
SizeColumn = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="Non-embedding parameters; default: size.")
]
SeedColumn = Annotated[str | None, typer.Option(metavar="COLUMN", help="Seed; default: seed.")]


def table(
    files: Files,
    out: TableOut,
    on: On = None,
    mixture: MixturePatterns = None,
    loss: LossPatterns = None,
    strip: Strip = None,
    target: Target = None,
    trial: Trial = None,
    step: StepColumn = None,
    size: SizeColumn = None,
    seed: SeedColumn = None,
    goal: GoalOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a loss table for fit, replay and propose from the files that you have.

    Examples:

    bimix-sweep table mixtures.csv losses.csv --strip train_the_pile_ --strip the_pile_
    --loss 'metric/*_val_loss' -o runs.csv

    bimix-sweep table wandb.csv --mixture 'mix.*' --loss 'eval/*/loss' -o - | bimix-sweep fit - -o
    law.json
    """
    from bimix_sweep.mixture.joining.join import ColumnOptions
    from bimix_sweep.mixture.table import LossTable

    check_outputs(out, as_json)
    given = {
        "on": on,
        "mixture": mixture,
        "loss": loss,
        "strip": strip,
        "target": target,
        "trial": trial,
        "step": step,
        "size": size,
        "seed": seed,
    }
    options = ColumnOptions(**{name: v for name, v in given.items() if v})  # type: ignore[typeddict-item]
    first, *others = files
    losses = others if len(others) > 1 else next(iter(others), None)
    made = LossTable.join(first, losses, goals_of(goal), **options)
    made.write(out)
    _print_table(made, out, as_json)


def _print_table(made: "LossTable", out: str, as_json: bool) -> None:
    """Print what the written table holds, and its notes."""
    trials = len(set(made.trials))
    print_notes(made.notes, err=True)
    if as_json:
        print_json(
            {
                "table": out,
                "rows": len(made),
                "trials": trials,
                "domains": list(made.domains),
                "targets": list(made.targets),
                "notes": list(made.notes),
            }
        )
    print_progress(f"domains: {', '.join(made.domains)}")
    print_progress(f"targets: {', '.join(made.targets)}")
    print_written(
        out,
        f"{len(made)} rows of {trials} trials, {len(made.domains)} domains and "
        f"{len(made.targets)} targets",
    )
