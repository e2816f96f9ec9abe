"""What happened in a sweep so far: what was proposed, what was measured, what ended, and what of that a law is fitted to.

Points and ends are kept in the order in which they came, so that what a law had seen at some moment can be seen again.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.design.refit_schedule import Moment
from bimix_sweep.design.trial import DROPPED, FINAL, Cause, Proposal, TrialRecord
from bimix_sweep.errors import DivergedError, LawError, SweepError
from bimix_sweep.law.fitting.fit_law import FittedLaw, fit_law
from bimix_sweep.law.fitting.warm_start import WarmStart
from bimix_sweep.mixture.curves import LossCurve
from bimix_sweep.mixture.goals import PLAIN, hint, unstated
from bimix_sweep.mixture.simplex import Array
from bimix_sweep.mixture.table import LossTable
from bimix_sweep.seeding import rng


class SweepRecord:
    """The trainings of a sweep, as far as they are known."""

    def __init__(self, spec: SweepSpec) -> None:
        self.spec = spec
        self.trials: dict[str, TrialRecord] = {}
        self.proposals: list[Proposal] = []
        self.joined: tuple[str, ...] = ()
        """Domains that joined by a change."""
        self._arrivals: list[tuple[str, int]] = []  # (trial, step) of each point that is evidence
        self._over: list[str] = []  # trainings of the sweep that ended

    # what happened

    def add_trial(self, proposal: Proposal, role: str) -> None:
        """Take in a training that the loop did not propose, such as a final one; its points are recorded alike."""
        if proposal.trial in self.trials:
            raise SweepError(f"trial {proposal.trial} is already there; need a new name")
        scale = self.spec.scale_of(proposal)
        if scale.size not in self.spec.sizes:
            known = ", ".join(f"{size:g}" for size in self.spec.sizes)
            raise SweepError(
                f"trial {proposal.trial} has size {scale.size:g}; the sweep trains proxies of size {known}"
            )
        if scale.steps not in self.spec.lengths:
            known = ", ".join(map(str, self.spec.lengths))
            raise SweepError(
                f"trial {proposal.trial} has {scale.steps} steps; the sweep trains proxies for {known} steps"
            )
        self.trials[proposal.trial] = TrialRecord(
            trial=proposal.trial,
            mixture=proposal.mixture,
            seed=proposal.seed,
            size=scale.size,
            steps=int(scale.steps),
            role=role,
        )

    def record(self, trial: str, step: int, losses: Mapping[str, float]) -> bool:
        """Add one point of a curve.

        Args:
            trial: a training that was proposed or added.
            step: optimizer step, >= 1.
            losses: {target: loss}, each in its target's own unit.

        Returns:
            False where that step of that training is already there: the first value stays.

        Raises:
            SweepError: unknown training, unknown or missing targets, step < 1.
            DivergedError: a loss is not as its target's goal allows.
        """
        record = self._trial(trial)
        if step < 1:
            raise SweepError(f"trial {trial}: step is {step}; need at least 1")
        if set(losses) != set(self.spec.targets):
            raise SweepError(
                f"trial {trial}: losses of {', '.join(losses)}; need {', '.join(self.spec.targets)}"
            )
        for target, loss in losses.items():
            goal = self.spec.goals.get(target, PLAIN)
            if not goal.allows(loss):
                raise DivergedError(
                    f"trial {trial}: loss of {target} is {loss} at step {step}; need {goal.needed}"
                    + hint(self.spec.goals, target, loss)
                )
        if step in record.points:
            return False
        record.points[int(step)] = {target: float(losses[target]) for target in self.spec.targets}
        if record.role not in (FINAL, DROPPED):
            self._arrivals.append((trial, int(step)))
        return True

    def finish(self, trial: str) -> None:
        """The training is done."""
        self._end(self._trial(trial), "finished")

    def abandon(self, trial: str, reason: str, cause: Cause = "outside") -> None:
        """The trial failed: its points no longer count, and its mixture is not proposed again.

        Args:
            reason: why, in words.
            cause: what kind of failure it is.
        """
        record = self._trial(trial)
        self._end(record, "failed")
        record.failure, record.cause = reason, cause

    def retry(self, trial: str) -> None:
        """Run a failed trial again from its beginning; nothing of the failed attempt counts.

        Raises:
            SweepError: the trial is not known, or has not failed.
        """
        record = self._trial(trial)
        if record.state != "failed":
            raise SweepError(f"trial {trial} is {record.state}; only a failed one is tried again")
        record.state, record.failure, record.cause, record.points = "running", "", "", {}
        self._arrivals = [arrival for arrival in self._arrivals if arrival[0] != trial]
        self._over = [name for name in self._over if name != trial]

    def change(
        self,
        spec: SweepSpec,
        *,
        renamed: Mapping[str, str],
        dropped: Collection[str],
        ended: Mapping[str, str],
    ) -> None:
        """Go on with another spec.

        Args:
            spec: of the same targets; a domain that it lacks has no share in any training.
            renamed: {domain: the name it has from now on}.
            dropped: trainings that are evidence no more.
            ended: {running training: why it cannot go on}.

        Raises:
            SweepError, MixtureError: the targets are others, or a training holds a domain that is gone.
        """
        if set(spec.targets) != set(self.spec.targets):
            raise SweepError(
                f"the targets were {', '.join(self.spec.targets)}, not {', '.join(spec.targets)}; a sweep keeps its targets"
            )
        mixtures = {
            name: record.mixture.moved(renamed, spec.domains.names)
            for name, record in self.trials.items()
        }
        before = {renamed.get(name, name) for name in self.spec.domains.names}
        self.joined = (
            *(name for name in self.joined if name in spec.domains.names),
            *(n for n in spec.domains.names if n not in before),
        )
        self.spec = spec
        self.proposals = [
            replace(proposal, mixture=mixtures[proposal.trial]) for proposal in self.proposals
        ]
        for name, record in self.trials.items():
            record.mixture = mixtures[name]
        for name in dropped:
            record = self._trial(name)
            if record.role == "sweep":
                record.role = DROPPED
        self._arrivals = [
            arrival for arrival in self._arrivals if self.trials[arrival[0]].role == "sweep"
        ]
        self._over = [name for name in self._over if self.trials[name].role == "sweep"]
        for name, reason in ended.items():
            self.abandon(name, reason, "changed")

    # what there is of it

    @property
    def num_proposed(self) -> int:
        """Trainings that count in the budget."""
        return sum(record.role == "sweep" for record in self.trials.values())

    @property
    def num_over(self) -> int:
        """Trainings of the sweep that ended."""
        return len(self._over)

    @property
    def over(self) -> tuple[str, ...]:
        """Trials of the sweep that ended, in the order in which they did."""
        return tuple(self._over)

    @property
    def num_points(self) -> int:
        """Points that are evidence."""
        return len(self._arrivals)

    def rows(self, trials: Iterable[str]) -> Array:
        """(trials, domains) their mixtures."""
        rows = [self.trials[name].mixture.as_array(self.spec.domains.names) for name in trials]
        return np.reshape(rows, (-1, len(self.spec.domains)))

    def table(self) -> LossTable:
        """The curves of finished and running trainings, the final ones among them.

        Raises:
            TableError: nothing was recorded yet.
        """
        return LossTable.from_curves(
            self._curve(record)
            for record in self.trials.values()
            if record.points and record.state != "failed"
        )

    def check_goals(self, spec: SweepSpec) -> None:
        """Raises SweepError where a recorded loss is not as the goals of another spec allow."""
        for target in self.spec.targets:
            goal = spec.goals.get(target, PLAIN)
            if goal == self.spec.goals.get(target, PLAIN):
                continue
            for name, record in self.trials.items():
                for step, losses in record.points.items():
                    if not goal.allows(losses[target]):
                        raise SweepError(
                            f"targets.{target}: trial {name} has {losses[target]:g} at step {step}; need "
                            f"{goal.needed}"
                        )

    def open_directions(self) -> list[str]:
        """Notes on targets of whose direction nobody has said anything, though they may be accuracies."""
        last = [r.points[max(r.points)] for r in self.trials.values() if r.points]
        values = [[losses[target] for target in self.spec.targets] for losses in last]
        shape = (len(values), len(self.spec.targets))
        spec = self.spec
        return unstated(spec.goals, spec.targets, np.reshape(values, shape), spec.own)[1]

    # what a law is fitted to

    def evidence(self) -> list[TrialRecord]:
        """The trainings the law is fitted to: with points, not failed or dropped, and not the final ones, which test it."""
        return [
            record
            for record in self.trials.values()
            if record.points and record.state != "failed" and record.role not in (FINAL, DROPPED)
        ]

    def counted(self, records: Iterable[TrialRecord]) -> LossTable:
        """The points of trainings that a law is fitted to: those from `SweepSpec.first_step` on.

        Raises:
            TableError: there are none.
        """
        late = (
            replace(
                r, points={s: p for s, p in r.points.items() if s >= self.spec.first_step(r.steps)}
            )
            for r in records
        )
        return LossTable.from_curves(self._curve(record) for record in late if record.points)

    def now(self) -> Moment:
        """How far it has come."""
        return self.moment(len(self._arrivals), len(self._over), len(self.proposals))

    def moment(self, num_points: int, num_over: int, num_proposals: int) -> Moment:
        """The moment of so many points, ends and proposals."""
        failed = sum(self.trials[name].state == "failed" for name in self._over[:num_over])
        return Moment(
            num_points=num_points, num_over=num_over, num_failed=failed, num_proposals=num_proposals
        )

    def over_at(self, moment: Moment) -> dict[str, str]:
        """{training that had ended by then: its state}."""
        return {name: self.trials[name].state for name in self._over[: moment.num_over]}

    def evidence_at(self, moment: Moment) -> list[TrialRecord]:
        """`evidence` as it was."""
        points: dict[str, dict[int, dict[str, float]]] = {}
        for trial, step in self._arrivals[: moment.num_points]:
            points.setdefault(trial, {})[step] = self.trials[trial].points[step]
        failed = {name for name, state in self.over_at(moment).items() if state == "failed"}
        return [
            replace(record, points=points[name])
            for name, record in self.trials.items()
            if name in points and name not in failed
        ]

    def fit(
        self,
        purpose: str,
        evidence: Sequence[TrialRecord],
        num_points: int,
        previous: WarmStart | None,
    ) -> FittedLaw | None:
        """The law of some trainings, None while they determine none.

        It starts from the previous one, but cold, and chooses everything anew, whenever the trainings have grown by a fifth.

        Args:
            purpose: of the generator, with `num_points`, those recorded when the trainings were as they are given.
        """
        usable = {
            record.mixture
            for record in evidence
            if any(step >= self.spec.first_step(record.steps) for step in record.points)
        }
        if len(usable) < 2:
            return None
        if previous is not None:
            octave = [
                math.floor(math.log(max(count, 1)) / math.log(1.2))
                for count in (previous.num_trials, len(evidence))
            ]
            previous = previous if octave[0] == octave[1] else None
        try:
            return fit_law(
                self.counted(evidence),
                own=self.spec.own,
                previous=previous,
                generator=rng(self.spec.seed, purpose, num_points),
            )
        except LawError:
            return None

    # parts

    def _trial(self, trial: str) -> TrialRecord:
        if trial not in self.trials:
            raise SweepError(
                f"trial {trial} is not known; propose or add it before its points are recorded"
            )
        return self.trials[trial]

    def _curve(self, record: TrialRecord) -> LossCurve:
        steps = sorted(record.points)
        return LossCurve(
            trial=record.trial,
            mixture=record.mixture,
            targets=self.spec.targets,
            steps=np.array(steps, dtype=np.float64),
            losses=np.array(
                [[record.points[step][target] for target in self.spec.targets] for step in steps]
            ),
            size=record.size,
            seed=record.seed,
            goals=self.spec.goals,
        )

    def _end(self, record: TrialRecord, state: str) -> None:
        if record.state == "running" and record.role not in (FINAL, DROPPED):
            self._over.append(record.trial)
        record.state = state
