"""Describes the text or the tokens of one domain or target, and reads its documents."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bimix_sweep.data.finding.endings import BY_ENDING, FORMATS, PACKED, TOKENS, Format, ending_of
from bimix_sweep.data.finding.formats import TypedFile, typed_files
from bimix_sweep.data.finding.locating import find_files
from bimix_sweep.data.finding.stored_file import StoredFile
from bimix_sweep.data.reading.bad_input import BadInput
from bimix_sweep.data.reading.blocks import Blocks, Portion
from bimix_sweep.data.reading.documents import read_texts
from bimix_sweep.data.reading.token_files import (
    DTYPES,
    TokenFormat,
    Tokens,
    count_tokens,
    read_tokens,
)
from bimix_sweep.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The text (or the tokens) of one domain or target."""

    path: str | Path | Sequence[str | Path] | None = None
    """A file, a folder (all files in it), a glob such as `web/**/*.jsonl.{gz,zst}`, a `pyarrow.fs`
    URI of any of these, `@LIST` for a file with one of these a line, or several of all these; None:
    `documents` holds the text."""
    documents: tuple[str, ...] = ()
    """The documents themselves, if there is no path."""
    field: str = "text"
    """Field of JSON objects, or column of a table, that holds the text; a dot leads into a nested
    field."""
    format: Format | None = None
    """Format of all files; None: each file's own, as its content and its ending say."""
    vocabulary: int | None = None
    """Vocabulary size, if the files hold tokens: every token id is below it, and one tokenizer
    made the tokens of every domain."""
    end_of_text: int | None = None
    """Token id that ends a document, used with `vocabulary` where the format of a file does not
    list its documents; without it such a file is cut every 2048 tokens."""
    dtype: str | None = None
    """Number format, little-endian, of token files that do not state their own, used with
    `vocabulary`; None: uint16, or uint32 for a vocabulary of more than 65,536."""
    max_bad: int | None = None
    """Maximum number of broken documents and files that are left out; None: the first one is an
    error."""

    def __post_init__(self) -> None:
        if (not self.path) == (not self.documents):
            raise DataError(
                "a source has a path or documents; need exactly one of them, and not empty"
            )
        if self.format is not None and self.format not in FORMATS:
            raise DataError(
                f"{self.place}: format is {self.format!r}; need one of {', '.join(FORMATS)}"
            )
        if self.vocabulary is not None and not 2 <= self.vocabulary <= 2**32:
            raise DataError(
                f"{self.place}: vocabulary is {self.vocabulary}; need the number of token ids, at "
                "least 2"
            )
        if self.dtype not in (None, *DTYPES):
            raise DataError(
                f"{self.place}: dtype is {self.dtype!r}; need one of {', '.join(DTYPES)}"
            )

    @property
    def place(self) -> str:
        """The path or paths, for messages."""
        return ", ".join(self._entries())

    def fingerprint(self) -> str:
        """Hash that identifies the content to be read.

        For documents, the hash covers their text. For files, the hash covers name, size and
        modification time, as in build tools.
        """
        digest = hashlib.blake2b(digest_size=16)
        if self.path is None:
            for text in self.documents:
                digest.update(
                    hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()
                )
        else:
            states = [(f.path, f.size, f.mtime_ns) for f in self._files()]
            kind = [self.field, self.format, self.vocabulary, self.end_of_text, self.dtype]
            kind += [] if self.max_bad is None else ["without broken documents"]
            digest.update(json.dumps([states, *kind]).encode())
        return digest.hexdigest()

    def stored_bytes(self) -> float:
        """Approximate bytes of text in the files, from their sizes.

        Compressed files and Parquet files are assumed to hold three times their size.

        Raises:
            DataError: nothing is at the path.
        """
        return sum(_text_bytes(f) for f in self._files())

    def num_tokens(self) -> int:
        """Number of tokens in files that hold tokens, from their sizes and headers.

        Raises:
            DataError: nothing is at the path, or more than `max_bad` files cannot be read as tokens.
        """
        form, bad, total = self.token_format(), BadInput(self.max_bad), 0
        for file in self._files():
            try:
                total += count_tokens(file, form)
            except DataError as error:
                bad.met(error)
        return total

    def token_format(self) -> TokenFormat:
        """Meaning of the numbers in files that hold tokens.

        Raises:
            DataError: the source states no vocabulary.
        """
        if self.vocabulary is None:
            raise DataError(f"{self.place} holds tokens; need the vocabulary they were made with")
        return TokenFormat(
            vocabulary=self.vocabulary, end_of_text=self.end_of_text, dtype=self.dtype
        )

    def texts(self) -> Iterator[str]:
        """Texts of the documents, file by file in the order of the files' names, without blank
        ones.

        Raises:
            DataError: nothing is at the path, or the content of a file is not of its format; the
                message names the file and the line.
        """
        if self.path is None:
            yield from _cleaned(self.documents)
        else:
            yield from self.open().texts(None)

    def token_documents(self) -> Iterator[Tokens]:
        """Documents of files that hold tokens, each with its `end_of_text` if there is one.

        Raises:
            DataError: nothing is at the path, a file holds no tokens, or a token is not below
                `vocabulary`.
        """
        return self.open().token_documents(None)

    def open(self) -> "OpenSource":
        """List the files now, so that they can be read in blocks.

        Raises:
            DataError: nothing is at the path.
        """
        files, bad = self._files(), BadInput(self.max_bad)
        try:
            return OpenSource(self, typed_files(files, self.format), bad)
        except DataError:
            if self.max_bad is None:
                raise
        typed = []
        for file in files:
            try:
                typed += typed_files([file], self.format)
            except DataError as error:
                bad.met(error)
        if not typed:
            raise DataError(f"{self.place}: no file can be read ({bad.messages[0]})")
        return OpenSource(self, typed, bad)

    def holds_tokens(self) -> bool:
        """True if the files end in .npy or .bin.

        Raises:
            DataError: some files hold tokens and some hold text.
        """
        if self.path is None or self.format is not None:
            return False
        kinds = {BY_ENDING.get(ending_of(f.path)) == TOKENS for f in self._files()}
        if len(kinds) > 1:
            raise DataError(f"{self.place} holds both tokens (.npy, .bin) and text; need one kind")
        return kinds.pop()

    def _files(self) -> list[StoredFile]:
        """The files that the path names."""
        return find_files(self._entries())

    def _entries(self) -> list[str]:
        """The path as a list."""
        if isinstance(self.path, str | Path):
            return [str(self.path)]
        return [str(entry) for entry in self.path or ()]


