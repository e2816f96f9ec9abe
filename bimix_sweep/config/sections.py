"""Sections of sweep.yaml, checked key by key: domains, targets, the final run, the proxies, the
budget and the stopping rule."""

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from bimix_sweep.config.section import Section
from bimix_sweep.config.text_sections import TextConfig
from bimix_sweep.errors import ConfigError
from bimix_sweep.mixture.final_run import MAX_EPOCHS
from bimix_sweep.mixture.goals import PLAIN, Goal
from bimix_sweep.text import shown

if TYPE_CHECKING:
    from bimix_sweep.data.sources import Source


class TargetConfig(TextConfig):
    """Target: a set of held-out text whose loss is measured."""

    domain: str | None = Field(
        None, description="Use this domain's own validation split instead of a path"
    )
    weight: float = Field(
        1.0,
        ge=0,
        le=1e6,
        description="Weight in the objective, normalised; 0 = measured, not optimised",
    )
    group: str | None = Field(
        None,
        pattern=r"^[^\x00-\x1f]+$",
        max_length=200,
        description="Name of a group of targets that share a weight: the weight of each is divided "
        "by the number of its group's targets above weight 0",
    )
    reference: float | None = Field(
        None,
        description="Value of the target that counts as 1, such as that of today's mixture: the "
        "weight is then of relative improvement. State it for every target above weight 0, or for "
        "none",
    )
    unit: Literal["nats_per_token", "bits_per_byte"] = Field(
        "nats_per_token", description="Unit of the loss"
    )
    goal: Literal["min", "max"] | None = Field(
        None,
        description="Of a metric that your trainer reports: whether less or more is better; "
        "default: a loss, so less",
    )
    range: tuple[float, float] | None = Field(
        None,
        description="Smallest and largest possible value of such a metric, [0, 1] for an accuracy; "
        "with it the value need not be above 0",
    )

    @model_validator(mode="after")
    def _goal_and_range(self) -> Self:
        if self.range is not None and self.goal is None:
            raise ValueError("has a range and no goal; write goal: min or goal: max")
        try:
            self.as_goal()
        except ConfigError as error:
            raise ValueError(f"cannot be used: {error}") from error
        goal = self.as_goal() or PLAIN
        if self.reference is not None and not goal.allows(self.reference):
            raise ValueError(f"has the reference {self.reference:g}; need {goal.needed}")
        return self

    @property
    def reference_loss(self) -> float:
        """Loss of `reference`, by which the weight is divided; 1 where no reference is stated."""
        return (
            1.0
            if self.reference is None
            else float((self.as_goal() or PLAIN).loss_of(self.reference))
        )

    def as_source(self) -> "Source":
        """The text of its own, ready to be read."""
        return self.path_source()

    def as_goal(self) -> Goal | None:
        """Direction and range of the target; None where the file does not state a goal."""
        if self.goal is None:
            return Goal() if self.unit == "bits_per_byte" else None
        return Goal(direction=self.goal, range=self.range)


class FinalConfig(Section):
    """The final run, which trains on the recommended mixture."""

    tokens: float = Field(ge=1, le=1e18, description="Tokens of the final run")
    size: float | None = Field(
        None,
        ge=1,
        le=1e18,
        description="Its non-embedding parameters; the recipe says how far they lie beyond those "
        "of the proxies",
    )
    max_epochs: float = Field(
        MAX_EPOCHS,
        ge=1e-6,
        le=1e6,
        description="Most passes over a domain's tokens: caps its proportion. Below it, the law "
        "weighs what repeated text is worth",
    )
    match_epochs: bool = Field(
        True,
        description="Subsample each domain so that a proxy repeats it as often as the final run "
        "would",
    )


MAX_SIZES = 4
"""Largest number of proxy sizes, and of numbers of steps.

Two sizes show how the ranking of mixtures changes with size; each further size needs more trials to
fit its effect.
"""
Steps = Annotated[int, Field(ge=8, le=10**9)]
"""Number of steps of one trial, at least 8, because a loss curve has 8 points."""


class ProxyConfig(Section):
    """Proxy trials of the sweep: model sizes, steps, batch and vocabulary."""

    sizes: tuple[float, ...] = Field(
        (2.0e5,),
        description="Non-embedding parameters of the proxies: one size, or up to four, rising; the "
        "mixture is chosen for the largest, and most trials are of the smaller ones",
    )
    steps: Steps | Annotated[tuple[Steps, ...], Field(min_length=1, max_length=MAX_SIZES)] = Field(
        800,
        description="Optimizer steps of one trial: one number, or up to four, rising; the "
        "mixture is chosen for the most steps, and most trials have fewer steps",
    )
    context: int = Field(128, ge=8, le=65536, description="Tokens of one sequence")
    batch: int = Field(8, ge=1, le=65536, description="Sequences of one step")
    vocabulary: int = Field(
        2048, ge=300, le=65536, description="Byte-pair vocabulary trained on the domains"
    )

    @field_validator("sizes")
    @classmethod
    def _few_and_rising(cls, sizes: tuple[float, ...]) -> tuple[float, ...]:
        if (
            not 1 <= len(sizes) <= MAX_SIZES
            or list(sizes) != sorted({*sizes})
            or not 1e3 <= sizes[0] <= sizes[-1] <= 1e15
        ):
            raise ValueError(
                f"is {shown(list(sizes))}; need one to {MAX_SIZES} rising sizes of at least 1e3 "
                "parameters, at most 1e15"
            )
        return sizes

    @field_validator("steps", mode="before")
    @classmethod
    def _one_or_rising(cls, steps: Any) -> Any:
        try:
            rising = TypeAdapter(list[Steps]).validate_python(
                steps[: MAX_SIZES + 1] if isinstance(steps, list | tuple) else [steps]
            )
        except ValidationError:
            rising = []
        if not 1 <= len(rising) <= MAX_SIZES or rising != sorted({*rising}):
            raise ValueError(
                f"is {shown(steps)}; need a whole number from 8 to 1e9, or up to {MAX_SIZES} "
                "rising ones"
            )
        return rising[0] if len(rising) == 1 else tuple(rising)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Numbers of steps of the trials, in rising order."""
        return (self.steps,) if isinstance(self.steps, int) else self.steps

    @property
    def tokens(self) -> int:
        """Number of tokens of the trial with the most steps."""
        return self.lengths[-1] * self.context * self.batch


class BudgetConfig(Section):
    """Limits at which the sweep ends."""

    trials: int = Field(
        40,
        ge=2,
        le=10**6,
        description="Most trials proposed (the confirmation trials come on top)",
    )
    core_hours: float | None = Field(
        None,
        gt=0,
        le=1e12,
        description="Most CPU core-hours of all trials, confirmation trials included; a hard limit",
    )
    gpu_hours: float | None = Field(
        None,
        gt=0,
        le=1e12,
        description="Most GPU-hours of all trials, confirmation trials included; a hard limit",
    )


class StopConfig(Section):
    """Conditions under which the sweep stops before its budget is used."""

    tolerance: float = Field(
        0.002,
        gt=0,
        lt=1,
        description="Largest regret of the optimum, as a fraction of its loss, that is good enough",
    )
    patience: int = Field(
        3,
        ge=1,
        le=10**6,
        description="Refits in a row that must agree, each made after further trials ended "
        "(without Ray, one a record)",
    )
