"""The LawActor: one writer for journal and state, whatever runs where.

```
trainings ──record──▶ front (checks, idempotence) ─▶ journal ─▶ acknowledged
driver ───propose──▶ brain (catches up, fits, decides) ─▶ journal ─▶ proposal
                     refits in the background for whoever watches
```
A call returns when what it recorded is on the disk: a slow disk slows who writes, but neither fits nor reads.
Front and brain are two copies of the state (`copies`). What is asked of the front takes microseconds, so that trainings never
wait for a fit; the brain computes (`decider`). If this process dies, another one starts where the journal ends: what was
acknowledged is there, and a call that was not is made again by Ray.

The class knows nothing of Ray; `driver` makes an actor of it. It imports no torch.
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
"""Between figures: Ray forgets a gauge that is not set for two reports, 20 s."""
ENFORCE_SECONDS = 1.0
"""Between looks at a budget in hours."""
ASKED_FROM = 3
"""Trials over, from which on it is said that a target may be an accuracy."""
REFIT_SHARE = 0.02
"""Most of a core's time that refits in between may take."""


class LawActor:
    """Records what happens, says what to run next."""

    def __init__(
        self,
        folder: str,
        first: Event,
        lock_seconds: float = 20.0,
        publish: Callable[[Figures], None] | None = None,
        change: Event | None = None,
        limits: AttemptLimits = AttemptLimits(),  # noqa: B008 - a frozen value
    ) -> None:
        """Open or begin the journal in `folder/journal` and rebuild the state; `ready` says how that went.

        Args:
            first: the `sweep` event of this sweep; where the journal has one, both must agree on config and data.
            lock_seconds: how long to wait for the writer before.
            publish: is given the sweep's figures every few seconds.
            change: the `change` event that makes the journal's sweep the one of `first`; passed over where it is written already.
            limits: how long attempts may be silent and trials last; enforced when `overdue` is
                asked.
        """
        self._name, self._folder = first["name"], folder
        self._refused: BimixSweepError | None = None
        self._began = time.monotonic()
        self._log = SweepLog()
        self._figurer = Figurer()
        self._attempts = Attempts(limits)
        self._halted: str | None = None  # why nothing goes on until a person has seen to it
        self._changed = threading.Event()
        self._closed = threading.Event()
        try:
            self._copies = Copies(folder, first, change, lock_seconds)
        except Exception as error:  # noqa: BLE001 - an actor that fails to begin is begun anew for ever and can't tell why; so it begins and tells
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
        """Return when calls can be made.

        Raises:
            JournalError: another sweep writes there, or the journal is damaged.
            SweepError: the configuration or the data are not those the sweep began with.
        """
        if self._refused is not None:
            raise self._refused

    def __repr__(self) -> str:
        return f"LawActor({self._name})"

    def __getattr__(self, name: str) -> Any:
        """Copies and decider are missing where it could not begin; calls that were on their way to the one before it learn why."""
        if (refused := self.__dict__.get("_refused")) is not None and not name.startswith("__"):
            raise refused
        raise AttributeError(name)

    # what trainings call

    def start(
        self, trial: str, where: str, cores: float = 1.0, gpus: float = 0.0
    ) -> dict[str, Any]:
        """An attempt at a training begins, and holds so many CPU cores and GPUs.

        Returns:
            `state` of the training ("halted" where the sweep is), its `result` for Tune where it ended, the sweep's `precision` (None while nobody chose it),
            the steps `recorded` of it, how often it has `begun_anew`, and how many attempts, this one counted, brought no new point
            (`fruitless`). A trainer that runs should ask `alive` now and then.
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
        """The first answer counts for the whole sweep."""
        with self._copies.recording() as front:
            if front.precision is None:
                self._copies.append({"kind": "precision", "precision": precision})
            settled = front.precision
        assert settled is not None  # noqa: S101
        return settled

    def record(self, trial: str, step: int, losses: Mapping[str, float]) -> bool:
        """Add a point; it is on the disk when this returns.

        Returns:
            False where that step of that training was there already.

        Raises:
            DivergedError: a loss is not finite. SweepError: unknown training or targets. TrainingError: the training was ended.
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
        """The training has not ended: its budget was not spent, nor was it given up, meanwhile."""
        with self._copies.looking() as front:
            return front.state.trials[trial].state == "running"

    def finish(self, trial: str) -> None:
        """A training is done."""
        self._end(trial, "finished", "")

    def abandon(self, trial: str, reason: str, cause: Cause = "outside") -> None:
        """A training failed; whether a resumed sweep tries it again depends on the cause (`retries`).

        Raises:
            SweepError: the sweep was halted; whatever becomes of a training then is not its fault.
        """
        self._check_halted()
        self._end(trial, "failed", reason, cause)

    def halt(self, reason: str) -> None:
        """Nothing new begins from now on, and the driver is told why; what runs may end. A sweep that is resumed knows nothing of it."""
        if self._halted is None:  # every running training meets the same disk; it is said once
            self._halted = reason
            self._log.say(f"halted: {reason}")

    # what the driver calls

    def propose(self, trial: str) -> Proposal | None:
        """The next training, decided from everything recorded; None when the sweep is settled or its budget spent.

        Raises:
            SweepError: too many trainings in a row failed, or the sweep was halted.
        """
        self._check_halted()
        return self._decider.propose(trial)

    def decide(self) -> Decision:
        """Whether to stop, by everything recorded."""
        return self._decider.decide()

    def final(self, started: Collection[str]) -> Proposal | None:
        """The next final training that is not `started`, as `Decider.final` tells it.

        Raises:
            SweepError: no law could be fitted, or the sweep was halted.
        """
        self._check_halted()
        return self._decider.final(started)

    def over(self) -> bool:
        """Every final training was decided; some may still run."""
        with self._copies.looking() as front:
            finals = front.finals
            return finals is not None and all(
                trial in front.proposals
                for trial, _, _ in final_trainings(front, finals["mixtures"])
            )

    def overdue(self, living: Collection[str]) -> list[str]:
        """Which of the trials that have a worker must have it killed, each attempt named once.

        Trials that are silent or last for too long fail here, or are tried again.
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
        """All trainings so far, for a driver that starts."""
        with self._copies.looking() as front:
            return front.past()

    def retriable(self, wanted: RetryFailed) -> list[str]:
        """Names of the failed trials that `retries.retriable` tells to try again."""
        with self._copies.looking() as front:
            return retriable(front, wanted)

    def retry(self, trials: Sequence[str], *, reopens: bool = True) -> list[str]:
        """Run failed trials again, as `Decider.retry` does; called again for the same ones, it changes nothing."""
        tried = self._decider.retry(trials, reopens=reopens)
        if tried:
            self._log.say(f"tried again from their beginning: {', '.join(tried)}")
        return tried

    def left_out(self) -> list[str]:
        """What to say about failed trials that are not tried again by themselves, a line each."""
        with self._copies.looking() as front:
            return left_out(front, self._folder)

    def complete(self) -> None:
        """The results are written."""
        self._copies.commit({"kind": "complete"})

    def snapshot(self) -> Snapshot:
        """The sweep now, for a person."""
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
        """The sweep now, in numbers."""
        with self._copies.looking() as front:
            return self._figurer.take(front)

    def close(self) -> None:
        """Flush the journal and let go of it."""
        self._closed.set()
        if self._refused is None:
            self._copies.close()

    # parts

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
        """Record that a trial has failed; called inside of `recording`."""
        ended = {"state": "failed", "reason": reason, "cause": cause}
        self._copies.append({"kind": "end", "trial": trial, **ended})
        self._decider.failures.append(reason)
        self._log.fail(trial, reason)

    def enforce(self) -> None:
        """End the running trainings where they have passed a limit of the budget."""
        with self._copies.recording() as front:
            reason = overspent(front, front.clock.now()) if front.spec.limited else None
            for trial in front.running() if reason else ():
                ended = {"state": "failed", "reason": str(reason), "cause": "budget"}
                self._copies.append({"kind": "end", "trial": trial, **ended})
                self._log.fail(trial, str(reason))

    def _enforce_forever(self) -> None:
        with contextlib.suppress(BimixSweepError):  # the journal is broken, which callers are told
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
