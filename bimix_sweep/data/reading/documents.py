"""Reads the documents of one file or of some of its blocks, and limits the size of one document.

A document belongs to the block in which it begins. Blocks of uncompressed lines and of tokens are
found by byte offset. Blocks of a Parquet file are found by row number within a row group. A
compressed file is decompressed from its beginning, and only the documents of the chosen blocks are
kept.
"""

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import IO, Any

import pyarrow as pa
from pyarrow import fs

from bimix_sweep.data.reading.blocks import BLOCK, Portion
from bimix_sweep.data.reading.parquet import MAX_TEXT_BYTES, parquet_texts, too_long
from bimix_sweep.errors import DataError

MAX_JSON_BYTES = 512_000_000
"""Maximum bytes of a `.json` file, which is parsed as a whole."""
COMPRESSED = (".gz", ".zst")
"""Endings of compressed files."""
TOKEN_FILES = (".npy", ".bin")
"""Endings of files that hold tokens."""
LINES = (".jsonl", ".ndjson")
"""Endings of files with one JSON object per line."""


def file_kind(path: str) -> str:
    """Ending that says what a file holds, without the ending of a compression.

    For example, the kind of `a.jsonl.zst` is `.jsonl`.
    """
    suffixes = [s.lower() for s in PurePosixPath(path).suffixes]
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def is_whole(path: str) -> bool:
    """True if a file cannot be read in blocks, because it is one document or one JSON value."""
    return file_kind(path) not in (*LINES, ".parquet", *TOKEN_FILES)


def is_sought(path: str) -> bool:
    """True if a file has random access: reading can begin at any position."""
    return not path.endswith(COMPRESSED) and file_kind(path) != ".parquet"


def read_texts(filesystem: fs.FileSystem, portion: Portion, column: str) -> Iterator[str]:
    """Texts of a file or of some of its blocks.

    Args:
        filesystem: the file system that holds the file.
        portion: the part of the file to read.
        column: field of JSON objects, or column of Parquet, that holds the text.

    Raises:
        DataError: the content of the file does not match its ending, or a document is too long; the
            message names the file and the position in it.
    """
    path, kind = portion.path, file_kind(portion.path)
    try:
        if kind in TOKEN_FILES:
            raise DataError(
                f"{path} holds tokens; need text here, or the vocabulary of the tokens and such "
                "files for every domain"
            )
        if kind == ".parquet":
            yield from parquet_texts(filesystem, portion, column)
        elif kind in LINES:
            for where, line in _lines(filesystem, portion):
                if line.strip():
                    yield _text_of(_parse(line, where), column, where)
        elif kind == ".json":
            yield from _json_texts(filesystem, path, column)
        else:
            with _open(filesystem, path) as stream:
                yield _whole(stream, path, MAX_TEXT_BYTES).decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); convert it or leave "
            "it out"
        ) from error
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        if "too much memory" in reason:  # zstd's message for a window above 128 MB
            reason += (
                " (its window is larger than 128 MB); compress it again without --long or --ultra"
            )
        raise DataError(f"{path} cannot be read: {reason}") from error


def _json_texts(filesystem: fs.FileSystem, path: str, column: str) -> Iterator[str]:
    """Texts of a `.json` file, which holds one entry or a list of entries."""
    with _open(filesystem, path) as stream:
        entries = _parse(_whole(stream, path, MAX_JSON_BYTES), path)
    for number, entry in enumerate(entries if isinstance(entries, list) else [entries], start=1):
        if isinstance(entry, str):
            yield entry
        else:
            yield _text_of(entry, column, f"{path} entry {number}")


def _open(filesystem: fs.FileSystem, path: str) -> IO[bytes]:
    """Opens a file for reading from its beginning, decompressed."""
    stream: Any = filesystem.open_input_stream(
        path, compression="zstd" if path.endswith(".zst") else None
    )
    if path.endswith(".gz"):
        stream = gzip.GzipFile(fileobj=stream)
    return io.BufferedReader(stream, buffer_size=1 << 20)


def _whole(stream: IO[bytes], path: str, most: int) -> bytes:
    """Reads a whole file; raises DataError if it is larger than `most` bytes."""
    data = stream.read(most + 1)
    if len(data) > most:
        what = "JSON value" if most == MAX_JSON_BYTES else "text"
        raise DataError(
            f"{path} is one {what} of more than {most // 10**6} MB, which would be held in memory; "
            "cut it into documents, one a line of .jsonl or a file each"
        )
    return data


def _lines(filesystem: fs.FileSystem, portion: Portion) -> Iterator[tuple[str, bytes]]:
    """(description of the position, line) of each line in the portion."""
    path = portion.path
    if portion.blocks is None:
        with _open(filesystem, path) as stream:
            number = 1
            while line := _line(stream, f"{path} line {number}"):
                yield f"{path} line {number}", line
                number += 1
    elif path.endswith(COMPRESSED):
        yield from _streamed_lines(filesystem, portion)
    else:
        yield from _sought_lines(filesystem, portion)


def _line(stream: IO[bytes], where: str) -> bytes:
    """Reads one line; raises DataError if it is longer than MAX_TEXT_BYTES."""
    line = stream.readline(MAX_TEXT_BYTES + 1)
    if len(line) > MAX_TEXT_BYTES:
        raise too_long(where)
    return line


def _sought_lines(filesystem: fs.FileSystem, portion: Portion) -> Iterator[tuple[str, bytes]]:
    """Lines that begin in the chosen blocks of an uncompressed file."""
    path = portion.path
    with io.BufferedReader(filesystem.open_input_file(path), buffer_size=BLOCK) as stream:
        for block in portion.blocks or ():
            place, end = block * BLOCK, (block + 1) * BLOCK
            stream.seek(max(0, place - 1))
            if place:  # skip the line that began in the block before
                place += len(_line(stream, f"{path} after byte {place}")) - 1
            while place < end and (line := _line(stream, f"{path} after byte {place}")):
                yield f"{path} after byte {place}", line
                place += len(line)


def _streamed_lines(filesystem: fs.FileSystem, portion: Portion) -> Iterator[tuple[str, bytes]]:
    """Lines of the chosen blocks of a compressed file.

    The file is decompressed from its beginning in pieces. The block of a piece is the one in which
    the read position of the compressed file stands before the piece is read.
    """
    path = portion.path
    wanted = {
        *portion.within(portion.size, portion.size if portion.reach is None else portion.reach)
    }
    with filesystem.open_input_file(path) as raw:
        stream: Any = (
            gzip.GzipFile(fileobj=raw)
            if path.endswith(".gz")
            else pa.CompressedInputStream(raw, "zstd")
        )
        begun: bytes | None = None  # part of a line that began in a wanted piece
        cut, place, block = False, 0, 0  # cut: the piece before ended within a line
        while (block <= max(wanted) or begun is not None) and (piece := stream.read(BLOCK)):
            where = f"{path} after byte {place} of its text"
            place += len(piece)
            if cut:
                head, newline, piece = piece.partition(b"\n")
                if begun is not None:
                    begun += head
                    if len(begun) > MAX_TEXT_BYTES:
                        raise too_long(where)
                    if newline:
                        yield where, begun
                        begun = None
                cut = not newline
            *lines, tail = piece.split(b"\n")
            if not cut and block in wanted:
                for line in lines:
                    yield where, line
                begun = tail or None
            cut = cut or bool(tail)
            block = raw.tell() // BLOCK
        if begun is not None:
            yield path, begun


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
