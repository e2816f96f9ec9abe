"""Command that compares two recipes, sweeps or laws."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bimix_sweep.commands.options import JsonFlag
from bimix_sweep.commands.printing import print_json, print_notes, print_rows
from bimix_sweep.text import magnitude, printable

if TYPE_CHECKING:
    from bimix_sweep.sweep.two_answers import Answer, Judgement, TwoAnswers

HELP = "RECIPE.json, LAW.json, or the folder or URI of a sweep."
FirstAnswer = Annotated[str, typer.Argument(metavar="A", help=HELP)]
SecondAnswer = Annotated[str, typer.Argument(metavar="B", help=HELP)]


def compare(first: FirstAnswer, second: SecondAnswer, as_json: JsonFlag = False) -> None:
    """Compare two recipes, sweeps or laws.

    Prints how the recommended mixtures differ, what differs in their questions, and the losses of
    both mixtures as each law that is there predicts them, with 95 % intervals.
    """
    from bimix_sweep.sweep.two_answers import answer_at, compare_answers

    found = compare_answers(answer_at(first), answer_at(second))
    if as_json:
        print_json(_as_json(found))
        return
    print_notes(found.notes, err=True)
    for name, answer in (("A", found.first), ("B", found.second)):
        typer.echo(printable(f"{name}: {answer.place}, a {answer.kind}"))
    typer.echo(f"the mixtures are {found.distance:.3f} apart (total variation)")
    print_rows("mixtures", _mixture_rows(found))
    for judgement in found.judgements:
        where = f" and {magnitude(judgement.size)} parameters" if judgement.size else ""
        title = f"predicted by the law of {judgement.by} at step {magnitude(judgement.step)}{where}"
        print_rows(title, _loss_rows(judgement))
        typer.echo(
            f"objective of B {judgement.second.objective:.4g}, "
            f"{judgement.second.difference.words} that of A"
        )
    if rows := _recipe_rows(found):
        print_rows("predicted losses that the recipes state (sd)", rows)
    if found.first.problem and found.second.problem and not found.questions:
        typer.echo("both answer the same question")
    for difference in found.questions:
        typer.echo(printable(f"question of B: {difference}"))


def _mixture_rows(found: "TwoAnswers") -> list[dict[str, Any]]:
    """Table of the mixtures: one row for each domain."""
    one, other = found.first.mixture.as_dict(), found.second.mixture.as_dict()
    return [
        {
            "domain": name,
            "A": f"{one.get(name, 0.0):.4f}",
            "B": f"{other.get(name, 0.0):.4f}",
            "B - A": f"{other.get(name, 0.0) - one.get(name, 0.0):+.4f}",
        }
        for name in dict.fromkeys((*one, *other))
    ]


def _loss_rows(judgement: "Judgement") -> list[dict[str, Any]]:
    """Table of the losses that a law predicts: one row for each target."""
    return [
        {
            "target": target,
            "A": f"{judgement.first.targets[target].loss:.4g}",
            "B": f"{two.loss:.4g}",
            "difference": f"{two.difference.value:+.2%}",
            "95 % of it": f"{two.difference.low:.2%} to {two.difference.high:.2%}",
            "weight": f"{judgement.first.weights[target]:.3g}",
        }
        for target, two in judgement.second.targets.items()
    ]


def _recipe_rows(found: "TwoAnswers") -> list[dict[str, Any]]:
    """Table of the losses that recipes state, each from its own law: one row for each target."""
    recipes = {"A": found.first.recipe, "B": found.second.recipe}
    rows: dict[str, dict[str, Any]] = {}
    for name, recipe in recipes.items():
        for target, loss in recipe.predicted_losses.items() if recipe else ():
            sd = recipe.predicted_sd.get(target) if recipe else None
            cell = f"{loss:.4g}" + ("" if sd is None else f" ({sd:.2g})")
            rows.setdefault(target, {"target": target})[name] = cell
    return list(rows.values())


def _as_json(found: "TwoAnswers") -> dict[str, Any]:
    """JSON result of `compare`."""
    return {
        "A": _answer_json(found.first),
        "B": _answer_json(found.second),
        "distance": found.distance,
        "questions": list(found.questions),
        "laws": [asdict(judgement) for judgement in found.judgements],
        "notes": list(found.notes),
    }


def _answer_json(answer: "Answer") -> dict[str, Any]:
    """JSON of one answer."""
    recipe = answer.recipe
    return {
        "place": answer.place,
        "kind": answer.kind,
        "mixture": answer.mixture.as_dict(),
        "predicted_losses": {} if recipe is None else dict(recipe.predicted_losses),
        "predicted_sd": {} if recipe is None else dict(recipe.predicted_sd),
    }
