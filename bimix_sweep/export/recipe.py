"""Defines the recipe: a recommended mixture with its evidence, stored as RECIPE.json.

Most optima are flat, so a recipe gives a point and a region. It states how far it extrapolates, the
possible cost of an error (`regret`), the result of the confirmation trials (`comparison`), and what
no trial tested (`not_tested`). Proportions are proportions of **tokens**.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from bimix_sweep import files
from bimix_sweep.design.confirmation import Comparison
from bimix_sweep.errors import ExportError, MixtureError
from bimix_sweep.law.optimum.answer import not_tested
from bimix_sweep.law.optimum.optimal_mixture import Optimum
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.law.posterior.problem_statement import ProblemStatement
from bimix_sweep.mixture.domains import MAX_DOMAINS, check_names
from bimix_sweep.mixture.goals import Goal
from bimix_sweep.mixture.simplex import SUM_TOLERANCE, apportion
from bimix_sweep.text import shown

DECIMALS = 6
"""Decimals of proportions, which are written in millionths, so that the written values sum to
exactly 1."""
MAX_BYTES = 64 * 2**20
"""Maximum bytes of a recipe file; a larger file is refused before it is parsed."""

Share = Annotated[float, Field(ge=0, le=1)]
"""A proportion, in [0, 1]."""
Interval = tuple[Share, Share]
"""Lower and upper end of a range of proportions."""
Positive = Annotated[float, Field(gt=0)]
"""A number above 0."""


class _Part(BaseModel):
    """Base of all parts of a recipe: frozen, with strict types and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Certificate(_Part):
    """Quality of the minimisation that found the optimum."""

    gap: float = Field(
        ge=0, description="largest possible improvement of the objective, in its own units"
    )
    scope: Literal["global", "local"] = Field(
        description="global: the parametric law was minimised; local: a residual process is in"
    )


class Binding(_Part):
    """A bound of a domain's proportion that is active at the optimum."""

    domain: str
    bound: Literal["min", "max"]
    cost: float = Field(description="fraction by which the objective would fall without it")


class RecipeGoal(_Part):
    """Direction and range of a target."""

    goal: Literal["min", "max"]
    range: tuple[float, float] | None = Field(
        default=None, description="smallest and largest possible value; null: a positive loss"
    )

    @property
    def words(self) -> str:
        """The goal in words, for example `maximised in 0 to 1`."""
        return Goal(direction=self.goal, range=self.range).words


