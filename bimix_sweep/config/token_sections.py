"""Keys of sweep.yaml about the tokenizer of the text, and about ready-made tokens."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from bimix_sweep.config.section import Place, Section
from bimix_sweep.config.yaml_file import absolute


class TokenizerConfig(Section):
    """The tokenizer of the text."""

    path: Place = Field(
        min_length=1,
        pattern=r"^[^\x00-\x1f]+$",
        description="A tokenizer.json of Hugging Face's tokenizers, or a folder that holds one",
    )
    end_of_text: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="Token that ends a document, such as </s>; default: found in the file",
    )

    def anchored(self, folder: Path) -> Self:
        """Copy with a relative path made absolute from `folder`."""
        return self.model_copy(update={"path": absolute(self.path, folder)})


def _from_path(tokenizer: Any) -> Any:
    """A tokenizer that is stated as its path, as a mapping."""
    return {"path": tokenizer} if isinstance(tokenizer, str) else tokenizer


def _allow_path(schema: dict[str, Any]) -> None:
    """Add the path to the forms of a tokenizer in the JSON Schema."""
    schema["anyOf"] = [*schema["anyOf"], {"type": "string", "minLength": 1}]


StatedTokenizer = Annotated[
    TokenizerConfig | None,
    BeforeValidator(_from_path),
    Field(json_schema_extra=_allow_path),
]
"""A tokenizer, stated as its path or as a mapping; None: one is trained, or none is needed."""


class TokensConfig(Section):
    """Ready-made tokens in the files of domains and targets (.bin and .npy)."""

    vocabulary: int | None = Field(
        None,
        ge=2,
        le=2**31,
        description="Number of token ids; default: that of the tokenizer, if it is stated",
    )
    end_of_text: int | None = Field(
        None,
        ge=0,
        lt=2**31,
        description="Id of the token that ends a document, for files that do not list their "
        "documents; default: that of the tokenizer, if it is stated",
    )
    dtype: Literal["uint16", "uint32", "int32", "int64"] | None = Field(
        None,
        description="Number format of files that do not state it; default: uint16, or uint32 for "
        "a vocabulary of more than 65536",
    )

    @model_validator(mode="after")
    def _end_is_a_token(self) -> Self:
        if self.vocabulary is not None and (self.end_of_text or 0) >= self.vocabulary:
            raise ValueError(
                f"has end_of_text {self.end_of_text} and vocabulary {self.vocabulary}; need an id "
                "below the vocabulary"
            )
        return self
