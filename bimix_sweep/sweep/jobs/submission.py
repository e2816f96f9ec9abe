"""A sweep as a Ray job: submits, stops and looks up the job through Ray's Jobs API with a token.

The job runs `bimix-sweep run` or `resume` beside the cluster's head, with the configuration (and
the user's trainer code) in its working directory. DIR/job.json names the job and is written before
the job is submitted. If the driver does not find the file, client and head do not see the same DIR,
and the driver ends at once. Submission ids count up, so the head refuses one of two submits at the
same time. A stop sends SIGINT and waits long enough for the driver to reach a safe point; any other
end loses nothing either.
"""

import contextlib
import hashlib
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bimix_sweep import files, locations
from bimix_sweep.config import SweepConfig
from bimix_sweep.errors import ConfigError, SweepError
from bimix_sweep.sweep.history.retries import RetryFailed
from bimix_sweep.sweep.jobs.dashboard import Head, Unanswered, remember, submitted_to, understood
from bimix_sweep.sweep.jobs.job_file import JOB, NOT_SHARED, VARIABLE, Job, JobState, driver_line
from bimix_sweep.sweep.workspace.paths import CONFIG, begun, driver
from bimix_sweep.text import printable

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

STOP_SECONDS = 60
"""Seconds that a driver may take to reach its safe point and end."""
BEGIN_SECONDS = 180
"""Seconds that a driver may take to begin; the head may have to install or start something
first."""
LOOK_SECONDS = 0.5
"""Seconds between two queries for a job's state while waiting."""
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
    if (
        earlier is not None
        and not (state := _look(earlier, _client_of(earlier, head, client))).over
    ):
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
    fresh = earlier is None
    made = not locations.is_uri(folder) and not Path(folder).exists()
    job = Job(submission_id="", address=head.address, attempt=earlier.attempt if earlier else 0)
    with _package(config, folder, working_dir) as package:
        words = _words(folder, package.config_name, retry_failed)
        for _ in range(ATTEMPTS):
            job = Job(
                submission_id=_name(config.name, folder, job.attempt + 1),
                address=head.address,
                attempt=job.attempt + 1,
            )
            job.write(folder)
            try:
                with understood(head.address):
                    client.submit_job(
                        entrypoint=shlex.join(words),
                        submission_id=job.submission_id,
                        runtime_env={
                            "working_dir": str(package.path),
                            "excludes": package.excludes,
                            "env_vars": {
                                VARIABLE: job.submission_id,
                                "RAY_JOB_STOP_SIGNAL": "SIGINT",
                                "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS),
                            },
                        },
                        metadata={
                            "sweep": config.name,
                            "dir": folder,
                            "config_digest": config.digest,
                        },
                    )
                remember(head.address)
                break
            except SweepError:
                _forget(folder, earlier, made)
                raise
            except RuntimeError as error:
                known = JobState(job=job, state="unknown", message="")
                with contextlib.suppress(SweepError):
                    known = _look(job, client)
                if known.state == "unknown":
                    _forget(folder, earlier, made)
                    raise SweepError(
                        f"{head.address} did not take the job: {_last_line(str(error))}"
                    ) from error
                if not known.over:
                    raise SweepError(
                        f"{folder} is driven by job {job.submission_id} already ({known.state} at "
                        f"{head.address})"
                    ) from error
    say(f"job {job.submission_id} at {head.address}; waiting for its driver")
    state = _await_driver(job, client)
    if state.state == "FAILED" and NOT_SHARED in state.message and fresh:
        _forget(folder, earlier, made)
    if state.state in ("FAILED", "STOPPED"):
        raise SweepError(f"job {job.submission_id} ended: {state.message}")
    return state


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


