"""Storage backends of a journal: one appends to local files, one puts whole objects.

An object store cannot append. The object backend therefore puts the whole segment again for each
group of events, and keeps segments small. Every put has its own name, which ends in a number that
rises with each attempt. A put that seemed to fail may still arrive much later, because the client
library repeats it or the network delays it. The late put replaces nothing, because its name is its
own, and readers take the object with the greatest number. Background threads remove the objects
that later puts replace.
"""

import contextlib
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Protocol

from bimix_sweep import disk, files, locations, uri_storage
from bimix_sweep.journal.codec import segment_name
from bimix_sweep.journal.segments import READERS, say_last, superseded

DISK_BYTES = 64 << 20
"""Size in bytes of a segment file on disk above which the writer begins another segment."""
OBJECT_BYTES = 256 << 10
"""Size in bytes of a segment object above which the writer begins another segment."""
MAX_SUPERSEDED = 16
"""Number of replaced objects from which they are removed together."""
RETRY_SECONDS = 300.0
"""Seconds for which an object store may fail a write before the journal gives up."""


class Segments(Protocol):
    """The storage of one writer's segments, which are written one after another."""

    def claim(self) -> str:
        """Makes the first segment, empty, and returns its name.

        Raises:
            OSError: the segment cannot be made.
        """
        ...

    def keep(self, names: Iterable[str]) -> None:
        """Returns when the segments of other writers are on storage exactly as they were read.

        Args:
            names: file names of these segments.

        Raises:
            OSError: a segment cannot be flushed.
        """
        ...

    def begin(self, part: int) -> None:
        """Begins segment number `part`; later data are added to this segment."""
        ...

    def add(self, data: bytes) -> None:
        """Returns when all of `data` is durable at the end of the segment.

        Raises:
            OSError: the write failed; the storage accepts no more data.
        """
        ...

    def say_last(self, num_events: int) -> None:
        """Records that readers must find this segment and `num_events` events from now on.

        Raises:
            OSError: the record cannot be written.
        """
        ...

    def tidy(self, names: Mapping[str, int], *, last: bool = False) -> None:
        """Removes this writer's replaced objects in the background; the caller does not wait.

        Args:
            names: {file name: size in bytes} of the journal's folder.
            last: remove the replaced objects even if they are few.
        """
        ...

    @property
    def full(self) -> bool:
        """Whether the writer should begin another segment."""
        ...

    def close(self) -> None:
        """Releases the resources of the backend."""
        ...


class DiskSegments:
    """Appends segments to local files and flushes them to the disk."""

    def __init__(self, folder: str, writer: str) -> None:
        self._folder, self._writer = Path(folder), writer
        self._part = 1
        self._stream = -1
        self._written = 0

    def claim(self) -> str:
        """Makes the first segment file, empty, flushes its folders, and returns its name."""
        self.begin(1)
        disk.sync_folders(self._folder)
        return segment_name(self._writer, 1)

    def keep(self, names: Iterable[str]) -> None:
        """Flushes the segments `names` of other writers to the disk.

        A writer that was killed leaves lines that can be read from memory but are not yet on the
        disk.
        """
        for name in names:
            disk.sync(self._folder / name)
        disk.sync(self._folder)

    def begin(self, part: int) -> None:
        """Closes the current segment file and makes the file of segment number `part`."""
        self.close()
        self._stream = os.open(
            self._folder / segment_name(self._writer, part),
            os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC,
            0o644,
        )
        self._part, self._written = part, 0
        disk.sync(self._folder)

    def add(self, data: bytes) -> None:
        """Appends `data` to the segment file and flushes it; a failed write leaves no part."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._stream, view) :]
            os.fsync(self._stream)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._stream, self._written)  # a full disk can leave a partial line
            raise
        self._written += len(data)

    def say_last(self, num_events: int) -> None:
        """Writes this segment and the number of events that readers must find to `last.json`."""
        say_last(str(self._folder), self._writer, self._part, num_events)

    def tidy(self, names: Mapping[str, int], *, last: bool = False) -> None:
        """Does nothing: a segment file grows in place, so no file is replaced."""
        pass

    @property
    def full(self) -> bool:
        """Whether the segment file has grown past `DISK_BYTES`."""
        return self._written > DISK_BYTES

    def close(self) -> None:
        """Closes the segment file."""
        if self._stream >= 0:
            os.close(self._stream)
            self._stream = -1


class ObjectSegments:
    """Puts segments as whole objects, each under a new name."""

    def __init__(self, folder: str, writer: str) -> None:
        self._folder, self._writer = folder, writer
        self._part = 1
        self._put = 0
        self._content = b""
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="tidy")
        self._removals: list[Future[None]] = []

    def claim(self) -> str:
        """Puts the first segment as an empty object and returns its name."""
        name = segment_name(self._writer, 1, 0)
        place = locations.join(self._folder, name)
        uri_storage.patiently(lambda: uri_storage.put_new(place, b""), uri_storage.READ_SECONDS)
        return name

    def keep(self, names: Iterable[str]) -> None:
        """Does nothing: an object that the store lists is durable."""
        pass

    def begin(self, part: int) -> None:
        """Begins segment number `part` with no content and no puts."""
        self._part, self._put, self._content = part, 0, b""

    def add(self, data: bytes) -> None:
        """Adds `data` to the segment and puts the whole segment as a new object."""
        self._content += data
        uri_storage.patiently(self._put_once, RETRY_SECONDS)

    def _put_once(self) -> None:
        self._put += 1
        name = segment_name(self._writer, self._part, self._put)
        uri_storage.put_new(locations.join(self._folder, name), self._content)

    def say_last(self, num_events: int) -> None:
        """Puts this segment and the number of events that readers must find as `last.json`."""
        uri_storage.patiently(
            lambda: say_last(self._folder, self._writer, self._part, num_events), RETRY_SECONDS
        )

    def tidy(self, names: Mapping[str, int], *, last: bool = False) -> None:
        """Removes replaced objects in threads; see `Segments.tidy`."""
        if last:
            wait(self._removals)
        over = superseded(names, self._writer)
        if last or (len(over) >= MAX_SUPERSEDED and all(done.done() for done in self._removals)):
            self._removals = [self._pool.submit(self._remove, name) for name in over]

    def _remove(self, name: str) -> None:
        with contextlib.suppress(OSError):  # an object that stays only takes up space
            files.delete(locations.join(self._folder, name))

    @property
    def full(self) -> bool:
        """Whether the segment has grown past `OBJECT_BYTES`."""
        return len(self._content) > OBJECT_BYTES

    def close(self) -> None:
        """Drops the segment's content and waits for the removals."""
        self._content = b""
        self._pool.shutdown()
