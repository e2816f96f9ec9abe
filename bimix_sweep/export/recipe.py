"""Defines the recipe: a recommended mixture with its evidence, stored as RECIPE.json.

Most optima are flat, so a recipe gives a point and a region. It states how far it extrapolates, the
possible cost of an error (`regret`), the result of the confirmation trials (`comparison`), and what
no trial tested (`not_tested`). Proportions are proportions of **tokens**.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, JsonValue, ValidationError, model_validator

from bimix_sweep import files
from bimix_sweep.errors import ExportError, MixtureError
from bimix_sweep.export.recipe_parts import (
    Binding,
    Certificate,
    Interval,
    Positive,
    Proportion,
    RecipeAtTrials,
    RecipeGain,
    RecipeGoal,
    RecipePart,
    RecipePrior,
    RecipeRegret,
    RecipeRepetition,
)
from bimix_sweep.export.rounding import rounded
from bimix_sweep.export.validation_error import explain
from bimix_sweep.mixture.domains import MAX_DOMAINS, check_names
from bimix_sweep.mixture.simplex import SUM_TOLERANCE
from bimix_sweep.text import shown

MAX_BYTES = 64 * 2**20
"""Maximum bytes of a recipe file; a larger file is refused before it is parsed."""


class Recipe(RecipePart):
    """A recommended mixture and the reasons for it.

    Only `proportions` is required, so a mixture that was decided by hand can be exported too.
    """

    proportions: dict[str, Proportion] = Field(
        description="proportion of the tokens of each domain, sum 1"
    )
    gain: RecipeGain | None = Field(
        default=None, description="gain of this mixture over today's, with its 95 % interval"
    )
    blends: dict[str, dict[str, Positive]] = Field(
        default={},
        description="domains that are fixed blends: proportion of each source in the domain's "
        "tokens, sum 1; exports weigh the sources",
    )
    region: dict[str, Interval] = Field(
        default={},
        description="range of each domain over mixtures predicted within `within` of the best",
    )
    alternatives: list[dict[str, Proportion]] = Field(
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
    predicted_sd: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default={},
        description="standard deviation of each predicted loss, in the same unit, without the "
        "noise of a measurement",
    )
    goals: dict[str, RecipeGoal] = Field(
        default={},
        description="direction and range of targets that have them; one that is not named is a "
        "loss, minimised",
    )
    regret: RecipeRegret = Field(
        default={},
        description="what the law's optimum may cost against the true one, as fractions of its "
        "weighted loss: mean, 95 % bound",
    )
    at_trials: RecipeAtTrials | None = Field(
        default=None,
        description="the best mixture at the steps and size of the trials, where the choice is made "
        "for those of the final run",
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
    repetition: RecipeRepetition | None = Field(
        default=None,
        description="how the passes of the final run were weighed; null where they are not known",
    )
    binding: list[Binding] = Field(default=[], description="bounds that have a cost")
    prior: RecipePrior | None = Field(
        default=None, description="mixture that this one stays near; null: none"
    )
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
        others: list[tuple[str, Mapping[str, Any]]] = [
            (f"alternatives.{i}", mixture) for i, mixture in enumerate(self.alternatives)
        ]
        for name, part in (("gain", self.gain), ("prior", self.prior)):
            others += [(f"{name}.proportions", part.proportions)] if part else []
        for where, mixture in (("proportions", self.proportions), *others):
            if abs(sum(mixture.values()) - 1) > SUM_TOLERANCE:
                raise ValueError(
                    f"{where} sums to {sum(mixture.values()):.6g}; need 1 within {SUM_TOLERANCE:g}"
                )
        if self.regret and len(self.regret) < 2:
            raise ValueError(f"regret has only {', '.join(self.regret)}; need expected and upper95")
        others += [(key, getattr(self, key)) for key in ("region", "interval", "tokens", "epochs")]
        others.append(("blends", self.blends))
        for where, values in others:
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

    @model_validator(mode="after")
    def _blends(self) -> Self:
        """Checks the proportions and names of the sources of fixed blends."""
        for name, sources in self.blends.items():
            if abs(sum(sources.values()) - 1) > SUM_TOLERANCE:
                raise ValueError(
                    f"blends.{name} sums to {sum(sources.values()):.6g}; need 1 within "
                    f"{SUM_TOLERANCE:g}"
                )
            if taken := next((one for one in sources if one in self.proportions), None):
                raise ValueError(f"blends.{name} has source {taken}, the name of a domain")
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

    def by_source(self) -> dict[str, float]:
        """{domain, or source of a fixed blend: proportion of all tokens}, in whole millionths.

        The proportion of a source is that of its domain times its own inside the domain.
        """
        exact: dict[str, float] = {}
        for name, proportion in self.proportions.items():
            inner = self.blends.get(name) or {name: 1.0}
            exact |= {source: proportion * part for source, part in inner.items()}
        return rounded(exact)

    def write(self, path: str | Path) -> None:
        """Write RECIPE.json, either completely or not at all."""
        files.write_text(path, self.to_text())

    def to_text(self) -> str:
        """The recipe as JSON text, with the keys in the order of the fields."""
        return json.dumps(self.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def to_json(self) -> dict[str, Any]:
        """The content of RECIPE.json."""
        return self.model_dump(mode="json")
