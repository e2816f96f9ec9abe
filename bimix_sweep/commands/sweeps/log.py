"""Command that logs a sweep to a tracker."""

from typing import Annotated, Literal

import typer

from bimix_sweep.commands.options import JsonFlag, SweepFolder
from bimix_sweep.commands.printing import print_json, print_progress

To = Annotated[Literal["wandb", "mlflow"], typer.Option("--to", help="Which tracker.")]
Project = Annotated[
    str | None, typer.Option(help="W&B: project; default: tracking.wandb of the sweep.")
]
Entity = Annotated[str | None, typer.Option(help="W&B: team or user; default: as with --project.")]
Uri = Annotated[
    str | None,
    typer.Option(
        help="MLflow: server or database; default: tracking.mlflow of the sweep, else "
        "MLFLOW_TRACKING_URI."
    ),
]
Experiment = Annotated[
    str | None, typer.Option(help="MLflow: experiment; default: as with --uri, else the name.")
]


def log(
    folder: SweepFolder,
    to: To,
    project: Project = None,
    entity: Entity = None,
    uri: Uri = None,
    experiment: Experiment = None,
    as_json: JsonFlag = False,
) -> None:
    """Log a sweep to W&B or MLflow.

    The sweep may be running or finished. The command may be repeated: it sends what is missing,
    into the same runs.
    """
    from bimix_sweep.sweep.views.tracking.logging_sweep import log_once
    from bimix_sweep.sweep.views.tracking.tracker import check_tracker, stated
    from bimix_sweep.sweep.workspace.paths import sweep_folder

    folder = sweep_folder(folder)
    given = {"project": project, "entity": entity, "uri": uri, "experiment": experiment}
    config = stated(folder, to, {name: value for name, value in given.items() if value})
    check_tracker(to, config)
    count = log_once(folder, to, config, print_progress)
    if as_json:
        print_json({"to": to, "runs": count})
        return
    typer.echo(f"{count} runs sent to {to}" if count else f"{to} holds the sweep already")
