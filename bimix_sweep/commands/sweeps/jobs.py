"""Commands that run a sweep as a Ray job, stop the job, and show a sweep's status from anywhere."""

import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bimix_sweep.commands.options import ConfigFile, JsonFlag, RetryFailed, SweepFolder
from bimix_sweep.commands.printing import print_json, print_progress
from bimix_sweep.errors import ConfigError

if TYPE_CHECKING:
    from bimix_sweep.config import SweepConfig

Dashboard = Annotated[
    str | None,
    typer.Option(
        "--address",
        help="Address of the head's dashboard, where it is not the address of submit.",
    ),
]
SubmitAddress = Annotated[
    str, typer.Option(help="Address of the head's dashboard: http://HEAD:8265.")
]
SharedFolder = Annotated[
    str | None,
    typer.Option(
        "--out",
        help="Folder or URI of the sweep, as this machine and the cluster both see it, instead of "
        "the file's `out`.",
    ),
]
WorkingDir = Annotated[
    Path | None,
    typer.Option(
        help="Folder with your trainer's code; it is sent to every node, except what its "
        ".gitignore leaves out."
    ),
]
WebFlag = Annotated[
    bool,
    typer.Option(
        "--web", help="Serve the sweep's page to a browser on this machine, kept up to date."
    ),
]
OptunaFlag = Annotated[
    bool,
    typer.Option(
        "--optuna", help="Serve optuna-dashboard on the sweep to a browser on this machine."
    ),
]
Port = Annotated[
    int, typer.Option(min=0, max=65535, help="Port of --web or --optuna; 0 takes any free one.")
]
Seconds = Annotated[float, typer.Option(min=0.2, help="Seconds between two reads of the journal.")]


def submit(
    config: ConfigFile,
    address: SubmitAddress,
    out: SharedFolder = None,
    working_dir: WorkingDir = None,
    retry_failed: RetryFailed = None,
    as_json: JsonFlag = False,
) -> None:
    """Run a sweep as a job on a Ray cluster.

    Where the folder holds a sweep that stopped, the job resumes that sweep. The command returns
    when the job's driver works; follow the sweep with status or watch. The cluster's token is taken
    from RAY_AUTH_TOKEN or the file RAY_AUTH_TOKEN_PATH (~/.ray/auth_token).
    """
    from bimix_sweep.config import SweepConfig
    from bimix_sweep.sweep.jobs import submission
    from bimix_sweep.sweep.workspace.paths import sweep_folder

    loaded = SweepConfig.load(config)
    folder = sweep_folder(out or loaded.out)
    if _complete(loaded, folder) and not retry_failed:
        raise ConfigError(
            f"{folder} holds a sweep that is complete; its results are there, so take another "
            "folder for a new one"
        )
    state = submission.submit(
        loaded,
        folder,
        address,
        working_dir=working_dir,
        retry_failed=retry_failed,
        say=print_progress,
    )
    if as_json:
        print_json(
            {
                "submission_id": state.job.submission_id,
                "address": state.job.address,
                "dir": folder,
                "state": state.state,
            }
        )
        return
    typer.echo(f"{state.state.lower()}; look with: bimix-sweep watch {folder}")


def _complete(config: "SweepConfig", folder: str) -> bool:
    """Whether the folder holds a complete sweep of this very configuration."""
    from bimix_sweep.sweep.jobs import submission
    from bimix_sweep.sweep.views.follower import Follower

    follower = Follower(folder)
    return (
        follower.poll() is not None and follower.complete and submission.unchanged(config, folder)
    )


def stop(folder: SweepFolder, address: Dashboard = None, as_json: JsonFlag = False) -> None:
    """Stop the job of a sweep. Nothing is lost; the sweep can be resumed later."""
    from bimix_sweep.sweep.jobs import submitted_job
    from bimix_sweep.sweep.views.follower import Follower
    from bimix_sweep.sweep.workspace.paths import sweep_folder

    folder = sweep_folder(folder)
    state = submitted_job.stop(folder, address=address, say=print_progress)
    follower = Follower(folder)
    follower.poll()
    if as_json:
        print_json(
            {
                "submission_id": state.job.submission_id,
                "address": state.job.address,
                "state": state.state,
                "complete": follower.complete,
            }
        )
        return
    typer.echo(
        f"job {state.job.submission_id}: "
        f"{state.state.lower()}{f' ({state.message})' if state.message else ''}"
    )
    if follower.complete:
        typer.echo("the sweep is complete")
    else:
        typer.echo(submitted_job.how_to_go_on(folder, state.job.address))


def status(folder: SweepFolder, address: Dashboard = None, as_json: JsonFlag = False) -> None:
    """Show the progress of a sweep.

    Prints its trials, the predicted optimum and its job. The command reads the journal, and asks
    the head of the Ray cluster where the sweep has a job.
    """
    from bimix_sweep.sweep.jobs import submitted_job
    from bimix_sweep.sweep.views.follower import Follower
    from bimix_sweep.sweep.views.status import as_json_value, print_status
    from bimix_sweep.sweep.workspace.paths import sweep_folder

    folder = sweep_folder(folder)
    follower = Follower(folder)
    snapshot = follower.poll()
    job = submitted_job.job_state(folder, address=address)
    if snapshot is None and job is None:
        raise ConfigError(
            f"{folder} holds no sweep and no job; start one with: bimix-sweep run, or submit"
        )
    if as_json:
        print_json(as_json_value(folder, snapshot, job, follower))
        return
    print_status(folder, snapshot, job, follower)


def watch(
    folder: SweepFolder,
    web: WebFlag = False,
    optuna: OptunaFlag = False,
    port: Port = 8042,
    seconds: Seconds = 2.0,
) -> None:
    """Follow a sweep while it runs, here or elsewhere.

    The command ends when the sweep is complete. Ctrl-C ends the command; the sweep continues.
    """
    from bimix_sweep import files
    from bimix_sweep.sweep.views.follower import Follower
    from bimix_sweep.sweep.views.status import watch_in_terminal
    from bimix_sweep.sweep.workspace.paths import sweep_folder

    folder = sweep_folder(folder)
    # the folder exists as soon as a sweep is submitted or started
    if not files.exists(folder):
        raise ConfigError(
            f"{folder} holds no sweep and no job; start one with: bimix-sweep run, or submit"
        )
    if web and optuna:
        raise typer.BadParameter("--web and --optuna are two servers; run watch once for each")
    try:
        if web:
            from bimix_sweep.sweep.views.web import serve

            _until_interrupted(serve(folder, port=port, seconds=max(2.0, seconds)))
        if optuna:
            from bimix_sweep.sweep.views.optuna_dashboard import serve_study

            _until_interrupted(serve_study(folder, port=port))
        watch_in_terminal(Follower(folder), folder, seconds=seconds)
    except KeyboardInterrupt:
        typer.echo(f"the sweep in {folder} goes on", err=True)


def _until_interrupted(served: AbstractContextManager[str]) -> None:
    """Print the URL of a server and keep the server until Ctrl-C."""
    with served as url:
        typer.echo(f"{url}  (Ctrl-C ends the server; the sweep goes on)")
        while True:
            time.sleep(3600)
