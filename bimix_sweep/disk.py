"""Writes local files and folders so that they survive a power cut."""

import errno
import os
from pathlib import Path


def make_folder(path: str | Path) -> None:
    """Makes a local folder and its missing parents, and flushes the folders that hold them.

    Raises:
        OSError: the folder cannot be made.
    """
    folder = Path(path)
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        sync(made.parent)


def sync(path: str | Path) -> None:
    """Flushes to the disk the content of a local file, or the list of names in a local folder.

    The function skips a folder that may not be read, and a folder on a filesystem that cannot flush
    folders.

    Raises:
        OSError: the file or folder cannot be opened or flushed.
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
    """Flushes (`sync`) every file in a local folder and in its subfolders, and the folders."""
    for folder, _, names in os.walk(path):
        for name in names:
            sync(Path(folder, name))
        sync(folder)


def sync_folders(path: str | Path) -> None:
    """Flushes a local folder and its parents on the same filesystem, also those that existed."""
    folder = Path(path).resolve()
    device = folder.stat().st_dev
    for place in (folder, *folder.parents):
        if place.stat().st_dev != device:
            return
        sync(place)
