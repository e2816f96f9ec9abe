"""Log for the user of a running sweep: a line for each trial that ends and for each refit.

The log also measures the mean duration of trials.
"""

import time
from collections import deque
from collections.abc import Mapping

from bimix_sweep.design.refit import Refit
from bimix_sweep.design.trial import Proposal
from bimix_sweep.sweep.history.snapshot import describe, duration, percent

MAX_LINES = 500
"""Number of latest lines that are kept; viewers read them every second."""


class SweepLog:
    """The log of one driver of a sweep."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=MAX_LINES)
        """The latest lines, in order."""
        self.num_lines = 0
        """Number of all lines so far."""
        self._began: dict[str, float] = {}
        self._seconds = 0.0
        self._finished = 0

    @property
    def training_seconds(self) -> float:
        """Mean wall time in seconds of a finished trial; 0 before the first."""
        return self._seconds / self._finished if self._finished else 0.0

    def say(self, line: str) -> None:
        """Adds a line of any other kind."""
        self.lines.append(line)
        self.num_lines += 1

    def start(self, trial: str, where: str, attempts: int) -> None:
        """Records the start of an attempt; only an attempt after the first adds a line."""
        self._began[trial] = time.monotonic()
        if attempts > 1:
            self.say(
                f"{trial} begins again on {where}, from its checkpoint if it left one "
                f"(attempt {attempts})"
            )

    def finish(self, proposal: Proposal, loss: float | None) -> None:
        """Adds a line for a finished trial; `loss` is its last objective."""
        seconds = time.monotonic() - self._began.pop(proposal.trial, time.monotonic())
        self._seconds += seconds
        self._finished += 1
        self.say(done_line(proposal, seconds, loss))

    def fail(self, trial: str, reason: str) -> None:
        """Adds a line for a trial that has failed."""
        self._began.pop(trial, None)
        self.say(f"{trial} failed: {reason}")

    def refit(self, number: int, refit: Refit) -> None:
        """Adds a line for a refit; adds none if the points determine no law."""
        if refit.law is None:
            return
        mixture = None if refit.optimum is None else refit.optimum.mixture.as_dict()
        decision = refit.decision
        self.say(
            refit_line(
                number,
                refit.num_trials,
                mixture,
                decision.regret_expected,
                decision.regret_upper95,
                decision.movement_tv,
            )
        )


def done_line(proposal: Proposal, seconds: float, loss: float | None) -> str:
    """Line for a finished trial, with its size and steps if the sweep has several."""
    of = ", ".join(
        f"{name} {value:.3g}" if name == "size" else f"{value} {name}"
        for name, value in proposal.at.items()
    )
    result = f"loss {loss:.4f}" if loss is not None else "no point"
    return (
        f"{proposal.trial}{f' ({of})' if of else ''} done in {duration(seconds)}: {result}, "
        f"{describe(proposal.mixture.as_dict())}"
    )


def refit_line(
    number: int,
    num_trials: int,
    mixture: Mapping[str, float] | None,
    expected: float | None,
    upper95: float | None,
    moved: float | None,
) -> str:
    """Line for a refit: its optimum, the regret of the optimum, and how far the optimum moved."""
    text = f"refit {number}: {num_trials} trials"
    if mixture is not None:
        text += f", optimum {describe(mixture)}"
    if expected is not None and upper95 is not None:
        text += f", regret {percent(expected)} (<= {percent(upper95)})"
    return text if moved is None else f"{text}, moved {moved:.3f}"
