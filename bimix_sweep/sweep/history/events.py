"""The events of a sweep, one model for each kind, for writing and for reading.

A writer makes an event, such as `PointEvent(trial="t0000", step=100, losses={"web": 3.1})`, and the
journal stores `event.to_json()`. A reader gets the same event from `read_event`, which checks types
and ranges of values, because a correct checksum does not show who wrote a line. Whether an event
fits the events before it is checked by `history`.

The kinds of events:

* `sweep`: the first event, with name, config and its digest, identity of the data, and the spec.
* `change`: the sweep continues with another config; the event holds what changed in words, the
  fields of `sweep`, and what happens to the trials so far.
* `precision`: the number format of all trials.
* `proposal`: a trial was decided, with mixture, reason, seed, role, and the points and the law that
  the decision used.
* `start`: an attempt at a trial began, with its place and its number of CPU cores and GPUs.
* `point`: losses of a trial at a step.
* `end`: a trial finished or failed, with the kind of failure.
* `retry`: a failed trial runs again from its beginning; the event says whether later decisions are
  open again.
* `refit`: the result of a refit, with predicted optimum, region, regret and decision.
* `decision`: the sweep stopped proposing, with the reason.
* `confirmation`: the law and the optimum that the confirmation trials test.
* `complete`: the comparison was made and the results were written.
"""

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, ValidationError

from bimix_sweep.design.refit import Refit
from bimix_sweep.design.trial import Cause, Proposal
from bimix_sweep.errors import JournalError, SweepError
from bimix_sweep.export.validation_error import explain
from bimix_sweep.journal.codec import Event
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.sweep.history.event_fields import (
    ConfirmationMixture,
    Count,
    Number,
    Numbers,
    Positive,
    PositiveNumber,
    RefitPurpose,
    Role,
    StoredDecision,
    StoredLawSummary,
    StoredOptimum,
    TrialName,
    TypedEvent,
)
from bimix_sweep.sweep.history.stored_spec import StoredSpec

ELSEWHERE = {"trials": "elsewhere"}
"""Identity of the data of a sweep whose trials another program runs.

Such trials do not mix with trials of this program in one sweep.
"""
CHANGED = ("name", "config", "config_digest", "data", "spec")
"""Fields of the `sweep` event that a `change` event replaces."""


class SweepEvent(TypedEvent):
    """The first event of a sweep."""

    kind: Literal["sweep"] = "sweep"
    name: str
    config: dict[str, Any] = Field(default_factory=dict)
    """`SweepConfig.public`, with which a later change is compared; empty if it is not known."""
    config_digest: str
    data: dict[str, Any]
    """Identity of the data."""
    spec: StoredSpec
    versions: dict[str, str]
    """{library: version}."""


class ChangeEvent(TypedEvent):
    """The sweep continues with another configuration."""

    kind: Literal["change"] = "change"
    what: Annotated[list[str], Field(min_length=1)]
    """The change in words, one line each."""
    name: str
    config: dict[str, Any]
    config_digest: str
    data: dict[str, Any]
    spec: StoredSpec
    renamed: dict[str, str]
    """{domain: new name}."""
    dropped: list[str]
    """Trials that are no longer evidence."""
    ended: dict[str, str]
    """{running trial: why it cannot continue}."""


class PrecisionEvent(TypedEvent):
    """The number format of all trials was chosen."""

    kind: Literal["precision"] = "precision"
    precision: dict[str, Any]


class ProposalEvent(TypedEvent):
    """A trial was decided.

    The event holds the trial's size if the sweep has several sizes, and its steps if the sweep has
    several numbers of steps.
    """

    left_out = ("size", "steps")

    kind: Literal["proposal"] = "proposal"
    trial: TrialName
    role: Role
    mixture: Numbers
    reason: str
    seed: Count
    num_points: Count
    fit: dict[str, Any]
    size: PositiveNumber | None = None
    steps: Positive | None = None

    @classmethod
    def of(cls, proposal: Proposal, role: Role) -> Self:
        """Makes the event of a proposal."""
        return cls(
            trial=proposal.trial,
            role=role,
            mixture=proposal.mixture.as_dict(),
            reason=proposal.reason,
            seed=proposal.seed,
            num_points=proposal.num_points,
            fit=dict(proposal.fit),
            size=proposal.size,
            steps=proposal.steps,
        )

    def proposal(self) -> Proposal:
        """The proposal itself.

        Raises:
            MixtureError: the proportions are none of a mixture.
        """
        return Proposal(
            trial=self.trial,
            mixture=Mixture.from_mapping(self.mixture),
            reason=self.reason,
            seed=self.seed,
            num_points=self.num_points,
            fit=self.fit,
            size=self.size,
            steps=self.steps,
        )


