"""Sends the runs of a sweep to an MLflow server or database."""

import os
import re
import tempfile
from pathlib import Path
from typing import Any

from bimix_sweep.config import MlflowConfig
from bimix_sweep.errors import SweepError
from bimix_sweep.sweep.views.tracking.runs import Row, TrackedRun, copied
from bimix_sweep.sweep.workspace.redaction import masked

PREFIX = "bimix_sweep."
"""Beginning of the tags by which the runs of a sweep are found again."""
MAX_BATCH = {"params": 100, "tags": 100, "metrics": 800}
"""Largest numbers of one request; MLflow's limits are 100, 100, and 1000 of all together."""
MAX_TEXT = 5000
"""Characters that are kept of a tag or parameter."""
MAX_NAME = 240
"""Characters that are kept of the name of a metric or parameter; MLflow takes 250."""
STATUS = {"running": "RUNNING", "finished": "FINISHED", "failed": "FAILED"}
RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
"""Variable with the number of times that MLflow's client tries a request again; its default takes
minutes."""


def address_of(config: MlflowConfig) -> str:
    """Returns the tracking URI, of the configuration or of the environment.

    Raises:
        SweepError: neither has one.
    """
    uri = config.uri or os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    if not uri:
        raise SweepError(
            "tracking.mlflow has no uri, and MLFLOW_TRACKING_URI is not set; need the address of a "
            "tracking server (http://HOST:5000) or database (sqlite:////path/mlflow.db)"
        )
    return uri


class MlflowTracker:
    """Connection to MLflow, which gives out the ids of runs; so they are found by their tags."""

    def __init__(self, config: MlflowConfig) -> None:
        """Makes the client; the first run opens the connection."""
        os.environ.setdefault(RETRIES, "2")
        from mlflow import MlflowClient

        self._uri = address_of(config)
        self._client = MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)
        self._experiment_name = config.experiment
        self._experiment: str | None = None
        self._runs: dict[str, str] = {}  # {id: MLflow's own id}
        self._next: dict[str, int] = {}  # {id: lowest step that MLflow has no row of}

    @property
    def place(self) -> str:
        """Tracking URI without its password."""
        return masked(self._uri)

    def send(self, run: TrackedRun) -> None:
        """Makes or continues the run, adds its new rows, and ends it where it has ended."""
        from mlflow.entities import Metric, Param, RunTag

        params = self._begin(run) if run.id not in self._runs else {}
        known, ended = self._runs[run.id], run.state != "running"
        texts = {PREFIX + key: v for key, v in run.summary.items() if isinstance(v, str)}
        rows = [row for row in run.rows if row.step >= self._next[run.id]]
        if ended and (row := _last_row(run)) is not None:
            rows.append(row)
        batches = {
            "params": [Param(name, value) for name, value in params.items()],
            "tags": [RunTag(metric_name(key), text[:MAX_TEXT]) for key, text in texts.items()],
            "metrics": [
                Metric(metric_name(name), value, round(row.at * 1000), row.step)
                for row in rows
                for name, value in row.values.items()
            ],
        }
        while any(batches.values()):
            batch = {what: batches[what][:most] for what, most in MAX_BATCH.items()}
            self._client.log_batch(known, **batch)
            batches = {what: batches[what][most:] for what, most in MAX_BATCH.items()}
        if rows:
            self._next[run.id] = rows[-1].step + 1
        if ended:
            self._end(run, known)

    def close(self) -> None:
        """Does nothing: every request is complete, and a sweep that stopped may go on."""

    def _end(self, run: TrackedRun, known: str) -> None:
        for path in run.files:
            with tempfile.TemporaryDirectory() as scratch:
                self._client.log_artifact(known, str(copied(path, scratch)))
        at = round((run.ended or run.began) * 1000)
        self._client.set_terminated(known, STATUS[run.state], at)
        del self._runs[run.id], self._next[run.id]

    def _begin(self, run: TrackedRun) -> dict[str, str]:
        """Finds the run, or makes it, and returns the parameters that it lacks.

        MLflow refuses another value of a parameter, as a change of the sweep may make one.
        """
        experiment = self._experiment or self._find_experiment(run.sweep)
        found = self._client.search_runs(
            [experiment], f"tags.`{PREFIX}run` = '{run.id}'", max_results=1
        )
        given: dict[str, str] = {}
        if found:
            known: str = found[0].info.run_id
            given = found[0].data.params
            self._client.update_run(known, status=STATUS["running"])
            next_step = self._first_missing(known, run)
        else:
            tags = {"run": run.id, "sweep": run.sweep_id, "kind": run.kind, "name": run.sweep}
            made = self._client.create_run(
                experiment,
                start_time=round(run.began * 1000),
                run_name=run.name,
                tags={PREFIX + key: value for key, value in tags.items()},
            )
            known, next_step = made.info.run_id, 0
        self._runs[run.id], self._next[run.id] = known, next_step
        settings = {metric_name(key): str(v)[:MAX_TEXT] for key, v in run.settings.items()}
        return {name: value for name, value in settings.items() if name not in given}

    def _first_missing(self, known: str, run: TrackedRun) -> int:
        """Returns the lowest step that MLflow has no row of."""
        if not run.rows:
            return 0
        metric = metric_name(next(iter(run.rows[0].values)))
        history = self._client.get_metric_history(known, metric)
        return max((value.step for value in history), default=-1) + 1

    def _find_experiment(self, sweep: str) -> str:
        name = self._experiment_name or sweep
        found = self._client.get_experiment_by_name(name)
        if found is None:
            made: Any = self._client.create_experiment(
                name, artifact_location=_artifacts(self._uri)
            )
            self._experiment = str(made)
        else:
            self._experiment = str(found.experiment_id)
        return self._experiment


def metric_name(name: str) -> str:
    """Returns a name as MLflow takes it.

    MLflow takes letters, digits, space and `_-.:/`, and names that are no path to elsewhere. Another
    character is written as its number after a colon: `a%b` is `a:25b`.
    """
    written = re.sub(r"[^\w\-. :/]", lambda found: f":{ord(found[0]):02X}", name)
    if os.path.normpath(written) != written or written.startswith(("/", "..")):
        written = re.sub(r"[./]", lambda found: f":{ord(found[0]):02X}", written)
    return written[:MAX_NAME]


def _artifacts(uri: str) -> str | None:
    """Returns the folder for the artifacts of a new experiment in a local database: beside it.

    MLflow's own default is below the folder in which the command runs. None for a server, which has
    its own place.
    """
    kind, _, path = uri.partition(":///")
    return (Path(path).absolute().parent / "mlartifacts").as_uri() if kind == "sqlite" else None


def _last_row(run: TrackedRun) -> Row | None:
    """Returns the numbers of the summary as metrics of the last step; None where there are none."""
    numbers = {key: value for key, value in run.summary.items() if not isinstance(value, str)}
    step = run.rows[-1].step if run.rows else 0
    return Row(step=step, at=run.ended or run.began, values=numbers) if numbers else None
