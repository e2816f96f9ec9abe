"""Local files and folders that a power cut does not take away."""

import errno
import os
from pathlib import Path


def make_folder(path: str | Path) -> None:
    """Make a local folder and those above it that are missing, and `sync` the folders that hold them.

    Raises:
        OSError: it cannot be made.
    """
    folder = Path(path)
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        sync(made.parent)


def sync(path: str | Path) -> None:
    """Return when the content of a local file, or the names in a local folder, are on the disk.

    Folders that may not be read, and filesystems that flush no folders, are passed over.

    Raises:
        OSError: it cannot be opened or flushed.
    """
    is_folder = Path(path).is_dir()
    try:
        opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:
        if is_folder:
            return
        raise
    try:
        os.fsync(opened)
    except OSError as error:
        if not (is_folder and error.errno in (errno.EINVAL, errno.ENOTSUP)):
            raise
    finally:
        os.close(opened)


def sync_all(path: str | Path) -> None:
    """`sync` everything in a local folder, and the folder."""
    for folder, _, names in os.walk(path):
        for name in names:
            sync(Path(folder, name))
        sync(folder)


def sync_folders(path: str | Path) -> None:
    """`sync` a local folder and those above it on the same filesystem, whoever made them."""
    folder = Path(path).resolve()
    device = folder.stat().st_dev
    for place in (folder, *folder.parents):
        if place.stat().st_dev != device:
            return
        sync(place)
