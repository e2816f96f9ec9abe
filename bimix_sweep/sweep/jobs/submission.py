"""A sweep as a Ray job: submit, stop, look, through Ray's Jobs API with token authentication.

The job runs `bimix-sweep run` or `resume` beside the cluster's head, with the configuration (and the user's trainer code) in its
working directory. DIR/job.json, written before the job is submitted, names the job; the driver finds it there or ends at
once, because then client and head do not see the same DIR. Submission ids count up, so that of two submits at a time the
head itself refuses one. A stop is a SIGINT and a wait long enough to reach a safe point; nothing is lost by any other end.
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

from bimix_sweep import files
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
"""A driver may take to reach its safe point and leave."""
BEGIN_SECONDS = 180
"""A driver may take to begin, on a head that installs or starts something first."""
LOOK_SECONDS = 0.5
"""Between looks at a job that is awaited."""
ATTEMPTS = 100
"""At a submission id that the head knows already."""


def submit(
    config: SweepConfig,
    folder: str,
    address: str,
    *,
    working_dir: Path | None = None,
    retry_failed: RetryFailed = None,
    say: Callable[[str], None],
) -> JobState:
    """Have a sweep driven by a job on the cluster, from its beginning or from where it stopped; returns when its driver works.

    Args:
        config: what to find; relative data paths are anchored.
        folder: the sweep's, as this machine and the head both see it.
        address: of the head's dashboard.
        working_dir: code of the user's that trainings need; it travels to every node.
        retry_failed: as `resume_sweep` takes it.
        say: told what happens.

    Raises:
        SweepError: the head cannot be used, a job runs the sweep already, or the job ended at once; with the reason.
        ConfigError: `working_dir` is no folder.
    """
    if working_dir is not None and not working_dir.is_dir():
        raise ConfigError(
            f"--working-dir {working_dir} is no folder; need the one that holds your trainer's code"
        )
    from bimix_sweep.sweep.run_checks import check_before_run

    check_before_run(config, texts=False)  # the cluster's text need not be seen from here
    head = Head.reach(address)
    client = head.jobs()
    earlier = Job.read(folder)
    if (
        earlier is not None
        and not (state := _look(earlier, _client_of(earlier, head, client))).over
    ):
        if state.state != "unreachable":
            raise SweepError(
                f"{folder} is driven by job {earlier.submission_id} already ({state.state} at {earlier.address}); look with: bimix-sweep "
                f"watch {folder}, or end it with: bimix-sweep stop {folder}"
            )
        say(
            f"note: the job before, {earlier.submission_id} at {earlier.address}, cannot be asked; if it still runs, this one will say so"
        )
    fresh = earlier is None
    made = not files.is_uri(folder) and not Path(folder).exists()
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
                        f"{folder} is driven by job {job.submission_id} already ({known.state} at {head.address})"
                    ) from error
    say(f"job {job.submission_id} at {head.address}; waiting for its driver")
    state = _await_driver(job, client)
    if state.state == "FAILED" and NOT_SHARED in state.message and fresh:
        _forget(folder, earlier, made)
    if state.state in ("FAILED", "STOPPED"):
        raise SweepError(f"job {job.submission_id} ended: {state.message}")
    return state


def _words(folder: str, config_name: str, retry_failed: RetryFailed) -> list[str]:
    """The job's command: a sweep that has begun goes on with the configuration as it is now, which may have changed."""
    if begun(folder):
        words = ["bimix-sweep", "resume", folder, "--config", config_name]
    else:
        words = ["bimix-sweep", "run", config_name, "--out", folder, "--resume"]
    if retry_failed is not None:
        words += ["--retry-failed", str(retry_failed)]
    return [*words, "--address", "auto"]


def stop(folder: str, *, address: str | None = None, say: Callable[[str], None]) -> JobState:
    """End the job of a sweep at a safe point and wait until it has ended.

    Args:
        address: of the head's dashboard, where it is not the one that `submit` was given.

    Raises:
        SweepError: no job was submitted for the folder, or its head cannot be used.
    """
    job = _submitted(folder, address)
    client = _head_of(job, address).jobs()
    state = _look(job, client)
    if state.over:
        return state
    say(f"stopping job {job.submission_id}; it may take some seconds to a safe point")
    with (
        contextlib.suppress(RuntimeError),
        understood(job.address),
    ):  # RuntimeError: it ended meanwhile
        client.stop_job(job.submission_id)
    until = time.monotonic() + STOP_SECONDS + 30
    while not (state := _look(job, client)).over:
        if time.monotonic() > until:
            raise SweepError(
                f"job {job.submission_id} is still {state.state} after {STOP_SECONDS + 30} s; look at its log on the Jobs page of {job.address}"
            )
        time.sleep(LOOK_SECONDS)
    return state


