"""What both trainers that users bring have in common: the steps asked for, the points taken, what identifies them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bimix_sweep.config import SweepConfig
from bimix_sweep.errors import DivergedError, TrainingError
from bimix_sweep.mixture.goals import PLAIN, Goals, hint
from bimix_sweep.proxy.spec import ProxySpec
from bimix_sweep.sweep.trainers.base import Report, TrialJob
from bimix_sweep.text import shown

STEPS = "the steps of this training (`steps` in its job, context.steps)"
"""Where a trainer finds how far it must go, in words: with several `proxy.steps` only it is told which."""


@dataclass(frozen=True, kw_only=True)
class Brought:
    """A trainer of the user's: everything of `Trainer` but how it trains."""

    steps: int
    """Of the longest training."""
    sizes: tuple[float, ...]
    """Rising."""
    domains: Mapping[str, Mapping[str, Any]]
    """Per domain `path`, `tokens` (available to the final run), `subsample` (tokens a proxy may see), each None where not known."""
    targets: Mapping[str, Mapping[str, Any]]
    """Per target `domain`, `path`, `unit`, and `goal` and `range` where the configuration states them."""
    data: Mapping[str, Any]
    goals: Goals = field(default_factory=dict)
    """{target: direction and range} of targets that are no plain losses."""

    def size_of(self, job: TrialJob) -> float:
        """Non-embedding parameters asked of a training."""
        return self.sizes[-1] if job.size is None else job.size

    def steps_of(self, job: TrialJob) -> int:
        """Optimizer steps asked of a training."""
        return self.steps if job.steps is None else job.steps

    def eval_steps_of(self, job: TrialJob) -> tuple[int, ...]:
        """Steps at which points serve the law well. Advice: a curve may have others, but must have the last."""
        return _eval_steps(self.steps_of(job))

    @property
    def eval_steps(self) -> tuple[int, ...]:
        return _eval_steps(self.steps)

    @property
    def domain_tokens(self) -> Mapping[str, float]:
        return {}

    def precision(self, trainings: int) -> dict[str, Any]:
        """The user's affair."""
        return {}


def brought(config: SweepConfig, identity: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `Brought` that a configuration gives."""
    limits = config.subsample() or {}
    own, goals = config.own(), config.goals()
    return {
        "steps": config.proxy.lengths[-1],
        "sizes": config.proxy.sizes,
        "domains": {
            name: {"path": domain.path, "tokens": domain.tokens, "subsample": limits.get(name)}
            for name, domain in config.domains.items()
        },
        "targets": {
            name: {"domain": own.get(name), "path": target.path, "unit": target.unit}
            | (goals[name].to_json() if name in goals else {})
            for name, target in config.resolved_targets().items()
        },
        "goals": goals,
        "data": {"trainer": dict(identity)},
    }


class Points:
    """Takes what a trainer reports, refuses what is no point, and knows at the end whether the curve is whole."""

    def __init__(self, trainer: Brought, job: TrialJob, report: Report) -> None:
        self._goals = trainer.goals
        self._targets, self._last, self._report, self._steps = (
            trainer.targets,
            trainer.steps_of(job),
            report,
            set(job.recorded),
        )

    def take(self, step: Any, losses: Any) -> None:
        """Record a point; returns when it is recorded for good. Losses of names that are no targets are left out.

        Args:
            step: a whole number from 1 to the steps of a training.
            losses: {target: loss}; anything `float` takes.

        Raises:
            TrainingError: it is no point, or lacks a target. DivergedError: a loss is not as its target's goal allows.
        """
        number = _whole(step)
        if number is None or not 1 <= number <= self._last:
            raise TrainingError(
                f"a point has step {shown(step)}; need a whole number from 1 to {self._last}, {STEPS}"
            )
        if not isinstance(losses, Mapping):
            raise TrainingError(
                f"the losses at step {number} are {shown(losses)}; need {{target: loss}}"
            )
        values = {}
        for target in self._targets:
            if target not in losses:
                raise TrainingError(
                    f"the point at step {number} has no loss of {target}; need one of each target: {', '.join(self._targets)}"
                )
            try:
                values[target] = (
                    math.nan
                    if isinstance(losses[target], str | bool | None)
                    else float(losses[target])
                )
            except (TypeError, ValueError, OverflowError):
                values[target] = math.nan
            goal = self._goals.get(target, PLAIN)
            if not goal.allows(values[target]):
                raise DivergedError(
                    f"loss of {target} is {shown(losses[target])} at step {number}; need {goal.needed}"
                    + hint(self._goals, target, values[target])
                )
        self._report(number, values)
        self._steps.add(number)

    @property
    def whole(self) -> bool:
        """The last step is there."""
        return self._last in self._steps

    def check_whole(self, how: str) -> None:
        """Raises:
        TrainingError: the training ended as if done, and its last point is missing.
        """
        if not self.whole:
            reached = (
                f"its last point is at step {max(self._steps)}"
                if self._steps
                else "it reported no point"
            )
            raise TrainingError(
                f"{how}, but {reached}; need one at step {self._last}, where mixtures are compared: {STEPS}"
            )


def _eval_steps(steps: int) -> tuple[int, ...]:
    return ProxySpec(vocabulary=1, steps=steps).eval_steps()


def _whole(value: Any) -> int | None:
    if isinstance(value, bool | str):
        return None
    try:
        number = int(value)
        return number if number == value else None
    except (TypeError, ValueError, OverflowError):
        return None
