"""The clock of a sweep: it reads the wall clock once, then counts with the monotonic clock.

A jump of the wall clock (NTP, a suspended virtual machine, a person) therefore changes no duration,
such as the hours that trials used or the time for which a trial was silent. Only this file reads
the wall clock for computations of a sweep; code that only shows the time to people may read the
wall clock too.
"""

import time


class Clock:
    """Clock in seconds since 1970 whose durations do not change when the wall clock is set."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        """Current time in seconds since 1970."""
        return self._offset + time.monotonic()
