"""The result of one check of the doctor."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check."""

    what: str
    """Name of the thing that was checked."""
    state: Literal["ok", "warning", "problem"]
    """State of the thing: "ok", "warning", or "problem" where a sweep cannot run."""
    message: str
    """What was found, and what to do about it."""


def ok(what: str, message: str) -> Finding:
    """Returns a finding in order."""
    return Finding(what=what, state="ok", message=message)


def warning(what: str, message: str) -> Finding:
    """Returns a finding that a sweep may survive."""
    return Finding(what=what, state="warning", message=message)


def problem(what: str, message: str) -> Finding:
    """Returns a finding that stops a sweep."""
    return Finding(what=what, state="problem", message=message)


def gigabytes(count: float) -> str:
    """Returns a number of bytes as text, in GB."""
    return f"{count / 2**30:.1f} GB"
