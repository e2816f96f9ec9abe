"""The append-only record of a sweep: what is not in it did not happen.

`DIR/journal` holds segments, `DIR` being a local folder or any `pyarrow.fs` URI. Every writer has
segments of its own, named by its epoch (one higher than any before), a random token and a number:
`000002-9f3a1c07-000001.jsonl`. Their first line is the header, each further line one event, or the
beginning of a further group of events:

    {"format":"bimix-sweep journal","version":3,"writer":"000002-9f3a1c07","part":1,
     "parent":"000001-0c55e2aa","after":16,"check":"..."}
    {"seq":17,"epoch":2,"at":1767225600.25,"kind":"point",...,"check":"5d41402abc4b2a76"}
    {"after":17,"check":"..."}

`check` is a hash of the line before it, `seq` counts through the record without a gap. An event is
acknowledged (`Journal.sync` returns) only when it is on the storage; callers that wait together share
one flush, a group, and slow storage slows nobody who does not wait.

**Power.** On a disk, acknowledged means flushed (fsync): the events, the name of their segment, and
the names of the folders above it. After a power cut any part of the last group may be missing:

* a group begins only when all before it is flushed. A torn line after the last beginning of a group
  was never acknowledged and is passed over; one before it is damage and an error;
* a writer that was killed leaves lines that others can read and that are not on the disk. A new
  writer flushes every segment that it has read before it writes a header that names them.

`last.json` says which segment, and how many events, must be there. It is written before the first
group of a segment is acknowledged and when a writer closes, so that a newest segment which is
deleted, emptied or cut is an error.

**Buckets.** An object is put whole, so a segment grows by being put again, each time under a new name
(`000002-9f3a1c07-000001-000017.jsonl`): `storage` says why no name is put twice.

**Two drivers.** A file lock (on a local folder) and a lease keep a second driver out while the first lives. Neither is relied on: locks
fail on some network filesystems, and put, get, list and delete can't make a lock. What holds even if both drivers go on is this.

* *Claim, then read.* A writer opens by putting its first segment, empty, under a name that nobody else has, and reads the record
  only afterwards. It is the newest if no segment's name has a greater (epoch, token).
* *Put, then look.* After each flush, before it acknowledges, a writer lists the folder. If it is no longer the newest, it is broken
  for good and acknowledges nothing more.
* *Say what you read.* The header names the writer that this one continues and the last event it read. The record is the chain from
  the newest writer with a line down through these names.

An acknowledged event is never lost: its writer X looked after the put and was the newest, so every writer Y above X claimed later, read
later still, and saw it. Y continues the greatest writer M that it saw, M = X or M above X; if above, M too read after X's last
acknowledgement, and so on down. A late write never enters: lines that X adds after Y has read have numbers above what Y's header names;
segments of a writer that is in nobody's chain are in no record; and no name is ever written by two. Of two that open at once both
may write, but only the greater one can still be the newest when it looks, so one acknowledges. What it takes from the storage: a put is
seen whole or not at all, by every get and list that begins after it (S3, GCS, Azure, a disk; on NFS turn caching of folders off, or
rely on its locks).

A writer killed in the middle of a line leaves a torn tail: the next header names the last whole event, and what follows it is passed
over. Any other damage is an error, because acknowledged results would be missing.
"""

import contextlib
import fcntl
import os
import secrets
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from bimix_sweep import files
from bimix_sweep.errors import JournalError, SweepError
from bimix_sweep.journal.backends import DiskSegments, ObjectSegments, Segments, patiently
from bimix_sweep.journal.clock import Clock
from bimix_sweep.journal.codec import Event, encode, group, header
from bimix_sweep.journal.lease import Lease
from bimix_sweep.journal.segments import newest_writer, read, writers

RESERVED = frozenset({"seq", "epoch", "at", "check"})


