"""Records what trials report: their starts, points and ends; ends trials that take too long."""

from collections.abc import Collection, Mapping
from typing import Any

from bimix_sweep.design.trial import Cause
from bimix_sweep.errors import TrainingError
from bimix_sweep.sweep.coordinator.decisions import Decisions
from bimix_sweep.sweep.coordinator.progress_log import SweepLog
from bimix_sweep.sweep.coordinator.replicas import Replicas
from bimix_sweep.sweep.history.attempts import AttemptLimits, Attempts, wait_seconds
from bimix_sweep.sweep.history.budget import overspent
from bimix_sweep.sweep.history.events import EndEvent, PointEvent, PrecisionEvent, StartEvent
from bimix_sweep.sweep.history.history import SweepHistory

DIRECTIONS_FROM = 3
"""Number of ended trials from which the log says that a target may be an accuracy."""


class TrialRecorder:
    """Records the events of the trials of one sweep. `LawActor` documents the methods it calls."""

    def __init__(
        self, replicas: Replicas, log: SweepLog, decisions: Decisions, limits: AttemptLimits
    ) -> None:
        self._replicas, self._log, self._decisions = replicas, log, decisions
        self._attempts = Attempts(limits)
        self._note_directions(replicas.write_replica)

    def start(self, trial: str, where: str, cores: float, gpus: float) -> dict[str, Any]:
        """Records that an attempt at a trial begins; returns what the attempt must know."""
        self._replicas.commit(StartEvent(trial=trial, where=where, cores=cores, gpus=gpus))
        write_replica = self._replicas.write_replica
        fruitless = write_replica.fruitless.get(trial, 0)
        self._attempts.begin(trial, write_replica.clock.now() + wait_seconds(fruitless))
        self._log.start(trial, where, len(write_replica.starts[trial]))
        record = write_replica.state.trials[trial]
        result = {
            "step": max(record.points, default=0),
            "objective": write_replica.objective(trial),
        }
        return {
            "state": record.state,
            "precision": write_replica.precision,
            "recorded": sorted(record.points),
            "begun_anew": write_replica.begun_anew.get(trial, 0),
            "fruitless": fruitless,
            "result": result
            if record.state == "finished"
            else {"step": 0, "failed": record.failure},
        }

    def settle_precision(self, precision: dict[str, Any]) -> dict[str, Any]:
        """Stores the sweep's number format, unless one is stored; returns the stored one."""
        with self._replicas.recording() as write_replica:
            if write_replica.precision is None:
                self._replicas.append(PrecisionEvent(precision=precision))
            settled = write_replica.precision
        assert settled is not None  # noqa: S101
        return settled

    def record(self, trial: str, step: int, losses: Mapping[str, float]) -> bool:
        """Records a point; False if this step of this trial was already recorded."""
        with self._replicas.recording() as write_replica:
            record = write_replica.state.trials.get(trial)
            new = record is None or step not in record.points
            if not new:
                self._attempts.repeated(trial, write_replica.clock.now())
                return False
            if record is not None and record.state == "failed":
                raise TrainingError(record.failure)
            self._replicas.append(
                PointEvent(
                    trial=trial,
                    step=int(step),
                    losses={target: float(loss) for target, loss in losses.items()},
                )
            )
            self._attempts.point(trial, write_replica.clock.now())
        return True

    def overdue(self, living: Collection[str]) -> list[str]:
        """Ends or reports trials that are silent or take too long; returns the workers to kill."""
        kill = []
        with self._replicas.recording() as write_replica:
            for late in self._attempts.overdue(living, write_replica, write_replica.clock.now()):
                if late.fails:
                    self._fail(late.trial, late.reason, "outside")
                else:
                    self._log.say(late.reason)
                if late.kill:
                    kill.append(late.trial)
        return kill

    def finish(self, trial: str) -> None:
        """Records that a trial finished; changes nothing if the trial has ended before."""
        with self._replicas.recording() as write_replica:
            if not _may_end(write_replica, trial):
                return
            self._replicas.append(EndEvent(trial=trial, state="finished", reason="", cause=""))
            self._decisions.failures.clear()
            self._log.finish(write_replica.proposals[trial], write_replica.objective(trial))
            if write_replica.state.trial_record.num_over == DIRECTIONS_FROM:
                self._note_directions(write_replica)

    def abandon(self, trial: str, reason: str, cause: Cause) -> None:
        """Records that a trial failed; changes nothing if the trial has ended before."""
        with self._replicas.recording() as write_replica:
            if _may_end(write_replica, trial):
                self._fail(trial, reason, cause)

    def _fail(self, trial: str, reason: str, cause: Cause) -> None:
        """Records that a running trial failed; called inside `Replicas.recording`."""
        self._replicas.append(EndEvent(trial=trial, state="failed", reason=reason, cause=cause))
        self._decisions.failures.append(reason)
        self._log.fail(trial, reason)

    def enforce(self) -> None:
        """Ends the running trials if a limit of the budget is reached."""
        with self._replicas.recording() as write_replica:
            if not write_replica.spec.limited:
                return
            reason = overspent(write_replica, write_replica.clock.now())
            if reason is None:
                return
            for trial in write_replica.running():
                self._replicas.append(
                    EndEvent(trial=trial, state="failed", reason=reason, cause="budget")
                )
                self._log.fail(trial, reason)

    def _note_directions(self, write_replica: SweepHistory) -> None:
        """Logs the targets that may be accuracies, once enough trials have ended."""
        if write_replica.state.trial_record.num_over >= DIRECTIONS_FROM:
            for note in write_replica.state.trial_record.open_directions():
                self._log.say(note)


def _may_end(write_replica: SweepHistory, trial: str) -> bool:
    """Whether a trial runs; True for an unknown trial too, which `append` refuses."""
    record = write_replica.state.trials.get(trial)
    return record is None or record.state == "running"
