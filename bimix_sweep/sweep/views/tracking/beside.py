"""Logs a running sweep to its trackers, each from a process of its own.

So no call to a tracker runs in the driver or in a trial: a tracker that is down, slow or crashes
costs the sweep nothing, and its process can be ended at any time, because the journal has all of it.
"""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

from bimix_sweep import locations
from bimix_sweep.config import TrackingConfig
from bimix_sweep.sweep.views.tracking import child
from bimix_sweep.sweep.views.tracking.tracker import (
    TrackerConfig,
    TrackerName,
    check_tracker,
    configured,
)
from bimix_sweep.sweep.workspace.redaction import masked
from bimix_sweep.sweep.workspace.trial_log import TrialLog

LAST_SECONDS = 20.0
"""Seconds that a tracker that works has to take the results when the sweep is complete."""
STOP_SECONDS = 5.0
"""Seconds that the process has to close its runs before it is killed."""


def check_trackers(tracking: TrackingConfig | None) -> None:
    """Checks the trackers of a sweep, as far as that needs no tracker.

    Raises:
        SweepError: a client is not installed, or nothing says where a tracker is.
    """
    for name, config in configured(tracking).items():
        check_tracker(name, config)


@contextlib.contextmanager
def logged(
    folder: str, tracking: TrackingConfig | None, say: Callable[[str], None]
) -> Iterator[None]:
    """Logs the sweep to its trackers while the block runs it.

    Args:
        folder: folder or URI of the sweep.
        tracking: the trackers.
        say: told, a line each time, when a tracker fails, and when it works again.
    """
    loggers = [_Logger(folder, *item, say) for item in configured(tracking).items()]
    done = False
    try:
        yield
        done = True
    finally:
        until = time.monotonic() + (LAST_SECONDS if done else 0)
        for logger in loggers:
            logger.wait(until)
        until = time.monotonic() + STOP_SECONDS
        for logger in loggers:
            logger.stop(until)
    for logger in loggers:
        logger.tell_the_rest()


class _Logger:
    """The process that logs the sweep to one tracker."""

    def __init__(
        self, folder: str, name: TrackerName, config: TrackerConfig, say: Callable[[str], None]
    ) -> None:
        self._folder, self._name, self._say = folder, name, say
        self._fails = False
        order = child.Order(folder=folder, name=name, config=config, driver=os.getpid())
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", child.__name__, order.model_dump_json()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C is for the driver
        )
        self._thread = threading.Thread(target=self._read, name=f"log-{name}", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        """Writes what the process says into its log, and tells what is meant for a person."""
        log = TrialLog(self._folder, f"tracking-{self._name}")
        assert self._process.stdout is not None  # noqa: S101
        with self._process.stdout as lines:
            for line in lines:
                with contextlib.suppress(OSError):  # the driver meets a full disk itself
                    log.say(line.rstrip())
                for mark in (child.FAILS, child.WORKS):
                    if line.startswith(mark):
                        self._fails = mark == child.FAILS
                        self._say(masked(line.removeprefix(mark).rstrip()))
        with contextlib.suppress(OSError):
            log.close()

    def wait(self, until: float) -> None:
        """Waits until all is sent, unless the tracker fails, and then asks the process to stop.

        Args:
            until: end of the wait, as `time.monotonic` counts.
        """
        left = 0.0 if self._fails else until - time.monotonic()
        with contextlib.suppress(subprocess.TimeoutExpired):
            if left > 0 and self._process.poll() is None:
                self._say(f"waiting until {self._name} has the results, {left:.0f} s at most")
            self._process.wait(max(0.0, left))
        self._process.terminate()

    def stop(self, until: float) -> None:
        """Ends the process, and kills it where it still runs at `until`; W&B's own process ends
        with it."""
        try:
            self._process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._thread.join(timeout=STOP_SECONDS)

    def tell_the_rest(self) -> None:
        """Tells how to send what the tracker does not hold."""
        if self._process.returncode:
            log = locations.join(self._folder, "logs", f"tracking-{self._name}.log")
            self._say(
                f"{self._name} does not hold all of the sweep ({log}); send the rest with: "
                f"bimix-sweep log {shlex.quote(self._folder)} --to {self._name}"
            )
