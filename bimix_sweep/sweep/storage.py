"""How a journal's segments reach storage: appended on a disk, or put whole, again and again, as an object.

An object store has no append, so each group of events rewrites the segment that they are in; a segment is therefore small
there, and the objects stay few. A put that failed may still arrive later: it is repeated with the same content until one
succeeds, and that object is never written again, so that the late one changes nothing.
"""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from bimix_sweep import files

DISK_BYTES = 64 << 20
"""A segment on a disk that has grown past this is followed by another one."""
OBJECT_BYTES = 256 << 10
"""The same for an object, which is put whole each time."""
RETRY_SECONDS = 300.0
"""For how long an object store may fail before the journal gives up."""

T = TypeVar("T")


class Segments(Protocol):
    """Storage of one writer's segments, one after another."""

    def claim(self, name: str) -> None:
        """Make the first segment, still empty.

        Raises:
            OSError: it cannot be made.
        """
        ...

    def begin(self, name: str) -> None:
        """What is added from now on goes into this segment."""
        ...

    def add(self, data: bytes) -> None:
        """Return when `data` stands at the end of the segment for good, whole.

        Raises:
            OSError: it does not; the storage takes nothing more.
        """
        ...

    @property
    def full(self) -> bool:
        """Another segment should follow."""
        ...

    def close(self) -> None: ...


class DiskSegments:
    """Appends and flushes to the disk."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._stream = -1
        self._written = 0

    def claim(self, name: str) -> None:
        self.begin(name)

    def begin(self, name: str) -> None:
        self.close()
        self._stream = os.open(
            self._folder / name,
            os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC,
            0o644,
        )
        self._written = 0
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

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

    @property
    def full(self) -> bool:
        return self._written > DISK_BYTES

    def close(self) -> None:
        if self._stream >= 0:
            os.close(self._stream)
            self._stream = -1


class ObjectSegments:
    """Puts whole objects."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._name = ""
        self._content = b""
        self._uncertain = False

    def claim(self, name: str) -> None:
        self.begin(name)
        files.write_bytes(files.join(self._folder, name), b"")

    def begin(self, name: str) -> None:
        self._name, self._content, self._uncertain = name, b"", False

    def add(self, data: bytes) -> None:
        self._content += data
        self._uncertain = patiently(
            lambda: files.write_bytes(files.join(self._folder, self._name), self._content)
        )[1]

    @property
    def full(self) -> bool:
        return self._uncertain or len(self._content) > OBJECT_BYTES

    def close(self) -> None:
        self._content = b""


def patiently(act: Callable[[], T]) -> tuple[T, bool]:
    """Ask an object store again while it fails, for `RETRY_SECONDS`.

    Returns:
        The answer, and whether it failed before.

    Raises:
        OSError: the last failure.
    """
    until, pause, failed = time.monotonic() + RETRY_SECONDS, 0.5, False
    while True:
        try:
            return act(), failed
        except OSError:
            failed = True
            if time.monotonic() + pause > until:
                raise
        time.sleep(pause)
        pause = min(2 * pause, 15.0)