def stop(folder: str, *, address: str | None = None, say: Callable[[str], None]) -> JobState:
    """Stops the job of a sweep at a safe point, and waits until the job has ended.

    Args:
        folder: folder of the sweep.
        address: address of the head's dashboard, if it is not the one that `submit` was given.
        say: called with a message when the stop begins.

    Returns:
        the last state of the job.

    Raises:
        SweepError: no job was submitted for the folder, its head cannot be used, or the job does
            not end.
    """
    job = _submitted(folder, address)
    client = _head_of(job, address).jobs()
    state = _look(job, client)
    if state.over:
        return state
    say(f"stopping job {job.submission_id}; it may take some seconds to a safe point")
    # RuntimeError: the job has ended meanwhile.
    with contextlib.suppress(RuntimeError), understood(job.address):
        client.stop_job(job.submission_id)
    until = time.monotonic() + STOP_SECONDS + 30
    while not (state := _look(job, client)).over:
        if time.monotonic() > until:
            raise SweepError(
                f"job {job.submission_id} is still {state.state} after {STOP_SECONDS + 30} s; look "
                f"at its log on the Jobs page of {job.address}"
            )
        time.sleep(LOOK_SECONDS)
    return state


def job_state(folder: str, *, address: str | None = None) -> JobState | None:
    """Returns the state of the job of a sweep's folder; None where no job was submitted.

    A head that does not answer is a state ("unreachable"), not an error.

    Args:
        folder: folder of the sweep.
        address: address of the head's dashboard, if it is not the one that `submit` was given.

    Raises:
        SweepError: the job file is damaged, or `address` is not the address of a dashboard.
    """
    job = Job.read(folder)
    if job is None:
        return None
    job = (
        job
        if address is None
        else Job(submission_id=job.submission_id, address=Head.normal(address), attempt=job.attempt)
    )
    try:
        return _look(job, _head_of(job, address).jobs())
    except SweepError as error:
        return JobState(job=job, state="unreachable", message=str(error))


def _await_driver(job: Job, client: "JobSubmissionClient") -> JobState:
    """Waits until the driver has found the folder or the job has ended.

    The wait lasts at most `BEGIN_SECONDS`.
    """
    until = time.monotonic() + BEGIN_SECONDS
    while not (state := _look(job, client)).over and time.monotonic() < until:
        with contextlib.suppress(RuntimeError), understood(job.address):
            if driver_line(job) in client.get_job_logs(job.submission_id):
                break
        time.sleep(LOOK_SECONDS)
    return state


def _look(job: Job, client: "JobSubmissionClient | None") -> JobState:
    """Asks the head for the state of a job; without a client the state is "unreachable"."""
    if client is None:
        return JobState(job=job, state="unreachable", message=f"{job.address} does not answer")
    try:
        with understood(job.address):
            details = client.get_job_info(job.submission_id)
    except Unanswered as error:
        return JobState(job=job, state="unreachable", message=str(error))
    except RuntimeError as error:
        if "404" not in str(error):
            raise SweepError(
                f"{job.address} cannot tell about job {job.submission_id}: {_last_line(str(error))}"
            ) from error
        return JobState(
            job=job,
            state="unknown",
            message="the cluster does not know it, so it was started anew since",
        )
    return JobState(
        job=job,
        state=details.status.value,
        message=_reason(details.message or "") if details.status == "FAILED" else "",
    )


def _client_of(
    earlier: Job, head: Head, client: "JobSubmissionClient"
) -> "JobSubmissionClient | None":
    """Returns the client of the head of an earlier job; None if that head cannot be used."""
    if earlier.address == head.address:
        return client
    with contextlib.suppress(SweepError):
        return _head_of(earlier, None).jobs()
    return None


def _head_of(job: Job, given: str | None) -> Head:
    """Returns the head of a job.

    Args:
        job: the job.
        given: the address as the user gave it; None if only the folder names it. Such an address
            may be anybody's, and gets a token only if a job was submitted to it from here.
    """
    return Head.reach(job.address, trusted=given is not None or submitted_to(job.address))


