"""What commands share: options that look alike everywhere, and how results are printed."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bimix_sweep.errors import ConfigError

if TYPE_CHECKING:
    from bimix_sweep.export.recipe import Recipe

JsonFlag = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Address = Annotated[
    str | None, typer.Option(help="Ray cluster to run on (host:port or ray://host:port); default: embedded Ray on this machine.")
]


def pairs(options: list[str] | None) -> dict[str, str]:
    """{name: text} of options NAME=TEXT."""
    found = {}
    for option in options or []:
        name, equals, value = option.rpartition("=")
        if not equals or not name or not value:
            raise ConfigError(f"{option!r} is not NAME=VALUE")
        found[name] = value
    return found


def print_recipe(recipe: "Recipe", folder: str | Path | None, as_json: bool) -> None:
    if as_json:
        print_json(recipe.to_json())
        return
    rows = []
    for name, share in recipe.proportions.items():
        low, high = recipe.region[name]
        row = {"domain": name, "proportion": f"{share:.4f}", "near-optimal": f"{low:.3f}-{high:.3f}"}
        if recipe.tokens:
            epochs = recipe.epochs[name]
            row |= {"tokens": f"{recipe.tokens[name]:.3g}", "epochs": "-" if epochs is None else f"{epochs:.2f}"}
        rows.append(row)
    print_rows("the predicted optimum" if folder is None else "the recommended mixture", rows)
    typer.echo(f"regret: expected {recipe.regret['expected']:.2%}, at most {recipe.regret['upper95']:.2%} (95 %)")
    for bound in recipe.binding:
        typer.echo(f"the {bound.bound} of {bound.domain} holds it back; without it the loss would be {bound.cost:.2%} lower")
    for axis, factor in recipe.extrapolation.items():
        if factor > 1:
            typer.echo(f"note: {factor:.3g} times the largest fitted {axis}: extrapolated, the regret does not cover that")
    if recipe.comparison is not None:
        typer.echo(str(recipe.comparison["sentence"]))
    if folder is not None:
        typer.echo(f"wrote {folder}/RECIPE.json and {folder}/report.html")


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=1, allow_nan=False))


def print_rows(title: str, rows: list[dict[str, Any]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console = Console(width=200)  # piped: nothing is cut
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    names = list(dict.fromkeys(name for row in rows for name in row))
    for name in names:
        table.add_column(name, justify="left" if isinstance(rows[0].get(name), str) else "right")
    for row in rows:
        table.add_row(*(f"{value:.3g}" if isinstance(value := row.get(name, ""), float) else str(value) for name in names))
    console.print(table)


def print_notes(notes: list[str]) -> None:
    for note in notes:
        typer.echo(f"note: {note}")
