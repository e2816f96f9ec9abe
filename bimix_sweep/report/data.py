"""Data of the page of a sweep.

A running sweep has a page too, so the data of each section may be missing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from bimix_sweep.design.comparison import Comparison
from bimix_sweep.law.optimum.gain import Gain
from bimix_sweep.law.optimum.optimal_mixture import Optimum
from bimix_sweep.law.posterior.beyond_trials import BeyondTrials
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.mixture.domains import DomainSet, Mixture
from bimix_sweep.mixture.final_run import FinalRun
from bimix_sweep.mixture.goals import Goals, losses_of
from bimix_sweep.mixture.objective import aggregate
from bimix_sweep.mixture.simplex import Array
from bimix_sweep.mixture.table import LossTable


@dataclass(frozen=True, slots=True, kw_only=True)
class PathPoint:
    """Predicted optimum after some number of trials."""

    num_trials: int
    """Number of trials with at least one measured point."""
    mixture: Mixture
    """Predicted optimum after these trials."""
    interval: Mapping[str, tuple[float, float]]
    """{domain: 95 % interval of its proportion}."""
    regret_expected: float
    """Expected regret of the optimum, as a fraction of the objective."""
    regret_upper95: float
    """Upper 95 % bound of the regret, as a fraction of the objective."""
    movement_tv: float | None = None
    """Total variation distance from the previous optimum; None for the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """State of the sweep at the time of the page, and what the sweep cost so far."""

    state: Literal["running", "stopped", "complete"] = "running"
    """"stopped": the sweep is not complete and no driver works on it."""
    words: str = ""
    """The state in words, for example why the sweep stopped."""
    done: int = 0
    """Number of trials that ended."""
    planned: int = 0
    """Largest number of trials, with the confirmation trials."""
    seconds_left: float | None = None
    """Expected seconds until the end; None where not known."""
    last_event: float | None = None
    """Time of the last event of the sweep, in seconds since 1970."""
    core_hours: float = 0.0
    """CPU core-hours of all attempts at trials."""
    gpu_hours: float = 0.0
    """GPU-hours of all attempts at trials."""
    next_command: str = ""
    """Command line to type next; empty where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportData:
    """State of a sweep, finished or still running."""

    name: str
    """Name of the sweep."""
    domains: DomainSet
    """Domains, with the bounds and token caps of the final run."""
    table: LossTable | None = None
    """All measured points, including the confirmation trials; None before the first point."""
    roles: Mapping[str, str] = field(default_factory=dict)
    """{trial: "sweep" or "confirmation"}; "sweep" is the default."""
    states: Mapping[str, str] = field(default_factory=dict)
    """{trial: "running", "finished" or "failed"}; "finished" is the default."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """{trial: reason} of each failed trial."""
    path: tuple[PathPoint, ...] = ()
    """Predicted optimum after each refit."""
    law: FittedLaw | None = None
    """Law fitted to the trials of the sweep, without the confirmation trials."""
    optimum: Optimum | None = None
    """Optimum of the law."""
    comparison: Comparison | None = None
    """Comparison of the confirmation trials."""
    gain: Gain | None = None
    """Gain of the recommended mixture over the baseline; None without a law."""
    prior: Mixture | None = None
    """Mixture that the optimum is pulled to; None without one."""
    kl: float = 0.0
    """Strength of the pull to the prior; 0 without one."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """{target: weight in the objective}; empty means equal weights."""
    objective: str = "mean"
    """Objective of the sweep: "mean" or "worst".

    "mean" is the weighted mean of the targets' losses. "worst" is the largest loss, after each loss
    is multiplied by its weight over the mean weight.
    """
    tolerance: float | None = None
    """Regret at which the sweep stops, as a fraction of the objective."""
    stop_reason: str = ""
    """Reason why the sweep stopped, in words; empty while the sweep runs."""
    token_budget: float | None = None
    """Number of tokens of the final run."""
    beyond: BeyondTrials | None = None
    """Distance of the final run beyond the trials, and other properties that no trial tested."""
    progress: Progress | None = None
    """State and cost of the sweep; None where no sweep stands behind the data."""
    exports: Mapping[str, str] = field(default_factory=dict)
    """{name of a form: text of the recommended mixture in this form}."""
    seconds: float | None = None
    """Wall time of the sweep, in seconds."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Provenance as JSON values: seed, digests, versions and commit."""

    @property
    def goals(self) -> Goals:
        """{target: direction and range} of each target that is not a plain loss."""
        if self.table is not None:
            return self.table.goals
        return {} if self.law is None else self.law.goals

    @property
    def several_sizes(self) -> bool:
        """True where the trials have different sizes, so that their losses are not comparable."""
        return self.table is not None and len(np.unique(self.table.sizes)) > 1

    @property
    def lengths(self) -> list[float]:
        """Numbers of steps of the finished trials, in rising order."""
        if self.table is None:
            return []
        ends = {curve.trial: float(curve.steps[-1]) for curve in self.table.curves()}
        return sorted(
            {end for trial, end in ends.items() if self.states.get(trial, "finished") == "finished"}
        )

    @property
    def comparable(self) -> LossTable | None:
        """Points of the trials of the largest size, whose losses are comparable at each step."""
        if self.table is None or not self.several_sizes:
            return self.table
        return self.table.select(np.flatnonzero(self.table.sizes == self.table.sizes.max()))

    def objective_of(self, targets: tuple[str, ...], losses: Array) -> Array:
        """Objective of measured values, with the weights of the sweep.

        Args:
            targets: names of the targets.
            losses: (..., targets) values in the unit of each target.

        Returns:
            (...,) objective.
        """
        losses, weights = losses_of(self.goals, targets, losses), self.weights_of(targets)
        counted = weights > 0
        return aggregate(losses[..., counted] * weights[counted], worst=self.objective == "worst")

    def weights_of(self, targets: Sequence[str]) -> Array:
        """(targets,) weights of the sweep: their sum is 1, or the mean of those above 0 is 1 for
        the objective "worst"."""
        weights = np.array(
            [self.weights.get(target, 0.0) if self.weights else 1.0 for target in targets]
        )
        count = (weights > 0).sum() if self.objective == "worst" else 1
        return np.asarray(weights / weights.sum() * count)

    def of_final_run(self, law: FittedLaw) -> FittedLaw:
        """The law whose predictions are of runs that repeat domains as the final run does."""
        return law.for_run(FinalRun(tokens=self.token_budget).unique(self.domains, law.domains))

    @property
    def recommended(self) -> Mixture | None:
        """Mixture recommended by the confirmation trials, or else the predicted optimum."""
        if self.comparison is not None:
            return self.comparison.recommended_mixture.mixture
        return None if self.optimum is None else self.optimum.mixture
