"""When to stop: the decision is settled when more runs could not improve it by more than the user cares about.

A refit *counts* when a training finished since the last one that counted. The streak is the number of counting refits in
a row whose expected regret is within the tolerance; `patience` of them stop the sweep. The expectation is calibrated to err
upwards (on average 1.4 times the realised regret in 27 simulated sweeps); its 95 % bound, nearly 3 times larger still, is
reported with it; as the rule it stopped none of them within 80 runs, though 11 had settled by 72. How far the predicted
optimum moved is reported beside it, and does not decide: where the loss is flat an optimum may wander at no cost.
"""

from dataclasses import dataclass

from bimix_sweep.errors import SweepError


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether to stop, and the evidence."""

    stop: bool
    """No more trainings are needed."""
    reason: str
    """In words, with the numbers."""
    movement_tv: float | None = None
    """Total variation between this predicted optimum and the one before, in [0, 1]; None for the first."""
    regret_expected: float | None = None
    """Expected regret of the predicted optimum, a fraction of its loss; None while there is no law."""
    regret_upper95: float | None = None
    """Its 95 % upper bound."""
    streak: int = 0
    """Counting refits in a row within the tolerance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppingRule:
    """Stops after `patience` counting refits in a row with an expected regret within `tolerance`."""

    tolerance: float
    """Largest regret to accept, a fraction of the objective, in (0, 1)."""
    patience: int
    """Counting refits in a row, >= 1."""
    min_trials: int
    """Finished trainings before which nothing is settled: fewer do not determine the law."""
    max_trials: int
    """The budget."""

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
        """The decision after one more refit.

        Args:
            before: the decision of the last refit, whose streak goes on or breaks.
            num_finished, num_over: trainings of the sweep that finished; that finished or failed.
            counts: a training finished since the last refit that counted.
            movement_tv, regret_expected, regret_upper95: of the new optimum; None while there is no law.
        """
        streak = before.streak if before else 0
        if counts:
            settled = (
                regret_expected is not None
                and regret_expected <= self.tolerance
                and num_finished >= self.min_trials
            )
            streak = streak + 1 if settled else 0
        if regret_expected is None or regret_upper95 is None:
            reason = f"{num_finished} finished trainings; no law yet"
        elif streak >= self.patience:
            reason = f"expected regret {regret_expected:.3%} (95 % bound {regret_upper95:.3%}) within {self.tolerance:.3%} in {streak} refits in a row"
        elif num_finished < self.min_trials:
            reason = f"{num_finished} finished trainings; {self.min_trials} are needed to determine the law"
        elif streak:
            reason = f"expected regret {regret_expected:.3%} (95 % bound {regret_upper95:.3%}), {streak} of {self.patience} refits within {self.tolerance:.3%}"
        else:
            reason = f"expected regret {regret_expected:.3%} (95 % bound {regret_upper95:.3%}), tolerance {self.tolerance:.3%}"
        spent = num_over >= self.max_trials
        if spent and streak < self.patience:
            reason = f"the budget of {self.max_trials} trainings is spent; {reason}"
        return Decision(
            stop=spent or streak >= self.patience,
            reason=reason,
            movement_tv=movement_tv,
            regret_expected=regret_expected,
            regret_upper95=regret_upper95,
            streak=streak,
        )
