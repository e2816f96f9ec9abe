"""Reads lines of files, whole files or some of their blocks, and parses JSON."""

import io
import json
from collections.abc import Iterator
from typing import IO, Any

from bimix_sweep.data.finding.compression import opened
from bimix_sweep.data.finding.formats import TypedFile
from bimix_sweep.data.reading.blocks import BLOCK, Portion
from bimix_sweep.data.reading.chosen import chosen
from bimix_sweep.data.reading.fields import MAX_TEXT_BYTES, too_long
from bimix_sweep.errors import DataError

Line = tuple[str, bytes]
"""(place for messages, line)."""


def read_lines(typed: TypedFile, portion: Portion) -> Iterator[Line]:
    """Lines that begin in the portion."""
    if portion.blocks is not None and typed.sought:
        yield from _sought_lines(typed, portion)
        return
    with opened(typed.file, typed.compression) as file:
        yield from chosen(lines_of(file.stream, portion.path), file, portion)


def lines_of(stream: IO[bytes] | io.BufferedReader, path: str) -> Iterator[Line]:
    """All lines of a stream, each with its number."""
    number = 1
    while line := _line(stream, f"{path} line {number}"):
        yield f"{path} line {number}", line
        number += 1


def parsed(data: bytes, where: str) -> Any:
    """Value of one JSON text.

    Raises:
        DataError: the text is not JSON.
    """
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise DataError(
            f"{where} is not JSON ({reason}); need an object with a text field"
        ) from error


def _line(stream: IO[bytes] | io.BufferedReader, where: str) -> bytes:
    """Reads one line; raises DataError if it is longer than MAX_TEXT_BYTES."""
    line = stream.readline(MAX_TEXT_BYTES + 1)
    if len(line) > MAX_TEXT_BYTES:
        raise too_long(where)
    return line


def _sought_lines(typed: TypedFile, portion: Portion) -> Iterator[Line]:
    """Lines that begin in the chosen blocks of an uncompressed file."""
    path = portion.path
    raw = typed.file.filesystem.open_input_file(path)
    with io.BufferedReader(raw, buffer_size=BLOCK) as stream:
        for block in portion.blocks or ():
            place, end = block * BLOCK, (block + 1) * BLOCK
            stream.seek(max(0, place - 1))
            if place:  # skip the line that began in the block before
                place += len(_line(stream, f"{path} after byte {place}")) - 1
            while place < end and (line := _line(stream, f"{path} after byte {place}")):
                yield f"{path} after byte {place}", line
                place += len(line)
