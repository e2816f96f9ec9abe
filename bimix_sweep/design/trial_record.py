"""Record of a sweep: proposals, points and ended trials, and which trials are evidence for a law.

Points and ends are kept in the order of their arrival, so that the evidence of a law at an earlier
record position can be rebuilt.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

import numpy as np

from bimix_sweep.design.acquisition.trial_source import TrialSource
from bimix_sweep.design.evidence import loss_curve
from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.design.refit_schedule import RecordPosition
from bimix_sweep.design.trial import CONFIRMATION, DROPPED, Cause, Proposal, TrialRecord
from bimix_sweep.errors import DivergedError, SweepError
from bimix_sweep.mixture.goals import PLAIN, unstated, why_refused
from bimix_sweep.mixture.simplex import Array
from bimix_sweep.mixture.table import LossTable


class SweepRecord(TrialSource):
    """Record of the trials of a sweep."""

    def __init__(self, spec: SweepSpec) -> None:
        """Makes an empty record."""
        self.spec = spec
        """Specification of the sweep."""
        self.trials: dict[str, TrialRecord] = {}
        """{name: trial}, in the order in which they were added."""
        self.proposals: list[Proposal] = []
        """Proposals of the planning loop, in the order in which they were made."""
        self.added: tuple[str, ...] = ()
        """Domains that a change added."""
        self._arrivals: list[tuple[str, int]] = []  # (trial, step) of each point that is evidence
        self._over: list[str] = []  # trials of the sweep that ended

    # state changes

    def add_trial(self, proposal: Proposal, role: str) -> None:
        """Adds a trial that the planning loop did not propose, such as a confirmation trial; its
        points are recorded in the same way.

        Raises:
            SweepError: the name exists already, or the sweep has no such size or number of steps.
        """
        if proposal.trial in self.trials:
            raise SweepError(f"trial {proposal.trial} is already there; need a new name")
        fidelity = self.spec.checked_fidelity(proposal)
        self.trials[proposal.trial] = TrialRecord(
            trial=proposal.trial,
            mixture=proposal.mixture,
            seed=proposal.seed,
            size=fidelity.size,
            steps=int(fidelity.steps),
            role=role,
            epochs=self.spec.epochs_of(proposal.mixture, fidelity.steps),
        )

    def record(self, trial: str, step: int, losses: Mapping[str, float]) -> bool:
        """Adds one point of a loss curve.

        Args:
            trial: a trial that was proposed or added.
            step: optimizer step, >= 1.
            losses: {target: loss}, each in its target's own unit.

        Returns:
            False where that step of that trial is recorded already; the first value stays.

        Raises:
            SweepError: the trial is unknown, targets are unknown or missing, or step < 1.
            DivergedError: a loss is outside the range that its target's goal allows.
        """
        record = self._trial(trial)
        if step < 1:
            raise SweepError(f"trial {trial}: step is {step}; need at least 1")
        if set(losses) != set(self.spec.targets):
            raise SweepError(
                f"trial {trial}: losses of {', '.join(losses)}; need {', '.join(self.spec.targets)}"
            )
        for target, loss in losses.items():
            if needed := why_refused(self.spec.goals, target, loss):
                raise DivergedError(
                    f"trial {trial}: loss of {target} is {loss} at step {step}; need {needed}"
                )
        if step in record.points:
            return False
        self._append(trial, int(step), losses)
        return True

    def finish(self, trial: str) -> None:
        """Marks the trial as finished."""
        self._end(self._trial(trial), "finished")

    def abandon(self, trial: str, reason: str, cause: Cause = "outside") -> None:
        """Marks the trial as failed: its points no longer count, and its mixture is not proposed
        again.

        Args:
            trial: name of the trial.
            reason: reason in words.
            cause: kind of the failure.
        """
        record = self._trial(trial)
        self._end(record, "failed")
        record.failure, record.cause = reason, cause

    def retry(self, trial: str) -> None:
        """Starts a failed trial again from its beginning; nothing of the failed attempt counts.

        Raises:
            SweepError: the trial is unknown, or has not failed.
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
        """Continues with another spec.

        Args:
            spec: spec with the same targets; a domain that it lacks has proportion 0 in every
                trial.
            renamed: {domain: new name}.
            dropped: trials that are no longer evidence.
            ended: {running trial: why it cannot continue}.

        Raises:
            SweepError, MixtureError: the targets differ, or a trial holds a domain that the spec
                lacks.
        """
        if set(spec.targets) != set(self.spec.targets):
            raise SweepError(
                f"the targets were {', '.join(self.spec.targets)}, not "
                f"{', '.join(spec.targets)}; a sweep keeps its targets"
            )
        mixtures = {
            name: record.mixture.moved(renamed, spec.domains.names)
            for name, record in self.trials.items()
        }
        before = {renamed.get(name, name) for name in self.spec.domains.names}
        self.added = (
            *(name for name in self.added if name in spec.domains.names),
            *(n for n in spec.domains.names if n not in before),
        )
        self.spec = spec
        self.proposals = [
            replace(proposal, mixture=mixtures[proposal.trial]) for proposal in self.proposals
        ]
        for name, record in self.trials.items():
            record.mixture = mixtures[name]
            record.epochs = {renamed.get(n, n): count for n, count in record.epochs.items()}
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

    # queries

    @property
    def num_proposed(self) -> int:
        """Number of trials that count in the budget."""
        return sum(record.role == "sweep" for record in self.trials.values())

    @property
    def num_over(self) -> int:
        """Number of trials of the sweep that ended."""
        return len(self._over)

    @property
    def over(self) -> tuple[str, ...]:
        """Trials of the sweep that ended, in the order in which they ended."""
        return tuple(self._over)

    @property
    def num_points(self) -> int:
        """Number of points that are evidence."""
        return len(self._arrivals)

    def rows(self, trials: Iterable[str]) -> Array:
        """Returns the (trials, domains) mixtures of trials."""
        rows = [self.trials[name].mixture.as_array(self.spec.domains.names) for name in trials]
        return np.reshape(rows, (-1, len(self.spec.domains)))

    def table(self) -> LossTable:
        """Returns the loss curves of finished and running trials, confirmation trials included.

        Raises:
            TableError: no point is recorded yet.
        """
        return LossTable.from_curves(
            loss_curve(self.spec, record)
            for record in self.trials.values()
            if record.points and record.state != "failed"
        )

    def check_goals(self, spec: SweepSpec) -> None:
        """Checks the recorded losses against the goals of another spec.

        Raises:
            SweepError: a recorded loss is outside the range that a goal of the other spec allows.
        """
        for target in self.spec.targets:
            if spec.goals.get(target, PLAIN) == self.spec.goals.get(target, PLAIN):
                continue
            for name, record in self.trials.items():
                for step, losses in record.points.items():
                    if needed := why_refused(spec.goals, target, losses[target]):
                        raise SweepError(
                            f"targets.{target}: trial {name} has {losses[target]:g} at step "
                            f"{step}; need {needed}"
                        )

    def open_directions(self) -> list[str]:
        """Returns notes on targets without a stated direction that may be accuracies."""
        last = [r.points[max(r.points)] for r in self.trials.values() if r.points]
        values = [[losses[target] for target in self.spec.targets] for losses in last]
        shape = (len(values), len(self.spec.targets))
        spec = self.spec
        return unstated(spec.goals, spec.targets, np.reshape(values, shape), spec.own)[1]

    # evidence of laws

    def evidence(self) -> list[TrialRecord]:
        """Returns the trials that the law is fitted to: trials with points that have not failed and
        were not dropped, without the confirmation trials, which test the law."""
        return [
            record
            for record in self.trials.values()
            if record.points
            and record.state != "failed"
            and record.role not in (CONFIRMATION, DROPPED)
        ]

    def now(self) -> RecordPosition:
        """Returns the current record position."""
        return self.position(len(self._arrivals), len(self._over), len(self.proposals))

    def position(self, num_points: int, num_over: int, num_proposals: int) -> RecordPosition:
        """Returns the record position with these numbers of points, ended trials and proposals."""
        failed = sum(self.trials[name].state == "failed" for name in self._over[:num_over])
        return RecordPosition(
            num_points=num_points, num_over=num_over, num_failed=failed, num_proposals=num_proposals
        )

    def over_at(self, position: RecordPosition) -> dict[str, str]:
        """Returns {trial that had ended at this record position: its state}."""
        return {name: self.trials[name].state for name in self._over[: position.num_over]}

    def evidence_at(self, position: RecordPosition) -> list[TrialRecord]:
        """Returns the evidence at this record position: trials that had not failed by then, with
        the points that had arrived by then."""
        points: dict[str, dict[int, dict[str, float]]] = {}
        for trial, step in self._arrivals[: position.num_points]:
            points.setdefault(trial, {})[step] = self.trials[trial].points[step]
        failed = {name for name, state in self.over_at(position).items() if state == "failed"}
        return [
            replace(record, points=points[name])
            for name, record in self.trials.items()
            if name in points and name not in failed
        ]

    # helpers

    def _append(self, trial: str, step: int, losses: Mapping[str, float]) -> None:
        """Adds one point of a loss curve without any check."""
        record = self.trials[trial]
        record.points[step] = {target: float(losses[target]) for target in self.spec.targets}
        if record.role not in (CONFIRMATION, DROPPED):
            self._arrivals.append((trial, step))

    def _trial(self, trial: str) -> TrialRecord:
        if trial not in self.trials:
            raise SweepError(
                f"trial {trial} is not known; propose or add it before its points are recorded"
            )
        return self.trials[trial]

    def _end(self, record: TrialRecord, state: str) -> None:
        if record.state == "running" and record.role not in (CONFIRMATION, DROPPED):
            self._over.append(record.trial)
        record.state = state
