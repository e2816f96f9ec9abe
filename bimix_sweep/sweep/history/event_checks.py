"""What each event of a journal must hold, checked when it is read: a good checksum says nothing about who wrote the line.

Only kinds and ranges of values are checked here; whether an event fits what happened before is for `history`.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bimix_sweep.config import MOST_SIZES
from bimix_sweep.design.trial import Cause
from bimix_sweep.errors import JournalError
from bimix_sweep.export.recipe import explain
from bimix_sweep.journal.codec import Event
from bimix_sweep.mixture.domains import MOST_DOMAINS

Shares = Annotated[dict[str, float], Field(max_length=MOST_DOMAINS)]
TrialName = Annotated[str, Field(pattern=r"^[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]{0,199}$")]
"""Checkpoints and logs are named by it, so that it must not lead anywhere else."""
Ends = dict[str, Annotated[list[float], Field(min_length=2, max_length=2)]]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]


class Shape(BaseModel):
    """Fields of an event that are used; it may have more."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class DomainShape(Shape):
    tokens: Annotated[float, Field(gt=0)] | None
    min: float
    max: float


class FinalRunShape(Shape):
    model_config = ConfigDict(extra="forbid")

    tokens: Annotated[float, Field(gt=0)] | None
    size: Annotated[float, Field(gt=0)] | None
    max_epochs: Annotated[float, Field(gt=0)]


class GoalShape(Shape):
    goal: Literal["min", "max"]
    range: Annotated[list[float], Field(min_length=2, max_length=2)] | None


class SpecShape(Shape):
    domains: dict[str, DomainShape]
    targets: list[str]
    weights: Shares
    own: dict[str, str]
    goals: dict[str, GoalShape]
    objective: Literal["mean", "worst"]
    steps: Positive
    size: Annotated[float, Field(gt=0)]
    smaller: Annotated[list[Annotated[float, Field(gt=0)]], Field(max_length=MOST_SIZES - 1)] = []
    shorter: Annotated[list[Positive], Field(max_length=MOST_SIZES - 1)] = []
    eval_steps: list[Positive]
    min_step: Count
    seed: Count
    max_trials: Positive
    slots: Positive
    tolerance: float
    patience: Positive
    core_hours: Annotated[float, Field(gt=0)] | None = None
    gpu_hours: Annotated[float, Field(gt=0)] | None = None
    max_before_caps: Annotated[list[float], Field(max_length=MOST_DOMAINS)]
    final: FinalRunShape | None
    tokens_per_step: Annotated[float, Field(gt=0)] | None
    as_configured: bool


class SweepShape(Shape):
    name: str
    config: dict[str, Any] = {}
    config_digest: str
    data: dict[str, Any]
    spec: SpecShape
    versions: dict[str, str]


class ChangeShape(Shape):
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
    precision: dict[str, Any]


class ProposalShape(Shape):
    trial: TrialName
    role: Literal["sweep", "final"]
    mixture: Shares
    reason: str
    seed: Count
    num_points: Count
    fit: dict[str, Any]
    size: Annotated[float, Field(gt=0)] | None = None
    steps: Positive | None = None


class StartShape(Shape):
    trial: str
    where: str
    cores: Annotated[float, Field(ge=0, le=1e9)] = 1.0
    gpus: Annotated[float, Field(ge=0, le=1e9)] = 0.0


class PointShape(Shape):
    trial: str
    step: Positive
    losses: dict[str, float]


class EndShape(Shape):
    trial: str
    state: Literal["finished", "failed"]
    reason: str
    cause: Cause = "outside"


class RetryShape(Shape):
    trial: str
    reopens: bool


class OptimumShape(Shape):
    mixture: Shares
    objective: float
    region: Ends
    interval: Ends


class DecisionShape(Shape):
    model_config = ConfigDict(extra="forbid")

    stop: bool
    reason: str
    movement_tv: float | None = None
    regret_expected: float | None = None
    regret_upper95: float | None = None
    streak: Count = 0


class LawShape(Shape):
    choice: dict[str, str]
    digest: str
    error: Shares = {}


class RefitShape(Shape):
    num_points: Count
    num_trials: Count
    num_over: Count
    seconds: float
    decision: DecisionShape
    law: LawShape | None = None
    optimum: OptimumShape | None


class DecidedShape(Shape):
    decision: DecisionShape


class FinalShape(Shape):
    labels: Annotated[list[str], Field(min_length=1)]
    mixture: Shares


class FinalsShape(Shape):
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
    "finals": FinalsShape,
    "complete": Shape,
}


def check_shape(event: Event) -> None:
    """Refuse an event that lacks a field or has one of the wrong kind.

    Raises:
        JournalError: what is wrong, and of what kind it must be.
    """
    if (shape := SHAPES.get(event["kind"])) is not None:
        try:
            shape.model_validate(event)
        except ValidationError as error:
            raise JournalError(explain(error)) from None
