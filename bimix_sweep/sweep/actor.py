"""The LawActor: one writer for journal and state, whatever runs where.

```
trainings ──record──▶ front (checks, idempotence) ─▶ journal ─▶ acknowledged
driver ───propose──▶ brain (catches up, fits, decides) ─▶ journal ─▶ proposal
                     refits in the background for whoever watches
```
A call returns when what it recorded is on the disk, and holds no lock while it waits for that: a slow disk slows who writes, but
neither fits nor reads.
Front and brain are two copies of the state, both rebuilt from the journal's events and from nothing else. The front does
only what takes microseconds, so that trainings never wait for a fit; the brain computes. If this process dies, another
one starts where the journal ends: what was acknowledged is there, and a call that was not is made again by Ray.

The class knows nothing of Ray; `launch` makes an actor of it. It imports no torch.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

from bimix_sweep import files
from bimix_sweep.design.stopping import Decision
from bimix_sweep.design.trial import Proposal
from bimix_sweep.errors import BimixSweepError, SweepError, TrainingError
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.sweep.budget import no_final, no_more, overspent
from bimix_sweep.sweep.figures import Figurer, Figures
from bimix_sweep.sweep.finals import PAIRS, final_mixtures, final_trainings, reference_mixtures, stands_for
from bimix_sweep.sweep.history import PastTrial, SweepHistory, proposal_event, rebuild, refit_event
from bimix_sweep.sweep.journal import Journal
from bimix_sweep.sweep.log import SweepLog
from bimix_sweep.sweep.segments import Event, decode, encode
from bimix_sweep.sweep.snapshot import Snapshot, describe, snapshot_of

PUBLISH_SECONDS = 5.0
"""Between figures: Ray forgets a gauge that is not set for two reports, 20 s."""
ENFORCE_SECONDS = 1.0
"""Between looks at a budget in hours."""
REFIT_SHARE = 0.02
"""Most of a core's time that refits in between may take."""
REFIT_GROWTH = 0.01
"""Share of further points from which such a refit is worth its place in the journal."""


