"""The LawActor: the only writer of the sweep's journal and state, wherever the trials run.

```
trials ──record──▶ write replica (checks, idempotence) ─▶ journal ─▶ acknowledged
driver ──propose─▶ planning replica (catches up, fits, decides) ─▶ journal ─▶ proposal
                   background refits for viewers
```
A call returns when its events are on the disk. A slow disk therefore delays the calls that write,
but neither fits nor reads. Two replicas hold the state (`replicas`). The write replica (`write_replica`)
answers in microseconds, so trials never wait for a fit. The planning replica (`planning_replica`) computes the
decisions (`decisions`). If this process dies, another one starts from the end of the journal:
acknowledged events are in it, and Ray repeats a call that was not acknowledged.

The class does not use Ray; `driver` makes an actor of it. The file imports no torch.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from bimix_sweep.design.stopping import Decision
from bimix_sweep.design.trial import Cause, Proposal
from bimix_sweep.errors import BimixSweepError, SweepError, TrainingError
from bimix_sweep.journal.codec import Event
from bimix_sweep.sweep.coordinator.decisions import Decisions
from bimix_sweep.sweep.coordinator.progress_log import SweepLog
from bimix_sweep.sweep.coordinator.replicas import Replicas
from bimix_sweep.sweep.history.attempts import AttemptLimits, Attempts, wait_seconds
from bimix_sweep.sweep.history.budget import overspent
from bimix_sweep.sweep.history.confirmation_trials import confirmation_trials
from bimix_sweep.sweep.history.history import PastTrial, SweepHistory
from bimix_sweep.sweep.history.retries import RetryFailed, left_out, retriable
from bimix_sweep.sweep.history.snapshot import Snapshot, snapshot_of
from bimix_sweep.sweep.history.statistics import Statistics, StatisticsCollector

PUBLISH_SECONDS = 5.0
"""Seconds between two published statistics; Ray drops a gauge that is not set for 20 s."""
ENFORCE_SECONDS = 1.0
"""Seconds between two checks of a budget in hours."""
ASKED_FROM = 3
"""Number of ended trials from which the log says that a target may be an accuracy."""
REFIT_SHARE = 0.02
"""Largest proportion of one core's time that background refits may take."""


