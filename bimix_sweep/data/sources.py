"""Finds the files of a domain or a target, and reads their documents.

The ending of a file says how it is read: `.jsonl` and `.json` (objects with a text field),
`.parquet` (a text column), `.npy` and `.bin` (tokens). Any other file is one document of plain
text. Files with a further ending `.gz` or `.zst` are decompressed while they are read.
"""

import fnmatch
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyarrow as pa
from pyarrow import fs

from bimix_sweep import locations
from bimix_sweep.data.reading.blocks import Blocks, Portion
from bimix_sweep.data.reading.documents import (
    COMPRESSED,
    TOKEN_FILES,
    is_sought,
    is_whole,
    read_texts,
)
from bimix_sweep.data.reading.token_files import TokenFormat, Tokens, read_tokens
from bimix_sweep.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The text (or the tokens) of one domain or target."""

    path: str | Path | None = None
    """A file, a folder (all files in it), a glob such as `web/**/*.jsonl.zst`, or a `pyarrow.fs`
    URI of any of these; None: `documents` holds the text."""
    documents: tuple[str, ...] = ()
    """The documents themselves, if there is no path."""
    column: str = "text"
    """Field of JSON objects, or column of Parquet, that holds the text."""
    vocabulary: int | None = None
    """Vocabulary size if the files hold tokens: every token id is below it, and one tokenizer
    made the tokens of every domain."""
    end_of_text: int | None = None
    """Token id that ends a document, used with `vocabulary`; without it a file is cut every 2048
    tokens."""
    dtype: str = "uint16"
    """Number format of `.bin` files, little-endian, used with `vocabulary`."""

    def __post_init__(self) -> None:
        if (self.path is None) == (not self.documents):
            raise DataError(
                "a source has a path or documents; need exactly one of them, and not empty"
            )
        if self.vocabulary is not None and not 2 <= self.vocabulary <= 2**32:
            raise DataError(
                f"{self.path}: vocabulary is {self.vocabulary}; need the number of token ids, at "
                "least 2"
            )
        if self.dtype not in ("uint16", "uint32", "int32", "int64"):
            raise DataError(
                f"{self.path}: dtype is {self.dtype!r}; need uint16, uint32, int32 or int64"
            )

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
            states = [(f.path, f.size, f.mtime_ns) for f in self._files()[1]]
            digest.update(
                json.dumps(
                    [states, self.column, self.vocabulary, self.end_of_text, self.dtype]
                ).encode()
            )
        return digest.hexdigest()

    def stored_bytes(self) -> float:
        """Approximate bytes of text in the files, from their sizes.

        Compressed files and Parquet files are assumed to hold three times their size.

        Raises:
            DataError: nothing is at the path.
        """
        return sum(_text_bytes(f) for f in self._files()[1])

    def texts(self) -> Iterator[str]:
        """Texts of the documents, file by file in the order of the files' names, without blank
        ones.

        Raises:
            DataError: nothing is at the path, or the content of a file does not match its ending;
                the message names the file and the line.
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
        return OpenSource(self, *self._files())

    def holds_tokens(self) -> bool:
        """True if the files end in .npy or .bin.

        Raises:
            DataError: some files hold tokens and some hold text, or `vocabulary` is set and the
                files hold text.
        """
        if self.path is None:
            return False
        kinds = {PurePosixPath(f.path).suffix in TOKEN_FILES for f in self._files()[1]}
        if len(kinds) > 1:
            raise DataError(
                f"{self.path} holds both tokens ({', '.join(TOKEN_FILES)}) and text; need one kind"
            )
        if self.vocabulary is not None and not kinds.pop():
            raise DataError(
                f"{self.path} has a vocabulary but holds text; need {' or '.join(TOKEN_FILES)} "
                "files, or no vocabulary"
            )
        return self.vocabulary is not None or kinds.pop()

    def _files(self) -> tuple[fs.FileSystem, list[fs.FileInfo]]:
        """File system and files that the path names."""
        return _find(str(self.path))


