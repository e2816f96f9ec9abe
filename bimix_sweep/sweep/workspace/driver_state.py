"""Tells whether a driver works on a sweep, as far as the sweep's folder shows."""

import contextlib
import os
import socket
from dataclasses import dataclass

from bimix_sweep import locations
from bimix_sweep.sweep.workspace.paths import driver


@dataclass(frozen=True, slots=True)
class DriverState:
    """Whether a driver works on a sweep."""

    works: bool | None
    """None where the folder does not show it."""
    words: str
    """The state in words; empty where it is not known."""


def driver_state(folder: str) -> DriverState:
    """Finds the process that holds the driver lock of a sweep's folder or URI.

    The lock of a killed driver stays; a driver on this machine is looked up by its process id.
    """
    if locations.is_uri(folder):
        return DriverState(None, "")
    try:
        holder = driver(folder)
    except OSError:
        return DriverState(False, "no driver works on it")
    _, pid, _, host = holder.split()
    if host == socket.gethostname():
        with contextlib.suppress(PermissionError):
            try:
                os.kill(int(pid), 0)
            except (ProcessLookupError, OverflowError):
                return DriverState(False, "its driver was killed")
    return DriverState(True, f"driver: {holder}")
