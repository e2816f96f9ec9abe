"""Rebuilds the state of a sweep from its events, live, after a restart and for reports."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bimix_sweep import locations
from bimix_sweep.design.fidelity import Fidelity
from bimix_sweep.design.planner import SweepState
from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.design.refit import Refit
from bimix_sweep.design.stopping import Decision, StoppingRule
from bimix_sweep.design.trial import Proposal
from bimix_sweep.errors import BimixSweepError, DivergedError, JournalError, SweepError
from bimix_sweep.journal.clock import Clock
from bimix_sweep.journal.codec import Event
from bimix_sweep.journal.segments import read
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.mixture.objective import weighted_loss
from bimix_sweep.sweep.history.event_checks import check_shape
from bimix_sweep.sweep.history.events import CHANGED, ELSEWHERE, spec_from_json
from bimix_sweep.sweep.history.usage import Hours

LIMITS = ("max_trials", "tolerance", "patience", "core_hours", "gpu_hours", "slots", "final")
"""Fields of the spec whose change keeps earlier predictions valid.

They say how long to continue, or are stated beside the answer (`final`, whose caps are in
`domains`). If only these fields change, earlier predicted optima and regrets stay valid.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PastTrial:
    """A trial as a new driver finds it."""

    proposal: Proposal
    role: str
    state: str
    """State of the trial: "running" (the driver continues it), "finished" or "failed"."""
    objective: float | None
    """Weighted loss at the last point; None before the first."""


