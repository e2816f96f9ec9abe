"""Hours of compute that trainings have used, counted from the journal's events."""

from bimix_sweep.sweep.segments import Event


class Hours:
    """Adds up, over all attempts at all trainings, the time from an attempt's start to its last sign of life.

    A sign is a point or the end. What an attempt did after its last sign before it was killed is not known and not counted,
    and neither is the time in which nobody drove the sweep.
    """

    def __init__(self) -> None:
        self.core_hours = 0.0
        """CPU core-hours."""
        self.gpu_hours = 0.0
        """GPU-hours."""
        self._attempts: dict[str, tuple[float, float, float]] = {}  # last sign, cores, GPUs

    def take(self, event: Event, at: float) -> None:
        """Take in an event that happened at `at`, seconds since 1970."""
        if event["kind"] == "start":
            self._attempts[event["trial"]] = (at, event.get("cores", 1.0), event.get("gpus", 0.0))
        elif event["kind"] in ("point", "end") and (attempt := self._attempts.pop(event["trial"], None)):
            since, cores, gpus = attempt
            hours = max(0.0, at - since) / 3600
            self.core_hours += hours * cores
            self.gpu_hours += hours * gpus
            if event["kind"] == "point":
                self._attempts[event["trial"]] = (at, cores, gpus)
