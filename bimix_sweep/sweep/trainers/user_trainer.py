"""Common part of the two trainers for user code: requested steps, reported points, identity."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bimix_sweep.config import SweepConfig
from bimix_sweep.errors import DivergedError, TrainingError
from bimix_sweep.mixture.goals import Goals, why_refused
from bimix_sweep.proxy.spec import ProxySpec
from bimix_sweep.sweep.history.trainer_facts import TrainerFacts
from bimix_sweep.sweep.trainers.base import Report, TrialJob
from bimix_sweep.text import shown

STEPS = "the steps of this trial (`steps` in its job, context.steps)"
"""Phrase for messages that says where a trainer reads the number of steps; a trainer must read it
there where `proxy.steps` has several numbers.
"""


@dataclass(frozen=True, kw_only=True)
class UserTrainer:
    """Base of the trainers for user code: all of `Trainer` except `train`."""

    facts: TrainerFacts
    """Its `eval_steps` are a recommendation: they help the law most.

    A curve may have points at other steps, but must have the last one. Its `domain_tokens` are
    empty, because a trainer for user code does not read the text of the domains.
    """
    domains: Mapping[str, Mapping[str, Any]]
    """{domain: `path`, `tokens` (available to the final run) and `subsample` (tokens a proxy may
    see)}; a value that is not known is None.
    """
    targets: Mapping[str, Mapping[str, Any]]
    """{target: `domain`, `path`, `unit`, and `goal` and `range` where the configuration states
    them}.
    """
    proxy: Mapping[str, Any]
    """`context` (tokens of one sequence) and `batch` (sequences of one step) of the proxies."""
    tokenizer: Mapping[str, Any] | None
    """`path` and `end_of_text` of the tokenizer; None where the configuration states none."""
    goals: Goals = field(default_factory=dict)
    """{target: direction and range} of the targets that are not plain losses."""

    def size_of(self, job: TrialJob) -> float:
        """Returns the non-embedding parameters of a trial."""
        return self.facts.sizes[-1] if job.size is None else job.size

    def steps_of(self, job: TrialJob) -> int:
        """Returns the optimizer steps of a trial."""
        return self.facts.steps if job.steps is None else job.steps

    def eval_steps_of(self, job: TrialJob) -> tuple[int, ...]:
        """Returns the recommended steps for points of a trial, rising; the last is its last."""
        return _eval_steps(self.steps_of(job))

    def precision(self, num_trials: int) -> dict[str, Any]:
        """Returns no settings: the user's code chooses its own precision."""
        return {}


def configured_fields(config: SweepConfig, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of `UserTrainer` that a configuration determines.

    Args:
        config: the user's configuration.
        identity: the user's function or command, JSON-able, which is the identity of the data.
    """
    limits = config.subsample() or {}
    own, goals = config.own(), config.goals()
    steps = config.proxy.lengths[-1]
    return {
        "facts": TrainerFacts(
            steps=steps,
            eval_steps=_eval_steps(steps),
            sizes=config.proxy.sizes,
            data={"trainer": dict(identity)},
        ),
        "domains": {
            name: domain.told() | {"tokens": domain.tokens, "subsample": limits.get(name)}
            for name, domain in config.domains.items()
        },
        "targets": {
            name: {"domain": own.get(name), **target.told(), "unit": target.unit}
            | (goals[name].to_json() if name in goals else {})
            for name, target in config.resolved_targets().items()
        },
        "proxy": {"context": config.proxy.context, "batch": config.proxy.batch},
        "tokenizer": config.tokenizer and config.tokenizer.model_dump(mode="json"),
        "goals": goals,
    }


class Points:
    """Records the points that a trainer reports; refuses invalid points and incomplete curves."""

    def __init__(self, trainer: UserTrainer, job: TrialJob, report: Report) -> None:
        self._goals = trainer.goals
        self._targets, self._last, self._report, self._steps = (
            trainer.targets,
            trainer.steps_of(job),
            report,
            set(job.recorded),
        )

    def take(self, step: Any, losses: Any) -> None:
        """Records a point and returns when the point is on storage.

        Args:
            step: a whole number from 1 to the steps of the trial.
            losses: {target: loss}; a loss is anything that `float` accepts. Names that are no
                targets are ignored.

        Raises:
            TrainingError: the point is invalid, or lacks a target.
            DivergedError: a loss is outside of what its target's goal allows.
        """
        number = _whole(step)
        if number is None or not 1 <= number <= self._last:
            raise TrainingError(
                f"a point has step {shown(step)}; need a whole number from 1 to {self._last}, "
                f"{STEPS}"
            )
        if not isinstance(losses, Mapping):
            raise TrainingError(
                f"the losses at step {number} are {shown(losses)}; need {{target: loss}}"
            )
        values = {}
        for target in self._targets:
            if target not in losses:
                raise TrainingError(
                    f"the point at step {number} has no loss of {target}; need one of each target: "
                    f"{', '.join(self._targets)}"
                )
            try:
                values[target] = (
                    math.nan
                    if isinstance(losses[target], str | bool | None)
                    else float(losses[target])
                )
            except (TypeError, ValueError, OverflowError):
                values[target] = math.nan
            if needed := why_refused(self._goals, target, values[target]):
                raise DivergedError(
                    f"loss of {target} is {shown(losses[target])} at step {number}; need {needed}"
                )
        self._report(number, values)
        self._steps.add(number)

    @property
    def whole(self) -> bool:
        """True where the last step is recorded."""
        return self._last in self._steps

    def check_whole(self, how: str) -> None:
        """Checks that the curve has its last point.

        Raises:
            TrainingError: the trial ended as if done, and its last point is missing.
        """
        if not self.whole:
            reached = (
                f"its last point is at step {max(self._steps)}"
                if self._steps
                else "it reported no point"
            )
            raise TrainingError(
                f"{how}, but {reached}; need one at step {self._last}, where mixtures are "
                f"compared: {STEPS}"
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
