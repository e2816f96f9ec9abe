"""The lines and segments of a journal: how they are named, written, checked and read. `journal` says why they are so."""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bimix_sweep import files
from bimix_sweep.errors import JournalError

FORMAT = "bimix-sweep journal"
VERSION = 2
MOST_LINE_BYTES = 16 << 20
"""A longer line is neither written nor read: a law of thousands of domains needs a few MB."""
MOST_SEGMENT_BYTES = 256 << 20
"""A larger file is not read."""
READERS = 8
"""Segments fetched at a time."""

Event = dict[str, Any]
"""`kind` and its fields, as JSON has them: text, finite numbers, lists, mappings."""

_CHECK = ',"check":"'
_NAME = re.compile(r"(\d{6}-[0-9a-f]{8})-(\d{6})\.jsonl")
_FIRST_NAME = re.compile(r"(\d{6})\.jsonl")
FIRST_FORMAT = "000000"
"""Stands for all writers of version 1, whose segments are `000001.jsonl`, `000002.jsonl`, ... one after another."""


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
        ValueError: it is not a line that `encode` wrote, or holds a number that is not finite.
    """
    if len(line) > MOST_LINE_BYTES:
        raise ValueError(f"is {len(line)} bytes long; need at most {MOST_LINE_BYTES >> 20} MB")
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


def segment_name(writer: str, part: int) -> str:
    """`000002-9f3a1c07-000001.jsonl`."""
    return f"{writer}-{part:06d}.jsonl"


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


def writers(folder: str, names: Mapping[str, int]) -> dict[str, list[str]]:
    """{writer: names of its segments}, both rising, of the files in a journal's folder.

    Raises:
        JournalError: a segment is missing or foreign.
    """
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        if not name.endswith(".jsonl") or name.startswith("."):
            continue
        if match := _NAME.fullmatch(name):
            writer, number = match[1], int(match[2])
        elif match := _FIRST_NAME.fullmatch(name):
            writer, number = FIRST_FORMAT, int(match[1])
        else:
            raise JournalError(
                f"{files.join(folder, name)} is not a segment's name; a segment is foreign, so restore the folder"
            )
        parts = found.setdefault(writer, [])
        if number != len(parts) + 1:
            raise JournalError(
                f"{files.join(folder, name)} comes after {len(parts)} parts; a segment is missing, so restore the folder"
            )
        parts.append(name)
    return dict(sorted(found.items()))


def newest_writer(names: Iterable[str]) -> str:
    """The greatest writer with a segment among a folder's files, be it empty; "" where there is none."""
    return max((match[1] for name in names if (match := _NAME.fullmatch(name))), default="")


def holds_events(folder: str | Path) -> bool:
    """A segment holds an event, or what may once have been one; a header without its events does not count."""
    for name, size in files.names(folder).items():
        if size and name.endswith(".jsonl") and not name.startswith("."):
            place = files.join(folder, name)
            if files.is_uri(folder):
                if files.read_bytes(place).count(b"\n") > 1:
                    return True
            else:
                with Path(place).open("rb") as stream:
                    stream.readline(MOST_LINE_BYTES)
                    if stream.readline(MOST_LINE_BYTES).endswith(b"\n"):
                        return True
    return False


@dataclass(slots=True, kw_only=True)
class Reading:
    """What a journal holds."""

    events: list[Event] = field(default_factory=list)
    """In order, each with `seq`, `epoch`, `at` and `kind`."""
    writer: str | None = None
    """The last one that wrote; None where nobody did."""
    epoch: int = 0
    """Of the last writer; 0 where there was none."""
    segments: int = 0
    """How many hold the record."""
    notes: list[str] = field(default_factory=list)
    """What was passed over, for a person."""


def read(folder: str | Path) -> Reading:
    """All events of `folder`, a local one or a URI; nothing is changed.

    The last writer with a segment tells which writer it continues and up to which event, that one in turn tells of the one before:
    this chain is the record. Lines that are not in it were never acknowledged and are passed over.

    Raises:
        JournalError: a segment is missing, damaged, out of order or of another version; it names file and line.
    """
    folder = str(folder)
    try:
        names = files.names(folder)
        parts = writers(folder, names)
        for name in (name for group in parts.values() for name in group):
            if names[name] > MOST_SEGMENT_BYTES:
                raise JournalError(
                    f"{files.join(folder, name)} has {names[name]} bytes; need at most {MOST_SEGMENT_BYTES}"
                )
        written = [name for group in parts.values() for name in group if names[name]]
        with ThreadPoolExecutor(READERS if files.is_uri(folder) else 1) as pool:
            data = dict(
                zip(
                    written,
                    pool.map(lambda name: files.read_bytes(files.join(folder, name)), written),
                    strict=True,
                )
            )
    except OSError as error:
        raise JournalError(f"{folder} cannot be read ({error.strerror or error})") from error
    return _Reader(folder, parts, data).read()


