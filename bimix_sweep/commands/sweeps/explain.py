"""Command that tells what each trial of a sweep taught."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from bimix_sweep.commands.options import JsonFlag, SweepFolder
from bimix_sweep.commands.printing import print_json
from bimix_sweep.text import listed, printable

if TYPE_CHECKING:
    from bimix_sweep.sweep.lessons import Lesson


def explain(folder: SweepFolder, as_json: JsonFlag = False) -> None:
    """Tell what each trial of a sweep taught.

    For each trial that ended: why it was proposed, how the expected regret changed, and the targets
    whose losses differ from what all other trials tell.
    """
    from bimix_sweep.sweep.lessons import lessons

    found = lessons(folder)
    if as_json:
        print_json([asdict(lesson) for lesson in found])
        return
    for lesson in found:
        typer.echo(printable(f"{lesson.trial}  {_mixture(lesson)}"))
        typer.echo(printable(f"  why     {lesson.why}"))
        typer.echo(printable(f"  taught  {_taught(lesson)}"))


def _mixture(lesson: "Lesson") -> str:
    """Proportions of the trial, and its failure where it failed."""
    from bimix_sweep.sweep.history.snapshot import describe

    return describe(lesson.mixture) + ("  failed" if lesson.state == "failed" else "")


def _taught(lesson: "Lesson") -> str:
    """Change of the expected regret, and the surprises, in words."""
    parts = [_regret(lesson)]
    if lesson.ended_with:
        parts[0] += f" (together with {listed(lesson.ended_with, 4)})"
    if lesson.surprises:
        told = [
            f"{target} {abs(error):.2%} {'higher' if error > 0 else 'lower'}"
            for target, error in lesson.surprises.items()
        ]
        parts.append(f"differs from what the other trials tell: {listed(told, 4)}")
    return "; ".join(parts)


def _regret(lesson: "Lesson") -> str:
    """The expected regret before and after the trial."""
    from bimix_sweep.sweep.history.snapshot import percent

    before, after = lesson.regret_before, lesson.regret_after
    if after is None:
        return "no law yet" if before is None else "the law was not fitted again since it ended"
    if before is None:
        return f"first law, expected regret {percent(after)}"
    change = after / before - 1 if before > 0 else 0.0
    word = "the same" if abs(change) < 0.005 else f"{'fell' if change < 0 else 'rose'}"
    amount = "" if word == "the same" else f" by {abs(change):.0%}"
    return f"expected regret {word}{amount}, {percent(before)} to {percent(after)}"