def _submitted(folder: str, address: str | None) -> Job:
    """Returns the job of a sweep's folder, with the given address in place of its own.

    Raises:
        SweepError: no job was submitted for the folder.
    """
    job = Job.read(folder)
    if job is None:
        here = ""
        with contextlib.suppress(OSError):
            here = f" A driver works there: {driver(folder)}; Ctrl-C or SIGTERM ends it."
        raise SweepError(f"{folder} was not submitted as a job (no {JOB}); nothing to stop.{here}")
    return (
        job
        if address is None
        else Job(submission_id=job.submission_id, address=Head.normal(address), attempt=job.attempt)
    )


def _forget(folder: str, earlier: Job | None, made: bool) -> None:
    """Restores the folder to its state before a job that never began."""
    if earlier is not None:
        earlier.write(folder)
        return
    with contextlib.suppress(OSError):
        files.delete(locations.join(folder, JOB))
        if made:
            Path(folder).rmdir()


def _name(name: str, folder: str, attempt: int) -> str:
    """Returns a submission id, equal for all who submit the same attempt for the same folder."""
    return f"bimix-{name}-{hashlib.blake2b(folder.encode(), digest_size=4).hexdigest()}-{attempt}"


def _reason(message: str) -> str:
    """Returns the errors, or else the last line, of what a job's driver logged."""
    lines = [printable(line.strip()) for line in message.splitlines() if line.strip()]
    errors = [line.partition("error: ")[2] for line in lines if line.startswith("error: ")]
    if any(
        "bimix-sweep: not found" in line or "bimix-sweep: command not found" in line
        for line in lines
    ):
        return (
            "bimix-sweep is not installed on the head, or not on the PATH that Ray was started "
            "with; install it on every node"
        )
    return ("; ".join(errors) or (lines[-1] if lines else "it said nothing"))[:2000]


def _last_line(text: str) -> str:
    """Returns the last line of a text that is not empty."""
    lines = [printable(line.strip()) for line in text.splitlines() if line.strip()]
    return lines[-1][:500] if lines else "it said nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Package:
    """The working directory that is sent with a job."""

    path: Path
    config_name: str
    excludes: list[str]


@contextlib.contextmanager
def _package(config: SweepConfig, folder: str, working_dir: Path | None) -> Iterator[_Package]:
    """Makes a folder with the configuration and links to the content of the user's folder.

    Ray follows the links and respects .gitignore.
    """
    with tempfile.TemporaryDirectory(prefix="bimix-job-") as made:
        package, excludes = Path(made), [".git", "__pycache__"]
        name = "sweep.submitted.yaml"
        for entry in sorted(working_dir.resolve().iterdir()) if working_dir is not None else ():
            if entry.name != name and not (
                not locations.is_uri(folder) and Path(folder).is_relative_to(entry)
            ):
                (package / entry.name).symlink_to(entry)
        files.write_text(
            package / name, _sent(config, working_dir).model_copy(update={"out": folder}).to_yaml()
        )
        yield _Package(path=package, config_name=name, excludes=excludes)


def _sent(config: SweepConfig, working_dir: Path | None) -> SweepConfig:
    """Returns the configuration as the package holds it.

    A trainer's folder that lies in `working_dir` is given relative to the package.
    """
    if (
        working_dir is None
        or config.trainer == "builtin"
        or not Path(config.trainer.folder).is_relative_to(working_dir.resolve())
    ):
        return config
    inside = str(Path(config.trainer.folder).relative_to(working_dir.resolve()))
    return config.model_copy(
        update={"trainer": config.trainer.model_copy(update={"folder": inside})}
    )


def how_to_go_on(folder: str, address: str) -> str:
    """Returns the advice that is shown after a stop."""
    begun = locations.join(folder, CONFIG)
    where = begun if files.exists(begun) else "CONFIG"
    return f"go on with: bimix-sweep submit {where} --address {address} --out {folder}"


def unchanged(config: SweepConfig, folder: str) -> bool:
    """Returns whether the sweep in the folder has the same configuration."""
    return SweepConfig.load(locations.join(folder, CONFIG)).digest == config.digest
