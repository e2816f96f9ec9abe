"""The job that drives a sweep, as DIR/job.json names it for both sides: who submitted it, and its driver on the cluster."""

import json
import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from bimix_sweep import files
from bimix_sweep.errors import SweepError
from bimix_sweep.parsing import parse_json

JOB = "job.json"
"""In a sweep's folder: the job that drives it, or drove it last."""
VARIABLE = "BIMIX_SWEEP_JOB"
"""Environment variable of a job's driver: its submission id."""
SUBMISSION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")
"""It becomes part of addresses."""
OVER = frozenset({"STOPPED", "SUCCEEDED", "FAILED"})
"""States of a job that has ended; the others are PENDING and RUNNING."""
NOT_SHARED = "the head does not see the folder that the job was submitted with"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What DIR/job.json says."""

    submission_id: str
    """As the Jobs page shows it."""
    address: str
    """Of the head's dashboard, `http://host:8265`."""
    attempt: int
    """Counts the jobs of this sweep."""

    def write(self, folder: str) -> None:
        """Keep it in the sweep's folder."""
        files.write_text(files.join(folder, JOB), json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, folder: str) -> Self | None:
        """The job of a sweep's folder; None where none was submitted.

        Raises:
            SweepError: the file is damaged.
        """
        path = files.join(folder, JOB)
        try:
            job = cls(
                **parse_json(
                    files.read_text(path) if files.is_uri(path) else files.peek(Path(path), 10_000)
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
    """A job as its head knows it."""

    job: Job
    state: str
    """PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED; "unknown" where the head has no such job, "unreachable" where it does not answer."""
    message: str
    """More about it, one line; may be empty."""

    @property
    def over(self) -> bool:
        """It runs no more, as far as anyone can know."""
        return self.state in OVER or self.state == "unknown"


def check_shared(folder: str, say: Callable[[str], None]) -> None:
    """In a job's driver: the folder must hold the job.json of this very job, written where it was submitted.

    Raises:
        SweepError: it does not.
    """
    submission_id = os.environ.get(VARIABLE)
    if submission_id is None:
        return
    job = Job.read(folder)
    if job is None:
        raise SweepError(
            f"{folder}: {NOT_SHARED} (no {JOB} there); need a folder that is mounted at the same place on both machines, or a URI such "
            "as s3://bucket/sweep"
        )
    if job.submission_id == submission_id:
        say(driver_line(job))


def driver_line(job: Job) -> str:
    """What its driver says once it has found the folder."""
    return f"job {job.submission_id} drives the sweep"