class OpenSource:
    """The files of a source, listed once."""

    def __init__(
        self, source: Source, filesystem: fs.FileSystem, chosen: list[fs.FileInfo]
    ) -> None:
        self._source, self._filesystem = source, filesystem
        self.blocks = Blocks(
            [(f.path, f.size) for f in chosen],
            whole=[is_whole(f.path) for f in chosen],
            sought=[is_sought(f.path) for f in chosen],
            num_bytes=sum(_text_bytes(f) for f in chosen),
        )

    def texts(self, portions: Iterable[Portion] | None) -> Iterator[str]:
        """Texts of the documents in these portions, as in `Source.texts`; None: in all files."""
        for portion in self._all() if portions is None else portions:
            yield from _cleaned(read_texts(self._filesystem, portion, self._source.column))

    def token_documents(self, portions: Iterable[Portion] | None) -> Iterator[Tokens]:
        """Documents of tokens in these portions, as in `Source.token_documents`; None: in all
        files.

        Raises:
            DataError: the source states no vocabulary, or a file cannot be read as its tokens.
        """
        source = self._source
        if source.vocabulary is None:
            raise DataError(f"{source.path} holds tokens; need the vocabulary they were made with")
        form = TokenFormat(
            vocabulary=source.vocabulary, end_of_text=source.end_of_text, dtype=source.dtype
        )
        for portion in self._all() if portions is None else portions:
            yield from read_tokens(self._filesystem, portion, form)

    def _all(self) -> list[Portion]:
        """All files, each read whole."""
        return self.blocks.portions(0, self.blocks.total)


def _text_bytes(info: fs.FileInfo) -> float:
    """Approximate bytes of text in a file."""
    return float(info.size * (3.0 if info.path.endswith((*COMPRESSED, ".parquet")) else 1.0))


def _cleaned(texts: Iterable[str]) -> Iterator[str]:
    """Texts without blank ones, with lone surrogates replaced.

    JSON may hold lone surrogates, and UTF-8 may not.
    """
    for text in texts:
        if text.strip():
            yield text.encode(errors="replace").decode()


def _natural(name: str) -> list[str]:
    """Sort key that puts `part-2` before `part-10`, so that similar files are neighbours."""
    return [part.zfill(20) if part.isdigit() else part for part in re.split(r"([0-9]+)", name)]


def _find(path: str) -> tuple[fs.FileSystem, list[fs.FileInfo]]:
    """File system and all files that a path, folder, glob or URI names, in the order of their
    names.

    Empty and hidden files are left out.

    Raises:
        DataError: the path was not found, cannot be read, or names no file with content.
    """
    try:
        if locations.is_uri(path):
            filesystem, inner = fs.FileSystem.from_uri(path)
        else:
            filesystem, inner = fs.LocalFileSystem(), str(Path(path).expanduser().absolute())
        base, pattern = _split_glob(inner)
        top = filesystem.get_file_info(base)
        if top.type == fs.FileType.NotFound:
            looked = f" (looked for {base})" if base != str(path) else ""
            raise DataError(f"{path} was not found{looked}; need a file, a folder, a glob or a URI")
        chosen = (
            [top]
            if top.type == fs.FileType.File
            else filesystem.get_file_info(fs.FileSelector(base, recursive=True))
        )
    except (
        OSError,
        pa.ArrowException,
        ValueError,
        RuntimeError,
    ) as error:  # RuntimeError: `~name` of an unknown user
        raise DataError(
            f"{path} cannot be read ({str(error).splitlines()[0]}); need a file, a folder, a glob "
            "or a URI"
        ) from error
    kept = []
    for info in chosen:
        inside = info.path[len(base) :].strip("/")
        hidden = (
            any(part.startswith((".", "_SUCCESS")) for part in inside.split("/")) and inside != ""
        )
        if (
            info.type == fs.FileType.File
            and info.size
            and not hidden
            and (not pattern or _matches(inside, pattern))
        ):
            kept.append((_natural(inside), inside, info))
    if not kept:
        raise DataError(
            f"{path}: no file with content was found there (looked for {pattern or 'any file'} in "
            f"{base})"
        )
    return filesystem, [info for _, _, info in sorted(kept, key=lambda entry: entry[:2])]


def _split_glob(path: str) -> tuple[str, str]:
    """Splits `a/b/*.txt` into (`a/b`, `*.txt`), and a path without a pattern into (path, ``)."""
    parts = path.split("/")
    first = next((i for i, part in enumerate(parts) if any(c in part for c in "*?[")), len(parts))
    return "/".join(parts[:first]) or "/", "/".join(parts[first:])


def _matches(name: str, pattern: str) -> bool:
    """True if a name matches a glob, part by part; `**` stands for any number of folders."""
    names, patterns = name.split("/"), pattern.split("/")
    if patterns[0] == "**":
        rest = "/".join(patterns[1:]) or "*"
        return any(_matches("/".join(names[i:]), rest) for i in range(len(names)))
    if not fnmatch.fnmatchcase(names[0], patterns[0]):
        return False
    if len(names) == 1 or len(patterns) == 1:
        return len(names) == len(patterns)
    return _matches("/".join(names[1:]), "/".join(patterns[1:]))
