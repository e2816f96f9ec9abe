"""Commands that run a sweep as a Ray job, stop the job, and show a sweep's status from anywhere."""

import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

import typer

from bimix_sweep.commands.common import JsonFlag, RetryFlag, print_json
from bimix_sweep.errors import ConfigError

Folder = Annotated[str, typer.Argument(metavar="DIR", help="The sweep's folder or URI.")]
Dashboard = Annotated[
    str | None,
    typer.Option(help="Address of the head's dashboard, where it is not the one of submit."),
]


def submit(
    config: Annotated[Path, typer.Argument(help="sweep.yaml")],
    address: Annotated[
        str, typer.Option(help="Address of the head's dashboard: http://HEAD:8265.")
    ],
    out: Annotated[
        str | None,
        typer.Option(
            help="Folder or URI of the sweep, as this machine and the cluster both see it; "
            "default: the file's out."
        ),
    ] = None,
    working_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder with your trainer's code; it is sent to every node. A .gitignore there is "
            "heeded."
        ),
    ] = None,
    retry_failed: RetryFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Run a sweep as a job on a Ray cluster.

    Where the folder holds a sweep that stopped, the job resumes that sweep. The command returns
    when the job's driver works; follow the sweep with status or watch. The cluster's token is taken
    from RAY_AUTH_TOKEN or the file RAY_AUTH_TOKEN_PATH (~/.ray/auth_token).
    """
    from bimix_sweep.config import SweepConfig
    from bimix_sweep.sweep.jobs import submission
    from bimix_sweep.sweep.views.follower import Follower
    from bimix_sweep.sweep.workspace.paths import sweep_folder

    loaded = SweepConfig.load(config)
    folder = sweep_folder(out or loaded.out)
    if (
        (followed := Follower(folder)).poll() is not None
        and followed.complete
        and not retry_failed
        and submission.unchanged(loaded, folder)
    ):
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
        say=lambda line: typer.echo(line, err=True),
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


def stop(folder: Folder, address: Dashboard = None, as_json: JsonFlag = False) -> None:
    """End the job of a sweep. Nothing is lost; the sweep can be resumed later."""
    from bimix_sweep.sweep.jobs import submitted_job
    from bimix_sweep.sweep.views.follower import Follower
    from bimix_sweep.sweep.workspace.paths import sweep_folder

    folder = sweep_folder(folder)
    state = submitted_job.stop(folder, address=address, say=lambda line: typer.echo(line, err=True))
    followed = Follower(folder)
    followed.poll()
    if as_json:
        print_json(
            {
                "submission_id": state.job.submission_id,
                "address": state.job.address,
                "state": state.state,
                "complete": followed.complete,
            }
        )
        return
    typer.echo(
        f"job {state.job.submission_id}: "
        f"{state.state.lower()}{f' ({state.message})' if state.message else ''}"
    )
    if followed.complete:
        typer.echo("the sweep is complete")
    else:
        typer.echo(submitted_job.how_to_go_on(folder, state.job.address))


def status(folder: Folder, address: Dashboard = None, as_json: JsonFlag = False) -> None:
    """Show the progress of a sweep.

    Prints its trials, the predicted optimum and its job. The command reads the journal, and asks
    the head of the Ray cluster where the sweep has a job.
    """
    from bimix_sweep.sweep.jobs import submitted_job
    from bimix_sweep.sweep.views.follower import Follower
    from bimix_sweep.sweep.views.status import as_json_value, print_status
    from bimix_sweep.sweep.workspace.paths import sweep_folder

    folder = sweep_folder(folder)
    followed = Follower(folder)
    snapshot = followed.poll()
    job = submitted_job.job_state(folder, address=address)
    if snapshot is None and job is None:
        raise ConfigError(
            f"{folder} holds no sweep and no job; start one with: bimix-sweep run, or submit"
        )
    if as_json:
        print_json(as_json_value(folder, snapshot, job, followed))
        return
    print_status(folder, snapshot, job, followed)


def watch(
    folder: Folder,
    web: Annotated[
        bool,
        typer.Option(
            "--web", help="Serve the sweep's page to a browser on this machine, renewed as it goes."
        ),
    ] = False,
    optuna: Annotated[
        bool,
        typer.Option(
            "--optuna", help="Serve optuna-dashboard on the sweep to a browser on this machine."
        ),
    ] = False,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of --web or --optuna; 0 takes any free one.")
    ] = 8042,
    seconds: Annotated[float, typer.Option(min=0.2, help="Between looks at the journal.")] = 2.0,
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
        typer.echo(f"the sweep in {folder} is left alone", err=True)


def _until_interrupted(served: AbstractContextManager[str]) -> None:
    """Print the URL of a server and keep the server until Ctrl-C."""
    with served as url:
        typer.echo(f"{url}  (Ctrl-C ends the page and leaves the sweep alone)")
        while True:
            time.sleep(3600)
