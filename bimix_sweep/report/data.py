"""What the page of a sweep shows. Everything a section needs may be missing: a running sweep has a page too."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bimix_sweep.design.confirmation import Comparison
from bimix_sweep.law.optimum.optimal_mixture import Optimum
from bimix_sweep.law.posterior.beyond_trials import BeyondTrials
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.mixture.domains import DomainSet, Mixture
from bimix_sweep.mixture.goals import Goals, losses_of
from bimix_sweep.mixture.simplex import Array
from bimix_sweep.mixture.table import LossTable


@dataclass(frozen=True, slots=True, kw_only=True)
class PathPoint:
    """The predicted optimum after some trainings."""

    num_trials: int
    """Trainings with at least one measured point."""
    mixture: Mixture
    """The optimum then."""
    interval: Mapping[str, tuple[float, float]]
    """95 % interval of each domain."""
    regret_expected: float
    """Fraction of the objective."""
    regret_upper95: float
    """Its 95 % bound."""
    movement_tv: float | None = None
    """Total variation from the optimum before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportData:
    """A sweep as far as it has come."""

    name: str
    """The sweep's name."""
    domains: DomainSet
    """With the bounds and token caps of the final run."""
    table: LossTable | None = None
    """All measured points, the final trainings' too; None before the first."""
    roles: Mapping[str, str] = field(default_factory=dict)
    """{trial: "sweep" or "final"}; a trial it lacks is of the sweep."""
    states: Mapping[str, str] = field(default_factory=dict)
    """{trial: "running", "finished" or "failed"}; a trial it lacks is finished."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """{trial: why}."""
    path: tuple[PathPoint, ...] = ()
    """The optimum after each refit."""
    law: FittedLaw | None = None
    """Of the sweep's trainings."""
    optimum: Optimum | None = None
    """Of that law."""
    comparison: Comparison | None = None
    """Of the final trainings."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """{target: importance}; empty: all alike."""
    objective: str = "mean"
    """"mean", the weighted mean of the targets' losses, or "worst", the largest (each times its weight over the mean weight)."""
    tolerance: float | None = None
    """Regret at which the sweep stops."""
    stop_reason: str = ""
    """Why it stopped, in words; empty while it runs."""
    token_budget: float | None = None
    """Tokens of the final run."""
    beyond: BeyondTrials | None = None
    """How far the final run lies beyond the trials, and what else no trial tested."""
    seconds: float | None = None
    """Wall time of the sweep."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Seed, digests, versions, commit: JSON values."""

    @property
    def goals(self) -> Goals:
        """{target: direction and range} of targets that are no plain losses."""
        if self.table is not None:
            return self.table.goals
        return {} if self.law is None else self.law.goals

    @property
    def several_sizes(self) -> bool:
        """Trainings have different sizes, so their losses do not compare."""
        return self.table is not None and len(np.unique(self.table.sizes)) > 1

    @property
    def lengths(self) -> list[float]:
        """Numbers of steps of finished trainings, rising."""
        if self.table is None:
            return []
        ends = {curve.trial: float(curve.steps[-1]) for curve in self.table.curves()}
        return sorted(
            {end for trial, end in ends.items() if self.states.get(trial, "finished") == "finished"}
        )

    @property
    def comparable(self) -> LossTable | None:
        """The points whose losses compare at each step: those of the largest size."""
        if self.table is None or not self.several_sizes:
            return self.table
        return self.table.select(np.flatnonzero(self.table.sizes == self.table.sizes.max()))

    def objective_of(self, targets: tuple[str, ...], losses: Array) -> Array:
        """(..., targets) losses in their own units -> (...,) objective, as the sweep weighs them."""
        losses = losses_of(self.goals, targets, losses)
        weights = np.array(
            [self.weights.get(target, 0.0) if self.weights else 1.0 for target in targets]
        )
        counted = weights > 0
        weighted = losses[..., counted] * weights[counted] / weights.sum()
        return np.asarray(
            weighted.max(axis=-1) * counted.sum()
            if self.objective == "worst"
            else weighted.sum(axis=-1)
        )

    @property
    def recommended(self) -> Mixture | None:
        """The mixture to take: what the final trainings recommend, else the predicted optimum."""
        if self.comparison is not None:
            return next(
                one.mixture
                for one in self.comparison.mixtures
                if one.role == self.comparison.recommended
            )
        return None if self.optimum is None else self.optimum.mixture
