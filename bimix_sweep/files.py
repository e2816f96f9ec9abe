"""Reads and writes files on this machine or on any `pyarrow.fs` filesystem named by a URI.

A file is read whole, and written whole or not at all. A place is an absolute or relative local
path, or a URI such as `s3://bucket/sweeps/a?region=eu-central-1`. The part after the `?` says how
to reach the filesystem, and stays at the end of every place inside it. Object stores are used only
for put, get, list and delete.
"""

import contextlib
import errno
import functools
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from bimix_sweep import disk

MAX_BYTES = 1 << 30
"""Maximum bytes of a file that is read whole. Tables, laws and configurations are far smaller; a
device has no end.
"""
PIECE = 16 << 20
"""Bytes of a stream that are read at a time, so that most objects in a bucket need one request."""
# Functions import pyarrow.fs where they use it: a path without "://" does not need it.

OBJECT_STORES = frozenset({"s3", "gcs", "abfs"})
"""Filesystems where a single put is atomic and folders need not be made."""
SECRETS = (
    "secret",
    "password",
    "token",
    "access_key",
    "account_key",
    "credential",
    "sas",
    "signature",
)
"""Words in the name of a URI's option that mark the option as a secret."""


def is_uri(path: str | Path) -> bool:
    """True for `s3://bucket/x` and the like.

    Such a string must not pass through `pathlib`, which merges the two slashes.
    """
    return "://" in str(path)


def join(base: str | Path, *parts: str) -> str:
    """Returns `base/part/part` for a folder or a URI, whose options stay at its end.

    Args:
        base: folder or URI.
        parts: names, not yet quoted.
    """
    if not is_uri(base):
        return "/".join([str(base).rstrip("/"), *parts])
    place, mark, options = str(base).partition("?")
    return (
        "/".join([place.rstrip("/"), *(quote(part, safe="/") for part in parts)]) + mark + options
    )


def parent(path: str | Path) -> str:
    """Returns the folder that holds a file or folder."""
    if not is_uri(path):
        return str(Path(path).parent)
    place, mark, options = str(path).partition("?")
    return place.rstrip("/").rpartition("/")[0] + mark + options


def check_uri(uri: str) -> None:
    """Refuses a URI that carries a secret, because URIs are kept in records that people pass on.

    Raises:
        ValueError: the URI carries a secret; the message names the place without the secret.
    """
    try:
        parts = urlsplit(uri)
        keys = [key for key, _ in parse_qsl(parts.query, keep_blank_values=True)]
    except ValueError as error:
        raise ValueError(f"is no URI ({error})") from None
    user, at, host = parts.netloc.rpartition("@")
    found = [key for key in keys if any(word in key.lower() for word in SECRETS)]
    if at and (":" in user or parts.scheme == "s3"):
        found.append("user:password")
    if found:
        raise ValueError(
            f"({parts.scheme}://{host}{parts.path}) carries a secret ({', '.join(found)}), which "
            "would be kept in the sweep's records; leave it out and give it through the "
            "environment, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role"
        )


def exists(path: str | Path) -> bool:
    """True where there is such a file, or such a local folder."""
    if not is_uri(path):
        return Path(path).exists()
    from pyarrow import fs

    with _reached(path) as (filesystem, inner):
        return bool(filesystem.get_file_info(inner).type != fs.FileType.NotFound)


def names(folder: str | Path) -> dict[str, int]:
    """Returns {name: bytes} of the files directly in a folder, sorted; empty for a missing folder.

    Raises:
        OSError: the folder cannot be listed.
    """
    if not is_uri(folder):
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
    from pyarrow import fs

    with _reached(folder) as (filesystem, inner):
        found = filesystem.get_file_info(fs.FileSelector(inner, allow_not_found=True))
        return {
            info.base_name: info.size
            for info in sorted(found, key=lambda info: info.path)
            if info.type == fs.FileType.File
        }


def delete(path: str | Path) -> None:
    """Removes a file; a missing file is no error."""
    if not is_uri(path):
        Path(path).unlink(missing_ok=True)
        return
    with _reached(path) as (filesystem, inner), contextlib.suppress(FileNotFoundError):
        filesystem.delete_file(inner)


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
    if not is_uri(path):
        if is_stream(path):
            _write_into(Path(path), data)
        else:
            write_local(path, lambda beside: beside.write_bytes(data))
        return
    _put(path, lambda stream: stream.write(data))