@dataclass(slots=True, kw_only=True)
class SweepHistory:
    """The state of a sweep, rebuilt from its events."""

    first: Event
    """The `sweep` event, updated by every `change` event."""
    spec: SweepSpec
    state: SweepState
    proposals: dict[str, Proposal] = field(default_factory=dict)
    """{trial: its proposal}, in order, including the confirmation trials."""
    precision: dict[str, Any] | None = None
    starts: dict[str, list[Event]] = field(default_factory=dict)
    """{trial: the `start` events of its attempts}."""
    fruitless: dict[str, int] = field(default_factory=dict)
    """{trial: number of attempts since its last point}."""
    begun_anew: dict[str, int] = field(default_factory=dict)
    """{trial: how often it began anew}, after a failure or on other data.

    Such a trial may not continue from an earlier checkpoint.
    """
    refits: list[Event] = field(default_factory=list)
    decision: Decision | None = None
    """Decision by which the sweep stopped proposing; None before that."""
    confirmation: Event | None = None
    complete: bool = False
    changes: list[Event] = field(default_factory=list)
    retired: set[str] = field(default_factory=set)
    """Confirmation trials from before a change that do not count now: failed, or of other data."""
    hours: Hours = field(default_factory=Hours)
    """Hours of compute that trials used."""
    seconds: float = 0.0
    """Wall time of all drivers in seconds, without the gaps between them."""
    clock: Clock = field(default_factory=Clock)
    """Clock for the times of events that the journal has not written yet."""
    longest: dict[Fidelity, float] = field(default_factory=dict)
    """{fidelity: longest seconds between two signs of life of an attempt}, of finished trials."""
    _last: tuple[int, float] = (0, 0.0)
    _num_failed: int = 0

    @classmethod
    def begin(cls, first: Event) -> "SweepHistory":
        """Makes an empty history from the `sweep` event.

        Raises:
            BimixSweepError: the event is of another kind, or its spec does not fit together.
        """
        if first["kind"] != "sweep":
            raise SweepError("the journal begins with it; need a sweep event first")
        spec = spec_from_json(first["spec"])
        return cls(first=first, spec=spec, state=SweepState(spec))

    def apply(self, event: Event) -> None:
        """Updates the state with one event.

        Raises:
            SweepError, DivergedError, MixtureError: the event does not fit the state, which stays
                unchanged.
        """
        take = getattr(self, f"_take_{event['kind']}", None) if event["kind"].isalpha() else None
        if take is None:
            raise SweepError(
                f"a {event['kind']} event is not known; this journal is of a newer program, "
                "so update bimix-sweep"
            )
        take(event)
        at = event["at"] if "at" in event else self.clock.now()  # the journal adds `at` later
        self.hours.take(event, at)
        if event["kind"] == "end":
            self._learn_silence(event["trial"])
        if "at" in event:
            if event["epoch"] == self._last[0]:
                self.seconds += max(0.0, event["at"] - self._last[1])
            self._last = (event["epoch"], event["at"])

    def replay(self, event: Event) -> None:
        """Updates the state with an event that was read from a journal.

        The journal may be from a program that accepted losses of any size. A trial with a loss out
        of range becomes a failed trial.

        Raises:
            SweepError, MixtureError: the event does not fit the state, which stays unchanged.
        """
        try:
            self.apply(event)
        except DivergedError as error:
            ended = {"kind": "end", "state": "failed", "reason": str(error), "cause": "diverged"}
            self.apply({**event, **ended})

    def restore_refits(self) -> None:
        """Gives the state the earlier decisions, so that its count of agreeing refits continues."""
        self.state.forget_refits()
        for event in self.refits:
            refit = Refit(
                num_points=event["num_points"],
                num_trials=event["num_trials"],
                law=None,
                optimum=None,
                decision=Decision(**event["decision"]),
                seconds=event["seconds"],
            )
            self.state.restore_refit(refit, event["num_over"], counted=event.get("by") != "watch")

    @property
    def elsewhere(self) -> bool:
        """Whether another program runs the trials of this sweep."""
        return bool(self.first["data"] == ELSEWHERE)

    @property
    def num_over(self) -> int:
        """Number of trials that finished or failed, without the confirmation trials."""
        return sum(
            record.role == "sweep" and record.state != "running"
            for record in self.state.trials.values()
        )

    @property
    def num_points(self) -> int:
        """Number of recorded points of the trials to which the law is fitted."""
        return sum(
            len(record.points) for record in self.state.trials.values() if record.role == "sweep"
        )

    def running(self, role: str | None = None) -> list[str]:
        """Names of the trials that have not ended, of one `role` or of all."""
        return [
            name
            for name, record in self.state.trials.items()
            if record.state == "running" and role in (None, record.role)
        ]

    def objective(self, trial: str) -> float | None:
        """Weighted loss at a trial's last step; None before its first point."""
        points = self.state.trials[trial].points
        return (
            weighted_loss(
                points[max(points)], self.spec.weights, self.spec.objective, self.spec.goals
            )
            if points
            else None
        )

    def past(self) -> list[PastTrial]:
        """All trials so far, for a new driver."""
        return [
            PastTrial(
                proposal=proposal,
                role=self.state.trials[name].role,
                state=self.state.trials[name].state,
                objective=self.objective(name),
            )
            for name, proposal in self.proposals.items()
        ]

    def _take_change(self, event: Event) -> None:
        spec = spec_from_json(event["spec"])
        same_data = (
            event["data"] == self.first["data"] and not event["renamed"] and not event["dropped"]
        )
        same_problem = (
            same_data
            and replace(spec, **{name: getattr(self.spec, name) for name in LIMITS}) == self.spec
        )
        before = {event["renamed"].get(name, name) for name in self.spec.domains.names}
        if not before.issuperset(spec.domains.names):
            for name in self.running():
                self._begin_anew(name)
        self.state.change(
            spec, renamed=event["renamed"], dropped=event["dropped"], ended=event["ended"]
        )
        self.first = {**self.first, **{key: event[key] for key in CHANGED}}
        self.spec, self.decision, self.confirmation, self.complete = spec, None, None, False
        records = self.state.trials
        self.proposals = {
            name: replace(proposal, mixture=records[name].mixture)
            for name, proposal in self.proposals.items()
        }
        self.retired |= {
            n
            for n, record in records.items()
            if record.role == "confirmation" and (record.state == "failed" or not same_data)
        }
        self.refits = judged_again(self.refits, spec.rule) if same_problem else []
        self._num_failed = sum(
            record.role == "sweep" and record.state == "failed" for record in records.values()
        )
        self.changes.append(event)

    def _take_precision(self, event: Event) -> None:
        self.precision = event["precision"]

    def _take_proposal(self, event: Event) -> None:
        proposal = Proposal(
            trial=event["trial"],
            mixture=Mixture.from_mapping(event["mixture"]),
            reason=event["reason"],
            seed=event["seed"],
            num_points=event["num_points"],
            fit=event["fit"],
            size=event.get("size"),
            steps=event.get("steps"),
        )
        # the state that made the proposal has the trial already
        if proposal.trial not in self.state.trials:
            if event["role"] == "sweep":
                self.state.restore_proposal(proposal)
            else:
                self.state.add_trial(proposal, event["role"])
        self.proposals[proposal.trial] = proposal

    def _take_start(self, event: Event) -> None:
        self.starts.setdefault(event["trial"], []).append(event)
        self.fruitless[event["trial"]] = self.fruitless.get(event["trial"], 0) + 1

    def _take_point(self, event: Event) -> None:
        self.state.record(event["trial"], event["step"], event["losses"])
        self.fruitless[event["trial"]] = 0

    def _take_end(self, event: Event) -> None:
        record = self.state.trials.get(event["trial"])
        if record is not None and record.state == "failed":
            return
        if event["state"] == "finished":
            self.state.finish(event["trial"])
        else:
            self.state.abandon(event["trial"], event["reason"], event.get("cause", "outside"))
            self._num_failed += self.state.trials[event["trial"]].role == "sweep"

    def _learn_silence(self, trial: str) -> None:
        """Stores the longest silence of a trial that ended.

        Called after `hours` has taken the time from the last point to the end.
        """
        longest = self.hours.longest.pop(trial, 0.0)
        record = self.state.trials[trial]
        if record.state == "finished":
            self.longest[record.fidelity] = max(self.longest.get(record.fidelity, 0.0), longest)

    def _take_retry(self, event: Event) -> None:
        """Runs a failed trial again; earlier refits are judged as if it had not ended then."""
        trial = event["trial"]
        over = self.state.trial_record.over
        self.state.retry(trial, reopens=self.confirmation is None or event["reopens"])
        self.fruitless[trial], self.complete = 0, False
        self._begin_anew(trial)
        self.retired.discard(trial)
        if trial in over:
            place = over.index(trial)
            self._num_failed -= 1
            shifted = (
                {**e, "num_over": e["num_over"] - (e["num_over"] > place)} for e in self.refits
            )
            self.refits = judged_again([*shifted], self.spec.rule)
            self.restore_refits()
            if self.confirmation is None or event["reopens"]:
                self._reopen()

    def _begin_anew(self, trial: str) -> None:
        self.begun_anew[trial] = self.begun_anew.get(trial, 0) + 1

    def _reopen(self) -> None:
        """Opens the decision to stop and the confirmation trials again.

        Confirmation trials that finished may be reused for the new ones.
        """
        if self.confirmation is not None:
            for name in self.running("confirmation"):
                self.state.abandon(name, "the sweep was reopened before it ended", "changed")
            records = self.state.trials.items()
            self.retired |= {
                n for n, r in records if r.role == "confirmation" and r.state == "failed"
            }
        self.decision = self.confirmation = None

    def _take_refit(self, event: Event) -> None:
        self.refits.append({**event, "num_finished": max(0, event["num_over"] - self._num_failed)})

    def _take_decision(self, event: Event) -> None:
        self.decision = Decision(**event["decision"])
        self.state.restore_decision(self.decision)

    def _take_confirmation(self, event: Event) -> None:
        self.confirmation = event

    def _take_complete(self, event: Event) -> None:
        self.complete = True


