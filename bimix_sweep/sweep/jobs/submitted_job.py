"""A job that was submitted: its state on its head, and its stop.

A stop sends SIGINT and waits long enough for the driver to reach a safe point; any other end loses
nothing either.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from bimix_sweep import files, locations
from bimix_sweep.errors import SweepError
from bimix_sweep.sweep.jobs.auth import submitted_to
from bimix_sweep.sweep.jobs.dashboard import Head, UnreachableError, understood
from bimix_sweep.sweep.jobs.job_file import JOB, Job, JobState
from bimix_sweep.sweep.workspace.paths import CONFIG, driver
from bimix_sweep.text import printable

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

STOP_SECONDS = 60
"""Seconds that a driver may take to reach its safe point and end."""
POLL_SECONDS = 0.5
"""Seconds between two queries for a job's state while waiting."""


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
    client = head_of(job, address).jobs()
    state = query_job(job, client)
    if state.over:
        return state
    say(f"stopping job {job.submission_id}; it may take some seconds to a safe point")
    # RuntimeError: the job has ended meanwhile.
    with contextlib.suppress(RuntimeError), understood(job.address):
        client.stop_job(job.submission_id)
    until = time.monotonic() + STOP_SECONDS + 30
    while not (state := query_job(job, client)).over:
        if time.monotonic() > until:
            raise SweepError(
                f"job {job.submission_id} is still {state.state} after {STOP_SECONDS + 30} s; look "
                f"at its log on the Jobs page of {job.address}"
            )
        time.sleep(POLL_SECONDS)
    return state


def how_to_go_on(folder: str, address: str) -> str:
    """Returns the advice that is shown after a stop."""
    path = locations.join(folder, CONFIG)
    where = path if files.exists(path) else "CONFIG"
    return f"go on with: bimix-sweep submit {where} --address {address} --out {folder}"


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
    job = _at(job, address)
    try:
        return query_job(job, head_of(job, address).jobs())
    except SweepError as error:
        return JobState(job=job, state="unreachable", message=str(error))


def query_job(job: Job, client: "JobSubmissionClient | None") -> JobState:
    """Asks the head for the state of a job; without a client the state is "unreachable"."""
    if client is None:
        return JobState(job=job, state="unreachable", message=f"{job.address} does not answer")
    try:
        with understood(job.address):
            details = client.get_job_info(job.submission_id)
    except UnreachableError as error:
        return JobState(job=job, state="unreachable", message=str(error))
    except RuntimeError as error:
        if "404" not in str(error):
            raise SweepError(
                f"{job.address} cannot tell about job {job.submission_id}: {last_line(str(error))}"
            ) from error
        return JobState(
            job=job,
            state="unknown",
            message="the cluster does not know it, so it was started anew since",
        )
    return JobState(
        job=job,
        state=details.status.value,
        message=_failure(details.message or "") if details.status == "FAILED" else "",
    )


def head_of(job: Job, given: str | None = None) -> Head:
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
    return _at(job, address)


def _at(job: Job, address: str | None) -> Job:
    """Returns the job with the given address of its head, if there is one, in place of its own."""
    return job if address is None else replace(job, address=Head.normal(address))


def _failure(message: str) -> str:
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
    return ("; ".join(errors) or (lines[-1] if lines else "it wrote nothing"))[:2000]


def last_line(text: str) -> str:
    """Returns the last line of a text that is not empty."""
    lines = [printable(line.strip()) for line in text.splitlines() if line.strip()]
    return lines[-1][:500] if lines else "it wrote nothing"
