"""The refits of a sweep as they count now: with the present stopping rule and the present trials."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.design.refit import Refit
from bimix_sweep.design.stopping import Decision, StoppingRule
from bimix_sweep.sweep.history.event_fields import StoredLawSummary, StoredOptimum
from bimix_sweep.sweep.history.events import RefitEvent

LIMITS = (
    *("max_trials", "tolerance", "patience", "core_hours", "gpu_hours", "slots"),
    *("final", "today", "first"),
)
"""Fields of the spec that say how long to continue, or that are stated beside the answer.

The second kind is `final`, whose caps are in `domains`, `today`, which is the baseline only, and
`first`, which the law does not see.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRefit:
    """A refit that the journal holds."""

    num_points: int
    """Number of points recorded when the law was fitted."""
    num_trials: int
    """Number of trials with at least one of these points."""
    num_over: int
    """Number of trials that had ended, without those that a retry opened again."""
    num_finished: int
    """Number of trials that had finished."""
    seconds: float
    """Wall time of the refit in seconds."""
    watching: bool
    """Whether the refit was for viewers; such a refit extends no streak."""
    decision: Decision
    """The decision that the present stopping rule makes at this refit."""
    optimum: StoredOptimum | None
    law: StoredLawSummary | None

    @classmethod
    def of(cls, event: RefitEvent, num_failed: int) -> "PastRefit":
        """Makes it from its event; `num_failed` trials had failed when the event was written."""
        return cls(
            num_points=event.num_points,
            num_trials=event.num_trials,
            num_over=event.num_over,
            num_finished=max(0, event.num_over - num_failed),
            seconds=event.seconds,
            watching=event.by == "watch",
            decision=event.decision.decision(),
            optimum=event.optimum,
            law=event.law,
        )

    def for_planner(self) -> Refit:
        """The refit as the planner keeps an earlier one: without law and optimum."""
        return Refit(
            num_points=self.num_points,
            num_trials=self.num_trials,
            law=None,
            optimum=None,
            decision=self.decision,
            seconds=self.seconds,
        )


def keeps_predictions(old: SweepSpec, new: SweepSpec) -> bool:
    """Whether predicted optima and regrets under the old spec are valid under the new one.

    They are if only `LIMITS` differ.
    """
    return replace(new, **{name: getattr(old, name) for name in LIMITS}) == old


def judged_again(refits: Sequence[PastRefit], rule: StoppingRule) -> list[PastRefit]:
    """The refits with the decisions that stopping rule `rule` makes for them."""
    judged: list[PastRefit] = []
    before, counted = None, 0
    for refit in refits:
        counts = refit.num_over > counted and not refit.watching
        before = rule.judge(
            before,
            num_finished=refit.num_finished,
            num_over=refit.num_over,
            counts=counts,
            movement_tv=refit.decision.movement_tv,
            regret_expected=refit.decision.regret_expected,
            regret_upper95=refit.decision.regret_upper95,
        )
        counted = refit.num_over if counts else counted
        judged.append(replace(refit, decision=before))
    return judged


def last_with_optimum(refits: Sequence[PastRefit]) -> PastRefit | None:
    """The last refit whose points determined a law; None if there is none."""
    return next((refit for refit in reversed(refits) if refit.optimum is not None), None)


def without_ended(refits: Sequence[PastRefit], place: int) -> list[PastRefit]:
    """The refits as if the trial that ended as number `place` (from 0) had not ended."""
    return [replace(one, num_over=one.num_over - (one.num_over > place)) for one in refits]
