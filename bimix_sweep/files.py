"""Reads and writes files on this machine or, through `uri_storage`, on the filesystem that a URI names.

A file is read whole, and written whole or not at all. `-` is standard input or output.
"""

import contextlib
import errno
import os
import secrets
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bimix_sweep import disk, locations, uri_storage


def exists(path: str | Path) -> bool:
    """True where there is such a file, or such a local folder."""
    return uri_storage.exists(str(path)) if locations.is_uri(path) else Path(path).exists()


def names(folder: str | Path) -> dict[str, int]:
    """Returns {name: bytes} of the files directly in a folder, sorted; empty for a missing folder.

    Raises:
        OSError: the folder cannot be listed.
    """
    if locations.is_uri(folder):
        return uri_storage.names(str(folder))
    try:
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        return {}
    found = {}
    for entry in listed:
        # A file may have been renamed or removed since; the other files are still there.
        with contextlib.suppress(FileNotFoundError):
            if entry.is_file():
                found[entry.name] = entry.stat().st_size
    return found


def delete(path: str | Path) -> None:
    """Removes a file; a missing file is no error."""
    if locations.is_uri(path):
        uri_storage.delete(str(path))
    else:
        Path(path).unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Writes `text` as UTF-8, whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: str | Path, data: bytes) -> None:
    """Writes `data` beside `path`, then renames over `path`.

    A single put to an object store is atomic without a rename. Data for a device, pipe or socket
    are written into it.

    Raises:
        OSError: the file cannot be written; the error names `path`.
    """
    if locations.is_uri(path):
        uri_storage.put(str(path), lambda stream: stream.write(data))
    elif is_stream(path):
        _write_into(Path(path), data)
    else:
        write_local(path, lambda beside: beside.write_bytes(data))


def write_local(path: str | Path, write: Callable[[Path], Any]) -> None:
    """Calls `write(beside)` for a local file, flushes it to the disk, then renames it to `path`.

    After any failure no file is left.

    Raises:
        OSError: the file cannot be written; the error names `path`.
    """
    target = Path(path)
    if not str(path) or target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is no file name; need one to write to", str(path))
    if is_stream(path):
        raise FileExistsError(
            errno.EEXIST, "is a device, pipe or socket; need a file to write to", str(path)
        )
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        disk.make_folder(target.parent)
        write(beside)
        disk.sync(beside)
        beside.replace(target)
        disk.sync(target.parent)
    except OSError as error:
        raise OSError(error.errno or errno.EIO, error.strerror or str(error), str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def is_standard(path: str | Path) -> bool:
    """True for `-`, which is standard input where it is read and standard output where it is
    written."""
    return str(path) == "-"


def is_stream(path: str | Path) -> bool:
    """True for `-` and for a device, pipe or socket, which a rename would destroy.

    True too for a link in /dev or /proc, such as /dev/stdout. A link anywhere else is no stream: a
    folder that somebody passed on must not decide which file is written into.
    """
    if is_standard(path):
        return True
    if locations.is_uri(path) or not str(path):
        return False
    try:
        mode = Path(path).lstat().st_mode
    except OSError:
        return False
    if stat.S_ISLNK(mode):
        return Path(path).absolute().parts[1] in ("dev", "proc")
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _write_into(target: Path, data: bytes) -> None:
    if is_standard(target):
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    try:
        with os.fdopen(os.open(target, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC), "wb") as stream:
            stream.write(data)
    except OSError as error:
        raise OSError(
            error.errno or errno.EIO, error.strerror or str(error), str(target)
        ) from error


def open_lock(path: Path) -> int:
    """Opens a local file to lock, and makes it where it is missing; returns its descriptor.

    Links are refused: in a folder that somebody passed on, the file's name may lead anywhere.

    Raises:
        OSError: the file cannot be opened, or is a link or anything else but a file.
    """
    try:
        lock_file = os.open(
            path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644
        )
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise _no_file(path) from None
        raise
    if not stat.S_ISREG(os.fstat(lock_file).st_mode):
        os.close(lock_file)
        raise _no_file(path)
    return lock_file


def peek(path: Path, most: int) -> str:
    """Returns the beginning of a local file, at most `most` bytes, without ever waiting.

    Bytes that are no text become replacement characters.

    Raises:
        OSError: the file cannot be read, or is a link or anything else but a file.
    """
    try:
        found = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise _no_file(path) if error.errno == errno.ELOOP else error from None
    try:
        if not stat.S_ISREG(os.fstat(found).st_mode):
            raise _no_file(path)
        return os.read(found, most).decode(errors="replace")
    finally:
        os.close(found)


def _no_file(path: Path) -> OSError:
    return OSError(
        errno.EINVAL,
        f"{path.name} is a link or no file; look where it leads, then remove it",
        str(path),
    )


def read_bytes(path: str | Path) -> bytes:
    """Returns all bytes of a file or pipe, at most MAX_BYTES.

    Raises:
        OSError: the file is missing, unreadable, too large, or a device; the message has the path.
    """
    if locations.is_uri(path):
        return uri_storage.read(str(path))
    if is_standard(path):
        return uri_storage.read_all(sys.stdin.buffer, path)
    with Path(path).open("rb") as file:
        found = os.fstat(file.fileno())
        if stat.S_ISFIFO(found.st_mode):
            return uri_storage.read_all(file, path)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "is a device or socket; need a file or pipe", str(path))
        if found.st_size > uri_storage.MAX_BYTES:
            raise uri_storage.too_large(path)
        return file.read()


def read_text(path: str | Path) -> str:
    """Returns the text of a UTF-8 file.

    Raises:
        ValueError: the file is no UTF-8 text.
        OSError: same conditions as for `read_bytes`.
    """
    try:
        return read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 text ({error.reason} at byte {error.start})") from error
