"""Writes the journal, whose format and guarantees the docstring of `bimix_sweep.journal` states."""

import contextlib
import os
import secrets
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from bimix_sweep import files, locations, uri_storage
from bimix_sweep.errors import JournalError, SweepError
from bimix_sweep.file_lock import LockedError, lock
from bimix_sweep.journal.backends import (
    RETRY_SECONDS,
    DiskSegments,
    ObjectSegments,
    Segments,
)
from bimix_sweep.journal.clock import Clock
from bimix_sweep.journal.codec import Event, encode, group, header
from bimix_sweep.journal.lease import Lease
from bimix_sweep.journal.segments import newest_writer, read, writers

RESERVED = frozenset({"seq", "epoch", "at", "check"})


@dataclass(slots=True)
class Journal:
    """The only writer of a journal, made by `Journal.open`; many threads may call its methods."""

    folder: str
    writer: str
    """Epoch and token of this writer."""
    notes: tuple[str, ...]
    """Messages for the user about the lines that `open` skipped."""
    _segments: Segments
    _lease: Lease
    _lock_file: int | None
    _parent: str | None
    _next_seq: int
    _durable: int
    _part: int = 0
    _waiting: list[bytes] = field(default_factory=list)
    _flushing: bool = False
    _broken: str | None = None
    _closed: bool = False
    _condition: threading.Condition = field(default_factory=threading.Condition)
    _clock: Clock = field(default_factory=Clock)

    @classmethod
    def open(cls, folder: str | Path, *, wait_seconds: float = 0.0) -> tuple[Self, list[Event]]:
        """Opens the journal for writing, under a new epoch.

        Args:
            folder: a local path, made if it is missing, or a URI.
            wait_seconds: how long a writer that is about to end may keep its lock or lease; a lease
                that nobody renews is always waited for until it is stale.

        Returns:
            The journal and the events that it already holds.

        Raises:
            JournalError: another writer lives, the storage cannot be reached, or `read` raises the
                error.
        """
        folder = _checked(str(folder))
        lock_file = claimed = None
        lease = Lease(locations.join(folder, "lease"), folder)
        try:
            if not locations.is_uri(folder):
                Path(folder).mkdir(parents=True, exist_ok=True)
                lock_file = _lock(Path(folder), wait_seconds)
            lease.wait(wait_seconds, locked_here=lock_file is not None)
            before = writers(folder, files.names(folder))
            epoch = 1 + max((int(writer[:6]) for writer in before), default=0)
            writer = f"{epoch:06d}-{secrets.token_hex(4)}"
            kind = ObjectSegments if locations.is_uri(folder) else DiskSegments
            segments: Segments = kind(folder, writer)
            claimed = segments.claim()
            lease.hold(writer)
            reading = read(folder)
            segments.keep(reading.segments)
            journal = cls(
                folder=folder,
                writer=writer,
                notes=tuple(reading.notes),
                _segments=segments,
                _lease=lease,
                _lock_file=lock_file,
                _parent=reading.writer,
                _next_seq=len(reading.events) + 1,
                _durable=len(reading.events),
            )
            journal._check_newest()
        except BaseException as error:
            lease.release()
            if claimed is not None:  # no event was acknowledged under this name
                with contextlib.suppress(OSError):
                    files.delete(locations.join(folder, claimed))
            if lock_file is not None:
                os.close(lock_file)
            if isinstance(error, SweepError):
                raise JournalError(str(error)) from error
            if isinstance(error, OSError):
                raise JournalError(
                    f"{folder} cannot be used ({error.strerror or error}); need a place to write to"
                ) from error
            raise
        return journal, reading.events

    @property
    def epoch(self) -> int:
        """Number of writers of this journal so far, including this one."""
        return int(self.writer[:6])

    def append(self, event: Event) -> int:
        """Queues an event and returns its number for `sync`; the record keeps the order of calls.

        Raises:
            JournalError: the event is not plain finite JSON, or an earlier write failed.
        """
        if clash := RESERVED & event.keys():
            raise JournalError(
                f"event {event.get('kind')} has its own {', '.join(sorted(clash))}; the "
                "journal sets these"
            )
        with self._condition:
            self._check_usable()
            number = self._next_seq
            line = encode(
                {"seq": number, "epoch": self.epoch, "at": round(self._clock.now(), 3), **event}
            )
            self._waiting.append(line)
            self._next_seq += 1
            return number

    def sync(self, number: int) -> None:
        """Returns when event `number` and all events before it are on storage.

        Raises:
            JournalError: the write failed, or another driver took over the sweep; the journal
                accepts no further events.
        """
        with self._condition:
            while self._durable < number:
                self._check_usable()
                if self._flushing:
                    self._condition.wait()
                    continue
                batch, self._waiting, last = b"".join(self._waiting), [], self._next_seq - 1
                self._flushing = True
                try:
                    self._flush_unlocked(batch)
                    self._durable = last
                except BaseException as error:
                    # Part of the group may be on storage; a further group would begin wrongly.
                    self._broken = self._why_broken(error)
                    if isinstance(error, OSError | JournalError):
                        raise JournalError(self._broken) from error
                    raise
                finally:
                    self._flushing = False
                    self._condition.notify_all()

    def _flush_unlocked(self, batch: bytes) -> None:
        """Calls `_flush` without the lock, so that other threads can `append`."""
        self._condition.release()
        try:
            self._flush(batch)
        finally:
            self._condition.acquire()

    def _why_broken(self, error: BaseException) -> str:
        if isinstance(error, JournalError):
            return str(error)
        if isinstance(error, OSError):
            reason = error.strerror or error
            return f"{self.folder}: cannot be written ({reason}); make room and go on with resume"
        return f"{self.folder}: a write was interrupted; nothing more is written"

    def write(self, event: Event) -> None:
        """Queues an event and waits until it is on storage (`append` and `sync`)."""
        self.sync(self.append(event))

    def close(self) -> None:
        """Flushes the queued events and releases the lock and the lease."""
        with self._condition:
            if self._closed:
                return
            self._closed = True
        try:
            if self._broken is None:
                self.sync(self._next_seq - 1)
            self._leave_tidy()
        finally:
            self._segments.close()
            self._broken = f"{self.folder}: this writer is closed"
            self._lease.release()
            if self._lock_file is not None:
                os.close(self._lock_file)

    def _check_usable(self) -> None:
        if self._broken is not None:
            raise JournalError(self._broken)

    def _flush(self, batch: bytes) -> None:
        """Writes a group of events, then checks that this writer is still the newest.

        Only one thread at a time may call this method.
        """
        if began := self._part == 0 or self._segments.full:
            self._part += 1
            if self._part > 1:
                self._segments.begin(self._part)
            first = header(self.writer, self._part, self._parent, self._durable)
        else:
            first = group(self._durable)
        self._segments.add(first + batch)
        names = self._check_newest()
        if began:
            self._segments.say_last(self._durable + batch.count(b"\n"))
        self._segments.tidy(names)

    def _leave_tidy(self) -> None:
        """Writes the number of events to `last.json` on close; the events are safe without it."""
        if self._part and self._broken is None:
            with contextlib.suppress(OSError):
                self._segments.say_last(self._durable)
                self._segments.tidy(files.names(self.folder), last=True)

    def _check_newest(self) -> dict[str, int]:
        """Lists the files in the folder and checks that this writer is the newest.

        Returns:
            {file name: size in bytes}.

        Raises:
            JournalError: another writer is newer, or the segments of this writer were removed.
            OSError: the folder cannot be listed.
        """
        names = uri_storage.patiently(lambda: files.names(self.folder), RETRY_SECONDS)
        if (newest := newest_writer(names)) == self.writer:
            return names
        if newest > self.writer:
            raise JournalError(
                f"{self.folder}: another driver took this sweep over "
                f"({self._lease.holder()}); what this one does no longer counts"
            )
        raise JournalError(
            f"{self.folder}: the segments of this writer were removed; nothing more can be "
            "recorded, so bring them back"
        )


def _checked(folder: str) -> str:
    """Returns the folder of a journal; raises JournalError where it is a URI with a secret."""
    if locations.is_uri(folder):
        try:
            locations.check_uri(folder)
        except ValueError as error:
            raise JournalError(f"the place of the journal {error}") from None
    return folder


def _lock(folder: Path, wait_seconds: float) -> int:
    """Locks `folder/lock`; the kernel releases the lock when this process ends, however it ends."""
    try:
        return lock(folder / "lock", wait_seconds)
    except LockedError as error:
        raise JournalError(
            f"{folder} is being written by {error.holder}; a sweep has one driver, so stop "
            "that one first"
        ) from None