class Recipe(_Part):
    """A recommended mixture and the reasons for it.

    Only `proportions` is required, so a mixture that was decided by hand can be exported too.
    """

    proportions: dict[str, Share] = Field(description="share of tokens of each domain, sum 1")
    region: dict[str, Interval] = Field(
        default={},
        description="range of each domain over mixtures predicted within `within` of the best",
    )
    alternatives: list[dict[str, Share]] = Field(
        default=[], description="a few extreme mixtures of the region"
    )
    interval: dict[str, Interval] = Field(
        default={}, description="95 % interval of the optimum's posterior"
    )
    within: Positive | None = Field(
        default=None, description="relative rise of the weighted loss that bounds the region"
    )
    predicted_losses: dict[str, float] = Field(
        default={},
        description="loss of each target at this mixture, step and size, or its value in its own "
        "unit where it has a goal with a range",
    )
    goals: dict[str, RecipeGoal] = Field(
        default={},
        description="direction and range of targets that have them; one that is not named is a "
        "loss, minimised",
    )
    regret: dict[Literal["expected", "upper95"], Annotated[float, Field(ge=0)]] = Field(
        default={},
        description="what the law's optimum may cost against the true one, as fractions of its "
        "weighted loss: mean, 95 % bound",
    )
    certificate: Certificate | None = None
    step: Positive | None = Field(
        default=None, description="optimizer steps the choice is made for"
    )
    size: Positive | None = Field(
        default=None, description="non-embedding parameters the choice is made for"
    )
    extrapolation: dict[str, Positive] = Field(
        default={},
        description="how many times this choice, or the final run where it is stated, lies beyond "
        "the trials in step, size and tokens; 1 = inside; an axis that is not known is left out",
    )
    not_tested: list[str] = Field(
        default=[], description="what the recommendation assumes and no trial tested, in sentences"
    )
    tokens: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default={}, description="tokens of each domain in the final run"
    )
    epochs: dict[str, Annotated[float, Field(ge=0)] | None] = Field(
        default={},
        description="passes over each domain's tokens in the final run; null where their number is "
        "not known",
    )
    binding: list[Binding] = []
    law: dict[str, JsonValue] = Field(
        default={},
        description="which law was chosen for each target, its held-out errors, its digest",
    )
    comparison: dict[str, JsonValue] | None = Field(
        default=None, description="the measured confirmation trials and what differs between them"
    )
    excluded: dict[str, str] = Field(default={}, description="trials left out, and why")
    provenance: dict[str, JsonValue] = Field(
        default={}, description="config, seed, digests, versions, commit"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        """Checks that proportions sum to 1, that names match and that intervals are in order."""
        if not 1 <= len(self.proportions) <= MAX_DOMAINS:
            raise ValueError(
                f"proportions has {len(self.proportions)} domains; need 1 to {MAX_DOMAINS}"
            )
        try:
            check_names(tuple(self.proportions))
        except MixtureError as error:
            raise ValueError(f"proportions: {error}") from None
        for where, mixture in (
            ("proportions", self.proportions),
            *((f"alternatives.{i}", m) for i, m in enumerate(self.alternatives)),
        ):
            if abs(sum(mixture.values()) - 1) > SUM_TOLERANCE:
                raise ValueError(
                    f"{where} sums to {sum(mixture.values()):.6g}; need 1 within {SUM_TOLERANCE:g}"
                )
        if self.regret and len(self.regret) < 2:
            raise ValueError(f"regret has only {', '.join(self.regret)}; need expected and upper95")
        keyed: list[tuple[str, Mapping[str, Any]]] = [
            (f"alternatives.{i}", mixture) for i, mixture in enumerate(self.alternatives)
        ]
        keyed += [(key, getattr(self, key)) for key in ("region", "interval", "tokens", "epochs")]
        for where, values in keyed:
            if unknown := next((name for name in values if name not in self.proportions), None):
                raise ValueError(
                    f"{where} names domain {shown(unknown)}; need domains of proportions"
                )
        for key in ("region", "interval"):
            for name, (low, high) in getattr(self, key).items():
                if low > high:
                    raise ValueError(
                        f"{key}.{name} is [{low:g}, {high:g}]; need the smaller end first"
                    )
        return self

    @classmethod
    def read(cls, path: str | Path) -> "Recipe":
        """Read a RECIPE.json.

        Raises:
            ExportError: the file is missing, too large or not JSON, or a key does not match the
                fields above; the message names the key.
        """
        try:
            data = files.read_bytes(path)
        except OSError as error:
            raise ExportError(
                f"{path} cannot be read ({error.strerror or error}); need a RECIPE.json"
            ) from error
        if len(data) > MAX_BYTES:
            raise ExportError(f"{path} has {len(data)} bytes; need a recipe of at most {MAX_BYTES}")
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise ExportError(
                f"{path}: {explain(error)} (a recipe is what a sweep or bimix-sweep optimum writes)"
            ) from None

    def write(self, path: str | Path) -> None:
        """Write RECIPE.json, either completely or not at all."""
        files.write_text(path, self.to_text())

    def to_text(self) -> str:
        """The recipe as JSON text, with the keys in the order of the fields."""
        return json.dumps(self.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def to_json(self) -> dict[str, Any]:
        """The content of RECIPE.json."""
        return self.model_dump(mode="json")


def build_recipe(
    optimum: Optimum,
    law: FittedLaw,
    problem: ProblemStatement,
    *,
    comparison: Comparison | None = None,
    excluded: Mapping[str, str] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Recipe:
    """Make the recipe of a sweep or of a law.

    The mixture is the law's optimum, or the mixture that the confirmation trials showed to be
    better.

    Args:
        optimum: the law's optimum.
        law: the fitted law.
        problem: the problem that the optimum answers. If it does not state the tokens of the
            final run, `tokens` and `epochs` stay empty.
        comparison: result of the confirmation trials; None if there were none.
        excluded: {trial: reason why it was left out}.
        provenance: JSON values; the problem is added to them.

    Raises:
        ExportError: provenance holds a value that JSON cannot represent.
    """
    chosen, losses = optimum.mixture, dict(optimum.predicted_losses)
    if comparison is not None:
        chosen = next(
            one.mixture for one in comparison.mixtures if one.role == comparison.recommended
        )
        if chosen != optimum.mixture:
            predicted = law.predict(
                chosen.as_array(law.domains)[None], np.array([optimum.step]), _one(optimum.size)
            )[0]
            losses = dict(zip(law.targets, map(float, predicted), strict=True))
    domains, token_budget = problem.domains, problem.final and problem.final.tokens
    beyond = not_tested(optimum, law, problem, compared=comparison is not None)
    proportions = rounded({name: chosen.as_dict().get(name, 0.0) for name in domains.names})
    tokens = (
        {name: share * token_budget for name, share in proportions.items()} if token_budget else {}
    )
    available = dict(zip(domains.names, domains.tokens, strict=True))
    try:
        return Recipe(
            proportions=proportions,
            region=_intervals(optimum.region),
            interval=_intervals(optimum.interval),
            within=optimum.within,
            alternatives=[rounded(mixture.as_dict()) for mixture in optimum.alternatives],
            predicted_losses=losses,
            goals={
                name: RecipeGoal(goal=goal.direction, range=goal.range)
                for name, goal in law.goals.items()
            },
            regret={
                "expected": max(optimum.regret.expected, 0.0),
                "upper95": max(optimum.regret.upper95, 0.0),
            },
            certificate=Certificate(
                gap=max(optimum.gap, 0.0),
                scope=optimum.scope,  # type: ignore[arg-type]
            ),
            step=optimum.step,
            size=optimum.size,
            extrapolation=dict(beyond.extrapolation),
            not_tested=list(beyond.sentences),
            tokens=tokens,
            epochs={
                name: count / available[name] if math.isfinite(available[name]) else None
                for name, count in tokens.items()
            },
            binding=[
                Binding(domain=one.domain, bound=one.bound, cost=one.cost)  # type: ignore[arg-type]
                for one in optimum.binding
            ],
            law=_law(law),
            comparison=None if comparison is None else _compared(comparison),
            excluded=dict(excluded or {}),
            provenance={**(provenance or {}), "problem": problem.to_json()},
        )
    except ValidationError as error:
        raise ExportError(f"the recipe cannot be written: {explain(error)}") from None


def _one(size: float | None) -> np.ndarray | None:
    """(1,) array of the size; None if there is no size."""
    return None if size is None else np.array([size])


def _intervals(ends: Mapping[str, tuple[float, float]]) -> dict[str, Interval]:
    """Intervals clipped to [0, 1].

    The ends come from a projection and may be outside by rounding.
    """
    return {
        name: (min(max(low, 0.0), 1.0), min(max(high, 0.0), 1.0))
        for name, (low, high) in ends.items()
    }


def _law(law: FittedLaw) -> dict[str, JsonValue]:
    """Facts about the law for the recipe, JSON-able."""
    return {
        "choice": dict(law.choice),
        "cross_validation": json.loads(json.dumps(law.cross_validation)),
        "discrepancy": law.has_discrepancy,
        "num_trials": law.num_trials,
        "num_mixtures": law.num_mixtures,
        "steps": list(law.steps),
        "sizes": None if law.sizes is None else list(law.sizes),
        "notes": list(law.notes),
        "digest": law.digest,
    }


def _compared(comparison: Comparison) -> dict[str, JsonValue]:
    """Result of the confirmation trials for the recipe, JSON-able."""
    return {
        "sentence": comparison.reason,
        "recommended": comparison.recommended,
        "differ": comparison.differ,
        "seeds": list(comparison.seeds),
        "noise": comparison.noise,
        "mixtures": [
            {
                "role": one.role,
                "proportions": dict(rounded(one.mixture.as_dict())),
                "losses": dict(one.losses),
                "objective": one.objective,
                "difference": one.difference,
                "noise95": one.noise95,
                "differs": one.differs,
            }
            for one in comparison.mixtures
        ],
    }


def explain(error: ValidationError) -> str:
    """Describes the first error that pydantic found, on one line: the key, what arrived, what is
    needed."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part)[:80] for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if not where:
        return message
    if first["type"] == "extra_forbidden":
        return f"{where} is not a known key"
    if first["type"] == "missing":
        return f"no {where}; need it"
    return f"{where} is {shown(first.get('input'))}; {message[0].lower()}{message[1:]}"


def rounded(proportions: Mapping[str, float], decimals: int = DECIMALS) -> dict[str, float]:
    """The proportions rounded to multiples of 10**-decimals, by the largest remainder method.

    The rounded values, as decimal numbers, sum to exactly 1.
    """
    values = np.array(list(proportions.values()), dtype=np.float64)
    counts = apportion(values / values.sum(), 10**decimals)
    return {
        name: int(count) / 10**decimals for name, count in zip(proportions, counts, strict=True)
    }
