"""Submits a sweep as a Ray job through Ray's Jobs API with a token.

The job runs `bimix-sweep run` or `resume` beside the cluster's head, with the configuration (and
the user's trainer code) in its working directory. DIR/job.json names the job and is written before
the job is submitted. If the driver does not find the file, client and head do not see the same DIR,
and the driver ends at once. Submission ids count up, so the head refuses one of two submits at the
same time.
"""

import contextlib
import hashlib
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bimix_sweep import files, locations
from bimix_sweep.config import SweepConfig
from bimix_sweep.errors import ConfigError, SweepError
from bimix_sweep.sweep.history.retries import RetryFailed
from bimix_sweep.sweep.jobs.auth import remember
from bimix_sweep.sweep.jobs.dashboard import Head, understood
from bimix_sweep.sweep.jobs.job_file import JOB, NOT_SHARED, VARIABLE, Job, JobState, driver_line
from bimix_sweep.sweep.jobs.package import Package, packaged
from bimix_sweep.sweep.jobs.submitted_job import (
    POLL_SECONDS,
    STOP_SECONDS,
    head_of,
    last_line,
    query_job,
)
from bimix_sweep.sweep.workspace.paths import CONFIG, begun

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

BEGIN_SECONDS = 180
"""Seconds that a driver may take to begin; the head may have to install or start something
first."""
ATTEMPTS = 100
"""Maximum number of submission ids to try, where the head already knows some."""


def submit(
    config: SweepConfig,
    folder: str,
    address: str,
    *,
    working_dir: Path | None = None,
    retry_failed: RetryFailed = None,
    say: Callable[[str], None],
) -> JobState:
    """Submits a job that runs a sweep on the cluster, and returns when its driver works.

    The job starts the sweep, or resumes it from where it stopped.

    Args:
        config: the configuration of the sweep; relative data paths are already made absolute.
        folder: folder of the sweep, as this machine and the head both see it.
        address: address of the head's dashboard.
        working_dir: folder with the user's code that trials need; it is sent to every node.
        retry_failed: which failed trials to try again, as `resume_sweep` takes it.
        say: called with messages about the progress.

    Returns:
        the state of the job when its driver has found the folder, or when the wait is over.

    Raises:
        SweepError: the head cannot be used, a job runs the sweep already, or the job ended at once;
            the message gives the reason.
        ConfigError: `working_dir` is not a folder.
    """
    if working_dir is not None and not working_dir.is_dir():
        raise ConfigError(
            f"--working-dir {working_dir} is no folder; need the one that holds your trainer's code"
        )
    from bimix_sweep.sweep.run_checks import check_before_run

    check_before_run(config, texts=False)  # this machine need not see the cluster's text
    head = Head.reach(address)
    client = head.jobs()
    earlier = Job.read(folder)
    if earlier is not None:
        _check_over(folder, earlier, _client_of(earlier, head, client), say)
    undo = _Undo(
        folder=folder,
        earlier=earlier,
        made=not locations.is_uri(folder) and not Path(folder).exists(),
    )
    with packaged(config, folder, working_dir) as package:
        words = _words(folder, package.config_name, retry_failed)
        job = _send(config, head, client, package, words, undo)
    say(f"job {job.submission_id} at {head.address}; waiting for its driver")
    state = _await_driver(job, client)
    if state.state == "FAILED" and NOT_SHARED in state.message and earlier is None:
        undo.restore()
    if state.state in ("FAILED", "STOPPED"):
        raise SweepError(f"job {job.submission_id} ended: {state.message}")
    return state


@dataclass(frozen=True, slots=True, kw_only=True)
class _Undo:
    """The state of a sweep's folder before a job was submitted."""

    folder: str
    """Folder of the sweep."""
    earlier: Job | None
    """The job before; None for the first one."""
    made: bool
    """Whether the folder did not exist."""

    def restore(self) -> None:
        """Restores the state before a job that never began."""
        if self.earlier is not None:
            self.earlier.write(self.folder)
            return
        with contextlib.suppress(OSError):
            files.delete(locations.join(self.folder, JOB))
            if self.made:
                Path(self.folder).rmdir()


def _check_over(
    folder: str, earlier: Job, client: "JobSubmissionClient | None", say: Callable[[str], None]
) -> None:
    """Checks that the job before has ended; only notes where its head cannot be asked.

    Raises:
        SweepError: the job still drives the sweep.
    """
    state = query_job(earlier, client)
    if state.over:
        return
    if state.state != "unreachable":
        raise SweepError(
            f"{folder} is driven by job {earlier.submission_id} already ({state.state} at "
            f"{earlier.address}); look with: bimix-sweep "
            f"watch {folder}, or end it with: bimix-sweep stop {folder}"
        )
    say(
        f"note: the job before, {earlier.submission_id} at {earlier.address}, cannot be asked; "
        "if it still runs, this one will say so"
    )


