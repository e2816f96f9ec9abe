"""A trial as it was proposed, and the record of its state and points."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bimix_sweep.design.fidelity import Fidelity
from bimix_sweep.mixture.domains import Mixture

CONFIRMATION = "confirmation"
"""Role of the confirmation trials; the other trials have the role "sweep"."""
DROPPED = "dropped"
"""Role of trials that a change of the sweep removed: they stay recorded, but are not evidence
and do not count in the budget."""


Cause = Literal["", "outside", "diverged", "budget", "changed"]
"""Why a trial failed. "outside": its mixture is not the cause (out of memory, an import error, a
lost node, an exit code). "diverged": a loss was not a usable number. "budget": the hours were
spent. "changed": a change of the sweep ended the trial, for example because its text is gone. "":
the trial has not failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A trial to run, with the state from which planning continues after a restart."""

    trial: str
    """Name of the trial."""
    mixture: Mixture
    """Mixture to train on."""
    reason: str
    """Reason for this mixture: `initial: uniform`, `regret -3.1e-4`, `replicate`."""
    seed: int
    """Seed of the trial. Different mixtures have equal seeds, so that chance cancels in
    comparisons; each replicate has the next seed."""
    size: float | None = None
    """Non-embedding parameters; None: the sweep's only size, or its largest."""
    steps: int | None = None
    """Optimizer steps; None: the sweep's only number of steps, or its largest."""
    num_points: int = 0
    """Number of points recorded when the proposal was made."""
    fit: Mapping[str, Any] = field(default_factory=dict)
    """Record position and warm-start state of the law (JSON), in the first proposal made from this
    law; else empty."""

    @property
    def at(self) -> dict[str, float]:
        """`size` and `steps`, each only where the proposal states it: where the sweep has several
        of them."""
        return {
            name: value
            for name, value in (("size", self.size), ("steps", self.steps))
            if value is not None
        }


@dataclass(slots=True, kw_only=True)
class TrialRecord:
    """State and points of one trial."""

    trial: str
    """Name of the trial."""
    mixture: Mixture
    """Mixture that the trial trains on."""
    seed: int
    """Seed of the trial."""
    size: float
    """Non-embedding parameters."""
    steps: int
    """Optimizer steps of the complete trial."""
    role: str = "sweep"
    """Role: "sweep" (proposed by the planning loop), "confirmation" or "dropped"."""
    state: str = "running"
    """State: "running", "finished" or "failed"."""
    failure: str = ""
    """Reason for the failure, in words."""
    cause: Cause = ""
    """Kind of the failure."""
    points: dict[int, dict[str, float]] = field(default_factory=dict)
    """Step -> target -> loss."""
    epochs: dict[str, float] = field(default_factory=dict)
    """Domain -> passes of the complete trial over its unique tokens, where they are known."""

    @property
    def fidelity(self) -> Fidelity:
        """Fidelity of the trial: size and steps."""
        return Fidelity(size=self.size, steps=self.steps)
