"""The trials of a sweep as a new driver finds them."""

from dataclasses import dataclass

from bimix_sweep.design.trial import Proposal
from bimix_sweep.sweep.history.history import SweepHistory


@dataclass(frozen=True, slots=True, kw_only=True)
class PastTrial:
    """A trial that was proposed before the driver began."""

    proposal: Proposal
    role: str
    """Role: "sweep", "confirmation" or "dropped"."""
    state: str
    """State of the trial: "running" (the driver continues it), "finished" or "failed"."""
    objective: float | None
    """Weighted loss at the last point; None before the first."""


def past_trials(history: SweepHistory) -> list[PastTrial]:
    """All trials so far, in the order of their proposals."""
    return [
        PastTrial(
            proposal=proposal,
            role=history.state.trials[name].role,
            state=history.state.trials[name].state,
            objective=history.objective(name),
        )
        for name, proposal in history.proposals.items()
    ]
