"""Prints results of commands: JSON, tables, notes and recipes."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from bimix_sweep.errors import ConfigError
from bimix_sweep.text import printable

if TYPE_CHECKING:
    from bimix_sweep.export.recipe import Recipe
    from bimix_sweep.export.recipe_parts import Binding


def print_json(value: Any) -> None:
    """Print a value as indented JSON; NaN and infinity raise ValueError."""
    typer.echo(json.dumps(value, indent=1, allow_nan=False))


def check_outputs(out: str, as_json: bool) -> None:
    """Checks that not two results go to standard output.

    Raises:
        ConfigError: the file of the result is `-`, and `--json` is given.
    """
    if out == "-" and as_json:
        raise ConfigError(
            "-o - and --json both write to standard output; give one of them, or -o FILE"
        )


def print_rows(title: str, rows: list[dict[str, Any]], *, err: bool = False) -> None:
    """Print rows {column: value} as a table with a title, to standard error where `err` is set; a
    missing value gives an empty cell."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(stderr=err)
    if not console.is_terminal:
        console = Console(stderr=err, width=200)  # wide enough that no cell is cut in a pipe
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


def print_progress(line: str) -> None:
    """Print a line about the progress of a command to standard error."""
    typer.echo(printable(line), err=True)


def print_written(out: str, what: str = "") -> None:
    """Print where a result was written to standard error.

    Args:
        out: the result's file; `-` is standard output.
        what: what was written; empty for the file alone.
    """
    place = "standard output" if out == "-" else out
    print_progress(f"wrote {f'{what} to ' if what else ''}{place}")


def print_recipe(
    recipe: "Recipe", folder: str | Path | None, as_json: bool, *, err: bool = False
) -> None:
    """Print a recipe as a table, or as JSON; its notes go to standard error.

    Args:
        recipe: the recipe to print.
        folder: where RECIPE.json and report.html were written; None prints no such line.
        as_json: print the JSON of RECIPE.json instead of the table.
        err: print the table to standard error, too, because standard output takes RECIPE.json.
    """
    if as_json:
        print_json(recipe.to_json())
        return
    if recipe.gain is not None:
        gain = recipe.gain.as_gain()
        typer.echo(f"{gain.words}: {gain.amount}, {gain.source}", err=err)
    title = "the predicted optimum" if recipe.comparison is None else "the recommended mixture"
    print_rows(title, _recipe_rows(recipe), err=err)
    if recipe.predicted_losses:
        title = f"predicted losses of this mixture{_where(recipe)}"
        print_rows(title, _loss_rows(recipe), err=err)
    for line in _recipe_lines(recipe):
        typer.echo(line, err=err)
    print_notes(recipe.not_tested, err=True)
    if folder is not None:
        print_progress(f"wrote {folder}/RECIPE.json and {folder}/report.html")


def _recipe_rows(recipe: "Recipe") -> list[dict[str, Any]]:
    """Table of a recipe: one row for each domain."""
    rows = []
    for name, proportion in recipe.proportions.items():
        low, high = recipe.region[name]
        row = {
            "domain": name,
            "proportion": f"{proportion:.4f}",
            "near-optimal": f"{low:.3f}-{high:.3f}",
        }
        if recipe.tokens:
            epochs = recipe.epochs[name]
            row |= {
                "tokens": f"{recipe.tokens[name]:.3g}",
                "epochs": "-" if epochs is None else f"{epochs:.2f}",
            }
        rows.append(row)
    return rows


def _loss_rows(recipe: "Recipe") -> list[dict[str, Any]]:
    """Table of the predicted losses: one row for each target, in the target's own unit."""
    from bimix_sweep.mixture.goals import PLAIN

    weights = _problem(recipe).get("weights") or dict.fromkeys(recipe.predicted_losses, 1.0)
    total = sum(weights.values())
    ranged = any(goal.range is not None for goal in recipe.goals.values())
    return [
        {
            "target": target,
            "predicted": f"{loss:.4g}",
            "sd": f"{recipe.predicted_sd[target]:.2g}",
            "weight": f"{weights.get(target, 0.0) / total:.3g}",
            **({"goal": recipe.goals.get(target, PLAIN).words} if ranged else {}),
        }
        for target, loss in recipe.predicted_losses.items()
    ]


def _recipe_lines(recipe: "Recipe") -> list[str]:
    """Sentences below the table: regret, targets with a range, active bounds, comparison."""
    from bimix_sweep.sweep.history.snapshot import percent

    lines = [
        f"regret{_where(recipe)}: expected {percent(recipe.regret['expected'])}, at most "
        f"{percent(recipe.regret['upper95'])} (95 %)"
    ]
    if ranged := [target for target, goal in recipe.goals.items() if goal.range is not None]:
        lines.append(
            printable(
                f"regret and region are of the distance of {', '.join(ranged)} from the best end "
                "of its range"
            )
        )
    if recipe.prior is not None:
        lines.append(
            f"prior: the mixture stays near the prior (kl {recipe.prior.kl:g}), which raises the "
            f"loss of the optimum by {percent(recipe.prior.cost)}; the regret counts the pull as "
            "part of the objective"
        )
    for bound in recipe.binding:
        lines.append(
            f"{_limit(bound, recipe)} limits the optimum; without it the loss would be "
            f"{percent(bound.cost)} lower"
        )
    if recipe.comparison is not None:
        lines.append(printable(str(recipe.comparison["sentence"])))
    return lines


def _where(recipe: "Recipe") -> str:
    """` at the final run` where the mixture is chosen for its steps and size."""
    return "" if recipe.at_trials is None else " at the final run"


def _limit(bound: "Binding", recipe: "Recipe") -> str:
    """Words for a bound that is active at the optimum.

    Either `the max of math`, or `the limit of 4 epochs of math's 3e+10 tokens` where the limit on
    epochs is lower than the domain's own `max`.
    """
    problem = _problem(recipe)
    max_epochs = (problem.get("final") or {}).get("max_epochs")
    own_max = problem.get("domains", {}).get(bound.domain, {}).get("max", 1.0)
    epochs = recipe.epochs.get(bound.domain)
    if bound.bound == "max" and max_epochs and epochs:
        available = recipe.tokens[bound.domain] / epochs
        if max_epochs * available < own_max * sum(recipe.tokens.values()):
            return f"the limit of {max_epochs:g} epochs of {bound.domain}'s {available:.3g} tokens"
    return f"the {bound.bound} of {bound.domain}"


def _problem(recipe: "Recipe") -> dict[str, Any]:
    """The decision problem in a recipe's provenance; empty where none is stored."""
    provenance: dict[str, Any] = dict(recipe.provenance)
    return provenance.get("problem") or {}
