"""Sends the runs of a sweep to W&B, or into its offline folder where WANDB_MODE is `offline`."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from bimix_sweep.config import WandbConfig
from bimix_sweep.sweep.views.tracking.runs import Row, TrackedRun, copied

INIT_SECONDS = 30.0
"""Seconds after which W&B's client gives up to begin a run."""


class WandbTracker:
    """Connection to W&B; runs of trials that go on stay open, so that their curves are live.

    W&B drops a row whose step is not above the last one of the run. So a run that is continued gets
    the rows that W&B lacks. Offline nothing is known of earlier rows: the new folder holds the whole
    run and replaces the earlier one.
    """

    def __init__(self, config: WandbConfig, folder: Path) -> None:
        """Prepares the connection; the first run opens it.

        Args:
            config: project and entity.
            folder: local folder for the files of W&B's client, unless WANDB_DIR is set.
        """
        import wandb

        self._wandb = wandb
        self._config = config
        self._folder = Path(os.environ.get("WANDB_DIR") or folder)
        self._open: dict[str, Any] = {}
        self._next: dict[str, int] = {}  # {id of an open run: lowest step that it has no row of}

    @property
    def place(self) -> str:
        """Project with its entity, and the mode if it is not the usual one."""
        mode = os.environ.get("WANDB_MODE") or "online"
        project = "/".join(filter(None, (self._config.entity, self._config.project)))
        return project if mode == "online" else f"{project} ({mode})"

    def send(self, run: TrackedRun) -> None:
        """Begins or continues the run, adds its new rows, and ends it where it has ended."""
        handle = self._open.get(run.id) or self._begin(run)
        for row in run.rows:
            if row.step >= self._next[run.id]:
                handle.log(_content(row), step=row.step)
                self._next[run.id] = row.step + 1
        handle.summary.update(dict(run.summary))
        if run.state == "running":
            return
        if run.files:
            self._keep_files(handle, run)
        self._end(run.id, failed=run.state == "failed")

    def close(self) -> None:
        """Ends all open runs, which may be continued, and W&B's own process.

        W&B refuses to begin a run again whose first attempt failed, until that process has ended.
        """
        try:
            for run in [*self._open]:
                self._end(run, failed=False)
        finally:
            self._wandb.teardown()

    def _begin(self, run: TrackedRun) -> Any:
        self._folder.mkdir(parents=True, exist_ok=True)
        handle = self._wandb.init(
            project=self._config.project,
            entity=self._config.entity,
            id=run.id,
            name=run.name,
            group=f"{run.sweep}-{run.sweep_id[:6]}",
            job_type=run.kind,
            tags=[run.kind, *([role] if (role := str(run.settings.get("role", ""))) else [])],
            dir=str(self._folder),
            resume="allow",
            reinit="create_new",
            settings=self._wandb.Settings(
                silent=True,
                console="off",
                disable_git=True,
                init_timeout=INIT_SECONDS,
                x_disable_meta=True,
                x_disable_stats=True,
                x_save_requirements=False,
                x_start_time=run.began,
            ),
        )
        handle.config.update(dict(run.settings), allow_val_change=True)
        if run.axis is not None:
            handle.define_metric(run.axis)
            handle.define_metric("*", step_metric=run.axis)
        self._open[run.id] = handle
        self._next[run.id] = handle.step if handle.resumed else 0
        return handle

    def _keep_files(self, handle: Any, run: TrackedRun) -> None:
        """Keeps the files as one artifact; W&B makes no new version where nothing changed."""
        artifact = self._wandb.Artifact(f"{run.sweep}-{run.sweep_id[:6]}", type="recipe")
        with tempfile.TemporaryDirectory() as scratch:
            for path in run.files:
                copy = copied(path, scratch)
                artifact.add_file(str(copy), name=copy.name, policy="mutable")
            handle.log_artifact(artifact)

    def _end(self, run: str, *, failed: bool) -> None:
        handle = self._open.pop(run)
        folder = Path(handle.dir).parent
        offline = bool(handle.offline)
        handle.finish(exit_code=int(failed))
        if offline:
            for other in folder.parent.glob(f"offline-run-*-{run}*"):
                if other != folder and not [*other.glob("*.synced")]:
                    shutil.rmtree(other, ignore_errors=True)


def _content(row: Row) -> dict[str, float]:
    return {**row.values, "_timestamp": row.at}
