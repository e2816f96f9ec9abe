"""Joins a recipe with the places of its domains' tokens, as input for the trainers' forms.

The domains file is YAML with one entry per domain:

```yaml
web:  {path: /data/web_text_document, tokens_per_document: 812.5}
code: {path: /data/code_text_document, tokens_per_document: 1490, valid: /data/code_valid}
```

A domain that is a fixed blend stands there as its sources, each by its own name (`web-1`, `web-2`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from bimix_sweep import files
from bimix_sweep.errors import ExportError
from bimix_sweep.export.recipe import Recipe
from bimix_sweep.export.rounding import rounded
from bimix_sweep.export.unit import Unit
from bimix_sweep.export.validation_error import explain
from bimix_sweep.parsing import parse_yaml
from bimix_sweep.text import shown

DOCUMENT_DECIMALS = 12
"""Decimals of weights per document; numpy's `choice`, which uses them, needs a sum of 1 within
1.5e-8."""

Text = Annotated[str, Field(min_length=1)]
"""Text that is not empty."""


class DomainSource(BaseModel):
    """Place of one domain's tokens, in the form that the trainer needs."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    path: Text | None = Field(
        default=None, description="file, prefix or folder, as the trainer wants it"
    )
    valid: Text | None = Field(default=None, description="held-out data; default: none")
    test: Text | None = Field(default=None, description="held-out data; default: none")
    tokens_per_document: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="mean number of tokens of a document"
    )


_SOURCES = TypeAdapter(dict[str, DomainSource])


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One domain, or one source of a domain that is a fixed blend."""

    domain: str
    """Name of the domain."""
    proportion: float
    """Proportion of tokens, a whole number of millionths."""
    weight: float
    """Weight by which the trainer draws the domain, in the unit of the blend; all weights sum to
    1."""
    source: DomainSource
    """Place of the domain's tokens."""

    @property
    def decimal(self) -> str:
        """The weight as a plain decimal number, without an exponent."""
        return f"{self.weight:.{DOCUMENT_DECIMALS}f}".rstrip("0").rstrip(".") or "0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blend:
    """A recipe with the places of its tokens, ready to be written for a trainer."""

    parts: tuple[Part, ...]
    """All domains of the recipe, including domains with proportion 0."""
    recipe: Recipe
    """The recipe that the blend was made from."""
    given: bool
    """True if there was a domains file."""
    names: bool = False
    """True if a domain's name replaces its path where no path is given."""
    unit: Unit = Unit.TOKENS
    """Unit of the weights of the parts."""

    def positive(self) -> tuple[Part, ...]:
        """The domains with a proportion above 0.

        Most trainers refuse a weight of 0.
        """
        return tuple(part for part in self.parts if part.proportion > 0)

    def weighted(self, unit: Unit) -> "Blend":
        """A copy of the blend with weights in a trainer's unit.

        A trainer that draws documents draws domain i with probability d[i]. So it reads a number of
        tokens of domain i that is proportional to d[i] * t[i], where t[i] is the mean number of
        tokens per document of domain i. For the proportions r[i] of tokens, d[i] is therefore
        proportional to r[i] / t[i].

        Raises:
            ExportError: the unit is documents and a domain's mean number of tokens per document is
                not known, or a weight is rounded to 0.
        """
        weights = {part.domain: part.proportion for part in self.parts}
        if unit is Unit.DOCUMENTS:
            per_token = {
                part.domain: part.proportion / self.tokens_per_document(part)
                for part in self.positive()
            }
            weights = dict.fromkeys(weights, 0.0) | rounded(per_token, DOCUMENT_DECIMALS)
            if lost := next((p.domain for p in self.positive() if not weights[p.domain]), None):
                raise ExportError(
                    f"domain {lost} would be drawn for less than one document in 10^12; its "
                    "tokens_per_document and its proportion do not fit together"
                )
        parts = tuple(replace(part, weight=weights[part.domain]) for part in self.parts)
        return replace(self, parts=parts, unit=unit)

    def path(self, part: Part) -> str:
        """Path of a domain's training tokens.

        Raises:
            ExportError: there is no path, and names do not replace paths, or this name may not.
        """
        if part.source.path is not None:
            return part.source.path
        if self.names:
            if part.domain.startswith("/") or ".." in part.domain.split("/"):
                raise ExportError(
                    f"domain {part.domain} would be a path outside the trainer's folder; give "
                    "--domains FILE.yaml with its path"
                )
            return part.domain
        need = (
            f"need {part.domain}: {{path: ...}}, where your trainer's tokens of it lie, or --names "
            "for the domain's name in its place"
        )
        if self.given:
            raise ExportError(f"the domains file gives domain {part.domain} no path; {need}")
        raise ExportError(
            f"no domains file, and this form holds paths: give --domains FILE.yaml; {need}"
        )

    def located(self, clean: Callable[[str], str] = str) -> list[tuple[Part, str]]:
        """Each domain with a proportion above 0, with its path; all paths differ.

        Args:
            clean: function that changes a path as the trainer does.

        Raises:
            ExportError: two domains have the same path, or a domain has no path.
        """
        owner: dict[str, str] = {}
        found = [(part, clean(self.path(part))) for part in self.positive()]
        for part, path in found:
            if other := owner.get(path):
                raise ExportError(
                    f"domains {other} and {part.domain} have the same path {shown(path)}; need one "
                    "of its own for each"
                )
            owner[path] = part.domain
        return found

    def held_out(
        self, split: Literal["valid", "test"], clean: Callable[[str], str] = str
    ) -> list[tuple[Part, str]]:
        """Each domain with a proportion above 0 that has held-out data, with the path of that data.

        Args:
            split: which held-out data.
            clean: function that changes a path as the trainer does.

        Raises:
            ExportError: the path of held-out data is also the path of training data.
        """
        trained = {path: part.domain for part, path in self.located(clean)}
        found = [
            (part, clean(path))
            for part in self.positive()
            if (path := getattr(part.source, split)) is not None
        ]
        for part, path in found:
            if path in trained:
                raise ExportError(
                    f"domain {part.domain} has {split}: {shown(path)}, which is the path of domain "
                    f"{trained[path]} and would be trained on; need data of its own"
                )
        return found

    def tokens_per_document(self, part: Part) -> float:
        """Mean number of tokens per document of a domain.

        Raises:
            ExportError: the number is not known.
        """
        if part.source.tokens_per_document is None:
            raise ExportError(
                f"domain {part.domain} has no tokens_per_document; this trainer draws documents, "
                "so proportions of tokens must be divided by the mean length of a document: give "
                f"a domains file with {part.domain}: {{tokens_per_document: ...}}"
            )
        return part.source.tokens_per_document

    @property
    def seed(self) -> int:
        """The sweep's seed; 0 if the recipe names no seed."""
        seed = self.recipe.provenance.get("seed")
        return seed if isinstance(seed, int) and 0 <= seed < 2**32 else 0


