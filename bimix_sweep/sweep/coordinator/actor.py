"""The LawActor: the only writer of the sweep's journal and state, wherever the trials run.

```
trials ──record──▶ write replica (checks, idempotence) ─▶ journal ─▶ acknowledged
driver ──propose─▶ planning replica (catches up, fits, decides) ─▶ journal ─▶ proposal
                   background refits for viewers
```
A call returns when its events are on the disk. A slow disk therefore delays the calls that write,
but neither fits nor reads. Two replicas hold the state (`replicas`). The write replica (`front`)
answers in microseconds, so trials never wait for a fit. The planning replica (`brain`) computes the
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
from bimix_sweep.sweep.coordinator.decisions import Decider
from bimix_sweep.sweep.coordinator.progress_log import SweepLog
from bimix_sweep.sweep.coordinator.replicas import Copies
from bimix_sweep.sweep.history.attempts import AttemptLimits, Attempts, wait_seconds
from bimix_sweep.sweep.history.budget import overspent
from bimix_sweep.sweep.history.confirmation_trials import final_trainings
from bimix_sweep.sweep.history.history import PastTrial, SweepHistory
from bimix_sweep.sweep.history.retries import RetryFailed, left_out, retriable
from bimix_sweep.sweep.history.snapshot import Snapshot, snapshot_of
from bimix_sweep.sweep.history.statistics import Figurer, Figures

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
        publish: Callable[[Figures], None] | None = None,
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
        self._figurer = Figurer()
        self._attempts = Attempts(limits)
        self._halted: str | None = None  # reason of the halt, until the user acts
        self._changed = threading.Event()
        self._closed = threading.Event()
        try:
            self._copies = Copies(folder, first, change, lock_seconds)
        # Ray restarts an actor whose constructor raises, without end, and the error is lost.
        except Exception as error:  # noqa: BLE001 - `ready` raises it
            self._refused = (
                error
                if isinstance(error, BimixSweepError)
                else SweepError(f"{folder}: {type(error).__name__}: {error}")
            )
            return
        for note in self._copies.notes:
            self._log.say(note)
        self._ask_directions(self._copies.front)
        self._decider = Decider(self._copies, self._log, folder)
        threading.Thread(target=self._refit_forever, name="refits", daemon=True).start()
        if self._copies.front.spec.limited:
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
        self._copies.commit(
            {"kind": "start", "trial": trial, "where": where, "cores": cores, "gpus": gpus}
        )
        front = self._copies.front
        fruitless = front.fruitless.get(trial, 0)
        self._attempts.begin(trial, front.clock.now() + wait_seconds(fruitless))
        self._log.start(trial, where, len(front.starts[trial]))
        record = front.state.trials[trial]
        result = {"step": max(record.points, default=0), "objective": front.objective(trial)}
        return {
            "state": record.state,
            "precision": front.precision,
            "recorded": sorted(record.points),
            "begun_anew": front.begun_anew.get(trial, 0),
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
        with self._copies.recording() as front:
            if front.precision is None:
                self._copies.append({"kind": "precision", "precision": precision})
            settled = front.precision
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
        with self._copies.recording() as front:
            record = front.state.trials.get(trial)
            new = record is None or step not in record.points
            if new and record is not None and record.state == "failed":
                raise TrainingError(record.failure)
            if new:
                self._copies.append(
                    {
                        "kind": "point",
                        "trial": trial,
                        "step": int(step),
                        "losses": {t: float(v) for t, v in losses.items()},
                    }
                )
                self._attempts.point(trial, front.clock.now())
            else:
                self._attempts.repeated(trial, front.clock.now())
        self._changed.set()
        return new

    def alive(self, trial: str) -> bool:
        """Whether a trial still runs: neither its end, a failure nor the budget has ended it."""
        with self._copies.looking() as front:
            return front.state.trials[trial].state == "running"

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
        """The next confirmation trial that is not in `started`; see `Decider.final`.

        Raises:
            SweepError: no law could be fitted, or the sweep was halted.
        """
        self._check_halted()
        return self._decider.final(started)

    def over(self) -> bool:
        """Whether every confirmation trial was decided; some may still run."""
        with self._copies.looking() as front:
            finals = front.finals
            return finals is not None and all(
                trial in front.proposals
                for trial, _, _ in final_trainings(front, finals["mixtures"])
            )

    def overdue(self, living: Collection[str]) -> list[str]:
        """Names of the trials whose workers must be killed; each attempt is named once.

        A trial that is silent or lasts for too long fails here, or is tried again.

        Args:
            living: trials that have a worker now.
        """
        kill = []
        with self._copies.recording() as front:
            for found in self._attempts.overdue(living, front, front.clock.now()):
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
        with self._copies.looking() as front:
            return front.past()

    def retriable(self, wanted: RetryFailed) -> list[str]:
        """Names of the failed trials to run again, from `retries.retriable`."""
        with self._copies.looking() as front:
            return retriable(front, wanted)

    def retry(self, trials: Sequence[str], *, reopens: bool = True) -> list[str]:
        """Runs failed trials again (`Decider.retry`).

        A second call for the same trials changes nothing.
        """
        tried = self._decider.retry(trials, reopens=reopens)
        if tried:
            self._log.say(f"tried again from their beginning: {', '.join(tried)}")
        return tried

    def left_out(self) -> list[str]:
        """Messages, one line each, about failed trials that do not run again by themselves."""
        with self._copies.looking() as front:
            return left_out(front, self._folder)

    def complete(self) -> None:
        """Records that the results are written."""
        self._copies.commit({"kind": "complete"})

    def snapshot(self) -> Snapshot:
        """The state of the sweep now, for viewers."""
        with self._copies.looking() as front:
            return snapshot_of(
                front,
                elapsed_seconds=time.monotonic() - self._began,
                training_seconds=self._log.training_seconds,
                lines=list(self._log.lines),
                num_lines=self._log.num_lines,
                epoch=self._copies.epoch,
            )

    def figures(self) -> Figures:
        """The statistics of the sweep now."""
        with self._copies.looking() as front:
            return self._figurer.take(front)

    def close(self) -> None:
        """Flushes the journal and closes it."""
        self._closed.set()
        if self._refused is None:
            self._copies.close()

    # internal parts

    def _check_halted(self) -> None:
        if self._halted is not None:
            raise SweepError(self._halted)

    def _end(self, trial: str, state: str, reason: str, cause: Cause = "") -> None:
        with self._copies.recording() as front:
            record = front.state.trials.get(trial)
            if record is None or record.state == "running":
                if state == "finished":
                    ended = {"state": state, "reason": reason, "cause": cause}
                    self._copies.append({"kind": "end", "trial": trial, **ended})
                    self._decider.failures.clear()
                    self._log.finish(front.proposals[trial], front.objective(trial))
                    if front.num_over == ASKED_FROM:
                        self._ask_directions(front)
                else:
                    self._fail(trial, reason, cause)
        self._changed.set()

    def _ask_directions(self, front: SweepHistory) -> None:
        if front.num_over >= ASKED_FROM:
            for note in front.state.open_directions():
                self._log.say(note)

    def _fail(self, trial: str, reason: str, cause: Cause = "outside") -> None:
        """Records that a trial has failed; called inside `recording`."""
        ended = {"state": "failed", "reason": reason, "cause": cause}
        self._copies.append({"kind": "end", "trial": trial, **ended})
        self._decider.failures.append(reason)
        self._log.fail(trial, reason)

    def enforce(self) -> None:
        """Ends the running trials if a limit of the budget is reached."""
        with self._copies.recording() as front:
            reason = overspent(front, front.clock.now()) if front.spec.limited else None
            for trial in front.running() if reason else ():
                ended = {"state": "failed", "reason": str(reason), "cause": "budget"}
                self._copies.append({"kind": "end", "trial": trial, **ended})
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

    def _publish_forever(self, publish: Callable[[Figures], None]) -> None:
        while True:
            publish(self.figures())
            time.sleep(PUBLISH_SECONDS)
