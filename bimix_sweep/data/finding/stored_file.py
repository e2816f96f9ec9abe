"""Describes one file that a source names."""

from dataclasses import dataclass

from pyarrow import fs


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """One file of a source."""

    filesystem: fs.FileSystem
    """File system that holds the file."""
    path: str
    """Path of the file in its file system."""
    size: int
    """Stored bytes."""
    mtime_ns: int | None
    """Time of the last modification, in nanoseconds; None where the file system has none."""
    entry: str
    """The path, glob or URI of the source that names the file."""
    single: bool
    """True if the entry names only this file; False for a folder or a glob."""
