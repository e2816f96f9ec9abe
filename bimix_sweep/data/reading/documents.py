"""Reads the documents of one file or of some of its blocks.

A document belongs to the block in which it begins. Blocks of uncompressed lines and of tokens are
found by byte offset. Blocks of a Parquet file are found by row number within a row group. Any other
file is read from its beginning, and only the documents of the chosen blocks are kept.
"""

import csv
import io
import tarfile
from collections.abc import Iterator
from typing import IO

from bimix_sweep.data.finding.compression import ERRORS, opened, unreadable
from bimix_sweep.data.finding.endings import TOKENS
from bimix_sweep.data.finding.formats import TypedFile
from bimix_sweep.data.reading.arrow import arrow_texts
from bimix_sweep.data.reading.bad_input import BadInput
from bimix_sweep.data.reading.blocks import Portion
from bimix_sweep.data.reading.csv_rows import csv_texts
from bimix_sweep.data.reading.fields import MAX_TEXT_BYTES, text_of
from bimix_sweep.data.reading.json_lines import parsed, read_lines
from bimix_sweep.data.reading.parquet import parquet_texts
from bimix_sweep.data.reading.web_dataset import tar_texts
from bimix_sweep.errors import DataError

MAX_JSON_BYTES = 512_000_000
"""Maximum bytes of a file with one JSON value, which is parsed as a whole."""


def read_texts(typed: TypedFile, portion: Portion, field: str, bad: BadInput) -> Iterator[str]:
    """Texts of a file or of some of its blocks.

    A broken document of JSON is met by itself. Anything else that is broken ends the file.

    Args:
        typed: the file.
        portion: the part of the file to read.
        field: field of JSON objects, or column of a table, that holds the text.
        bad: decides what happens to what is broken.

    Raises:
        DataError: the content of the file is not of its format, or a document is too long, and
            broken documents are errors; the message names the file and the position in it.
    """
    path = typed.file.path
    try:
        yield from (text for text in _texts(typed, portion, field, bad) if text is not None)
    except DataError as error:
        bad.met(error)
    except UnicodeDecodeError as error:
        bad.met(
            DataError(
                f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); convert it or "
                "leave it out"
            )
        )
    except (*ERRORS, csv.Error, tarfile.TarError) as error:
        bad.met(unreadable(path, error))


def _texts(typed: TypedFile, portion: Portion, field: str, bad: BadInput) -> Iterator[str | None]:
    """Texts as `read_texts` gives them, None for a field that is null, and the libraries' errors."""
    path, form = typed.file.path, typed.format
    if form == TOKENS:
        raise DataError(
            f"{path} holds tokens; need text here, or the vocabulary of the tokens and such files "
            "for every domain"
        )
    if form == "parquet":
        yield from parquet_texts(typed, portion, field)
    elif form == "jsonl":
        for where, line in read_lines(typed, portion):
            if line.strip():
                yield _met(bad, line, field, where)
    else:
        with opened(typed.file, typed.compression) as file:
            if form == "arrow":
                yield from arrow_texts(file, portion, field)
            elif form in ("csv", "tsv"):
                yield from csv_texts(file, portion, field, tabs=form == "tsv")
            elif form == "webdataset":
                yield from tar_texts(file, portion, field)
            elif form == "json":
                yield from _json_texts(file.stream, path, field, bad)
            else:
                yield _whole(file.stream, path, MAX_TEXT_BYTES).decode("utf-8-sig")


def _met(bad: BadInput, line: bytes, field: str, where: str) -> str | None:
    """Text of one line of JSON; None if there is none, or if the line is broken and left out."""
    try:
        return text_of(parsed(line, where), field, where)
    except DataError as error:
        bad.met(error)
        return None


def _json_texts(
    stream: IO[bytes] | io.BufferedReader, path: str, field: str, bad: BadInput
) -> Iterator[str | None]:
    """Texts of a file that holds one record or a list of records."""
    entries = parsed(_whole(stream, path, MAX_JSON_BYTES), path)
    for number, entry in enumerate(entries if isinstance(entries, list) else [entries], start=1):
        try:
            yield text_of(entry, field, f"{path} entry {number}")
        except DataError as error:
            bad.met(error)


def _whole(stream: IO[bytes] | io.BufferedReader, path: str, most: int) -> bytes:
    """Reads a whole file; raises DataError if it is larger than `most` bytes."""
    data = stream.read(most + 1)
    if len(data) > most:
        what = "JSON value" if most == MAX_JSON_BYTES else "text"
        raise DataError(
            f"{path} is one {what} of more than {most // 10**6} MB, which would be held in memory; "
            "cut it into documents, one a line of .jsonl or a file each"
        )
    return data