class StartEvent(TypedEvent):
    """An attempt at a trial began."""

    kind: Literal["start"] = "start"
    trial: str
    where: str
    cores: Annotated[Number, Field(ge=0, le=1e9)] = 1.0
    gpus: Annotated[Number, Field(ge=0, le=1e9)] = 0.0


class PointEvent(TypedEvent):
    """A trial measured its losses at a step.

    Step and losses are checked where the point is recorded (`SweepRecord.record`).
    """

    kind: Literal["point"] = "point"
    trial: str
    step: int
    losses: dict[str, Annotated[float, Field(allow_inf_nan=True)]]


class EndEvent(TypedEvent):
    """A trial finished or failed."""

    kind: Literal["end"] = "end"
    trial: str
    state: Literal["finished", "failed"]
    reason: str
    cause: Cause = "outside"


class RetryEvent(TypedEvent):
    """A failed trial runs again from its beginning."""

    kind: Literal["retry"] = "retry"
    trial: str
    reopens: bool
    """Whether the decision to stop and the confirmation trials are open again."""


class RefitEvent(TypedEvent):
    """A law was fitted."""

    left_out = ("law",)

    kind: Literal["refit"] = "refit"
    by: RefitPurpose = "proposal"
    num_points: Count
    num_trials: Count
    num_over: Count
    """Number of trials that had ended."""
    seconds: Number
    decision: StoredDecision
    optimum: StoredOptimum | None
    law: StoredLawSummary | None = None

    @classmethod
    def of(cls, refit: Refit, num_over: int, by: RefitPurpose) -> Self:
        """Makes the event of a refit."""
        optimum, law = refit.optimum, refit.law
        return cls(
            by=by,
            num_points=refit.num_points,
            num_trials=refit.num_trials,
            num_over=num_over,
            seconds=round(refit.seconds, 4),
            decision=StoredDecision.of(refit.decision),
            optimum=StoredOptimum.of(optimum) if optimum is not None else None,
            law=StoredLawSummary.of(law) if optimum is not None and law is not None else None,
        )


class DecisionEvent(TypedEvent):
    """The sweep stopped proposing."""

    kind: Literal["decision"] = "decision"
    decision: StoredDecision


class ConfirmationEvent(TypedEvent):
    """The confirmation trials were decided."""

    kind: Literal["confirmation"] = "confirmation"
    law: dict[str, Any]
    """`FittedLaw.to_json` of the law that they test."""
    num_points: Count
    mixtures: list[ConfirmationMixture]


class CompleteEvent(TypedEvent):
    """The results were written."""

    kind: Literal["complete"] = "complete"


AnyEvent = (
    SweepEvent
    | ChangeEvent
    | PrecisionEvent
    | ProposalEvent
    | StartEvent
    | PointEvent
    | EndEvent
    | RetryEvent
    | RefitEvent
    | DecisionEvent
    | ConfirmationEvent
    | CompleteEvent
)
_MODELS: dict[str, type[AnyEvent]] = {
    model.model_fields["kind"].default: model for model in get_args(AnyEvent)
}


def read_event(content: Event) -> AnyEvent:
    """Reads an event that the journal stored.

    Raises:
        SweepError: the kind of the event is not known.
        JournalError: a field is missing or wrong; the message says what is needed.
    """
    model = _MODELS.get(content["kind"])
    if model is None:
        raise SweepError(
            f"a {content['kind']} event is not known; this journal is of a newer program, so "
            "update bimix-sweep"
        )
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise JournalError(explain(error)) from None
