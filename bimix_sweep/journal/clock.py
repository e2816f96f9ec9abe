"""The time of a sweep: the wall clock is read once, and the monotonic clock counts from there.

A step of the wall clock (NTP, a suspended virtual machine, a person) then changes no duration: not
the hours that trials used, nor who has been silent for how long. Only this file reads the wall clock
for what a sweep computes with; what is merely shown to people may read it.
"""

import time


class Clock:
    """Seconds since 1970, as far apart as they were, however the wall clock is set meanwhile."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        """Seconds since 1970."""
        return self._offset + time.monotonic()
