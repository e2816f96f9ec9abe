"""Options that several commands share, and functions that print results."""

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from bimix_sweep.errors import ConfigError
from bimix_sweep.text import printable

if TYPE_CHECKING:
    from bimix_sweep.export.recipe import Binding, Recipe
    from bimix_sweep.mixture.goals import Goals


BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
"""Environment variables that set the number of threads of numpy's linear algebra.

numpy reads both when it is loaded; without them it uses all cores.
"""


class OneThread(TyperCommand):
    """Command that fits laws with one linear-algebra thread, unless the environment sets a number.

    The matrices of a fit are small, so further threads only wait for each other
    (docs/evidence.md). The command trains nothing, so no trial inherits the setting. Commands that
    run a sweep on Ray do not use this class: their trials take the threads that `resources` give.
    """

    def invoke(self, ctx: Any) -> Any:
        if "numpy" not in sys.modules and not any(name in os.environ for name in BLAS_THREADS):
            os.environ.update(dict.fromkeys(BLAS_THREADS, "1"))
        return super().invoke(ctx)


class WithTrainers(TyperCommand):
    """Command whose help ends with the ids of the trainers; only the help loads their registry."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        from bimix_sweep.export.registry import TRAINERS, VARIANTS

        with formatter.section("Ids"):
            formatter.write_text(", ".join(TRAINERS))
        with formatter.section("Other forms of these trainers"):
            formatter.write_text(", ".join(VARIANTS))


GoalOption = Annotated[
    list[str] | None,
    typer.Option(
        "--goal",
        metavar="TARGET=GOAL",
        help="Which way a target counts: min (a loss, the default), or with its smallest and "
        "largest possible value max:LOW:HIGH or min:LOW:HIGH; --goal arc=max:0:1 for an accuracy. "
        "Values are given and shown in the target's own unit.",
    ),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Address = Annotated[
    str | None,
    typer.Option(
        help="Ray cluster to run on (host:port or ray://host:port); default: embedded Ray on this "
        "machine."
    ),
]


def parse_retry_failed(text: str) -> int | Literal["all"]:
    """Value of the option `--retry-failed`: a number of trials, or "all".

    Raises:
        typer.BadParameter: the text is neither a number nor `all`.
    """
    if text == "all":
        return "all"
    if text.isascii() and text.isdigit() and len(text) < 7:
        return int(text)
    raise typer.BadParameter(f"{text} is neither a number of trials nor all")


RetryFlag = Annotated[
    Any,
    typer.Option(
        "--retry-failed",
        parser=parse_retry_failed,
        metavar="N|all",
        help="Try again at most N trials that failed for a cause outside their mixture, 0 for "
        "none; all: diverged ones too. Default: every one of that kind, unless the sweep is "
        "complete.",
    ),
]


def pairs(options: list[str] | None) -> dict[str, str]:
    """{name: text} of options NAME=TEXT.

    Raises:
        ConfigError: an option is not NAME=TEXT.
    """
    found = {}
    for option in options or []:
        name, equals, value = option.rpartition("=")
        if not equals or not name or not value:
            raise ConfigError(f"{option!r} is not NAME=VALUE")
        found[name] = value
    return found


def goals_of(options: list[str] | None) -> "Goals":
    """{target: goal} of options TARGET=GOAL.

    Raises:
        ConfigError: an option is not TARGET=GOAL, or its goal cannot be parsed.
    """
    from bimix_sweep.mixture.goals import Goal

    found = {}
    for name, text in pairs(options).items():
        try:
            found[name] = Goal.parse(text)
        except ConfigError as error:
            raise ConfigError(f"--goal {name}={text}: {error}") from None
    return found


def print_recipe(recipe: "Recipe", folder: str | Path | None, as_json: bool) -> None:
    """Print a recipe as a table with notes, or as JSON.

    Args:
        recipe: the recipe to print.
        folder: where RECIPE.json and report.html were written; None prints no such line.
        as_json: print the JSON of RECIPE.json instead of the table.
    """
    if as_json:
        print_json(recipe.to_json())
        return
    from bimix_sweep.sweep.history.snapshot import percent

    rows = []
    for name, share in recipe.proportions.items():
        low, high = recipe.region[name]
        row = {
            "domain": name,
            "proportion": f"{share:.4f}",
            "near-optimal": f"{low:.3f}-{high:.3f}",
        }
        if recipe.tokens:
            epochs = recipe.epochs[name]
            row |= {
                "tokens": f"{recipe.tokens[name]:.3g}",
                "epochs": "-" if epochs is None else f"{epochs:.2f}",
            }
        rows.append(row)
    title = "the predicted optimum" if recipe.comparison is None else "the recommended mixture"
    print_rows(title, rows)
    typer.echo(
        f"regret: expected {percent(recipe.regret['expected'])}, at most "
        f"{percent(recipe.regret['upper95'])} (95 %)"
    )
    for target, goal in recipe.goals.items():
        if goal.range is not None and target in recipe.predicted_losses:
            typer.echo(
                printable(
                    f"{target}: {recipe.predicted_losses[target]:.4g} predicted, {goal.words}; "
                    "regret and region are of its distance from the best end of that range"
                )
            )
    problem: dict[str, Any] = (
        dict(recipe.provenance).get("problem") or {}  # type: ignore[assignment]
    )
    if problem.get("kl"):
        typer.echo(
            "note: the regret is of the loss alone, without the pull, so it holds what staying "
            "near --prior costs"
        )
    for bound in recipe.binding:
        typer.echo(
            f"{_limit(bound, recipe)} holds it back; without it the loss would be "
            f"{percent(bound.cost)} lower"
        )
    if recipe.comparison is not None:
        typer.echo(printable(str(recipe.comparison["sentence"])))
    print_notes(recipe.not_tested)
    if folder is not None:
        typer.echo(f"wrote {folder}/RECIPE.json and {folder}/report.html")


def _limit(bound: "Binding", recipe: "Recipe") -> str:
    """Words for a binding bound of a domain.

    Either `the max of math`, or `the limit of 4 epochs of math's 3e+10 tokens` where the limit on
    epochs is lower than the domain's own `max`.
    """
    provenance: dict[str, Any] = dict(recipe.provenance)
    problem = provenance.get("problem") or {}
    most = (problem.get("final") or {}).get("max_epochs")
    given = problem.get("domains", {}).get(bound.domain, {}).get("max", 1.0)
    epochs = recipe.epochs.get(bound.domain)
    if bound.bound == "max" and most and epochs:
        available = recipe.tokens[bound.domain] / epochs
        if most * available < given * sum(recipe.tokens.values()):
            return f"the limit of {most:g} epochs of {bound.domain}'s {available:.3g} tokens"
    return f"the {bound.bound} of {bound.domain}"


def print_json(value: Any) -> None:
    """Print a value as indented JSON; NaN and infinity raise ValueError."""
    typer.echo(json.dumps(value, indent=1, allow_nan=False))


def print_rows(title: str, rows: list[dict[str, Any]]) -> None:
    """Print rows {column: value} as a table with a title; a missing value gives an empty cell."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        console = Console(width=200)  # wide enough that no cell is cut in a pipe
    table = Table(title=Text(printable(title), style="bold"), title_justify="left", box=SIMPLE_HEAD)
    names = list(dict.fromkeys(name for row in rows for name in row))
    for name in names:
        table.add_column(
            Text(printable(name)), justify="left" if isinstance(rows[0].get(name), str) else "right"
        )
    for row in rows:
        cells = (
            f"{value:.3g}" if isinstance(value := row.get(name, ""), float) else str(value)
            for name in names
        )
        # Text() prints brackets as they are; a plain string would be read as markup
        table.add_row(*(Text(printable(cell)) for cell in cells))
    console.print(table)


def print_notes(notes: Iterable[str], *, err: bool = False) -> None:
    """Print each note on a line of its own, to standard error where `err` is set."""
    for note in notes:
        typer.echo(printable(f"note: {note}"), err=err)
