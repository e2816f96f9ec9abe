"""The base model, the field types and the nested values of the events in the journal."""

import math
from dataclasses import asdict
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_serializer,
)

from bimix_sweep.design.stopping import Decision
from bimix_sweep.journal.codec import Event
from bimix_sweep.law.optimum.optimal_mixture import Optimum
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.mixture.domains import MAX_DOMAINS


def _as_given(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """Checks a number as a float, but keeps a whole number whole, as the JSON text has it."""
    check(value)
    return value


Number = Annotated[float, WrapValidator(_as_given)]
"""A finite number; an int stays an int, so that an event is written as it was read."""
PositiveNumber = Annotated[float, Field(gt=0), WrapValidator(_as_given)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Numbers = Annotated[dict[str, Number], Field(max_length=MAX_DOMAINS)]
"""{domain or target: number}."""
Interval = Annotated[list[Number], Field(min_length=2, max_length=2)]
"""[low, high]."""
TrialName = Annotated[str, Field(pattern=r"^[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]{0,199}$")]
"""A trial's name; checkpoints and logs are named by it, so it must not lead to another folder."""


class Stored(BaseModel):
    """Base of everything that is stored in an event; unknown fields are ignored when it is read."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)

    left_out: ClassVar[tuple[str, ...]] = ()
    """Fields that are written only where they have a value."""

    @model_serializer(mode="wrap")
    def _without_empty(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = write(self)
        for name in self.left_out:
            if not content[name]:
                del content[name]
        return content


ADDED_BY_JOURNAL = {"seq", "epoch", "at"}
"""Fields that the journal adds to an event when it writes the event."""


class TypedEvent(Stored):
    """Base of the events."""

    seq: int | None = None
    """Number of the event in the journal; None before the journal has written the event."""
    epoch: int | None = None
    """Epoch of the journal's writer; None before the journal has written the event."""
    at: Number | None = None
    """Seconds since 1970; None before the journal has written the event."""

    def to_json(self) -> Event:
        """The event as the journal stores it, without the fields that the journal adds."""
        return self.model_dump(exclude=ADDED_BY_JOURNAL)


class StoredDecision(Stored):
    """A `Decision` about stopping, in a `refit` or `decision` event."""

    model_config = ConfigDict(extra="forbid")

    stop: bool
    reason: str
    movement_tv: Number | None = None
    regret_expected: Number | None = None
    regret_upper95: Number | None = None
    streak: Count = 0

    @classmethod
    def of(cls, decision: Decision) -> Self:
        """Makes the stored form of a decision."""
        return cls(**asdict(decision))

    def decision(self) -> Decision:
        """The decision itself."""
        return Decision(**self.model_dump())


class StoredOptimum(Stored):
    """The predicted optimum in a `refit` event."""

    mixture: Numbers
    objective: Number
    region: dict[str, Interval]
    interval: dict[str, Interval]

    @classmethod
    def of(cls, optimum: Optimum) -> Self:
        """Makes the stored form of an optimum."""
        return cls(
            mixture=optimum.mixture.as_dict(),
            objective=optimum.objective,
            region={name: list(ends) for name, ends in optimum.region.items()},
            interval={name: list(ends) for name, ends in optimum.interval.items()},
        )


class StoredLawSummary(Stored):
    """What a `refit` event says about its law."""

    choice: dict[str, str]
    """{target: name of the chosen law}."""
    digest: str
    error: Numbers = Field(default_factory=dict)
    """{target: mean relative error of the chosen law on held-out mixtures}, if cross-validated."""

    @classmethod
    def of(cls, law: FittedLaw) -> Self:
        """Makes the summary of a law."""
        by_target = law.cross_validation.get("by_target", {})
        errors = {
            target: by_target[target][name]["mean_relative_error"]
            for target, name in law.choice.items()
            if name in by_target.get(target, {})
        }
        return cls(
            choice=dict(law.choice),
            digest=law.digest,
            error={target: error for target, error in errors.items() if math.isfinite(error)},
        )


class ConfirmationMixture(Stored):
    """One confirmation mixture of a `confirmation` event."""

    labels: Annotated[list[str], Field(min_length=1)]
    """What the mixture is: "uniform", "natural", "predicted", "measured"; all that apply."""
    mixture: Numbers


Role = Literal["sweep", "confirmation"]
"""What a proposed trial is for."""

RefitPurpose = Literal["proposal", "watch", "end"]
"""What a refit was for: a proposal, viewers ("watch"), or the end of the sweep."""