def _put(uri: str | Path, write: Callable[[Any], Any]) -> None:
    """Calls `write(stream)` for the file of a URI; the file appears whole or not at all.

    An object appears when its stream is closed, and a stream closes itself even after `write`
    failed. So a partial object is deleted.
    """
    with _reached(uri) as (filesystem, inner):
        place = inner
        if filesystem.type_name not in OBJECT_STORES:
            folder, _, name = inner.rpartition("/")
            place = f"{folder}/.{name}.{secrets.token_hex(4)}.part"
            filesystem.create_dir(folder, recursive=True)
        cut_off = True
        try:
            with filesystem.open_output_stream(place, compression=None) as stream:
                write(stream)
                cut_off = False
            if place != inner:
                filesystem.move(place, inner)
        except BaseException:
            if cut_off or place != inner:
                with contextlib.suppress(OSError):
                    filesystem.delete_file(place)
            raise


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


def is_stream(path: str | Path) -> bool:
    """True for a device, pipe or socket, which a rename would destroy.

    True too for a link in /dev or /proc, such as /dev/stdout. A link anywhere else is no stream: a
    folder that somebody passed on must not decide which file is written into.
    """
    if is_uri(path) or not str(path):
        return False
    try:
        mode = Path(path).lstat().st_mode
    except OSError:
        return False
    if stat.S_ISLNK(mode):
        return Path(path).absolute().parts[1] in ("dev", "proc")
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _write_into(target: Path, data: bytes) -> None:
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
    if is_uri(path):
        with (
            _reached(path) as (filesystem, inner),
            filesystem.open_input_stream(inner, compression=None) as stream,
        ):
            return _read_all(stream, path)
    with Path(path).open("rb") as file:
        found = os.fstat(file.fileno())
        if stat.S_ISFIFO(found.st_mode):
            return _read_all(file, path)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "is a device or socket; need a file or pipe", str(path))
        if found.st_size > MAX_BYTES:
            raise _too_large(path)
        return file.read()


def _read_all(stream: Any, path: str | Path) -> bytes:
    """Reads a stream of unknown length to its end; refuses more than MAX_BYTES."""
    pieces, size = [], 0
    while piece := stream.read(PIECE):
        pieces.append(piece)
        size += len(piece)
        if size > MAX_BYTES:
            raise _too_large(path)
    return b"".join(pieces)


def _too_large(path: str | Path) -> OSError:
    said = f"has more than {MAX_BYTES / 2**30:g} GiB, which is the most that is read"
    return OSError(errno.EFBIG, said, str(path))


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


def upload(source: Path, path: str) -> None:
    """Copies a local file to a URI piece by piece.

    Raises:
        OSError: the file cannot be read or written; nothing is left then.
    """
    with source.open("rb") as data:
        _put(path, lambda stream: shutil.copyfileobj(data, stream, 8 << 20))


def download(path: str, target: Path) -> None:
    """Copies a URI's file to a local file piece by piece.

    Raises:
        FileNotFoundError: the file of the URI does not exist.
        OSError: any other failure.
    """
    with (
        _reached(path) as (filesystem, inner),
        filesystem.open_input_stream(inner, compression=None) as stream,
        target.open("wb") as data,
    ):
        shutil.copyfileobj(stream, data, 8 << 20)


@contextlib.contextmanager
def _reached(uri: str | Path) -> Iterator[tuple[Any, str]]:
    """Yields the filesystem of a URI and the path in it; errors become an OSError with the URI."""
    import pyarrow as pa

    place, mark, options = str(uri).partition("?")
    folder, _, name = place.rstrip("/").rpartition("/")
    try:
        check_uri(str(uri))
    except ValueError as error:
        raise OSError(
            errno.EINVAL, f"is no place to write to or read from: {error}", "the URI"
        ) from None
    try:
        if folder.endswith("/") or folder.endswith(":"):  # the URI names a bucket
            yield _filesystem(str(uri))
        else:
            filesystem, inner = _filesystem(folder + mark + options)
            yield filesystem, f"{inner.rstrip('/')}/{unquote(name)}"
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, "was not found", str(uri)) from error
    except OSError as error:
        raise OSError(
            error.errno or errno.EIO, error.strerror or " ".join(str(error).split()), str(uri)
        ) from error
    except (pa.ArrowException, ValueError) as error:
        said = " ".join(str(error).split())
        raise OSError(
            errno.EINVAL,
            f"is no place to write to or read from ({said}); need a path or a URI that pyarrow "
            "knows",
            str(uri),
        ) from error


@functools.lru_cache(maxsize=256)
def _filesystem(folder: str) -> tuple[Any, str]:
    """Returns pyarrow's filesystem of a folder's URI and the path in it; connections are kept."""
    from pyarrow import fs

    if folder.startswith("s3://") and "allow_delayed_open" not in folder:
        # With this option a small object needs one request instead of three.
        folder += ("&" if "?" in folder else "?") + "allow_delayed_open=true"
    filesystem, inner = fs.FileSystem.from_uri(folder)
    return filesystem, inner