class OpenSource:
    """The files of a source, listed once."""

    def __init__(self, source: Source, typed: Sequence[TypedFile], bad: BadInput) -> None:
        self._source, self._typed, self.bad = source, typed, bad
        self.blocks = Blocks(
            [(one.file.path, one.file.size) for one in typed],
            whole=[one.whole for one in typed],
            sought=[one.sought for one in typed],
            num_bytes=sum(_text_bytes(one.file) for one in typed),
        )

    def texts(self, portions: Iterable[Portion] | None) -> Iterator[str]:
        """Texts of the documents in these portions, as in `Source.texts`; None: in all files."""
        for portion in self._all() if portions is None else portions:
            typed = self._typed[portion.file]
            yield from _cleaned(read_texts(typed, portion, self._source.field, self.bad))

    def token_documents(self, portions: Iterable[Portion] | None) -> Iterator[Tokens]:
        """Documents of tokens in these portions, as in `Source.token_documents`; None: in all
        files.

        Raises:
            DataError: the source states no vocabulary, or a file cannot be read as its tokens.
        """
        form = self._source.token_format()
        for portion in self._all() if portions is None else portions:
            try:
                yield from read_tokens(self._typed[portion.file].file, portion, form)
            except DataError as error:
                self.bad.met(error)

    def _all(self) -> list[Portion]:
        """All files, each read whole."""
        return self.blocks.portions(0, self.blocks.total)


def _text_bytes(file: StoredFile) -> float:
    """Approximate bytes of text in a file, by its name and size."""
    packed = file.path.lower().endswith((*PACKED, ".parquet"))
    return file.size * (3.0 if packed else 1.0)


def _cleaned(texts: Iterable[str]) -> Iterator[str]:
    """Texts without blank ones, with lone surrogates replaced.

    JSON may hold lone surrogates, and UTF-8 may not.
    """
    for text in texts:
        if text.strip():
            yield text.encode(errors="replace").decode()