class _Reader:
    """One reading of segments that were fetched."""

    def __init__(
        self, folder: str, parts: Mapping[str, list[str]], data: Mapping[str, bytes]
    ) -> None:
        self.folder, self.parts, self.data = folder, parts, data
        self.found = Reading()

    def read(self) -> Reading:
        begun = [
            writer for writer, names in self.parts.items() if b"\n" in self.data.get(names[0], b"")
        ]
        for writer in self.parts:
            if writer not in begun and (left := len(self.data.get(self.parts[writer][0], b""))):
                self._note(
                    writer,
                    f"ended in a partial line of {left} bytes, never acknowledged; it is passed over",
                )
        chain: list[tuple[str, int | None]] = [(begun[-1], None)] if begun else []
        while chain and (came_from := self._parent(chain[-1][0])) is not None:
            chain.append(came_from)
        for writer, up_to in reversed(chain):
            self._take(writer, up_to)
        known = {writer for writer, _ in chain}
        for writer in begun:
            if writer not in known:
                self._note(
                    writer,
                    "lost the sweep to another driver before anything of it was acknowledged; it is passed over",
                )
        if begun:
            self.found.writer = begun[-1]
        return self.found

    def _note(self, writer: str, what: str) -> None:
        self.found.notes.append(f"{files.join(self.folder, self.parts[writer][-1])} {what}")

    def _parent(self, writer: str) -> tuple[str, int] | None:
        """The writer that this one continues, and up to which event."""
        if writer == FIRST_FORMAT:
            return None
        name = self.parts[writer][0]
        content = self._line(name, 1, self.data[name].split(b"\n", 1)[0])
        with self._named(name, 1):
            _check_header(content, writer, 1)
            parent, after = content["parent"], content["after"]
            if parent is None:
                if after != 0:
                    raise ValueError(f"begins after event {after} of nobody")
                return None
            if not isinstance(parent, str) or parent >= writer:
                raise ValueError(f"continues writer {str(parent)[:40]!r}; need one before {writer}")
            if parent not in self.parts:
                raise ValueError(f"continues {segment_name(parent, 1)}, which is missing")
            return parent, after

    def _take(self, writer: str, up_to: int | None) -> None:
        """Read the lines of a writer, up to the event where the next one took over."""
        events, names = self.found.events, self.parts[writer]
        for part, name in enumerate(names, start=1):
            if up_to is not None and len(events) >= up_to and part > 1:
                break
            data = self.data.get(name, b"")
            whole = data.rfind(b"\n") + 1
            self._take_part(writer, part, name, data[:whole].split(b"\n")[:-1], up_to)
            if whole == len(data) or (up_to is not None and len(events) >= up_to):
                continue
            if name != names[-1]:
                with self._named(name, data.count(b"\n") + 1):
                    raise ValueError("ends in a partial line")
            self._note(
                writer,
                f"ended in a partial line of {len(data) - whole} bytes, never acknowledged; it is passed over",
            )
        if up_to is not None and len(events) < up_to:
            raise JournalError(
                f"{files.join(self.folder, names[-1])} ends with event {len(events)} and the next writer had read {up_to}: lines are missing, "
                "so restore the file from a copy"
            )

    def _take_part(
        self, writer: str, part: int, name: str, lines: list[bytes], up_to: int | None
    ) -> None:
        events = self.found.events
        for number, line in enumerate(lines, start=1):
            if number > 1 and up_to is not None and len(events) >= up_to:
                self._note(
                    writer,
                    f"has lines after event {up_to}, written when another driver had taken over; they are passed over",
                )
                return
            content = self._line(name, number, line)
            with self._named(name, number):
                if number > 1:
                    _check_event(content, self.found.epoch, len(events) + 1)
                    events.append(content)
                elif writer == FIRST_FORMAT:
                    self.found.epoch = _check_first_header(content, part, self.found.epoch)
                else:
                    _check_header(content, writer, part)
                    if content["after"] != len(events):
                        raise ValueError(
                            f"begins after event {content['after']}; need {len(events)}, so lines are missing or doubled"
                        )
                    self.found.epoch = int(writer[:6])
        self.found.segments += bool(lines)

    def _line(self, name: str, number: int, line: bytes) -> Event:
        with self._named(name, number):
            return decode(line)

    def _named(self, name: str, number: int) -> "_Named":
        return _Named(f"{files.join(self.folder, name)} line {number}")


class _Named:
    """Says in which line something was wrong."""

    def __init__(self, where: str) -> None:
        self.where = where

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, JournalError):
            raise JournalError(f"{self.where}: {error}") from error
        if isinstance(error, ValueError | RecursionError):
            raise JournalError(f"{self.where}: {error}; restore the file from a copy") from error


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


def _check_version(content: Event, needed: int) -> None:
    if content.get("format") != FORMAT:
        raise ValueError("is not the header of a journal segment")
    version = content.get("version")
    if isinstance(version, int) and version > VERSION:
        raise JournalError(
            f"is of version {version}, this program reads {VERSION}; update bimix-sweep"
        )
    if version != needed:
        raise ValueError(f"is of version {version}; need {needed} in a segment of this name")


def _check_header(content: Event, writer: str, part: int) -> None:
    _check_version(content, VERSION)
    if content.get("writer") != writer or content.get("part") != part:
        raise ValueError(
            f"is part {content.get('part')} of {content.get('writer')}; need part {part} of {writer}"
        )
    after = content.get("after")
    if not isinstance(after, int) or after < 0 or "parent" not in content:
        raise ValueError("does not say what it continues")


def _check_first_header(content: Event, segment: int, epoch: int) -> int:
    """The epoch of a segment of version 1."""
    _check_version(content, 1)
    new = content.get("epoch")
    if content.get("segment") != segment or not isinstance(new, int) or new < max(epoch, 1):
        raise ValueError(
            f"is segment {content.get('segment')} of epoch {new}; need segment {segment} of epoch {max(epoch, 1)} or later"
        )
    return new


def _check_event(content: Event, epoch: int, seq: int) -> None:
    if content.get("epoch") != epoch:
        raise ValueError(f"is of epoch {content.get('epoch')} in a segment of epoch {epoch}")
    if content.get("seq") != seq:
        raise ValueError(
            f"has number {content.get('seq')}; need {seq}, so lines are missing or doubled"
        )
    if not isinstance(content.get("kind"), str):
        raise ValueError("has no kind")
