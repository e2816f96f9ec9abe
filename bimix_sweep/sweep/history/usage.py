"""Hours of compute that trainings have used, counted from the journal's events."""

from bimix_sweep.journal.codec import Event


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
        self.trials: dict[str, tuple[float, float]] = {}
        """Core-hours and GPU-hours of each training that gave a sign, since it was last tried again after it had failed."""
        self.lost = (0.0, 0.0)
        """Core-hours and GPU-hours of failed attempts that begin anew: used, and no measure of what a trial costs."""
        self.seconds: dict[str, float] = {}
        """Wall seconds of each of these, all attempts together."""
        self.steady: dict[str, tuple[float, int]] = {}
        """Wall seconds between points of one attempt, and the steps between them: start-up and what a restart repeats are not in it."""
        self.longest: dict[str, float] = {}
        """Longest seconds between two signs of life of an attempt, of each trial that runs."""
        self._attempts: dict[str, tuple[float, float, float]] = {}  # last sign, cores, GPUs
        self._reached: dict[str, int] = {}  # step of the attempt's last point
        self._alive: set[str] = set()  # trainings whose last sign came while this process looked on

    def take(self, event: Event, at: float) -> None:
        """Take in an event that happened at `at`, seconds since 1970."""
        if event["kind"] == "retry":
            before = self.trials.pop(event["trial"], (0.0, 0.0))
            self.lost = (self.lost[0] + before[0], self.lost[1] + before[1])
            self.seconds.pop(event["trial"], None)
            self.steady.pop(event["trial"], None)
            self.longest.pop(event["trial"], None)
            return
        if event["kind"] not in ("start", "point", "end"):
            return
        (self._alive.discard if "at" in event else self._alive.add)(
            event["trial"]
        )  # with a time it is read from the journal
        reached = self._reached.pop(event["trial"], None)
        if event["kind"] == "start":
            self._attempts[event["trial"]] = (at, event.get("cores", 1.0), event.get("gpus", 0.0))
        elif attempt := self._attempts.pop(event["trial"], None):
            since, cores, gpus = attempt
            hours = max(0.0, at - since) / 3600
            longest = max(self.longest.get(event["trial"], 0.0), hours * 3600)
            self.longest[event["trial"]] = longest
            self.core_hours += hours * cores
            self.gpu_hours += hours * gpus
            before = self.trials.get(event["trial"], (0.0, 0.0))
            self.trials[event["trial"]] = (before[0] + hours * cores, before[1] + hours * gpus)
            self.seconds[event["trial"]] = self.seconds.get(event["trial"], 0.0) + hours * 3600
            if event["kind"] == "point":
                self._attempts[event["trial"]] = (at, cores, gpus)
                self._reached[event["trial"]] = event["step"]
                if reached is not None and event["step"] > reached:
                    seconds, steps = self.steady.get(event["trial"], (0.0, 0))
                    self.steady[event["trial"]] = (
                        seconds + hours * 3600,
                        steps + event["step"] - reached,
                    )

    def lasted(self, trial: str, now: float) -> float:
        """Wall seconds of all attempts at a trial, until now if this process saw its last sign come."""
        seconds = self.seconds.get(trial, 0.0)
        if trial in self._alive and trial in self._attempts:
            seconds += max(0.0, now - self._attempts[trial][0])
        return seconds

    def since_last_sign(self, now: float) -> dict[str, tuple[float, float]]:
        """Core-hours and GPU-hours of each attempt since its last sign, of those whose sign this process saw come."""
        return {
            trial: (max(0.0, now - at) / 3600 * cores, max(0.0, now - at) / 3600 * gpus)
            for trial, (at, cores, gpus) in self._attempts.items()
            if trial in self._alive
        }