def _send(
    config: SweepConfig,
    head: Head,
    client: "JobSubmissionClient",
    package: Package,
    words: list[str],
    undo: _Undo,
) -> Job:
    """Writes the job file and submits the job, under the first submission id that is free.

    Args:
        config: the configuration of the sweep.
        head: the head.
        client: client of the head.
        package: the working directory to send.
        words: the job's command.
        undo: the state of the sweep's folder before.

    Returns:
        the job that the head took.

    Raises:
        SweepError: the head did not take the job, or a job drives the sweep already.
    """
    job = Job(
        submission_id="", address=head.address, attempt=undo.earlier.attempt if undo.earlier else 0
    )
    for _ in range(ATTEMPTS):
        job = Job(
            submission_id=_name(config.name, undo.folder, job.attempt + 1),
            address=head.address,
            attempt=job.attempt + 1,
        )
        job.write(undo.folder)
        try:
            with understood(head.address):
                client.submit_job(
                    entrypoint=shlex.join(words),
                    submission_id=job.submission_id,
                    runtime_env=_runtime_env(job, package),
                    metadata={
                        "sweep": config.name,
                        "dir": undo.folder,
                        "config_digest": config.digest,
                    },
                )
            remember(head.address)
            break
        except SweepError:
            undo.restore()
            raise
        except RuntimeError as error:
            _check_taken(job, client, undo, error)
    return job


def _runtime_env(job: Job, package: Package) -> dict[str, Any]:
    """Returns the working directory and the environment variables of the job's driver."""
    return {
        "working_dir": str(package.path),
        "excludes": package.excludes,
        "env_vars": {
            VARIABLE: job.submission_id,
            "RAY_JOB_STOP_SIGNAL": "SIGINT",
            "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS),
        },
    }


def _check_taken(job: Job, client: "JobSubmissionClient", undo: _Undo, error: RuntimeError) -> None:
    """Returns where the head refused a job because an ended one has the same submission id.

    Raises:
        SweepError: the head refused it for another reason, or the other job still runs.
    """
    known = JobState(job=job, state="unknown", message="")
    with contextlib.suppress(SweepError):
        known = query_job(job, client)
    if known.state == "unknown":
        undo.restore()
        raise SweepError(f"{job.address} did not take the job: {last_line(str(error))}") from error
    if not known.over:
        raise SweepError(
            f"{undo.folder} is driven by job {job.submission_id} already ({known.state} at "
            f"{job.address})"
        ) from error


def _words(folder: str, config_name: str, retry_failed: RetryFailed) -> list[str]:
    """Returns the job's command.

    A sweep that has begun is resumed with the present configuration, which may have changed.
    """
    if begun(folder):
        words = ["bimix-sweep", "resume", folder, "--config", config_name]
    else:
        words = ["bimix-sweep", "run", config_name, "--out", folder, "--resume"]
    if retry_failed is not None:
        words += ["--retry-failed", str(retry_failed)]
    return [*words, "--address", "auto"]


def _await_driver(job: Job, client: "JobSubmissionClient") -> JobState:
    """Waits until the driver has found the folder or the job has ended.

    The wait lasts at most `BEGIN_SECONDS`.
    """
    until = time.monotonic() + BEGIN_SECONDS
    while not (state := query_job(job, client)).over and time.monotonic() < until:
        with contextlib.suppress(RuntimeError), understood(job.address):
            if driver_line(job) in client.get_job_logs(job.submission_id):
                break
        time.sleep(POLL_SECONDS)
    return state


def _client_of(
    earlier: Job, head: Head, client: "JobSubmissionClient"
) -> "JobSubmissionClient | None":
    """Returns the client of the head of an earlier job; None if that head cannot be used."""
    if earlier.address == head.address:
        return client
    with contextlib.suppress(SweepError):
        return head_of(earlier).jobs()
    return None


def _name(name: str, folder: str, attempt: int) -> str:
    """Returns a submission id, equal for all who submit the same attempt for the same folder."""
    return f"bimix-{name}-{hashlib.blake2b(folder.encode(), digest_size=4).hexdigest()}-{attempt}"


def unchanged(config: SweepConfig, folder: str) -> bool:
    """Returns whether the sweep in the folder has the same configuration."""
    return SweepConfig.load(locations.join(folder, CONFIG)).digest == config.digest
