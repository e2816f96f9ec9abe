"""Stopping rule: a sweep stops when more trials could not improve the decision by more than the
tolerance.

A refit *counts* when a trial finished since the last refit that counted. The streak is the number
of successive counting refits whose expected regret is within the tolerance; a streak of `patience`
stops the sweep. The expected regret is calibrated to err upwards, and its 95 % upper bound, which
is reported with it, is too large to serve as the rule (docs/evidence.md). The distance that the
predicted optimum moved is reported, too, but does not decide: where the loss is flat an optimum may
move without any cost.
"""

from dataclasses import dataclass

from bimix_sweep.errors import SweepError


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether to stop, and the evidence."""

    stop: bool
    """Whether no more trials are needed."""
    reason: str
    """Reason in words, with the numbers."""
    movement_tv: float | None = None
    """Total variation between this predicted optimum and the previous one, in [0, 1]; None for the
    first."""
    regret_expected: float | None = None
    """Expected regret of the predicted optimum, a fraction of its loss; None while there is no
    law."""
    regret_upper95: float | None = None
    """95 % upper bound of the regret, a fraction of the loss; None while there is no law."""
    streak: int = 0
    """Number of successive counting refits within the tolerance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppingRule:
    """Stops after `patience` successive counting refits with an expected regret within
    `tolerance`."""

    tolerance: float
    """Largest regret to accept, a fraction of the objective, in (0, 1)."""
    patience: int
    """Number of successive counting refits, >= 1."""
    min_trials: int
    """Number of finished trials below which no refit extends the streak: fewer trials do not
    determine the law."""
    max_trials: int
    """Budget of trials."""

    def __post_init__(self) -> None:
        if not 0 < self.tolerance < 1:
            raise SweepError(
                f"stop.tolerance is {self.tolerance:g}; need a fraction of the loss in (0, 1)"
            )
        if self.patience < 1:
            raise SweepError(f"stop.patience is {self.patience}; need at least 1 refit")

    def judge(
        self,
        before: Decision | None,
        *,
        num_finished: int,
        num_over: int,
        counts: bool,
        movement_tv: float | None = None,
        regret_expected: float | None = None,
        regret_upper95: float | None = None,
    ) -> Decision:
        """Returns the decision after one more refit.

        Args:
            before: decision of the last refit, whose streak continues or ends.
            num_finished: number of the sweep's trials that finished.
            num_over: number of the sweep's trials that finished or failed.
            counts: whether a trial finished since the last refit that counted.
            movement_tv, regret_expected, regret_upper95: values for the new optimum; None while
                there is no law.
        """
        streak = before.streak if before else 0
        if counts:
            within = (
                regret_expected is not None
                and regret_expected <= self.tolerance
                and num_finished >= self.min_trials
            )
            streak = streak + 1 if within else 0
        reason = self._reason(num_finished, streak, regret_expected, regret_upper95)
        spent = num_over >= self.max_trials
        if spent and streak < self.patience:
            reason = f"the budget of {self.max_trials} trials is spent; {reason}"
        return Decision(
            stop=spent or streak >= self.patience,
            reason=reason,
            movement_tv=movement_tv,
            regret_expected=regret_expected,
            regret_upper95=regret_upper95,
            streak=streak,
        )

    def _reason(
        self,
        num_finished: int,
        streak: int,
        regret_expected: float | None,
        regret_upper95: float | None,
    ) -> str:
        """Writes the evidence of a decision in words; arguments as for `judge`, `streak` with this
        refit."""
        if regret_expected is None or regret_upper95 is None:
            return f"{num_finished} finished trials; no law yet"
        regret = f"expected regret {regret_expected:.3%} (95 % bound {regret_upper95:.3%})"
        if streak >= self.patience:
            return f"{regret} within {self.tolerance:.3%} in {streak} refits in a row"
        if num_finished < self.min_trials:
            return (
                f"{num_finished} finished trials; {self.min_trials} are needed to determine the law"
            )
        if streak:
            return f"{regret}, {streak} of {self.patience} refits within {self.tolerance:.3%}"
        return f"{regret}, tolerance {self.tolerance:.3%}"