class LawActor:
    """Records what happens, says what to run next."""

    def __init__(
        self, folder: str, first: Event, lock_seconds: float = 20.0, publish: Callable[[Figures], None] | None = None,
        change: Event | None = None,
    ) -> None:  # fmt: skip
        """Open or begin the journal in `folder/journal` and rebuild the state; `ready` says how that went.

        Args:
            first: the `sweep` event of this sweep; where the journal has one, both must agree on config and data.
            lock_seconds: how long to wait for the writer before.
            publish: is given the sweep's figures every few seconds.
            change: the `change` event that makes the journal's sweep the one of `first`; passed over where it is written already.
        """
        self._name = first["name"]
        self._refused: BimixSweepError | None = None
        self._began = time.monotonic()
        self._lock = threading.Lock()  # journal order and front
        self._thinking = threading.Lock()  # brain
        self._pending: list[Event] = []  # in the journal, not yet in the brain
        self._log = SweepLog()
        self._figurer = Figurer()
        self._failures_in_a_row: list[str] = []
        self._halted: str | None = None  # why nothing goes on until a person has seen to it
        self._changed = threading.Event()
        self._closed = threading.Event()
        try:
            self._journal, events = Journal.open(files.join(folder, "journal"), wait_seconds=lock_seconds)
            try:
                self._restore(folder, first, events, change)
            except BaseException:
                self._journal.close()
                raise
        except Exception as error:  # noqa: BLE001 - an actor that fails to begin is begun anew for ever and can't tell why; so it begins and tells
            self._refused = error if isinstance(error, BimixSweepError) else SweepError(f"{folder}: {type(error).__name__}: {error}")
            return
        threading.Thread(target=self._refit_forever, name="refits", daemon=True).start()
        if self._limited:
            threading.Thread(target=self._enforce_forever, name="budget", daemon=True).start()
        if publish is not None:
            threading.Thread(target=self._publish_forever, args=(publish,), name="figures", daemon=True).start()

    def _restore(self, folder: str, first: Event, events: list[Event], change: Event | None) -> None:
        if not events:
            rebuild([decode(encode(first)[:-1])], folder)  # before it is written: what cannot be read again is not recorded
            self._journal.write(first)
            events = [first]
        self._front = rebuild(events, folder)
        if change is not None and self._front.first["config_digest"] != first["config_digest"]:
            self._front = rebuild([*events, change], folder)  # before it is written: what cannot be replayed is not recorded
            self._journal.write(change)
            events = [*events, change]
            for line in change["what"]:
                self._log.say(f"changed: {line}")
        self._brain = rebuild(events, folder)
        began = self._front.first
        for key, what in (("config_digest", "configuration"), ("data", "data")):
            if began.get(key) != first[key]:
                raise SweepError(f"{folder}: the {what} is not what this sweep began with; start a new sweep, or bring it back")
        self._brain.restore_refits()
        self._last_number = len(events)
        for note in self._journal.notes:
            self._log.say(note)
        self._told = len(self._brain.state.history)

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
        """Journal and state are missing where it could not begin; calls that were on their way to the one before it learn why."""
        if (refused := self.__dict__.get("_refused")) is not None and not name.startswith("__"):
            raise refused
        raise AttributeError(name)

    # what trainings call

    def start(self, trial: str, where: str, cores: float = 1.0, gpus: float = 0.0) -> dict[str, Any]:
        """An attempt at a training begins, and holds so many CPU cores and GPUs.

        Returns:
            `state` of the training ("halted" where the sweep is), its `result` for Tune where it ended, the sweep's `precision` (None while nobody chose it),
            the steps `recorded` of it, how many attempts, this one counted, brought no new point (`fruitless`), and whether it may be
            ended by a budget in hours (`limited`), so that it should ask `alive` now and then.
        """
        if self._halted is not None:
            return {"state": "halted", "result": {"step": 0, "failed": self._halted}}
        self._commit({"kind": "start", "trial": trial, "where": where, "cores": cores, "gpus": gpus})
        self._log.start(trial, where, len(self._front.starts[trial]))
        record = self._front.state.trials[trial]
        result = {"step": max(record.points, default=0), "objective": self._front.objective(trial)}
        return {
            "state": record.state, "precision": self._front.precision, "recorded": sorted(record.points),
            "fruitless": self._front.fruitless.get(trial, 0), "limited": self._limited,
            "result": result if record.state == "finished" else {"step": 0, "failed": record.failure},
        }  # fmt: skip

    def settle_precision(self, precision: dict[str, Any]) -> dict[str, Any]:
        """The first answer counts for the whole sweep."""
        with self._lock:
            if self._front.precision is None:
                self._append({"kind": "precision", "precision": precision})
            number, settled = self._last_number, self._front.precision
        self._journal.sync(number)
        assert settled is not None  # noqa: S101
        return settled

    def record(self, trial: str, step: int, losses: Mapping[str, float]) -> bool:
        """Add a point; it is on the disk when this returns.

        Returns:
            False where that step of that training was there already.

        Raises:
            DivergedError: a loss is not finite. SweepError: unknown training or targets. TrainingError: the training was ended.
        """
        with self._lock:
            record = self._front.state.trials.get(trial)
            new = record is None or step not in record.points
            if new and record is not None and record.state == "failed":
                raise TrainingError(record.failure)
            if new:
                self._append({"kind": "point", "trial": trial, "step": int(step), "losses": {t: float(v) for t, v in losses.items()}})
            number = self._last_number
        self._journal.sync(number)
        self._changed.set()
        return new

    def alive(self, trial: str) -> bool:
        """The training has not ended: its budget was not spent meanwhile."""
        with self._lock:
            return self._front.state.trials[trial].state == "running"

    def finish(self, trial: str) -> None:
        """A training is done."""
        self._end(trial, "finished", "")

    def abandon(self, trial: str, reason: str) -> None:
        """A training failed for good.

        Raises:
            SweepError: the sweep was halted; whatever becomes of a training then is not its fault.
        """
        self._check_halted()
        self._end(trial, "failed", reason)

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
        with self._current() as brain:
            if trial in brain.proposals:
                return brain.proposals[trial]
            if len(self._failures_in_a_row) >= max(3, brain.spec.slots):
                raise SweepError(
                    f"the last {len(self._failures_in_a_row)} trainings failed, the last with: {self._failures_in_a_row[-1]}; "
                    "mend the cause and go on with resume"
                )
            decision = brain.state.decide()
            self._tell_refits("proposal")
            if not decision.stop and (reason := self._told_of_budget(no_more)):
                decision = replace(decision, stop=True, reason=f"{reason}; {decision.reason}")
                brain.state.restore_decision(decision)
            if decision.stop and brain.decision is None:
                self._enter({"kind": "decision", "decision": asdict(decision)})
                self._log.say(f"no more mixtures: {decision.reason}")
            proposal = brain.state.propose(trial)
            if proposal is not None:
                self._enter(proposal_event(proposal, "sweep"))
            return proposal

    def decide(self) -> Decision:
        """Whether to stop, by everything recorded."""
        with self._current() as brain:
            decision = brain.state.decide()
            self._tell_refits("proposal")
            return decision

    def final(self, started: Collection[str]) -> Proposal | None:
        """The next final training that is not `started`; None while the sweep's own must end first, or when there is no more.

        The caller says what it has started, so that an answer lost with this process is given again.

        Uniform and natural mixture do not depend on the outcome: they fill slots that wait for the last trainings.

        Raises:
            SweepError: no law could be fitted.
        """
        self._check_halted()
        with self._current() as brain:
            if brain.finals is None and not brain.running("sweep"):
                self._settle_finals()
            planned = reference_mixtures(brain.spec) if brain.finals is None else brain.finals["mixtures"]
            for trial, seed, entry in final_trainings(brain, planned):
                if trial in started:
                    continue
                if trial not in brain.proposals:
                    proposal = Proposal(
                        trial=trial, mixture=Mixture.from_mapping(entry["mixture"]), reason=f"final: {', '.join(entry['labels'])}",
                        seed=seed, num_points=brain.num_points,
                    )  # fmt: skip
                    reason = self._told_of_budget(no_final)
                    self._enter(proposal_event(proposal, "final"))
                    if reason is not None:
                        self._enter({"kind": "end", "trial": trial, "state": "failed", "reason": reason})
                        self._log.fail(trial, reason)
                    self._catch_up()
                    if reason is not None:
                        continue
                return brain.proposals[trial]
            return None

    def over(self) -> bool:
        """Every final training was decided; some may still run."""
        with self._lock:
            finals = self._front.finals
            return finals is not None and all(
                trial in self._front.proposals for trial, _, _ in final_trainings(self._front, finals["mixtures"])
            )

    def past(self) -> list[PastTrial]:
        """All trainings so far, for a driver that starts."""
        with self._lock:
            return self._front.past()

    def complete(self) -> None:
        """The results are written."""
        self._commit({"kind": "complete"})

    def snapshot(self) -> Snapshot:
        """The sweep now, for a person."""
        with self._lock:
            return snapshot_of(
                self._front, elapsed_seconds=time.monotonic() - self._began, training_seconds=self._log.training_seconds,
                lines=list(self._log.lines), num_lines=self._log.num_lines, epoch=self._journal.epoch,
            )  # fmt: skip

    def figures(self) -> Figures:
        """The sweep now, in numbers."""
        with self._lock:
            return self._figurer.take(self._front)

    def close(self) -> None:
        """Flush the journal and let go of it."""
        self._closed.set()
        with self._thinking, self._lock:
            self._journal.close()

    # parts

    def _check_halted(self) -> None:
        if self._halted is not None:
            raise SweepError(self._halted)

    def _append(self, event: Event) -> None:
        """Check an event by taking it in, then put it in line; `_lock` is held."""
        self._front.apply(event)
        self._last_number = self._journal.append(event)
        self._pending.append(event)

    def _enter(self, event: Event) -> None:
        """Take an event in; it is on the disk some time later."""
        with self._lock:
            self._append(event)

    def _commit(self, event: Event) -> None:
        """Take an event in and wait until it is on the disk."""
        with self._lock:
            self._append(event)
            number = self._last_number
        self._journal.sync(number)

    @contextlib.contextmanager
    def _current(self) -> Iterator[SweepHistory]:
        """The brain with everything recorded so far. What is entered inside is on the disk at the end; only the caller waits for that."""
        with self._thinking:
            self._catch_up()
            yield self._brain
            with self._lock:
                number = self._last_number
        self._journal.sync(number)

    def _end(self, trial: str, state: str, reason: str) -> None:
        with self._lock:
            record = self._front.state.trials.get(trial)
            if record is None or record.state == "running":
                self._append({"kind": "end", "trial": trial, "state": state, "reason": reason})
                if state == "finished":
                    self._failures_in_a_row.clear()
                    self._log.finish(self._front.proposals[trial], self._front.objective(trial))
                else:
                    self._failures_in_a_row.append(reason)
                    self._log.fail(trial, reason)
            number = self._last_number
        self._journal.sync(number)
        self._changed.set()

    @property
    def _limited(self) -> bool:
        return self._front.spec.core_hours is not None or self._front.spec.gpu_hours is not None

    def _told_of_budget(self, question: Callable[[SweepHistory, float], str | None]) -> str | None:
        """The answer to a question about the budget, as things stand now."""
        if not self._limited:
            return None
        with self._lock:
            return question(self._front, time.time())

    def enforce(self) -> None:
        """End the running trainings where they have passed a limit of the budget."""
        with self._lock:
            reason = overspent(self._front, time.time()) if self._limited else None
            for trial in self._front.running() if reason else ():
                self._append({"kind": "end", "trial": trial, "state": "failed", "reason": str(reason)})
                self._log.fail(trial, str(reason))
            number = self._last_number
        self._journal.sync(number)

    def _enforce_forever(self) -> None:
        with contextlib.suppress(BimixSweepError):  # the journal is broken, which callers are told
            while not self._closed.wait(ENFORCE_SECONDS):
                self.enforce()

    def _catch_up(self) -> None:
        """Bring the brain to what the front knows; `_thinking` is held."""
        with self._lock:
            events, self._pending = self._pending, []
        for event in events:
            self._brain.apply(event)

    def _tell_refits(self, by: str) -> None:
        """Journal and log the brain's refits that were not told yet; `_thinking` is held."""
        history = self._brain.state.history
        for number in range(self._told, len(history)):
            self._log.refit(number + 1, history[number])
            self._enter(refit_event(history[number], self._brain.num_over, by))
        self._told = len(history)

    def _refit_forever(self) -> None:
        while True:
            self._changed.wait()
            self._changed.clear()
            seconds = 0.0
            try:
                with self._current() as brain:
                    seen = brain.state.history[-1].num_points if brain.state.history else 0
                    if brain.finals is None and brain.num_points >= seen + max(1.0, REFIT_GROWTH * seen):
                        seconds = brain.state.refit(watching=True).seconds
                        self._tell_refits("watch")
            except BimixSweepError as error:  # a watcher's refit: the next proposal meets the same trouble and reports it
                self._log.say(f"no refit: {error}")
            time.sleep(max(1.0, seconds / REFIT_SHARE))

    def _publish_forever(self, publish: Callable[[Figures], None]) -> None:
        while True:
            publish(self.figures())
            time.sleep(PUBLISH_SECONDS)

    def _settle_finals(self) -> None:
        brain = self._brain
        refit = brain.state.refit(anew=True)  # whatever restarts and fits there were, the same points end in the same law
        self._tell_refits("end")
        law, optimum = refit.law, refit.optimum
        if law is None or optimum is None:
            finished = sum(record.state == "finished" for record in brain.state.trials.values())
            raise SweepError(f"{finished} finished trainings determine no law; raise the budget or mend the ones that failed")
        mixtures = final_mixtures(brain, optimum.mixture)
        optimum_said = f"the predicted optimum {describe(optimum.mixture.as_dict())}"
        if (distance := stands_for(brain, mixtures, optimum.mixture)) is None:
            self._log.say(f"{optimum_said} is trained beside the others, {PAIRS} seeds each")
        else:
            self._log.say(f"{optimum_said} is not trained anew: earlier final trainings stand for it, distance {distance:.3f}")
        self._enter({"kind": "finals", "law": law.to_json(), "num_points": refit.num_points, "mixtures": mixtures})
        self._catch_up()
