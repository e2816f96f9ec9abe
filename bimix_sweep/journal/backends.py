"""How a journal's segments reach storage: appended to a file, or put whole as one object after another.

An object store has no append, so each group of events is put together with those before it in the
segment, which is therefore small there. Every put has a name of its own, with a number that rises
with every attempt. A put that seemed to fail may still arrive, much later: the client library
repeats it, or the network holds it back. Under its own name it replaces nothing, and readers take
the greatest number. What a later put replaces is removed in the background.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Protocol, TypeVar

from bimix_sweep import disk, files
from bimix_sweep.journal.codec import segment_name
from bimix_sweep.journal.segments import READERS, say_last, superseded

DISK_BYTES = 64 << 20
"""A segment on a disk that has grown past this is followed by another one."""
OBJECT_BYTES = 256 << 10
"""The same for an object, which is put whole each time."""
MOST_SUPERSEDED = 16
"""So many objects that later ones replace are removed together."""
RETRY_SECONDS = 300.0
"""For how long an object store may fail before the journal gives up."""

T = TypeVar("T")


class Segments(Protocol):
    """Storage of one writer's segments, one after another."""

    def claim(self) -> str:
        """Make the first segment, still empty, and return its name.

        Raises:
            OSError: it cannot be made.
        """
        ...

    def keep(self, names: Iterable[str]) -> None:
        """Return when segments of other writers are on the storage as they were read.

        Raises:
            OSError: they are not.
        """
        ...

    def begin(self, part: int) -> None:
        """What is added from now on goes into this segment."""
        ...

    def add(self, data: bytes) -> None:
        """Return when `data` stands at the end of the segment for good, whole.

        Raises:
            OSError: it does not; the storage takes nothing more.
        """
        ...

    def say_last(self, num_events: int) -> None:
        """Write down that this segment, and so many events, must be found from now on.

        Raises:
            OSError: it cannot be written.
        """
        ...

    def tidy(self, names: Mapping[str, int], *, last: bool = False) -> None:
        """Have this writer's superseded objects among a folder's files removed; nobody waits for it.

        Args:
            last: begin with the first, not only when there are many.
        """
        ...

    @property
    def full(self) -> bool:
        """Another segment should follow."""
        ...

    def close(self) -> None: ...


class DiskSegments:
    """Appends and flushes to the disk."""

    def __init__(self, folder: str, writer: str) -> None:
        self._folder, self._writer = Path(folder), writer
        self._part = 1
        self._stream = -1
        self._written = 0

    def claim(self) -> str:
        self.begin(1)
        disk.sync_folders(self._folder)
        return segment_name(self._writer, 1)

    def keep(self, names: Iterable[str]) -> None:
        """A writer that was killed leaves lines that are read from memory and not yet on the disk."""
        for name in names:
            disk.sync(self._folder / name)
        disk.sync(self._folder)

    def begin(self, part: int) -> None:
        self.close()
        self._stream = os.open(
            self._folder / segment_name(self._writer, part),
            os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC,
            0o644,
        )
        self._part, self._written = part, 0
        disk.sync(self._folder)

    def add(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._stream, view) :]
            os.fsync(self._stream)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._stream, self._written)  # a full disk leaves part of a line
            raise
        self._written += len(data)

    def say_last(self, num_events: int) -> None:
        say_last(str(self._folder), self._writer, self._part, num_events)

    def tidy(self, names: Mapping[str, int], *, last: bool = False) -> None:
        pass

    @property
    def full(self) -> bool:
        return self._written > DISK_BYTES

    def close(self) -> None:
        if self._stream >= 0:
            os.close(self._stream)
            self._stream = -1


class ObjectSegments:
    """Puts whole objects, each under a new name."""

    def __init__(self, folder: str, writer: str) -> None:
        self._folder, self._writer = folder, writer
        self._part = 1
        self._put = 0
        self._content = b""
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="tidy")
        self._removals: list[Future[None]] = []

    def claim(self) -> str:
        name = segment_name(self._writer, 1, 0)
        files.write_bytes(files.join(self._folder, name), b"")
        return name

    def keep(self, names: Iterable[str]) -> None:
        pass  # an object that is listed is on the storage

    def begin(self, part: int) -> None:
        self._part, self._put, self._content = part, 0, b""

    def add(self, data: bytes) -> None:
        self._content += data
        patiently(self._put_once)

    def _put_once(self) -> None:
        self._put += 1
        name = segment_name(self._writer, self._part, self._put)
        files.write_bytes(files.join(self._folder, name), self._content)

    def say_last(self, num_events: int) -> None:
        patiently(lambda: say_last(self._folder, self._writer, self._part, num_events))

    def tidy(self, names: Mapping[str, int], *, last: bool = False) -> None:
        if last:
            wait(self._removals)
        over = superseded(names, self._writer)
        if last or (len(over) >= MOST_SUPERSEDED and all(done.done() for done in self._removals)):
            self._removals = [self._pool.submit(self._remove, name) for name in over]

    def _remove(self, name: str) -> None:
        with contextlib.suppress(OSError):  # it only takes up room
            files.delete(files.join(self._folder, name))

    @property
    def full(self) -> bool:
        return len(self._content) > OBJECT_BYTES

    def close(self) -> None:
        self._content = b""
        self._pool.shutdown()


def patiently(act: Callable[[], T]) -> T:
    """Ask an object store again while it fails, for `RETRY_SECONDS`.

    Raises:
        OSError: the last failure.
    """
    until, pause = time.monotonic() + RETRY_SECONDS, 0.5
    while True:
        try:
            return act()
        except OSError:
            if time.monotonic() + pause > until:
                raise
        time.sleep(pause)
        pause = min(2 * pause, 15.0)
