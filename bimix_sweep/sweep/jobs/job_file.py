"""The job that drives a sweep, as DIR/job.json names it.

Both the machine that submitted the job and the job's driver on the cluster read the file.
"""

import json
import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from bimix_sweep import files, locations
from bimix_sweep.errors import SweepError
from bimix_sweep.parsing import parse_json

JOB = "job.json"
"""File in a sweep's folder that names the job that drives the sweep, or drove it last."""
VARIABLE = "BIMIX_SWEEP_JOB"
"""Environment variable that holds the submission id in a job's driver."""
SUBMISSION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")
"""Pattern of a submission id, which becomes part of URLs."""
OVER = frozenset({"STOPPED", "SUCCEEDED", "FAILED"})
"""States of a job that has ended; the other states are PENDING and RUNNING."""
NOT_SHARED = "the head does not see the folder that the job was submitted with"
"""Part of the message of a driver that does not find the job file in the sweep's folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The content of DIR/job.json."""

    submission_id: str
    """Submission id, as Ray's Jobs page shows it."""
    address: str
    """Address of the head's dashboard, `http://host:8265`."""
    attempt: int
    """Number of this job among the jobs of the sweep."""

    def write(self, folder: str) -> None:
        """Writes the job file into the sweep's folder."""
        files.write_text(locations.join(folder, JOB), json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, folder: str) -> Self | None:
        """Returns the job of a sweep's folder; None where none was submitted.

        Raises:
            SweepError: the file is damaged.
        """
        path = locations.join(folder, JOB)
        try:
            job = cls(
                **parse_json(
                    files.read_text(path)
                    if locations.is_uri(path)
                    else files.peek(Path(path), 10_000)
                )
            )
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, OSError) as error:
            raise SweepError(
                f"{path} is not what submit writes ({str(error)[:200]}); remove it if no job runs"
            ) from error
        if not (
            SUBMISSION_ID.fullmatch(str(job.submission_id))
            and isinstance(job.address, str)
            and isinstance(job.attempt, int)
        ):
            raise SweepError(f"{path} is not what submit writes; remove it if no job runs")
        return job


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """A job in the state that its head reports."""

    job: Job
    """The job."""
    state: str
    """PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED; "unknown" where the head has no such job,
    "unreachable" where the head does not answer."""
    message: str
    """One line with details; may be empty."""

    @property
    def over(self) -> bool:
        """Whether the job runs no more; an unknown job counts as ended."""
        return self.state in OVER or self.state == "unknown"


def check_shared(folder: str, say: Callable[[str], None]) -> None:
    """Checks in a job's driver that it sees the folder that the job was submitted with.

    The folder must hold the job.json of a job, written where the job was submitted. Outside a job
    the function does nothing.

    Args:
        folder: folder of the sweep.
        say: called with a line that this job drives the sweep, if job.json names this job.

    Raises:
        SweepError: the folder has no job.json.
    """
    submission_id = os.environ.get(VARIABLE)
    if submission_id is None:
        return
    job = Job.read(folder)
    if job is None:
        raise SweepError(
            f"{folder}: {NOT_SHARED} (no {JOB} there); need a folder that is mounted at the same "
            "place on both machines, or a URI such "
            "as s3://bucket/sweep"
        )
    if job.submission_id == submission_id:
        say(driver_line(job))


def driver_line(job: Job) -> str:
    """Returns the line that the driver of a job prints once it has found the folder."""
    return f"job {job.submission_id} drives the sweep"
