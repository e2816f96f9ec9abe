"""Checks the fields of each event when a journal is read.

A correct checksum does not show who wrote a line. This file checks only types and ranges of values;
`history` checks whether an event fits the events before it.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bimix_sweep.config import MAX_SIZES
from bimix_sweep.design.trial import Cause
from bimix_sweep.errors import JournalError
from bimix_sweep.export.validation_error import explain
from bimix_sweep.journal.codec import Event
from bimix_sweep.mixture.domains import MAX_DOMAINS

Shares = Annotated[dict[str, float], Field(max_length=MAX_DOMAINS)]
TrialName = Annotated[str, Field(pattern=r"^[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]{0,199}$")]
"""A trial's name; checkpoints and logs are named by it, so it must not lead to another folder."""
Ends = dict[str, Annotated[list[float], Field(min_length=2, max_length=2)]]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]


class Shape(BaseModel):
    """Base of the event models: the fields of an event that are used; an event may have more."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class DomainShape(Shape):
    """One domain of a spec."""

    tokens: Annotated[float, Field(gt=0)] | None
    min: float
    max: float


class FinalRunShape(Shape):
    """The final run of a spec."""

    model_config = ConfigDict(extra="forbid")

    tokens: Annotated[float, Field(gt=0)] | None
    size: Annotated[float, Field(gt=0)] | None
    max_epochs: Annotated[float, Field(gt=0)]


class GoalShape(Shape):
    """The goal of one target of a spec."""

    goal: Literal["min", "max"]
    range: Annotated[list[float], Field(min_length=2, max_length=2)] | None


class SpecShape(Shape):
    """The `SweepSpec` as stored in an event."""

    domains: dict[str, DomainShape]
    targets: list[str]
    weights: Shares
    own: dict[str, str]
    goals: dict[str, GoalShape]
    objective: Literal["mean", "worst"]
    steps: Positive
    size: Annotated[float, Field(gt=0)]
    smaller: Annotated[list[Annotated[float, Field(gt=0)]], Field(max_length=MAX_SIZES - 1)] = []
    shorter: Annotated[list[Positive], Field(max_length=MAX_SIZES - 1)] = []
    eval_steps: list[Positive]
    min_step: Count
    seed: Count
    max_trials: Positive
    slots: Positive
    tolerance: float
    patience: Positive
    core_hours: Annotated[float, Field(gt=0)] | None = None
    gpu_hours: Annotated[float, Field(gt=0)] | None = None
    max_before_caps: Annotated[list[float], Field(max_length=MAX_DOMAINS)]
    final: FinalRunShape | None
    tokens_per_step: Annotated[float, Field(gt=0)] | None
    as_configured: bool


class SweepShape(Shape):
    """Fields of a `sweep` event."""

    name: str
    config: dict[str, Any] = {}
    config_digest: str
    data: dict[str, Any]
    spec: SpecShape
    versions: dict[str, str]


class ChangeShape(Shape):
    """Fields of a `change` event."""

    what: Annotated[list[str], Field(min_length=1)]
    name: str
    config: dict[str, Any]
    config_digest: str
    data: dict[str, Any]
    spec: SpecShape
    renamed: dict[str, str]
    dropped: list[str]
    ended: dict[str, str]


class PrecisionShape(Shape):
    """Fields of a `precision` event."""

    precision: dict[str, Any]


class ProposalShape(Shape):
    """Fields of a `proposal` event."""

    trial: TrialName
    role: Literal["sweep", "confirmation"]
    mixture: Shares
    reason: str
    seed: Count
    num_points: Count
    fit: dict[str, Any]
    size: Annotated[float, Field(gt=0)] | None = None
    steps: Positive | None = None


class StartShape(Shape):
    """Fields of a `start` event."""

    trial: str
    where: str
    cores: Annotated[float, Field(ge=0, le=1e9)] = 1.0
    gpus: Annotated[float, Field(ge=0, le=1e9)] = 0.0


class PointShape(Shape):
    """Fields of a `point` event."""

    trial: str
    step: Positive
    losses: dict[str, float]


class EndShape(Shape):
    """Fields of an `end` event."""

    trial: str
    state: Literal["finished", "failed"]
    reason: str
    cause: Cause = "outside"


class RetryShape(Shape):
    """Fields of a `retry` event."""

    trial: str
    reopens: bool


class OptimumShape(Shape):
    """The predicted optimum of a `refit` event."""

    mixture: Shares
    objective: float
    region: Ends
    interval: Ends


class DecisionShape(Shape):
    """The stopping decision of a `refit` or `decision` event."""

    model_config = ConfigDict(extra="forbid")

    stop: bool
    reason: str
    movement_tv: float | None = None
    regret_expected: float | None = None
    regret_upper95: float | None = None
    streak: Count = 0


class LawShape(Shape):
    """The law of a `refit` event."""

    choice: dict[str, str]
    digest: str
    error: Shares = {}


class RefitShape(Shape):
    """Fields of a `refit` event."""

    num_points: Count
    num_trials: Count
    num_over: Count
    seconds: float
    decision: DecisionShape
    law: LawShape | None = None
    optimum: OptimumShape | None


class DecidedShape(Shape):
    """Fields of a `decision` event."""

    decision: DecisionShape


class FinalShape(Shape):
    """One confirmation mixture of a `confirmation` event."""

    labels: Annotated[list[str], Field(min_length=1)]
    mixture: Shares


class ConfirmationShape(Shape):
    """Fields of a `confirmation` event."""

    law: dict[str, Any]
    num_points: Count
    mixtures: list[FinalShape]


SHAPES: dict[str, type[Shape]] = {
    "sweep": SweepShape,
    "change": ChangeShape,
    "precision": PrecisionShape,
    "proposal": ProposalShape,
    "start": StartShape,
    "point": PointShape,
    "end": EndShape,
    "retry": RetryShape,
    "refit": RefitShape,
    "decision": DecidedShape,
    "confirmation": ConfirmationShape,
    "complete": Shape,
}


def check_shape(event: Event) -> None:
    """Checks that an event has all its fields, each of the right type.

    Raises:
        JournalError: a field is missing or wrong; the message says what is needed.
    """
    if (shape := SHAPES.get(event["kind"])) is not None:
        try:
            shape.model_validate(event)
        except ValidationError as error:
            raise JournalError(explain(error)) from None