def job_state(folder: str, *, address: str | None = None) -> JobState | None:
    """The job of a sweep's folder; None where none was submitted. A head that does not answer is a state, not an error."""
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
    """When its driver has found the folder, or the job has ended."""
    until = time.monotonic() + BEGIN_SECONDS
    while not (state := _look(job, client)).over and time.monotonic() < until:
        with contextlib.suppress(RuntimeError), understood(job.address):
            if driver_line(job) in client.get_job_logs(job.submission_id):
                break
        time.sleep(LOOK_SECONDS)
    return state


def _look(job: Job, client: "JobSubmissionClient | None") -> JobState:
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
    """Of the head that an earlier job ran on, which may be another one or gone."""
    if earlier.address == head.address:
        return client
    with contextlib.suppress(SweepError):
        return _head_of(earlier, None).jobs()
    return None


def _head_of(job: Job, given: str | None) -> Head:
    """Of a job; `given`: the address as the user said it. One that only the folder names may be anybody's, and gets no token."""
    return Head.reach(job.address, trusted=given is not None or submitted_to(job.address))


def _submitted(folder: str, address: str | None) -> Job:
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
    """Leave the folder as it was before a job that never began."""
    if earlier is not None:
        earlier.write(folder)
        return
    with contextlib.suppress(OSError):
        files.delete(files.join(folder, JOB))
        if made:
            Path(folder).rmdir()


def _name(name: str, folder: str, attempt: int) -> str:
    """Submission id: the same for whoever submits the same attempt at the same folder."""
    return f"bimix-{name}-{hashlib.blake2b(folder.encode(), digest_size=4).hexdigest()}-{attempt}"


def _reason(message: str) -> str:
    """What a job's driver said last, of its log: its error where it gave one."""
    lines = [printable(line.strip()) for line in message.splitlines() if line.strip()]
    errors = [line.partition("error: ")[2] for line in lines if line.startswith("error: ")]
    if any(
        "bimix-sweep: not found" in line or "bimix-sweep: command not found" in line
        for line in lines
    ):
        return "bimix-sweep is not installed on the head, or not on the PATH that Ray was started with; install it on every node"
    return ("; ".join(errors) or (lines[-1] if lines else "it said nothing"))[:2000]


def _last_line(text: str) -> str:
    lines = [printable(line.strip()) for line in text.splitlines() if line.strip()]
    return lines[-1][:500] if lines else "it said nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Package:
    path: Path
    config_name: str
    excludes: list[str]


@contextlib.contextmanager
def _package(config: SweepConfig, folder: str, working_dir: Path | None) -> Iterator[_Package]:
    """A folder with the configuration beside links to what the user's folder holds; Ray follows links and heeds .gitignore."""
    with tempfile.TemporaryDirectory(prefix="bimix-job-") as made:
        package, excludes = Path(made), [".git", "__pycache__"]
        name = "sweep.submitted.yaml"
        for entry in sorted(working_dir.resolve().iterdir()) if working_dir is not None else ():
            if entry.name != name and not (
                not files.is_uri(folder) and Path(folder).is_relative_to(entry)
            ):
                (package / entry.name).symlink_to(entry)
        files.write_text(
            package / name, _sent(config, working_dir).model_copy(update={"out": folder}).to_yaml()
        )
        yield _Package(path=package, config_name=name, excludes=excludes)


def _sent(config: SweepConfig, working_dir: Path | None) -> SweepConfig:
    """With the trainer's folder named inside the package where it lies in it."""
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
    """What a person does after a stop."""
    begun = files.join(folder, CONFIG)
    where = begun if files.exists(begun) else "CONFIG"
    return f"go on with: bimix-sweep submit {where} --address {address} --out {folder}"


def unchanged(config: SweepConfig, folder: str) -> bool:
    """The folder's sweep has this configuration."""
    return SweepConfig.load(files.join(folder, CONFIG)).digest == config.digest