def judged_again(refits: Sequence[Event], rule: StoppingRule) -> list[Event]:
    """The refits with the decisions that stopping rule `rule` makes for them."""
    judged: list[Event] = []
    before, counted = None, 0
    for event in refits:
        figures = {
            key: event["decision"].get(key)
            for key in ("movement_tv", "regret_expected", "regret_upper95")
        }
        counts = event["num_over"] > counted and event.get("by") != "watch"
        before = rule.judge(
            before,
            num_finished=event["num_finished"],
            num_over=event["num_over"],
            counts=counts,
            **figures,
        )
        counted = event["num_over"] if counts else counted
        judged.append({**event, "decision": asdict(before)})
    return judged


def rebuild(events: Iterable[Event], where: str) -> SweepHistory:
    """Rebuilds a history from events.

    Args:
        events: all events of a journal, in order.
        where: the journal's folder, for messages.

    Raises:
        JournalError: there are no events, or an event does not fit; the message gives its number.
    """
    history: SweepHistory | None = None
    for event in events:
        try:
            check_shape(event)
            if history is None:
                history = SweepHistory.begin(event)
            else:
                history.replay(event)
        except (
            BimixSweepError,
            LookupError,
            TypeError,
            ValueError,
            AttributeError,
            ArithmeticError,
        ) as error:
            raise JournalError(
                f"{where}: event {event.get('seq', 1)} ({event['kind']}) cannot be used: {error}"
            ) from error
    if history is None:
        raise JournalError(f"{where} holds no events; nothing was started there")
    return history


def replay(folder: str | Path) -> SweepHistory:
    """Rebuilds the history of the sweep in a folder, read only.

    Args:
        folder: path or URI of the sweep.

    Raises:
        JournalError: the journal is empty, damaged or does not fit together.
    """
    journal = locations.join(folder, "journal")
    return rebuild(read(journal).events, journal)
