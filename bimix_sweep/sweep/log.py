"""What a person is told while a sweep runs: a line for each training that ends and each refit, and how long trainings take."""

import time

from bimix_sweep.design.state import Refit
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.sweep.snapshot import describe, duration


class SweepLog:
    """The log of one driver's time with a sweep."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        """One each, in order."""
        self._began: dict[str, float] = {}
        self._seconds: list[float] = []

    @property
    def training_seconds(self) -> float:
        """Mean wall time of a finished training; 0 before the first."""
        return sum(self._seconds) / len(self._seconds) if self._seconds else 0.0

    def say(self, line: str) -> None:
        """Anything else."""
        self.lines.append(line)

    def start(self, trial: str, where: str, attempts: int) -> None:
        """An attempt at a training begins; only a further one is worth a line."""
        self._began[trial] = time.monotonic()
        if attempts > 1:
            self.say(f"{trial} begins again on {where}, from its checkpoint if it left one (attempt {attempts})")

    def finish(self, trial: str, loss: float | None, mixture: Mixture) -> None:
        """A training is done; `loss` is its last objective."""
        seconds = time.monotonic() - self._began.pop(trial, time.monotonic())
        self._seconds.append(seconds)
        said = f"loss {loss:.4f}" if loss is not None else "no point"
        self.say(f"{trial} done in {duration(seconds)}: {said}, {describe(mixture.as_dict())}")

    def fail(self, trial: str, reason: str) -> None:
        """A training failed for good."""
        self._began.pop(trial, None)
        self.say(f"{trial} failed: {reason}")

    def refit(self, number: int, refit: Refit) -> None:
        """What the points say; nothing is said while they determine no law."""
        if refit.law is None:
            return
        text = f"refit {number}: {refit.num_trials} trainings"
        if refit.optimum is not None:
            regret = refit.optimum.regret
            text += f", optimum {describe(refit.optimum.mixture.as_dict())}, regret {regret.expected:.2%} (<= {regret.upper95:.2%})"
        if refit.decision.movement_tv is not None:
            text += f", moved {refit.decision.movement_tv:.3f}"
        self.say(text)
