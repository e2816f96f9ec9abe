"""The state of a sweep as its events make it, live, after a restart and for reports."""

from dataclasses import dataclass, field, replace
from typing import Any

from bimix_sweep.design.fidelity import Fidelity
from bimix_sweep.design.planner import SweepState
from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.design.stopping import Decision
from bimix_sweep.design.trial import Proposal
from bimix_sweep.errors import DivergedError, SweepError
from bimix_sweep.journal.clock import Clock
from bimix_sweep.mixture.objective import weighted_loss
from bimix_sweep.sweep.history import events
from bimix_sweep.sweep.history.refits import (
    PastRefit,
    judged_again,
    keeps_predictions,
    without_ended,
)
from bimix_sweep.sweep.history.usage import Hours


@dataclass(slots=True, kw_only=True)
class SweepHistory:
    """The state of a sweep, rebuilt from its events.

    `state` is the planner's: spec, trials and points. The other attributes are what only the
    journal knows. The planner may have decided to stop, or have made a proposal, before the event
    is in the journal; `decision`, `refits` and `proposals` are those of the journal.
    """

    first: events.SweepEvent
    """The `sweep` event, updated by every `change` event."""
    state: SweepState
    proposals: dict[str, Proposal] = field(default_factory=dict)
    """{trial: its proposal}, in order, including the confirmation trials."""
    precision: dict[str, Any] | None = None
    starts: dict[str, list[events.StartEvent]] = field(default_factory=dict)
    """{trial: the `start` events of its attempts}."""
    fruitless: dict[str, int] = field(default_factory=dict)
    """{trial: number of attempts since its last point}."""
    begun_anew: dict[str, int] = field(default_factory=dict)
    """{trial: how often it began anew}, after a failure or on other data.

    Such a trial may not continue from an earlier checkpoint.
    """
    refits: list[PastRefit] = field(default_factory=list)
    decision: Decision | None = None
    """Decision by which the sweep stopped proposing; None before that."""
    confirmation: events.ConfirmationEvent | None = None
    complete: bool = False
    changes: list[events.ChangeEvent] = field(default_factory=list)
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
    _last: tuple[int | None, float] = (0, 0.0)
    _num_failed: int = 0

    @classmethod
    def begin(cls, first: events.AnyEvent) -> "SweepHistory":
        """Makes an empty history from the `sweep` event.

        Raises:
            BimixSweepError: the event is of another kind, or its spec does not fit together.
        """
        if not isinstance(first, events.SweepEvent):
            raise SweepError("the journal begins with it; need a sweep event first")
        return cls(first=first, state=SweepState(first.spec.spec()))

    def apply(self, event: events.AnyEvent) -> None:
        """Updates the state with one event.

        Raises:
            SweepError, DivergedError, MixtureError: the event does not fit the state, which stays
                unchanged.
        """
        self._take(event)
        at = self.clock.now() if event.at is None else event.at
        self.hours.take(event, at)
        if isinstance(event, events.EndEvent):
            self._learn_silence(event.trial)
        if event.at is not None:
            if event.epoch == self._last[0]:
                self.seconds += max(0.0, event.at - self._last[1])
            self._last = (event.epoch, event.at)

    def replay(self, event: events.AnyEvent) -> None:
        """Updates the state with an event that was read from a journal.

        The journal may be from a program that accepted losses of any size. A trial with a loss out
        of range becomes a failed trial.

        Raises:
            SweepError, MixtureError: the event does not fit the state, which stays unchanged.
        """
        try:
            self.apply(event)
        except DivergedError as error:
            if not isinstance(event, events.PointEvent):
                raise
            self.apply(
                events.EndEvent(
                    seq=event.seq,
                    epoch=event.epoch,
                    at=event.at,
                    trial=event.trial,
                    state="failed",
                    reason=str(error),
                    cause="diverged",
                )
            )

    def restore_refits(self) -> None:
        """Gives the state the earlier decisions, so that its count of agreeing refits continues."""
        self.state.forget_refits()
        for refit in self.refits:
            self.state.restore_refit(
                refit.for_planner(), refit.num_over, counted=not refit.watching
            )

    @property
    def spec(self) -> SweepSpec:
        """The sweep's present spec."""
        return self.state.spec

    @property
    def last_at(self) -> float | None:
        """Time of the last event that the journal has, in seconds since 1970."""
        return self._last[1] or None

    @property
    def elsewhere(self) -> bool:
        """Whether another program runs the trials of this sweep."""
        return self.first.data == events.ELSEWHERE

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

    def _take(self, event: events.AnyEvent) -> None:
        match event:
            case events.PointEvent():
                self.state.record(event.trial, event.step, event.losses)
                self.fruitless[event.trial] = 0
            case events.StartEvent():
                self.starts.setdefault(event.trial, []).append(event)
                self.fruitless[event.trial] = self.fruitless.get(event.trial, 0) + 1
            case events.ProposalEvent():
                self._take_proposal(event)
            case events.EndEvent():
                self._take_end(event)
            case events.RefitEvent():
                self.refits.append(PastRefit.of(event, self._num_failed))
            case events.RetryEvent():
                self._take_retry(event)
            case events.ChangeEvent():
                self._take_change(event)
            case events.PrecisionEvent():
                self.precision = event.precision
            case events.DecisionEvent():
                self.decision = event.decision.decision()
                self.state.restore_decision(self.decision)
            case events.ConfirmationEvent():
                self.confirmation = event
            case events.CompleteEvent():
                self.complete = True
            case events.SweepEvent():
                raise SweepError("the sweep has begun already; need one sweep event")

    def _take_change(self, event: events.ChangeEvent) -> None:
        old, spec = self.spec, event.spec.spec()
        same_data = event.data == self.first.data and not event.renamed and not event.dropped
        same_problem = same_data and keeps_predictions(old, spec)
        before = {event.renamed.get(name, name) for name in old.domains.names}
        if not before.issuperset(spec.domains.names):
            for name in self.running():
                self._begin_anew(name)
        self.state.change(spec, renamed=event.renamed, dropped=event.dropped, ended=event.ended)
        self.first = self.first.model_copy(
            update={key: getattr(event, key) for key in events.CHANGED}
        )
        self.decision, self.confirmation, self.complete = None, None, False
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

    def _take_proposal(self, event: events.ProposalEvent) -> None:
        proposal = event.proposal()
        # the state that made the proposal has the trial already
        if proposal.trial not in self.state.trials:
            if event.role == "sweep":
                self.state.restore_proposal(proposal)
            else:
                self.state.add_trial(proposal, event.role)
        self.proposals[proposal.trial] = proposal

    def _take_end(self, event: events.EndEvent) -> None:
        record = self.state.trials.get(event.trial)
        if record is not None and record.state == "failed":
            return
        if event.state == "finished":
            self.state.finish(event.trial)
        else:
            self.state.abandon(event.trial, event.reason, event.cause)
            self._num_failed += self.state.trials[event.trial].role == "sweep"

    def _learn_silence(self, trial: str) -> None:
        """Stores the longest silence of a trial that ended.

        Called after `hours` has taken the time from the last point to the end.
        """
        longest = self.hours.longest.pop(trial, 0.0)
        record = self.state.trials[trial]
        if record.state == "finished":
            self.longest[record.fidelity] = max(self.longest.get(record.fidelity, 0.0), longest)

    def _take_retry(self, event: events.RetryEvent) -> None:
        """Runs a failed trial again; earlier refits are judged as if it had not ended then."""
        trial, over = event.trial, self.state.trial_record.over
        reopens = self.confirmation is None or event.reopens
        self.state.retry(trial, reopens=reopens)
        self.fruitless[trial], self.complete = 0, False
        self._begin_anew(trial)
        self.retired.discard(trial)
        if trial in over:
            self._num_failed -= 1
            shifted = without_ended(self.refits, over.index(trial))
            self.refits = judged_again(shifted, self.spec.rule)
            self.restore_refits()
            if reopens:
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