class LawActor:
    """Records the events of trials, and decides which trial runs next."""

    def __init__(
        self,
        folder: str,
        first: Event,
        lock_seconds: float = 20.0,
        publish: Callable[[Statistics], None] | None = None,
        change: Event | None = None,
        limits: AttemptLimits = AttemptLimits(),  # noqa: B008 - a frozen value
    ) -> None:
        """Opens or begins the journal in `folder/journal` and rebuilds the state.

        The constructor does not raise; `ready` raises its error.

        Args:
            folder: path or URI of the sweep.
            first: the `sweep` event of this sweep; if the journal has one, config and data of both
                must agree.
            lock_seconds: how long to wait for the previous writer.
            publish: function that gets the sweep's statistics every few seconds.
            change: the `change` event that turns the journal's sweep into that of `first`; ignored
                if the journal holds it already.
            limits: limits on the silence of attempts and the duration of trials; `overdue` enforces
                them.
        """
        self._name, self._folder = first["name"], folder
        self._refused: BimixSweepError | None = None
        self._began = time.monotonic()
        self._log = SweepLog()
        self._figurer = StatisticsCollector()
        self._attempts = Attempts(limits)
        self._halted: str | None = None  # reason of the halt, until the user acts
        self._changed = threading.Event()
        self._closed = threading.Event()
        try:
            self._replicas = Replicas(folder, first, change, lock_seconds)
        # Ray restarts an actor whose constructor raises, without end, and the error is lost.
        except Exception as error:  # noqa: BLE001 - `ready` raises it
            self._refused = (
                error
                if isinstance(error, BimixSweepError)
                else SweepError(f"{folder}: {type(error).__name__}: {error}")
            )
            return
        for note in self._replicas.notes:
            self._log.say(note)
        self._ask_directions(self._replicas.write_replica)
        self._decider = Decisions(self._replicas, self._log, folder)
        threading.Thread(target=self._refit_forever, name="refits", daemon=True).start()
        if self._replicas.write_replica.spec.limited:
            threading.Thread(target=self._enforce_forever, name="budget", daemon=True).start()
        if publish is not None:
            threading.Thread(
                target=self._publish_forever, args=(publish,), name="figures", daemon=True
            ).start()

    def ready(self) -> None:
        """Returns when other methods can be called.

        Raises:
            JournalError: another sweep writes there, or the journal is damaged.
            SweepError: the configuration or the data are not those with which the sweep began.
        """
        if self._refused is not None:
            raise self._refused

    def __repr__(self) -> str:
        return f"LawActor({self._name})"

    def __getattr__(self, name: str) -> Any:
        """Raises the error of the constructor if the actor could not begin.

        The attributes for replicas and decisions are missing then, and a call that was sent to the
        previous actor learns the reason.
        """
        if (refused := self.__dict__.get("_refused")) is not None and not name.startswith("__"):
            raise refused
        raise AttributeError(name)

    # called by trials

    def start(
        self, trial: str, where: str, cores: float = 1.0, gpus: float = 0.0
    ) -> dict[str, Any]:
        """Records that an attempt at a trial begins.

        Args:
            trial: name of the trial.
            where: place of the attempt, for the log.
            cores, gpus: numbers of CPU cores and GPUs that the attempt holds.

        Returns:
            A dictionary with `state` of the trial ("halted" if the sweep is halted), `result` for
            Tune if the trial ended, `precision` of the sweep (None while it is not chosen), the
            steps `recorded` of the trial, how often it has `begun_anew`, and the number of attempts
            without a new point, including this one (`fruitless`). A running trainer should call
            `alive` from time to time.
        """
        if self._halted is not None:
            return {"state": "halted", "result": {"step": 0, "failed": self._halted}}
        self._replicas.commit(
            {"kind": "start", "trial": trial, "where": where, "cores": cores, "gpus": gpus}
        )
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
        """Stores the sweep's number format, unless one is stored already.

        Returns:
            The stored number format, which all trials use.
        """
        with self._replicas.recording() as write_replica:
            if write_replica.precision is None:
                self._replicas.append({"kind": "precision", "precision": precision})
            settled = write_replica.precision
        assert settled is not None  # noqa: S101
        return settled

    def record(self, trial: str, step: int, losses: Mapping[str, float]) -> bool:
        """Records a point; it is on the disk when this method returns.

        Args:
            trial: name of the trial.
            step: optimizer step.
            losses: {target: loss}.

        Returns:
            False if this step of this trial was already recorded.

        Raises:
            DivergedError: a loss is not finite.
            SweepError: the trial or the targets are unknown.
            TrainingError: the trial was ended.
        """
        with self._replicas.recording() as write_replica:
            record = write_replica.state.trials.get(trial)
            new = record is None or step not in record.points
            if new and record is not None and record.state == "failed":
                raise TrainingError(record.failure)
            if new:
                self._replicas.append(
                    {
                        "kind": "point",
                        "trial": trial,
                        "step": int(step),
                        "losses": {t: float(v) for t, v in losses.items()},
                    }
                )
                self._attempts.point(trial, write_replica.clock.now())
            else:
                self._attempts.repeated(trial, write_replica.clock.now())
        self._changed.set()
        return new

    def alive(self, trial: str) -> bool:
        """Whether a trial still runs: neither its end, a failure nor the budget has ended it."""
        with self._replicas.reading() as write_replica:
            return write_replica.state.trials[trial].state == "running"

    def finish(self, trial: str) -> None:
        """Records that a trial finished."""
        self._end(trial, "finished", "")

    def abandon(self, trial: str, reason: str, cause: Cause = "outside") -> None:
        """Records that a trial failed.

        `retries` decides by the cause whether a resumed sweep runs the trial again.

        Raises:
            SweepError: the sweep was halted, so the failure is not the trial's fault.
        """
        self._check_halted()
        self._end(trial, "failed", reason, cause)

    def halt(self, reason: str) -> None:
        """Halts the sweep: nothing new begins, and the driver gets the reason.

        Running trials may end. The journal does not record it, so a resumed sweep is not halted.
        """
        if self._halted is None:  # every running trial meets the same disk; log it once
            self._halted = reason
            self._log.say(f"halted: {reason}")

    # called by the driver

    def propose(self, trial: str) -> Proposal | None:
        """Decides the next trial from all recorded points.

        Returns:
            The proposal; None if the sweep is settled or its budget is spent.

        Raises:
            SweepError: too many consecutive trials failed, or the sweep was halted.
        """
        self._check_halted()
        return self._decider.propose(trial)

    def decide(self) -> Decision:
        """Decides from all recorded points whether to stop."""
        return self._decider.decide()

    def final(self, started: Collection[str]) -> Proposal | None:
        """The next confirmation trial that is not in `started`; see `Decisions.final`.

        Raises:
            SweepError: no law could be fitted, or the sweep was halted.
        """
        self._check_halted()
        return self._decider.final(started)

    def over(self) -> bool:
        """Whether every confirmation trial was decided; some may still run."""
        with self._replicas.reading() as write_replica:
            confirmations = write_replica.confirmation
            return confirmations is not None and all(
                trial in write_replica.proposals
                for trial, _, _ in confirmation_trials(write_replica, confirmations["mixtures"])
            )

    def overdue(self, living: Collection[str]) -> list[str]:
        """Names of the trials whose workers must be killed; each attempt is named once.

        A trial that is silent or lasts for too long fails here, or is tried again.

        Args:
            living: trials that have a worker now.
        """
        kill = []
        with self._replicas.recording() as write_replica:
            for found in self._attempts.overdue(living, write_replica, write_replica.clock.now()):
                if found.fails:
                    self._fail(found.trial, found.said)
                else:
                    self._log.say(found.said)
                if found.kill:
                    kill.append(found.trial)
        self._changed.set()
        return kill

    def past(self) -> list[PastTrial]:
        """All trials so far, for a driver that starts."""
        with self._replicas.reading() as write_replica:
            return write_replica.past()

    def retriable(self, wanted: RetryFailed) -> list[str]:
        """Names of the failed trials to run again, from `retries.retriable`."""
        with self._replicas.reading() as write_replica:
            return retriable(write_replica, wanted)

    def retry(self, trials: Sequence[str], *, reopens: bool = True) -> list[str]:
        """Runs failed trials again (`Decisions.retry`).

        A second call for the same trials changes nothing.
        """
        tried = self._decider.retry(trials, reopens=reopens)
        if tried:
            self._log.say(f"tried again from their beginning: {', '.join(tried)}")
        return tried

    def left_out(self) -> list[str]:
        """Messages, one line each, about failed trials that do not run again by themselves."""
        with self._replicas.reading() as write_replica:
            return left_out(write_replica, self._folder)

    def complete(self) -> None:
        """Records that the results are written."""
        self._replicas.commit({"kind": "complete"})

    def snapshot(self) -> Snapshot:
        """The state of the sweep now, for viewers."""
        with self._replicas.reading() as write_replica:
            return snapshot_of(
                write_replica,
                elapsed_seconds=time.monotonic() - self._began,
                training_seconds=self._log.training_seconds,
                lines=list(self._log.lines),
                num_lines=self._log.num_lines,
                epoch=self._replicas.epoch,
            )

    def figures(self) -> Statistics:
        """The statistics of the sweep now."""
        with self._replicas.reading() as write_replica:
            return self._figurer.take(write_replica)

    def close(self) -> None:
        """Flushes the journal and closes it."""
        self._closed.set()
        if self._refused is None:
            self._replicas.close()

    # internal parts

    def _check_halted(self) -> None:
        if self._halted is not None:
            raise SweepError(self._halted)

    def _end(self, trial: str, state: str, reason: str, cause: Cause = "") -> None:
        with self._replicas.recording() as write_replica:
            record = write_replica.state.trials.get(trial)
            if record is None or record.state == "running":
                if state == "finished":
                    ended = {"state": state, "reason": reason, "cause": cause}
                    self._replicas.append({"kind": "end", "trial": trial, **ended})
                    self._decider.failures.clear()
                    self._log.finish(write_replica.proposals[trial], write_replica.objective(trial))
                    if write_replica.num_over == ASKED_FROM:
                        self._ask_directions(write_replica)
                else:
                    self._fail(trial, reason, cause)
        self._changed.set()

    def _ask_directions(self, write_replica: SweepHistory) -> None:
        if write_replica.num_over >= ASKED_FROM:
            for note in write_replica.state.trial_record.open_directions():
                self._log.say(note)

    def _fail(self, trial: str, reason: str, cause: Cause = "outside") -> None:
        """Records that a trial has failed; called inside `recording`."""
        ended = {"state": "failed", "reason": reason, "cause": cause}
        self._replicas.append({"kind": "end", "trial": trial, **ended})
        self._decider.failures.append(reason)
        self._log.fail(trial, reason)

    def enforce(self) -> None:
        """Ends the running trials if a limit of the budget is reached."""
        with self._replicas.recording() as write_replica:
            reason = (
                overspent(write_replica, write_replica.clock.now())
                if write_replica.spec.limited
                else None
            )
            for trial in write_replica.running() if reason else ():
                ended = {"state": "failed", "reason": str(reason), "cause": "budget"}
                self._replicas.append({"kind": "end", "trial": trial, **ended})
                self._log.fail(trial, str(reason))

    def _enforce_forever(self) -> None:
        with contextlib.suppress(BimixSweepError):  # the journal is broken; calls raise the reason
            while not self._closed.wait(ENFORCE_SECONDS):
                self.enforce()

    def _refit_forever(self) -> None:
        while True:
            self._changed.wait()
            self._changed.clear()
            time.sleep(max(1.0, self._decider.refit_between() / REFIT_SHARE))

    def _publish_forever(self, publish: Callable[[Statistics], None]) -> None:
        while True:
            publish(self.figures())
            time.sleep(PUBLISH_SECONDS)
