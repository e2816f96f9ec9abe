"""One line of a journal: how it is written, and how it is known to be whole.

A segment begins with a header line. Each group of events that is flushed together begins with a line
that says after which event it comes (the header says it of the first group); an event is one line.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from bimix_sweep.errors import JournalError

FORMAT = "bimix-sweep journal"
VERSION = 3
MOST_LINE_BYTES = 16 << 20
"""A longer line is neither written nor read: a law of thousands of domains needs a few MB."""

Event = dict[str, Any]
"""`kind` and its fields, as JSON has them: text, finite numbers, lists, mappings."""

_CHECK = ',"check":"'


class TornLineError(ValueError):
    """The bytes of a line are not those that were written: `does not match its checksum`."""


def encode(content: Mapping[str, Any]) -> bytes:
    """One line of the journal with its checksum.

    Raises:
        JournalError: a value is not plain JSON or not finite, or the line would be too long to be read again.
    """
    try:
        body = json.dumps(content, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise JournalError(
            f"a {content.get('kind', 'journal')} event cannot be written ({error}); need plain finite values"
        ) from error
    if len(body) > MOST_LINE_BYTES - 100:
        raise JournalError(
            f"a {content.get('kind')} event of {len(body)} bytes is too long; need at most {MOST_LINE_BYTES >> 20} MB"
        )
    return f'{body[:-1]}{_CHECK}{_checksum(body)}"}}\n'.encode()


def decode(line: bytes) -> Event:
    """The content of one line, checksum removed.

    Raises:
        TornLineError: it is not a whole line that `encode` wrote.
        ValueError: it is, and holds a number that is not finite or no object.
    """
    if len(line) > MOST_LINE_BYTES:
        raise TornLineError(f"is {len(line)} bytes long; need at most {MOST_LINE_BYTES >> 20} MB")
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise TornLineError("is not UTF-8 text") from None
    head, found, tail = text.rpartition(_CHECK)
    if not found or not tail.endswith('"}'):
        raise TornLineError("has no checksum")
    body = head + "}"
    if tail[:-2] != _checksum(body):
        raise TornLineError("does not match its checksum")
    content = json.loads(body, parse_float=_finite, parse_int=_whole, parse_constant=_refuse)
    if not isinstance(content, dict):
        raise ValueError("is not an object")
    return content


def segment_name(writer: str, part: int, put: int | None = None) -> str:
    """`000002-9f3a1c07-000001.jsonl`; of an object, which is never written twice, `...-000017.jsonl`.

    Args:
        put: number of the attempt to write the object; None for a file, which grows in place.
    """
    return f"{writer}-{part:06d}{'' if put is None else f'-{put:06d}'}.jsonl"


def header(writer: str, part: int, parent: str | None, after: int) -> bytes:
    """The first line of a segment.

    Args:
        parent: the writer whose record this one continues; None for the first.
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
    """The first line of a further group in a segment. It is written only when everything before it
    is on the storage, so it proves that everything before it was acknowledged or could have been.

    Args:
        after: number of the last event before this group.
    """
    return encode({"after": after})


def check_header(content: Event, writer: str, part: int) -> None:
    check_version(content)
    if content.get("writer") != writer or content.get("part") != part:
        raise ValueError(
            f"is part {content.get('part')} of {content.get('writer')}; need part {part} of {writer}"
        )
    after = content.get("after")
    if not isinstance(after, int) or after < 0 or "parent" not in content:
        raise ValueError("does not say what it continues")


def check_event(content: Event, epoch: int, seq: int) -> None:
    if content.get("epoch") != epoch:
        raise ValueError(f"is of epoch {content.get('epoch')} in a segment of epoch {epoch}")
    if content.get("seq") != seq:
        raise ValueError(
            f"has number {content.get('seq')}; need {seq}, so lines are missing or doubled"
        )
    if not isinstance(content.get("kind"), str):
        raise ValueError("has no kind")


def check_version(content: Event) -> None:
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
