"""The lines and segments of a journal: how they are written, checked and read. `journal` says what they are for."""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bimix_sweep.errors import JournalError

FORMAT = "bimix-sweep journal"
VERSION = 1

Event = dict[str, Any]
"""`kind` and its fields, as JSON has them: text, finite numbers, lists, mappings."""

_CHECK = ',"check":"'


def encode(content: Mapping[str, Any]) -> bytes:
    """One line of the journal with its checksum.

    Raises:
        JournalError: a value is not plain JSON or not finite.
    """
    try:
        body = json.dumps(content, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise JournalError(f"a {content.get('kind', 'journal')} event cannot be written ({error}); need plain finite values") from error
    return f'{body[:-1]}{_CHECK}{_checksum(body)}"}}\n'.encode()


def decode(line: bytes) -> Event:
    """The content of one line, checksum removed.

    Raises:
        ValueError: it is not a line that `encode` wrote, or holds a number that is not finite.
    """
    text = line.decode()
    head, found, tail = text.rpartition(_CHECK)
    if not found or not tail.endswith('"}'):
        raise ValueError("has no checksum")
    body = head + "}"
    if tail[:-2] != _checksum(body):
        raise ValueError("does not match its checksum")
    content = json.loads(body, parse_float=_finite, parse_int=_whole, parse_constant=_refuse)
    if not isinstance(content, dict):
        raise ValueError("is not an object")
    return content


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a journal holds."""

    events: list[Event]
    """In order, each with `seq`, `epoch`, `at` and `kind`."""
    epoch: int
    """Of the last writer; 0 where there was none."""
    segments: int
    """How many there are."""
    torn: tuple[Path, int] | None
    """Last segment and the length of its whole lines, where a partial line follows them."""


def read(folder: str | Path) -> Reading:
    """All events of `folder`; a torn tail is passed over, nothing is changed.

    Raises:
        JournalError: a segment is missing, damaged, out of order or of another version; it names file and line.
    """
    paths = sorted(Path(folder).glob("*.jsonl"))
    events: list[Event] = []
    epoch, torn = 0, None
    for number, path in enumerate(paths, start=1):
        if not re.fullmatch(r"\d{6}\.jsonl", path.name) or int(path.stem) != number:
            raise JournalError(f"{path} is not segment {number:06d}.jsonl; a segment is missing or foreign, so restore the folder")
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            if path != paths[-1]:
                line_number = data.count(b"\n") + 1
                raise JournalError(f"{path} line {line_number}: ends in a partial line; restore the file from a copy")
            torn = (path, whole)
        for index, line in enumerate(data[:whole].split(b"\n")[:-1], start=1):
            try:
                content = decode(line)
                if index == 1:
                    epoch = _check_header(content, number, epoch)
                else:
                    _check_event(content, epoch, len(events) + 1)
                    events.append(content)
            except JournalError as error:
                raise JournalError(f"{path} line {index}: {error}") from error
            except (ValueError, RecursionError) as error:
                raise JournalError(f"{path} line {index}: {error}; restore the file from a copy") from error
    return Reading(events=events, epoch=epoch, segments=len(paths), torn=torn)


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


def _check_header(content: Event, segment: int, epoch: int) -> int:
    """The epoch of a segment."""
    if content.get("format") != FORMAT:
        raise ValueError("is not the header of a journal segment")
    version = content.get("version")
    if isinstance(version, int) and version > VERSION:
        raise JournalError(f"is of version {version}, this program reads {VERSION}; update bimix-sweep")
    if version != VERSION:
        raise ValueError(f"is of version {version}, this program reads {VERSION}")
    new = content.get("epoch")
    if content.get("segment") != segment or not isinstance(new, int) or new < max(epoch, 1):
        raise ValueError(f"is segment {content.get('segment')} of epoch {new}; need segment {segment} of epoch {max(epoch, 1)} or later")
    return new


def _check_event(content: Event, epoch: int, seq: int) -> None:
    if content.get("epoch") != epoch:
        raise ValueError(f"is of epoch {content.get('epoch')} in a segment of epoch {epoch}")
    if content.get("seq") != seq:
        raise ValueError(f"has number {content.get('seq')}; need {seq}, so lines are missing or doubled")
    if not isinstance(content.get("kind"), str):
        raise ValueError("has no kind")
