"""The append-only record of a sweep: what is not in it did not happen.

`DIR/journal/000001.jsonl`, `000002.jsonl`, ... are segments. Every writer starts one of its own, under an epoch one higher
than the last; its first line is the header, each further line one event:

    {"format":"bimix-sweep journal","version":1,"epoch":2,"segment":2,"check":"..."}
    {"seq":17,"epoch":2,"at":1767225600.25,"kind":"point",...,"check":"5d41402abc4b2a76"}

`check` is a hash of the line before it, `seq` counts through all segments without a gap. An event is acknowledged
(`Journal.sync` returns) only when it was flushed to the disk; callers that wait together share one flush. A writer
killed in the middle of a line leaves a torn tail, which the next writer cuts off; any other damage is an error, because
acknowledged results would be missing. A lock file keeps a second live writer out.
"""

import fcntl
import hashlib
import json
import math
import os
import re
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from bimix_sweep.errors import JournalError

FORMAT = "bimix-sweep journal"
VERSION = 1
SEGMENT_BYTES = 64 << 20
"""A segment that has grown past this is followed by another one."""

Event = dict[str, Any]
"""`kind` and its fields, as JSON has them: text, finite numbers, lists, mappings."""

RESERVED = frozenset({"seq", "epoch", "at", "check"})
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
            except (ValueError, RecursionError) as error:
                raise JournalError(f"{path} line {index}: {error}; restore the file from a copy") from error
    return Reading(events=events, epoch=epoch, segments=len(paths), torn=torn)


@dataclass(slots=True)
class Journal:
    """The one writer of a journal; `Journal.open` makes it. Its methods may be called from many threads."""

    folder: Path
    epoch: int
    notes: tuple[str, ...]
    """What opening repaired, for a person."""
    _lock_file: int
    _segment: int
    _next_seq: int
    _stream: int = -1
    _written: int = 0
    _waiting: list[bytes] = field(default_factory=list)
    _durable: int = 0
    _flushing: bool = False
    _broken: str | None = None
    _condition: threading.Condition = field(default_factory=threading.Condition)

    @classmethod
    def open(cls, folder: str | Path, *, wait_seconds: float = 0.0) -> tuple[Self, list[Event]]:
        """Become the writer: wait for the lock, cut a torn tail off, start a segment under a new epoch.

        Args:
            wait_seconds: how long a writer that is just ending may keep the lock.

        Returns:
            The journal and the events it already holds.

        Raises:
            JournalError: another writer lives, or as for `read`.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        lock_file = _lock(folder, wait_seconds)
        try:
            reading = read(folder)
            notes: tuple[str, ...] = ()
            segments = reading.segments
            if reading.torn is not None:
                path, whole = reading.torn
                lost = path.stat().st_size - whole
                if whole:
                    os.truncate(path, whole)
                else:  # killed before its header was whole: nothing is in it
                    path.unlink()
                    segments -= 1
                notes = (f"{path} ended in a partial line of {lost} bytes, never acknowledged; it was cut off",)
            elif segments and not (folder / f"{segments:06d}.jsonl").stat().st_size:
                (folder / f"{segments:06d}.jsonl").unlink()
                segments -= 1
            journal = cls(folder, reading.epoch + 1, notes, lock_file, segments, len(reading.events) + 1)
            journal._durable = len(reading.events)
            journal._start_segment()
        except BaseException:
            os.close(lock_file)
            raise
        return journal, reading.events

    def append(self, event: Event) -> int:
        """Put an event in line and return its number for `sync`; the order of calls is the order in the record.

        Raises:
            JournalError: the event is not plain finite JSON, or an earlier write failed.
        """
        if clash := RESERVED & event.keys():
            raise JournalError(f"event {event.get('kind')} has its own {', '.join(sorted(clash))}; the journal sets these")
        with self._condition:
            self._check_usable()
            number = self._next_seq
            line = encode({"seq": number, "epoch": self.epoch, "at": round(time.time(), 3), **event})
            self._waiting.append(line)
            self._next_seq += 1
            return number

    def sync(self, number: int) -> None:
        """Return when event `number` and all before it are on the disk.

        Raises:
            JournalError: writing failed; the journal takes nothing more.
        """
        with self._condition:
            while self._durable < number:
                self._check_usable()
                if self._flushing:
                    self._condition.wait()
                    continue
                batch, self._waiting, last = b"".join(self._waiting), [], self._next_seq - 1
                self._flushing = True
                self._condition.release()
                try:
                    self._flush(batch)
                except OSError as error:
                    self._broken = f"{self.folder}: cannot be written ({error.strerror or error}); make room and go on with resume"
                finally:
                    self._condition.acquire()
                    self._flushing = False
                    self._condition.notify_all()
                self._check_usable()
                self._durable = last

    def write(self, event: Event) -> None:
        """`append` and `sync` in one."""
        self.sync(self.append(event))

    def close(self) -> None:
        """Flush what is in line and give the lock back."""
        if self._stream < 0:
            return
        try:
            if self._broken is None:
                self.sync(self._next_seq - 1)
        finally:
            os.close(self._stream)
            self._stream = -1
            self._broken = f"{self.folder}: this writer is closed"
            os.close(self._lock_file)

    def _check_usable(self) -> None:
        if self._broken is not None:
            raise JournalError(self._broken)

    def _flush(self, batch: bytes) -> None:
        if self._written > SEGMENT_BYTES:
            self._start_segment()
        try:
            self._write_all(batch)
            os.fsync(self._stream)
        except OSError:
            os.ftruncate(self._stream, self._written)  # a full disk leaves part of a line
            raise
        self._written += len(batch)

    def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._stream, view) :]

    def _start_segment(self) -> None:
        self._segment += 1
        path = self.folder / f"{self._segment:06d}.jsonl"
        if self._stream >= 0:
            os.close(self._stream)
        self._stream = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
        header = encode({"format": FORMAT, "version": VERSION, "epoch": self.epoch, "segment": self._segment})
        self._write_all(header)
        os.fsync(self._stream)
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._written = len(header)


def _lock(folder: Path, wait_seconds: float) -> int:
    """Hold `folder/lock`; the kernel lets go of it when this process ends, however it ends."""
    lock_file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    until = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > until:
                holder = os.read(lock_file, 200).decode(errors="replace").strip() or "another process"
                os.close(lock_file)
                raise JournalError(f"{folder} is being written by {holder}; a sweep has one driver, so stop that one first") from None
            time.sleep(0.1)
    os.ftruncate(lock_file, 0)
    os.pwrite(lock_file, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    return lock_file


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
    if content.get("version") != VERSION:
        raise ValueError(f"is of version {content.get('version')}, this program reads {VERSION}")
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
