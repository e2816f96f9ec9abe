"""Where the documents of a domain or a target are, and reading them one after another.

A file is read by its ending: `.jsonl` and `.json` (objects with a text field), `.parquet` (a text column), `.npy` and `.bin`
(tokens); any other file is one document of plain text. `.gz` and `.zst` after the ending are decompressed on the way.
"""

import fnmatch
import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet
from pyarrow import fs

from bimix_sweep import files
from bimix_sweep.errors import DataError

Tokens = npt.NDArray[np.unsignedinteger[Any]]
"""(tokens,) uint16 or uint32."""

CHUNK = 2048
"""Tokens of a document where a pre-tokenised shard does not say where its documents end."""
LARGEST_TEXT = 64_000_000
"""Bytes of a plain text file, which is one document; a longer one is a collection that should say where its documents end."""
COMPRESSED = (".gz", ".zst")
TOKEN_FILES = (".npy", ".bin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The text (or the tokens) of one domain or target."""

    path: str | Path | None = None
    """A file, a folder (all files in it), a glob such as `web/**/*.jsonl.zst`, or a `pyarrow.fs` URI of any of these."""
    documents: tuple[str, ...] = ()
    """Or the documents themselves."""
    column: str = "text"
    """Field of JSON lines, column of Parquet."""
    vocabulary: int | None = None
    """Set when the files hold tokens: their ids are below it, and one tokenizer made those of every domain."""
    end_of_text: int | None = None
    """With `vocabulary`: the id that ends a document; without it a shard is cut every 2048 tokens."""
    dtype: str = "uint16"
    """With `vocabulary`: how the numbers of `.bin` files are stored, little-endian."""

    def __post_init__(self) -> None:
        if (self.path is None) == (not self.documents):
            raise DataError(
                "a source has a path or documents; need exactly one of them, and not empty"
            )
        if self.vocabulary is not None and not 2 <= self.vocabulary <= 2**32:
            raise DataError(
                f"{self.path}: vocabulary is {self.vocabulary}; need the number of token ids, at least 2"
            )
        if self.dtype not in ("uint16", "uint32", "int32", "int64"):
            raise DataError(
                f"{self.path}: dtype is {self.dtype!r}; need uint16, uint32, int32 or int64"
            )

    def fingerprint(self) -> str:
        """Hash of what would be read: of documents their text; of files name, size and time of change, as build tools do."""
        digest = hashlib.blake2b(digest_size=16)
        if self.path is None:
            for text in self.documents:
                digest.update(
                    hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()
                )
        else:
            found = [(f.path, f.size, f.mtime_ns) for f in self._files()[1]]
            digest.update(
                json.dumps(
                    [found, self.column, self.vocabulary, self.end_of_text, self.dtype]
                ).encode()
            )
        return digest.hexdigest()

    def stored_bytes(self) -> float:
        """About how much text the files hold, by their sizes; compressed ones are taken to grow threefold.

        Raises:
            DataError: nothing is at the path.
        """
        return float(
            sum(
                f.size * (3.0 if f.path.endswith((*COMPRESSED, ".parquet")) else 1.0)
                for f in self._files()[1]
            )
        )

    def texts(self) -> Iterator[str]:
        """The documents, in an order that depends on the names of the files only; blank ones are left out.

        Raises:
            DataError: nothing is at the path, or a file is not what its ending says; it names the file and the line.
        """
        for text in self._texts():
            if text.strip():
                yield text.encode(
                    errors="replace"
                ).decode()  # a lone surrogate from JSON is no text

    def token_documents(self) -> Iterator[Tokens]:
        """The documents of files that hold tokens, each with its `end_of_text` if there is one.

        Raises:
            DataError: as `texts`, or a token is not below `vocabulary`.
        """
        if self.vocabulary is None:
            raise DataError(f"{self.path} holds tokens; need the vocabulary they were made with")
        filesystem, found = self._files()
        kind = np.uint16 if self.vocabulary <= 2**16 else np.uint32
        for info in found:
            tokens = _read_tokens(filesystem, info.path, self.dtype)
            if tokens.size and not 0 <= tokens.min() <= tokens.max() < self.vocabulary:
                raise DataError(
                    f"{info.path} holds token {tokens.max() if tokens.max() >= self.vocabulary else tokens.min()}; need ids from 0 to "
                    f"{self.vocabulary - 1} (is the vocabulary or the dtype {self.dtype} another?)"
                )
            ends = np.arange(CHUNK, len(tokens), CHUNK)
            if self.end_of_text is not None:
                ends = np.flatnonzero(tokens == self.end_of_text) + 1
            yield from (part.astype(kind) for part in np.split(tokens, ends) if len(part) > 1)

    def holds_tokens(self) -> bool:
        """True where the files end in .npy or .bin.

        Raises:
            DataError: some do and some do not, or the vocabulary is stated and they do not.
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
                f"{self.path} has a vocabulary but holds text; need {' or '.join(TOKEN_FILES)} files, or no vocabulary"
            )
        return self.vocabulary is not None or kinds.pop()

    def _texts(self) -> Iterator[str]:
        if self.path is None:
            yield from self.documents
            return
        filesystem, found = self._files()
        for info in found:
            yield from _read_texts(filesystem, info.path, self.column)

    def _files(self) -> tuple[fs.FileSystem, list[fs.FileInfo]]:
        return _find(str(self.path))


def _find(path: str) -> tuple[fs.FileSystem, list[fs.FileInfo]]:
    """All files a path, folder, glob or URI names, in the order of a hash of their names: any prefix is a fair sample."""
    try:
        if files.is_uri(path):
            filesystem, inner = fs.FileSystem.from_uri(path)
        else:
            filesystem, inner = fs.LocalFileSystem(), str(Path(path).expanduser().absolute())
        base, pattern = _split_glob(inner)
        top = filesystem.get_file_info(base)
        if top.type == fs.FileType.NotFound:
            looked = f" (looked for {base})" if base != str(path) else ""
            raise DataError(f"{path} was not found{looked}; need a file, a folder, a glob or a URI")
        found = (
            [top]
            if top.type == fs.FileType.File
            else filesystem.get_file_info(fs.FileSelector(base, recursive=True))
        )
    except (
        OSError,
        pa.ArrowException,
        ValueError,
        RuntimeError,
    ) as error:  # RuntimeError: ~ of nobody
        raise DataError(
            f"{path} cannot be read ({str(error).splitlines()[0]}); need a file, a folder, a glob or a URI"
        ) from error
    kept = []
    for info in found:
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
            kept.append((hashlib.blake2b(inside.encode(), digest_size=8).digest(), inside, info))
    if not kept:
        raise DataError(
            f"{path}: no file with content was found there (looked for {pattern or 'any file'} in {base})"
        )
    return filesystem, [info for _, _, info in sorted(kept, key=lambda entry: entry[:2])]


def _split_glob(path: str) -> tuple[str, str]:
    """`a/b/*.txt` -> (`a/b`, `*.txt`); no pattern -> (path, ``)."""
    parts = path.split("/")
    first = next((i for i, part in enumerate(parts) if any(c in part for c in "*?[")), len(parts))
    return "/".join(parts[:first]) or "/", "/".join(parts[first:])


def _matches(name: str, pattern: str) -> bool:
    """Glob by path parts; `**` stands for any number of folders."""
    names, patterns = name.split("/"), pattern.split("/")
    if patterns[0] == "**":
        rest = "/".join(patterns[1:]) or "*"
        return any(_matches("/".join(names[i:]), rest) for i in range(len(names)))
    if not fnmatch.fnmatchcase(names[0], patterns[0]):
        return False
    if len(names) == 1 or len(patterns) == 1:
        return len(names) == len(patterns)
    return _matches("/".join(names[1:]), "/".join(patterns[1:]))


def _kind(path: str) -> str:
    suffixes = [s.lower() for s in PurePosixPath(path).suffixes]
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _open(filesystem: fs.FileSystem, path: str) -> IO[bytes]:
    stream: Any = filesystem.open_input_stream(
        path, compression="zstd" if path.endswith(".zst") else None
    )
    if path.endswith(".gz"):
        stream = gzip.GzipFile(fileobj=stream)
    return io.BufferedReader(stream, buffer_size=1 << 20)


def _read_texts(filesystem: fs.FileSystem, path: str, column: str) -> Iterator[str]:
    kind = _kind(path)
    try:
        if kind in TOKEN_FILES:
            raise DataError(
                f"{path} holds tokens; need text here, or the vocabulary of the tokens and such files for every domain"
            )
        if kind == ".parquet":
            yield from _read_parquet(filesystem, path, column)
            return
        with _open(filesystem, path) as stream:
            if kind in (".jsonl", ".ndjson"):
                for number, line in enumerate(stream, start=1):
                    if line.strip():
                        yield _text_of(
                            _parse(line, f"{path} line {number}"), column, f"{path} line {number}"
                        )
            elif kind == ".json":
                entries = _parse(stream.read(), path)
                for number, entry in enumerate(
                    entries if isinstance(entries, list) else [entries], start=1
                ):
                    yield (
                        entry
                        if isinstance(entry, str)
                        else _text_of(entry, column, f"{path} entry {number}")
                    )
            else:
                data = stream.read(LARGEST_TEXT + 1)
                if len(data) > LARGEST_TEXT:
                    raise DataError(
                        f"{path} is one text of more than {LARGEST_TEXT // 10**6} MB, which would be one document; cut it into documents, "
                        "one a line of .jsonl or a file each"
                    )
                yield data.decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); convert it or leave it out"
        ) from error
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error


def _parse(data: bytes, where: str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{where} is not JSON ({error}); need an object with a text field"
        ) from error


def _text_of(entry: Any, column: str, where: str) -> str:
    if not isinstance(entry, dict) or column not in entry:
        has = (
            f"it has {', '.join(sorted(map(str, entry))[:8])}"
            if isinstance(entry, dict)
            else f"it is a {type(entry).__name__}"
        )
        raise DataError(f"{where} has no field {column!r}; {has}")
    text = entry[column]
    if not isinstance(text, str):
        raise DataError(f"{where}: field {column!r} is {type(text).__name__}; need text")
    return text


def _read_parquet(filesystem: fs.FileSystem, path: str, column: str) -> Iterator[str]:
    with filesystem.open_input_file(path) as stream, pa.parquet.ParquetFile(stream) as table:
        schema = table.schema_arrow
        if column not in schema.names:
            raise DataError(
                f"{path} has no column {column!r}; it has {', '.join(schema.names[:8])}"
            )
        kind = schema.field(column).type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise DataError(f"{path}: column {column!r} is {kind}; need text")
        for batch in table.iter_batches(batch_size=1024, columns=[column]):
            yield from (text for text in batch.column(0).to_pylist() if text is not None)


def _read_tokens(filesystem: fs.FileSystem, path: str, dtype: str) -> npt.NDArray[np.integer[Any]]:
    try:
        with filesystem.open_input_stream(path, compression=None) as stream:
            data = stream.read()
        if path.endswith(".npy"):
            tokens = np.load(io.BytesIO(data), allow_pickle=False)
        else:
            tokens = np.frombuffer(data, dtype=np.dtype(dtype).newbyteorder("<"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} holds no readable tokens: {str(error).splitlines()[0]}") from error
    if tokens.ndim != 1 or not np.issubdtype(tokens.dtype, np.integer):
        raise DataError(
            f"{path} holds a {tokens.dtype} array of shape {tokens.shape}; need one row of whole numbers"
        )
    return np.asarray(tokens)
