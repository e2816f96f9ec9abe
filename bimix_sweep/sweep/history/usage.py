"""Counts the hours of compute that trials have used, from the journal's events."""

from bimix_sweep.sweep.history.events import (
    AnyEvent,
    EndEvent,
    PointEvent,
    RetryEvent,
    StartEvent,
)


class Hours:
    """Hours of all attempts at all trials, each from its start to its last sign of life.

    A sign of life is a point or the end. Two kinds of time are not counted: the time of a killed
    attempt after its last sign, which is not known, and the time in which no driver ran.
    """

    def __init__(self) -> None:
        self.core_hours = 0.0
        """CPU core-hours of all attempts."""
        self.gpu_hours = 0.0
        """GPU-hours of all attempts."""
        self.trials: dict[str, tuple[float, float]] = {}
        """{trial: (core-hours, GPU-hours)}, since the trial's last retry after a failure.

        Only trials that gave a sign of life are included.
        """
        self.lost = (0.0, 0.0)
        """Core-hours and GPU-hours of failed attempts whose trials began anew.

        These hours are used, but they do not measure the cost of a trial.
        """
        self.seconds: dict[str, float] = {}
        """{trial: wall seconds of all its attempts}, for the trials in `trials`."""
        self.steady: dict[str, tuple[float, int]] = {}
        """{trial: (wall seconds between points of one attempt, steps between them)}.

        Start-up and the steps that a restart repeats are not included.
        """
        self.longest: dict[str, float] = {}
        """{running trial: longest time in seconds between two signs of life of an attempt}."""
        self._attempts: dict[str, tuple[float, float, float]] = {}  # last sign of life, cores, GPUs
        self._reached: dict[str, int] = {}  # step of the last point of the attempt
        self._alive: set[str] = set()  # trials whose last sign this process saw come

    def take(self, event: AnyEvent, at: float) -> None:
        """Adds an event that happened at `at`, in seconds since 1970."""
        if isinstance(event, RetryEvent):
            self._forget(event.trial)
            return
        if not isinstance(event, StartEvent | PointEvent | EndEvent):
            return
        trial = event.trial
        # an event with a time was read from the journal
        (self._alive.add if event.at is None else self._alive.discard)(trial)
        reached = self._reached.pop(trial, None)
        if isinstance(event, StartEvent):
            self._attempts[trial] = (at, event.cores, event.gpus)
        elif attempt := self._attempts.pop(trial, None):
            since, cores, gpus = attempt
            hours = max(0.0, at - since) / 3600
            self._add(trial, hours, cores, gpus)
            if isinstance(event, PointEvent):
                self._attempts[trial] = (at, cores, gpus)
                self._reached[trial] = event.step
                if reached is not None and event.step > reached:
                    seconds, steps = self.steady.get(trial, (0.0, 0))
                    self.steady[trial] = (seconds + hours * 3600, steps + event.step - reached)

    def _forget(self, trial: str) -> None:
        """Counts the hours of a trial that begins anew as lost."""
        before = self.trials.pop(trial, (0.0, 0.0))
        self.lost = (self.lost[0] + before[0], self.lost[1] + before[1])
        for numbers in (self.seconds, self.steady, self.longest):
            numbers.pop(trial, None)

    def _add(self, trial: str, hours: float, cores: float, gpus: float) -> None:
        """Adds the wall time, in hours, between two signs of life of an attempt."""
        self.longest[trial] = max(self.longest.get(trial, 0.0), hours * 3600)
        self.core_hours += hours * cores
        self.gpu_hours += hours * gpus
        before = self.trials.get(trial, (0.0, 0.0))
        self.trials[trial] = (before[0] + hours * cores, before[1] + hours * gpus)
        self.seconds[trial] = self.seconds.get(trial, 0.0) + hours * 3600

    def lasted(self, trial: str, now: float) -> float:
        """Wall seconds of all attempts at a trial, until its last sign of life.

        If this process saw that sign come, the time until `now` is included.
        """
        seconds = self.seconds.get(trial, 0.0)
        if trial in self._alive and trial in self._attempts:
            seconds += max(0.0, now - self._attempts[trial][0])
        return seconds

    def since_last_sign(self, now: float) -> dict[str, tuple[float, float]]:
        """{trial: (core-hours, GPU-hours)} of each attempt since its last sign of life.

        Only attempts whose last sign this process saw come are included.
        """
        return {
            trial: (max(0.0, now - at) / 3600 * cores, max(0.0, now - at) / 3600 * gpus)
            for trial, (at, cores, gpus) in self._attempts.items()
            if trial in self._alive
        }