@dataclass(slots=True)
class Journal:
    """The one writer of a journal; `Journal.open` makes it. Its methods may be called from many threads."""

    folder: str
    writer: str
    """Epoch and token."""
    notes: tuple[str, ...]
    """What opening passed over, for a person."""
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
        """Become the writer, under a new epoch.

        Args:
            folder: a local one, made where it is missing, or a URI.
            wait_seconds: how long a writer that is just ending may keep its lock or lease; a lease that nobody renews is waited out.

        Returns:
            The journal and the events it already holds.

        Raises:
            JournalError: another writer lives, the storage can't be reached, or as for `read`.
        """
        folder = str(folder)
        if files.is_uri(folder):
            try:
                files.check_uri(folder)
            except ValueError as error:
                raise JournalError(f"the place of the journal {error}") from None
        lock_file = claimed = None
        lease = Lease(files.join(folder, "lease"), folder)
        try:
            if not files.is_uri(folder):
                Path(folder).mkdir(parents=True, exist_ok=True)
                lock_file = _lock(Path(folder), wait_seconds)
            lease.wait(wait_seconds, locked_here=lock_file is not None)
            before = writers(folder, files.names(folder))
            epoch = 1 + max((int(writer[:6]) for writer in before), default=0)
            writer = f"{epoch:06d}-{secrets.token_hex(4)}"
            kind = ObjectSegments if files.is_uri(folder) else DiskSegments
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
            if claimed is not None:  # nothing was acknowledged under it
                with contextlib.suppress(OSError):
                    files.delete(files.join(folder, claimed))
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
        """How many writers there were, this one included."""
        return int(self.writer[:6])

    def append(self, event: Event) -> int:
        """Put an event in line and return its number for `sync`; the order of calls is the order in the record.

        Raises:
            JournalError: the event is not plain finite JSON, or an earlier write failed.
        """
        if clash := RESERVED & event.keys():
            raise JournalError(
                f"event {event.get('kind')} has its own {', '.join(sorted(clash))}; the journal sets these"
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
        """Return when event `number` and all before it are on the storage.

        Raises:
            JournalError: writing failed, or another driver took the sweep over; the journal takes nothing more.
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
                    # part of the group may be there: a further one would begin at the wrong event
                    self._broken = self._why_broken(error)
                    if isinstance(error, OSError | JournalError):
                        raise JournalError(self._broken) from error
                    raise
                finally:
                    self._flushing = False
                    self._condition.notify_all()

    def _flush_unlocked(self, batch: bytes) -> None:
        """`_flush` while others may `append`."""
        self._condition.release()
        try:
            self._flush(batch)
        finally:
            self._condition.acquire()

    def _why_broken(self, error: BaseException) -> str:
        if isinstance(error, JournalError):
            return str(error)
        if isinstance(error, OSError):
            said = error.strerror or error
            return f"{self.folder}: cannot be written ({said}); make room and go on with resume"
        return f"{self.folder}: a write was interrupted; nothing more is written"

    def write(self, event: Event) -> None:
        """`append` and `sync` in one."""
        self.sync(self.append(event))

    def close(self) -> None:
        """Flush what is in line and give lock and lease back."""
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
        """Put a group of events and see that this is still the newest writer; one thread at a time."""
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
        """Say how many events there are at the end; they are safe without that."""
        if self._part and self._broken is None:
            with contextlib.suppress(OSError):
                self._segments.say_last(self._durable)
                self._segments.tidy(files.names(self.folder), last=True)

    def _check_newest(self) -> dict[str, int]:
        """The files in the folder.

        Raises:
            JournalError: another writer is newer. OSError: the folder cannot be listed.
        """
        names = patiently(lambda: files.names(self.folder))
        if (newest := newest_writer(names)) == self.writer:
            return names
        if newest > self.writer:
            raise JournalError(
                f"{self.folder}: another driver took this sweep over ({self._lease.holder()}); what this one does no longer counts"
            )
        raise JournalError(
            f"{self.folder}: the segments of this writer were removed; nothing more can be recorded, so bring them back"
        )


def _lock(folder: Path, wait_seconds: float) -> int:
    """Hold `folder/lock`; the kernel lets go of it when this process ends, however it ends."""
    lock_file = files.open_lock(folder / "lock")
    until = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > until:
                holder = (
                    os.read(lock_file, 200).decode(errors="replace").strip() or "another process"
                )
                os.close(lock_file)
                raise JournalError(
                    f"{folder} is being written by {holder}; a sweep has one driver, so stop that one first"
                ) from None
            time.sleep(0.1)
    os.ftruncate(lock_file, 0)
    os.pwrite(lock_file, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    return lock_file