def read_blend(
    recipe: Recipe, domains_file: str | Path | None = None, *, names: bool = False
) -> Blend:
    """Join a recipe with its domains file.

    Args:
        recipe: the recipe.
        domains_file: path of the domains file; None: no file.
        names: True if a domain's name replaces its path where the domains file gives no path.

    Raises:
        ExportError: the file cannot be read, names a domain that the recipe lacks, or lacks a
            domain with a proportion above 0.
    """
    sources = {} if domains_file is None else _read_sources(domains_file)
    proportions = multiplied_out(recipe)
    if unknown := next((name for name in sources if name not in proportions), None):
        known = ", ".join(list(proportions)[:20])
        blend = f" (domain {unknown} is a fixed blend)" if unknown in recipe.blends else ""
        raise ExportError(
            f"{domains_file}: domain {unknown} is not in the recipe{blend}; need domains of {known}"
        )
    if domains_file is not None and (
        lacking := next((n for n, x in proportions.items() if x > 0 and n not in sources), None)
    ):
        raise ExportError(
            f"{domains_file}: no domain {lacking}; need an entry for every domain with a "
            "proportion above 0"
        )
    parts = tuple(
        Part(domain=name, proportion=x, weight=x, source=sources.get(name, DomainSource()))
        for name, x in proportions.items()
    )
    return Blend(parts=parts, recipe=recipe, given=domains_file is not None, names=names)


def multiplied_out(recipe: Recipe) -> dict[str, float]:
    """{domain, or source of a fixed blend: proportion of all tokens}, in whole millionths.

    The proportion of a source is that of its domain times its own inside the domain.
    """
    exact: dict[str, float] = {}
    for name, proportion in recipe.proportions.items():
        inner = recipe.blends.get(name) or {name: 1.0}
        exact |= {source: proportion * part for source, part in inner.items()}
    return dict(rounded(exact))


def _read_sources(path: str | Path) -> dict[str, DomainSource]:
    """{domain: place of its tokens} from a domains file.

    Raises:
        ExportError: the file cannot be read or an entry is wrong.
    """
    try:
        content = parse_yaml(files.read_text(path))
    except OSError as error:
        raise ExportError(
            f"{path} cannot be read ({error.strerror or error}); need a YAML file of domains"
        ) from error
    except ValueError as error:
        raise ExportError(f"{path} is {error}") from error
    try:
        return _SOURCES.validate_python(content)
    except ValidationError as error:
        raise ExportError(
            f"{path}: {explain(error)}; need domain: {{path: ..., tokens_per_document: ...}}"
        ) from None
