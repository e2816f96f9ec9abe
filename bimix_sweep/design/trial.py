"""A training as it was proposed, and as far as it is known."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bimix_sweep.design.fidelity import Scale
from bimix_sweep.mixture.domains import Mixture

FINAL = "final"
"""Role of the trainings at the end; the others have the role "sweep"."""
DROPPED = "dropped"
"""Role of trainings that a change of the sweep took out: recorded, but no evidence, and not counted in the budget."""


Cause = Literal["", "outside", "diverged", "budget", "changed"]
"""Why a trial failed. "outside": its mixture is not to blame (out of memory, an import error, a lost
node, an exit code). "diverged": a loss was no usable number. "budget": the hours were spent.
"changed": a change of the sweep took its text away. "": it has not failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A training to run, and enough to go on from it after a restart."""

    trial: str
    """Name of the training."""
    mixture: Mixture
    """What to train on."""
    reason: str
    """Why this one: `initial: uniform`, `regret -3.1e-4`, `replicate`."""
    seed: int
    """Seed of the training. Equal for different mixtures, so that chance cancels in comparisons; each replicate has the next."""
    size: float | None = None
    """Non-embedding parameters; None: the sweep's only size, or its largest."""
    steps: int | None = None
    """Optimizer steps; None: the sweep's only number of steps, or its largest."""
    num_points: int = 0
    """Points recorded when it was made."""
    fit: Mapping[str, Any] = field(default_factory=dict)
    """What the law it was made from had seen and where the next fit starts (JSON), in the first proposal made from it; else empty."""

    @property
    def at(self) -> dict[str, float]:
        """`size` and `steps` as far as they are told: each where the sweep has several of them."""
        return {
            name: value
            for name, value in (("size", self.size), ("steps", self.steps))
            if value is not None
        }


@dataclass(slots=True, kw_only=True)
class TrialRecord:
    """One training as far as it is known."""

    trial: str
    """Name."""
    mixture: Mixture
    """What it trains on."""
    seed: int
    """Seed of the training."""
    size: float
    """Non-embedding parameters."""
    steps: int
    """Optimizer steps when it is whole."""
    role: str = "sweep"
    """"sweep" (proposed by the loop), "final" or "dropped"."""
    state: str = "running"
    """"running", "finished" or "failed"."""
    failure: str = ""
    """Why it failed, in words."""
    cause: Cause = ""
    """The kind of its failure."""
    points: dict[int, dict[str, float]] = field(default_factory=dict)
    """Step -> target -> loss."""

    @property
    def scale(self) -> Scale:
        """Its size and steps."""
        return Scale(size=self.size, steps=self.steps)
