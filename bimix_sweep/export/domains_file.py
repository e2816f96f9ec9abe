"""Reads the domains file, which says where the trainer's tokens of each domain lie.

The domains file is YAML with one entry per domain:

```yaml
web:  {path: /data/web_text_document, tokens_per_document: 812.5}
code: {path: [/data/code_0, /data/code_1], tokens: [2.0e9, 1.0e9], valid: /data/code_valid}
```

A domain that is a fixed blend stands there as its sources, each by its own name (`web-1`, `web-2`).
"""

import math
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from bimix_sweep import files
from bimix_sweep.errors import ExportError
from bimix_sweep.export.validation_error import explain
from bimix_sweep.parsing import parse_number, parse_yaml

Text = Annotated[str, Field(min_length=1)]
"""Text that is not empty."""
Count = Annotated[float, Field(gt=0)]
"""A number of tokens, above 0."""


def _checked_paths(value: Any) -> Any:
    """Returns one path or several as they are; refuses anything else."""
    several = value if isinstance(value, list) else [value]
    if not several or not all(isinstance(path, str) and path for path in several):
        raise ValueError("need a path, or a list of paths")
    return value


def _checked_tokens(value: Any) -> Any:
    """Returns one number of tokens or several; refuses anything else."""
    several = [_number(one) for one in (value if isinstance(value, list) else [value])]
    if not several or not all(0 < number < math.inf for number in several):
        raise ValueError("need a number of tokens above 0, or a list of one for each path")
    return several if isinstance(value, list) else several[0]


def _number(value: Any) -> float:
    """The number that YAML holds, or that its text states (`2.0e9`, `300B`); 0 if it holds none."""
    try:
        if isinstance(value, str):
            return parse_number(value)
        return 0.0 if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0


Paths = Annotated[str | list[str], BeforeValidator(_checked_paths)]
"""One path or several."""
Tokens = Annotated[float | list[float], BeforeValidator(_checked_tokens)]
"""Tokens of a domain, or of each of its paths."""


class DomainSource(BaseModel):
    """Places of one domain's tokens, in the form that the trainer needs."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    path: Paths | None = Field(
        default=None, description="file, prefix, folder or glob, as the trainer wants it, or a list"
    )
    tokens: Tokens | None = Field(
        default=None, description="tokens of the domain, or of each path in the order of the list"
    )
    valid: Text | None = Field(default=None, description="held-out data; default: none")
    test: Text | None = Field(default=None, description="held-out data; default: none")
    tokens_per_document: Count | None = Field(
        default=None, description="mean number of tokens of a document"
    )

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths as they stand in the file; empty where there is none."""
        if self.path is None:
            return ()
        return (self.path,) if isinstance(self.path, str) else tuple(self.path)

    @model_validator(mode="after")
    def _as_many_tokens_as_paths(self) -> Self:
        if isinstance(self.tokens, list) and len(self.tokens) != len(self.paths):
            raise ValueError(
                f"tokens has {len(self.tokens)} numbers and path {len(self.paths)} paths; need one "
                "number for each path, or one for the whole domain"
            )
        return self


_SOURCES = TypeAdapter(dict[str, DomainSource])


def read_sources(path: str | Path) -> dict[str, DomainSource]:
    """{domain: places of its tokens} from a domains file.

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
