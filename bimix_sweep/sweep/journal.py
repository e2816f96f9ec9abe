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
import os
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from bimix_sweep.errors import JournalError
from bimix_sweep.sweep.segments import FORMAT, VERSION, Event, encode, read

SEGMENT_BYTES = 64 << 20
"""A segment that has grown past this is followed by another one."""
RESERVED = frozenset({"seq", "epoch", "at", "check"})


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
