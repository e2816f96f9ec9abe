"""What a trainer's writer is given: the domains of a recipe with where their tokens lie.

The domains file is YAML, one entry a domain:

```yaml
web:  {path: /data/web_text_document, tokens_per_document: 812.5}
code: {path: /data/code_text_document, tokens_per_document: 1490, valid: /data/code_valid}
```
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from bimix_sweep import files
from bimix_sweep.errors import ExportError
from bimix_sweep.export.recipe import Recipe, explain, rounded
from bimix_sweep.parsing import parse_yaml

UNIT = "share of tokens"
"""What every weight is in, unless a trainer's module says otherwise."""


class DomainSource(BaseModel):
    """Where one domain's tokens lie, for the trainer."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    path: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="file, prefix or folder, as the trainer wants it"
    )
    valid: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="the same for validation; default: path"
    )
    test: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="the same for testing; default: path"
    )
    tokens_per_document: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="mean number of tokens of a document"
    )


_SOURCES = TypeAdapter(dict[str, DomainSource])


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One domain of a blend."""

    domain: str
    """Its name."""
    proportion: float
    """Share of tokens, a whole number of millionths."""
    source: DomainSource
    """Where its tokens lie."""

    @property
    def weight(self) -> str:
        """The share as a plain decimal, without exponent."""
        return f"{self.proportion:.6f}".rstrip("0").rstrip(".") or "0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blend:
    """A recipe ready to be written for a trainer."""

    parts: tuple[Part, ...]
    """Every domain of the recipe, zero ones too; shares sum to 1 as decimals."""
    recipe: Recipe
    """Where it comes from."""
    given: bool
    """True if there was a domains file; without one a domain's name stands for its path."""

    def positive(self) -> tuple[Part, ...]:
        """The domains with a share above 0: most trainers refuse a weight of 0."""
        return tuple(part for part in self.parts if part.proportion > 0)

    def path(self, part: Part) -> str:
        """Where a domain's training tokens lie; its name where no domains file was given.

        Raises:
            ExportError: the domains file does not say.
        """
        if part.source.path is not None:
            return part.source.path
        if self.given:
            raise ExportError(
                f"the domains file gives domain {part.domain} no path; need {part.domain}: {{path: ...}}, "
                "where your trainer's tokens of it lie"
            )
        return part.domain

    def tokens_per_document(self, part: Part) -> float:
        """Mean tokens of a domain's documents.

        Raises:
            ExportError: they are not known.
        """
        if part.source.tokens_per_document is None:
            raise ExportError(
                f"domain {part.domain} has no tokens_per_document; this trainer draws documents, so shares of tokens must be divided by "
                f"the mean length of a document: give a domains file with {part.domain}: {{tokens_per_document: ...}}"
            )
        return part.source.tokens_per_document

    @property
    def seed(self) -> int:
        """The sweep's seed, 0 where the recipe names none."""
        seed = self.recipe.provenance.get("seed")
        return seed if isinstance(seed, int) and 0 <= seed < 2**32 else 0


def as_yaml(content: Mapping[str, Any], *comments: str) -> str:
    """YAML with comments on top, keys in the given order, read back alike by any YAML 1.1 parser."""
    head = "".join(f"# {line}\n" for line in ("Written by bimix-sweep.", *comments))
    return head + yaml.safe_dump(
        dict(content), sort_keys=False, allow_unicode=True, default_flow_style=False, width=10**6
    )


Render = Callable[[Blend], str]
"""One form of one trainer: the text of the file."""


def read_blend(recipe: Recipe, domains_file: str | Path | None = None) -> Blend:
    """Join a recipe with its domains file.

    Raises:
        ExportError: the file is unreadable, names a domain the recipe lacks, or lacks one with a share above 0.
    """
    sources = {} if domains_file is None else _read_sources(domains_file)
    shares = rounded(recipe.proportions)
    if unknown := next((name for name in sources if name not in shares), None):
        raise ExportError(
            f"{domains_file}: domain {unknown} is not in the recipe; need domains of {', '.join(list(shares)[:20])}"
        )
    if domains_file is not None and (
        lacking := next((n for n, share in shares.items() if share > 0 and n not in sources), None)
    ):
        raise ExportError(
            f"{domains_file}: no domain {lacking}; need an entry for every domain with a share above 0"
        )
    parts = tuple(
        Part(domain=name, proportion=share, source=sources.get(name, DomainSource()))
        for name, share in shares.items()
    )
    return Blend(parts=parts, recipe=recipe, given=domains_file is not None)


def _read_sources(path: str | Path) -> dict[str, DomainSource]:
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
