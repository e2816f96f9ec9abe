"""Defines the parts of a recipe: gain, prior, goals, bounds and the certificate of the optimum."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from bimix_sweep.law.optimum.gain import Gain
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.mixture.goals import Goal

Proportion = Annotated[float, Field(ge=0, le=1)]
"""A proportion, in [0, 1]."""
Interval = tuple[Proportion, Proportion]
"""Lower and upper end of a range of proportions."""
Positive = Annotated[float, Field(gt=0)]
"""A number above 0."""


class RecipePart(BaseModel):
    """Base of all parts of a recipe: frozen, with strict types and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Certificate(RecipePart):
    """Quality of the minimisation that found the optimum."""

    gap: float = Field(
        ge=0, description="largest possible improvement of the objective, in its own units"
    )
    scope: Literal["global", "local"] = Field(
        description="global: the parametric law was minimised; local: the law with its discrepancy"
    )


class Binding(RecipePart):
    """A bound of a domain's proportion that is active at the optimum."""

    domain: str
    bound: Literal["min", "max"]
    cost: float = Field(description="fraction by which the objective would fall without it")


class RecipeGain(RecipePart):
    """How much lower the weighted loss of the recipe's mixture is than that of a baseline."""

    baseline: Literal["today", "natural", "uniform"] = Field(
        description="today's mixture where it was stated; else the natural mixture, or the uniform "
        "one where the tokens of the domains are not known"
    )
    proportions: dict[str, Proportion] = Field(description="proportions of the baseline")
    value: float = Field(description="the gain, a fraction of the baseline's weighted loss")
    lower: float = Field(description="lower end of its 95 % interval")
    upper: float = Field(description="upper end of its 95 % interval")
    measured: bool = Field(
        description="true: measured by paired confirmation trials; false: predicted by the law"
    )

    def as_gain(self) -> Gain:
        """Returns a `Gain` with these values, which states them in words."""
        return Gain(
            baseline=self.baseline,
            mixture=Mixture.from_mapping(self.proportions),
            value=self.value,
            lower=self.lower,
            upper=self.upper,
            measured=self.measured,
        )


RecipeRegret = dict[Literal["expected", "upper95"], Annotated[float, Field(ge=0)]]


class RecipeAtTrials(RecipePart):
    """The best mixture at the steps and size of the trials, beside that for the final run."""

    proportions: dict[str, Proportion] = Field(description="its proportions")
    distance: Annotated[float, Field(ge=0, le=1)] = Field(
        description="total variation to the law's optimum for the final run"
    )
    regret: RecipeRegret = Field(description="as `regret`, at the steps and size of the trials")
    step: Positive = Field(description="optimizer steps of the trials")
    size: Positive | None = Field(description="non-embedding parameters of the trials")


class RecipeRepetition(RecipePart):
    """What repeated text is worth: effective unique tokens, arXiv:2305.16264."""

    r_star: Positive = Field(
        description="R*: of U unique tokens passed over R + 1 times, U (1 + R* (1 - exp(-R / R*))) "
        "count"
    )
    interval: tuple[Positive, Positive] = Field(description="its 95 % interval")
    source: Literal["trials", "prior"] = Field(
        description="what R* rests on most: trials that repeat domains, or what was expected before"
    )


class RecipePrior(RecipePart):
    """The mixture that the recommended one stays near."""

    proportions: dict[str, Proportion] = Field(description="proportions of the prior")
    kl: Annotated[float, Field(ge=0)] = Field(
        description="strength: weighted loss per nat of the divergence KL(mixture || prior)"
    )
    cost: Annotated[float, Field(ge=0)] = Field(
        description="fraction by which the weighted loss of the law's optimum would fall without it"
    )


class RecipeGoal(RecipePart):
    """Direction and range of a target."""

    goal: Literal["min", "max"]
    range: tuple[float, float] | None = Field(
        default=None, description="smallest and largest possible value; null: a positive loss"
    )

    @property
    def words(self) -> str:
        """The goal in words, for example `maximised in 0 to 1`."""
        return Goal(direction=self.goal, range=self.range).words
