"""Encodes and decodes one line of a journal, with a checksum that shows whether the line is whole.

A segment begins with a header line. Events that are flushed together form a group. Each group
begins with a line that gives the number of the event before the group; for the first group the
header gives this number. Each event is one line.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from bimix_sweep.errors import JournalError

FORMAT = "bimix-sweep journal"
VERSION = 3
MAX_LINE_BYTES = 16 << 20
"""Longest line that is written or read; a law of thousands of domains needs a few MB."""

Event = dict[str, Any]
"""An event: `kind` and its fields as JSON values (text, finite numbers, lists, mappings)."""

_CHECK = ',"check":"'


class TornLineError(ValueError):
    """A line was damaged: its bytes are not the bytes that `encode` wrote."""


def encode(content: Mapping[str, Any]) -> bytes:
    """Encodes `content` as one line of the journal, with its checksum.

    Raises:
        JournalError: a value is not plain JSON or not finite, or the line would be too long to
            read.
    """
    try:
        body = json.dumps(content, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise JournalError(
            f"a {content.get('kind', 'journal')} event cannot be written ({error}); need "
            "plain finite values"
        ) from error
    if len(body) > MAX_LINE_BYTES - 100:
        raise JournalError(
            f"a {content.get('kind')} event of {len(body)} bytes is too long; need at most "
            f"{MAX_LINE_BYTES >> 20} MB"
        )
    return f'{body[:-1]}{_CHECK}{_checksum(body)}"}}\n'.encode()


def decode(line: bytes) -> Event:
    """Decodes one line and removes its checksum.

    Raises:
        TornLineError: the line is not a whole line that `encode` wrote.
        ValueError: the line is whole, but it holds a number that is not finite, or no JSON object.
    """
    if len(line) > MAX_LINE_BYTES:
        raise TornLineError(f"is {len(line)} bytes long; need at most {MAX_LINE_BYTES >> 20} MB")
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise TornLineError("is not UTF-8 text") from None
    head, separator, tail = text.rpartition(_CHECK)
    if not separator or not tail.endswith('"}'):
        raise TornLineError("has no checksum")
    body = head + "}"
    if tail[:-2] != _checksum(body):
        raise TornLineError("does not match its checksum")
    content = json.loads(body, parse_float=_finite, parse_int=_whole, parse_constant=_refuse)
    if not isinstance(content, dict):
        raise ValueError("is not an object")
    return content


def segment_name(writer: str, part: int, put: int | None = None) -> str:
    """Name of a segment: `000002-9f3a1c07-000001.jsonl`, or for an object `...-000017.jsonl`.

    Each attempt to put an object has a new number, so no object is written twice.

    Args:
        writer: epoch and token of the writer.
        part: number of the segment, from 1.
        put: number of the attempt to put the object; None for a file, which grows in place.
    """
    return f"{writer}-{part:06d}{'' if put is None else f'-{put:06d}'}.jsonl"


def header(writer: str, part: int, parent: str | None, after: int) -> bytes:
    """First line of a segment.

    Args:
        writer: epoch and token of the writer.
        part: number of the segment, from 1.
        parent: the writer whose record this writer continues; None for the first writer.
        after: number of the last event before this segment.
    """
    return encode(
        {
            "format": FORMAT,
            "version": VERSION,
            "writer": writer,
            "part": part,
            "parent": parent,
            "after": after,
        }
    )


def group(after: int) -> bytes:
    """First line of a further group of events in a segment.

    The writer writes this line only when everything before it is durable. The line therefore proves
    that everything before it was acknowledged, or could have been.

    Args:
        after: number of the last event before this group.
    """
    return encode({"after": after})


def check_header(content: Event, writer: str, part: int) -> None:
    """Checks that `content` is the header of segment number `part` of `writer`.

    Raises:
        ValueError: the header is of another segment or lacks a field.
        JournalError: the journal has another version.
    """
    check_version(content)
    if content.get("writer") != writer or content.get("part") != part:
        raise ValueError(
            f"is part {content.get('part')} of {content.get('writer')}; need part {part} of "
            f"{writer}"
        )
    after = content.get("after")
    if not isinstance(after, int) or after < 0 or "parent" not in content:
        raise ValueError("does not say what it continues")


def check_event(content: Event, epoch: int, seq: int) -> None:
    """Checks the epoch, number and kind of an event.

    Raises:
        ValueError: the event is of another epoch, is not number `seq`, or has no kind.
    """
    if content.get("epoch") != epoch:
        raise ValueError(f"is of epoch {content.get('epoch')} in a segment of epoch {epoch}")
    if content.get("seq") != seq:
        raise ValueError(
            f"has number {content.get('seq')}; need {seq}, so lines are missing or doubled"
        )
    if not isinstance(content.get("kind"), str):
        raise ValueError("has no kind")


def check_version(content: Event) -> None:
    """Checks that `content` has the format and version that this program reads.

    Raises:
        ValueError: `content` is not of a journal.
        JournalError: the journal has another version.
    """
    if content.get("format") != FORMAT:
        raise ValueError("is not the header of a journal segment")
    version = content.get("version")
    if isinstance(version, int) and version > VERSION:
        raise JournalError(
            f"is of version {version}, this program reads {VERSION}; update bimix-sweep"
        )
    if version != VERSION:
        raise JournalError(
            f"is of version {version}, this program reads {VERSION}; start a new sweep, "
            "or go on with the program that wrote it"
        )


def _checksum(body: str) -> str:
    return hashlib.blake2b(body.encode(), digest_size=8).hexdigest()


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"holds {text[:40]}; need finite numbers")
    return value


def _whole(text: str) -> int:
    if len(text) > 20:
        raise ValueError(f"holds a number of {len(text)} digits; need at most 64 bits")
    return int(text)


def _refuse(text: str) -> float:
    raise ValueError(f"holds {text}; need finite numbers")
