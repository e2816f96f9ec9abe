"""Keys of sweep.yaml that say where the text of a domain or target lies, and how it is read."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from bimix_sweep import locations
from bimix_sweep.config.section import Section, without_secrets
from bimix_sweep.config.yaml_file import absolute
from bimix_sweep.text import shown

if TYPE_CHECKING:
    from bimix_sweep.data.blend import Blend
    from bimix_sweep.data.sources import Source

MAX_PATHS = 10_000
"""Largest number of paths of one domain; more stand in a file that lists them."""
SUM_TOLERANCE = 1e-6
"""Largest distance from 1 of the sum of a blend's proportions."""
MAX_SOURCES = 1000
"""Largest number of sources of one fixed blend."""
Format = Literal["jsonl", "json", "parquet", "arrow", "csv", "tsv", "text", "webdataset"]
"""Formats of text, as `data.reading` reads them."""


def _checked_paths(value: Any) -> Any:
    """Returns one path or several as they are; refuses anything else."""
    several = value if isinstance(value, list | tuple) else [value]
    if not 0 < len(several) <= MAX_PATHS or not all(isinstance(p, str) and p for p in several):
        raise ValueError(
            f"is {shown(value)}; need a file, folder, glob, URI or '@LIST', or a list of 1 to "
            f"{MAX_PATHS} of these"
        )
    for path in several:
        without_secrets(path)
    return value if isinstance(value, str) else tuple(several)


Paths = Annotated[str | tuple[str, ...], BeforeValidator(_checked_paths)]
"""One path or several, without secrets."""


class TextConfig(Section):
    """Where text lies and how it is read."""

    path: Paths | None = Field(
        None,
        description="Text or tokens: a file, folder, glob ({a,b} and {00..99} too), URI, or '@LIST' for a "
        "file with one of these a line; or a list of all these; the builtin trainer needs it",
    )
    field: str = Field(
        "text",
        min_length=1,
        max_length=200,
        description="Field of the records that holds the text, such as content; doc.text for a "
        "nested one",
    )
    format: Format | None = Field(
        None, description="Format of all files; default: as the content of each file says"
    )

    @property
    def has_text(self) -> bool:
        """True if the file says where the text lies."""
        return self.path is not None

    @property
    def place(self) -> str:
        """The paths, for messages."""
        return ", ".join([self.path] if isinstance(self.path, str) else self.path or ())

    def path_source(self) -> "Source":
        """The text at the path, ready to be read."""
        from bimix_sweep.data.sources import Source  # imports pyarrow

        return Source(path=self.path, field=self.field, format=self.format)

    def told(self) -> dict[str, Any]:
        """What a user's trainer is told of the text, JSON-able."""
        known = {"path", "field", "format"} if self.path is not None else {"path"}
        return self.model_dump(mode="json", include=known)

    def anchored(self, folder: Path) -> Self:
        """Copy with relative paths made absolute from `folder`."""
        if self.path is None or isinstance(self.path, str):
            return self.model_copy(update={"path": _absolute(self.path, folder)})
        paths = tuple(_absolute(path, folder) for path in self.path)
        return self.model_copy(update={"path": paths})


class BlendSourceConfig(TextConfig):
    """One source of a domain that is a fixed blend."""

    path: Paths = Field(description="Text, as in domains.NAME.path")
    proportion: float = Field(
        gt=0, lt=1, description="Its proportion of the domain's tokens; those of a domain sum to 1"
    )


class DomainConfig(TextConfig):
    """Domain: a source of training text, or a fixed blend of several."""

    sources: tuple[BlendSourceConfig, ...] | None = Field(
        None,
        min_length=2,
        max_length=MAX_SOURCES,
        description="Instead of path: sources whose proportions inside the domain are fixed, "
        "[{path: a/, proportion: 0.75}, {path: b/, proportion: 0.25}]",
    )
    tokens: float | None = Field(
        None,
        ge=1,
        le=1e18,
        description="Tokens available to the final run; default: those of the text itself",
    )
    min: float = Field(
        0.0, ge=0, le=1, description="Smallest proportion a mixture may give this domain"
    )
    max: float = Field(
        1.0, ge=0, le=1, description="Largest proportion a mixture may give this domain"
    )
    version: str | None = Field(
        None,
        pattern=r"^[^\x00-\x1f]+$",
        max_length=200,
        description="Label of this state of the text, kept in the provenance",
    )

    @model_validator(mode="after")
    def _one_kind_of_text(self) -> Self:
        if self.sources is None:
            return self
        if self.path is not None:
            raise ValueError("has both path and sources; need one of them")
        if abs((total := math.fsum(one.proportion for one in self.sources)) - 1) > SUM_TOLERANCE:
            raise ValueError(f"has sources with proportions that sum to {total:.6g}; need 1")
        return self

    @property
    def has_text(self) -> bool:
        """True if the file says where the text lies."""
        return self.path is not None or self.sources is not None

    @property
    def place(self) -> str:
        """The paths, for messages."""
        return " + ".join(one.place for one in self.sources) if self.sources else super().place

    def as_source(self) -> "Source | Blend":
        """The text, ready to be read."""
        if self.sources is None:
            return self.path_source()
        from bimix_sweep.data.blend import Blend  # imports pyarrow

        return Blend(parts=tuple((one.path_source(), one.proportion) for one in self.sources))

    def told(self) -> dict[str, Any]:
        """What a user's trainer is told of the text, JSON-able."""
        sources = [one.told() | {"proportion": one.proportion} for one in self.sources or ()]
        return super().told() | ({"sources": sources} if sources else {})

    def anchored(self, folder: Path) -> Self:
        """Copy with relative paths made absolute from `folder`."""
        sources = self.sources and tuple(one.anchored(folder) for one in self.sources)
        return super().anchored(folder).model_copy(update={"sources": sources})

    def blend(self, name: str) -> dict[str, float]:
        """{name of a source: its proportion of the domain's tokens}; empty if it is no blend.

        Args:
            name: name of the domain; its sources are NAME-1, NAME-2 and so on.
        """
        return {
            f"{name}-{number}": one.proportion for number, one in enumerate(self.sources or (), 1)
        }


class DataConfig(Section):
    """How the text of all domains and targets becomes tokens."""

    validation_tokens: int = Field(
        8192,
        ge=8,
        le=10**8,
        description="Tokens of a validation set, in rows of proxy.context tokens",
    )
    on_error: Literal["fail", "skip"] = Field(
        "fail", description="What a broken document or file does: end the command, or be left out"
    )
    max_bad: int = Field(
        100,
        ge=1,
        le=10**6,
        description="Most broken documents and files of one source that on_error: skip leaves out",
    )
    store: str | None = Field(
        None,
        min_length=1,
        pattern=r"^[^\x00-\x1f]+$",
        description="Local folder of a token store that several sweeps share; default: a store in "
        "the sweep's folder",
    )

    @field_validator("store")
    @classmethod
    def _is_local(cls, store: str | None) -> str | None:
        if store is not None and locations.is_uri(store):
            raise ValueError(f"is {shown(store)}; need a local folder, trials map its files")
        return store

    @property
    def bad_allowed(self) -> int | None:
        """`max_bad` of a `Source`: None where the first broken document is an error."""
        return self.max_bad if self.on_error == "skip" else None

    def anchored(self, folder: Path) -> Self:
        """Copy with a relative path made absolute from `folder`."""
        return self.model_copy(update={"store": absolute(self.store, folder)})


def _absolute(path: str | None, folder: Path) -> str | None:
    if path is not None and path.startswith("@"):
        return f"@{absolute(path[1:], folder)}"
    return absolute(path, folder)
