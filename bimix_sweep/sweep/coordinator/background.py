"""Threads of the LawActor: refits for viewers, the limits in hours, and published statistics."""

import contextlib
import threading
import time
from collections.abc import Callable

from bimix_sweep.errors import BimixSweepError
from bimix_sweep.sweep.history.statistics import Statistics

PUBLISH_SECONDS = 5.0
"""Seconds between two published statistics; Ray drops a gauge that is not set for 20 s."""
ENFORCE_SECONDS = 1.0
"""Seconds between two checks of a budget in hours."""
MAX_REFIT_FRACTION = 0.02
"""Largest fraction of one core's time that background refits may take."""


def refit_forever(changed: threading.Event, refit: Callable[[], float]) -> None:
    """Starts a thread that refits after changes.

    Args:
        changed: set whenever points or ends were recorded.
        refit: refits if enough points are new, and returns the seconds that this took.
    """

    def loop() -> None:
        while True:
            changed.wait()
            changed.clear()
            time.sleep(max(1.0, refit() / MAX_REFIT_FRACTION))

    threading.Thread(target=loop, name="refits", daemon=True).start()


def enforce_forever(closed: threading.Event, enforce: Callable[[], None]) -> None:
    """Starts a thread that calls `enforce` every second until `closed` is set."""

    def loop() -> None:
        with contextlib.suppress(BimixSweepError):  # the journal is broken; calls raise the reason
            while not closed.wait(ENFORCE_SECONDS):
                enforce()

    threading.Thread(target=loop, name="budget", daemon=True).start()


def publish_forever(
    statistics: Callable[[], Statistics], publish: Callable[[Statistics], None]
) -> None:
    """Starts a thread that publishes the sweep's statistics every few seconds."""

    def loop() -> None:
        while True:
            publish(statistics())
            time.sleep(PUBLISH_SECONDS)

    threading.Thread(target=loop, name="statistics", daemon=True).start()
