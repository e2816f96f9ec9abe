"""Command that records the losses of trials that another scheduler ran."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from bimix_sweep.commands.options import JsonFlag, SweepFolder
from bimix_sweep.commands.printing import (
    print_json,
    print_notes,
    print_progress,
    print_recipe,
    print_rows,
)

if TYPE_CHECKING:
    from bimix_sweep.sweep.offline.offline import Standing

LossesTable = Annotated[
    str,
    typer.Argument(
        metavar="LOSSES",
        help="CSV or Parquet: trial, step, r_<domain>, loss_<target>; nan as the loss of a trial "
        "that failed; losses that are recorded later replace the failure.",
    ),
]


def record(folder: SweepFolder, table: LossesTable, as_json: JsonFlag = False) -> None:
    """Record the losses of trials from propose.

    Prints the progress of the sweep; after the last trial the command writes the results.
    """
    from bimix_sweep.sweep.offline import offline

    standing = offline.record(folder, table, say=print_progress)
    if as_json:
        print_json(_standing_json(standing))
        return
    print_notes(standing.notes)
    typer.echo(f"{standing.points} new points; newly finished trials: {len(standing.finished)}")
    for trial in standing.failed:
        typer.echo(f"{trial} is recorded as failed: its loss is nan")
    if standing.replaced:
        typer.echo(
            f"recorded as failed before, replaced by these losses: {', '.join(standing.replaced)}"
        )
    if standing.recipe is not None:
        print_recipe(standing.recipe, folder, as_json=False)
        return
    _print_standing(standing, folder)


def _print_standing(standing: "Standing", folder: str) -> None:
    """Print the predicted optimum so far, the last decision and the number of open trials."""
    snapshot = standing.snapshot
    if snapshot.optimum:
        rows = [
            {
                "domain": name,
                "proportion": f"{proportion:.4f}",
                "near-optimal": "{:.3f}-{:.3f}".format(*snapshot.region[name]),
            }
            for name, proportion in snapshot.optimum.items()
        ]
        print_rows("the predicted optimum so far", rows)
    if snapshot.decision:
        typer.echo(snapshot.decision)
        print_notes(list(snapshot.not_tested))
    num_open = sum(row.state == "running" for row in snapshot.trials)
    typer.echo(
        f"{num_open} trials are open; next: bimix-sweep propose {folder} --count K -o MIXTURES.csv"
    )


def _standing_json(standing: "Standing") -> dict[str, Any]:
    """JSON result of `record`."""
    snapshot = standing.snapshot
    return {
        "points": standing.points,
        "finished": list(standing.finished),
        "failed": list(standing.failed),
        "replaced": list(standing.replaced),
        "phase": snapshot.phase,
        "decision": snapshot.decision,
        "extrapolation": dict(snapshot.extrapolation),
        "not_tested": list(snapshot.not_tested),
        "optimum": dict(snapshot.optimum) if snapshot.optimum else None,
        "regret": {"expected": snapshot.regret_expected, "upper95": snapshot.regret_upper95},
        "open": [row.trial for row in snapshot.trials if row.state == "running"],
        "notes": list(standing.notes),
        "recipe": standing.recipe.to_json() if standing.recipe else None,
    }
