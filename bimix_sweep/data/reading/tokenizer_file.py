"""Reads a tokenizer from a `tokenizer.json`, the file of Hugging Face's `tokenizers`."""

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bimix_sweep import files, locations
from bimix_sweep.errors import DataError
from bimix_sweep.text import shown

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FILE = "tokenizer.json"
"""Name of the file in the folder of a model."""
ENDS_OF_TEXT = (
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|end▁of▁sentence|>",
    "<eos>",
    "</s>",
    "<|eos|>",
    "[EOS]",
    "<EOS>",
    "<|endofdocument|>",
    "[SEP]",
)
"""Special tokens that end a document in well-known tokenizers; the first one that a file has
counts."""
CONVERT = (
    "convert it with the transformers library: "
    "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(OUT) writes OUT/tokenizer.json"
)
"""How another kind of tokenizer becomes a `tokenizer.json`."""


class TextTokenizer:
    """A tokenizer that turns texts into tokens; no part of a text becomes a special token."""

    def __init__(
        self, content: str, *, end_of_text: str | None = None, place: str = FILE, given: bool = True
    ) -> None:
        """Args:
            content: a `tokenizer.json`.
            end_of_text: token that ends every document; None: the first of ENDS_OF_TEXT that
                is a special token.
            place: path of the file, for messages.
            given: whether the user gave it; otherwise it was trained for one store.

        Raises:
            DataError: the content is no tokenizer, or it has no such token.
        """
        self.content = content
        """The `tokenizer.json`, unchanged."""
        self.given = given
        """Whether the user gave it; otherwise it was trained for one store."""
        self._spec = _parsed(content, place)
        self._tokenizer = _loaded(content, place)
        self._ids: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        self.end_of_text: str = self._end_of_text(end_of_text, place)
        """Token that ends every document."""
        self.end_id: int = self._ids[self.end_of_text]
        """Its id."""
        self.vocabulary: int = max(self._ids.values()) + 1
        """Vocabulary size: every token id is below this number."""

    @classmethod
    def read(cls, path: str, end_of_text: str | None = None) -> "TextTokenizer":
        """Reads a `tokenizer.json`, or the one in a folder; arguments as for the constructor.

        Raises:
            DataError: nothing is at the path, the file is no tokenizer, or it has no end of text.
        """
        place = path if locations.is_uri(path) else str(Path(path).expanduser())
        inside = locations.join(place, FILE)
        place = inside if files.exists(inside) else place
        try:
            content = files.read_text(place)
        except IsADirectoryError:
            raise DataError(
                f"tokenizer {place} holds no {FILE}; give a folder or a file that the tokenizers "
                f"library wrote, and if the folder holds another kind, {CONVERT}"
            ) from None
        except ValueError as error:
            kind = "a SentencePiece model" if place.endswith(".model") else "not UTF-8 text"
            raise DataError(f"tokenizer {place} is {kind}; need a {FILE}: {CONVERT}") from error
        except OSError as error:
            raise DataError(
                f"tokenizer {place} cannot be read ({error.strerror or error}); need a {FILE} or "
                "its folder"
            ) from error
        return cls(content, end_of_text=end_of_text, place=place)

    def to_json(self) -> dict[str, Any]:
        """What a store and a recipe say of the tokenizer, JSON-able."""
        return {"sha256": self.sha256, "end_of_text": self.end_of_text, "given": self.given}

    @property
    def sha256(self) -> str:
        """SHA-256 of the `tokenizer.json`."""
        return hashlib.sha256(self.content.encode()).hexdigest()

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without any special token."""
        encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    @property
    def spells_text(self) -> bool:
        """True if the bytes of a text are the sum of the `widths` of its tokens.

        That holds for byte-level tokenizers, and for those that write a space as one character
        except for the space that some put before a text.
        """
        return self._byte_level or self._marks_spaces

    @cached_property
    def widths(self) -> npt.NDArray[np.int64]:
        """(vocabulary,) number of UTF-8 bytes that each token stands for.

        A byte-level tokenizer writes one character per byte. Other tokenizers write the text
        itself, a space as `▁` and a single byte as `<0x41>`. Special tokens stand for no byte.
        """
        width = np.zeros(self.vocabulary, dtype=np.int64)
        for token, index in self._ids.items():
            if self._byte_level:
                width[index] = len(token)
            else:
                byte = len(token) == 6 and token.startswith("<0x") and token.endswith(">")
                width[index] = 1 if byte else len(token.replace("▁", " ").encode())
        for index, added in self._tokenizer.get_added_tokens_decoder().items():
            width[index] = 0 if added.special else len(added.content.encode())
        width[self.end_id] = 0
        return width

    @property
    def _byte_level(self) -> bool:
        return any(part.get("type") == "ByteLevel" for part in self._decoders())

    @property
    def _marks_spaces(self) -> bool:
        return any(
            part.get("type") == "Metaspace"
            or (part.get("type") == "Replace" and part.get("pattern") == {"String": "▁"})
            for part in self._decoders()
        )

    def _decoders(self) -> list[dict[str, Any]]:
        """The steps that turn tokens into text, as the file describes them."""
        decoder = self._spec.get("decoder") or {}
        return [decoder, *decoder.get("decoders", ())]

    def _end_of_text(self, stated: str | None, place: str) -> str:
        """The stated token, or the first of ENDS_OF_TEXT that is a special token."""
        special = [
            added.content
            for added in self._tokenizer.get_added_tokens_decoder().values()
            if added.special
        ]
        known = [token for token in ENDS_OF_TEXT if token in special]
        if stated is None and known:
            return known[0]
        if stated is not None and stated in self._ids:
            return stated
        candidates = ", ".join(map(shown, (known or special)[:10])) or "none: it has no special one"
        raise DataError(
            f"tokenizer {place} has no token "
            f"{'that is known to end a document' if stated is None else shown(stated)}; state it as "
            f"tokenizer: {{path: ..., end_of_text: ...}} (candidates are {candidates})"
        )


def _parsed(content: str, place: str) -> dict[str, Any]:
    """The mapping of a `tokenizer.json`.

    Raises:
        DataError: the content is no such mapping.
    """
    try:
        spec = json.loads(content)
    except (ValueError, RecursionError):
        spec = None
    if not isinstance(spec, dict) or not isinstance(spec.get("model"), dict):
        what = "a mapping without a model" if isinstance(spec, dict) else "not JSON with a mapping"
        raise DataError(
            f"tokenizer {place} is {what}; need a {FILE} of the tokenizers library: {CONVERT}"
        )
    return spec


def _loaded(content: str, place: str) -> "Tokenizer":
    """The tokenizer, without the truncation, padding and random merges that its file may ask for.

    Raises:
        DataError: the library cannot read the content.
    """
    from tokenizers import Tokenizer  # not needed by trials that are trained elsewhere

    try:
        tokenizer = Tokenizer.from_str(content)
    except Exception as error:  # the library raises this class itself
        raise DataError(
            f"tokenizer {place} cannot be read by tokenizers ({shown(str(error))}); need a {FILE} "
            f"that it wrote: {CONVERT}"
        ) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if getattr(tokenizer.model, "dropout", None):
        tokenizer.model.dropout = None
    tokenizer.encode_special_tokens = True  # `<|endoftext|>` in a text is text
    return tokenizer
