"""Files written whole or not at all, on this machine or on any `pyarrow.fs` filesystem named by a URI."""

import contextlib
import errno
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

# pyarrow.fs is imported inside: a path without "://" needs none of it.


def is_uri(path: str | Path) -> bool:
    """True for `s3://bucket/x` and the like; such a string must not pass through `pathlib`, which folds the slashes."""
    return "://" in str(path)


def join(base: str | Path, *parts: str) -> str:
    """`base/part/part` for a folder or a URI."""
    return "/".join([str(base).rstrip("/"), *parts])


def write_text(path: str | Path, text: str) -> None:
    """Write `text` (UTF-8) beside `path`, then rename over it."""
    write_bytes(path, text.encode())


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write `data` beside `path`, then rename over it; an object store's single put is whole by itself."""
    if is_uri(path):
        from pyarrow import fs

        try:
            filesystem, inner = fs.FileSystem.from_uri(str(path))
        except ValueError as error:
            raise OSError(errno.EINVAL, f"is no place to write to ({error}); need a path or a URI that pyarrow knows", str(path)) from error
        filesystem.create_dir(inner.rsplit("/", 1)[0], recursive=True)
        with filesystem.open_output_stream(inner) as stream:
            stream.write(data)
        return
    write_local(path, lambda beside: beside.write_bytes(data))


def write_local(path: str | Path, write: Callable[[Path], Any]) -> None:
    """Call `write(beside)` for a local file, make it durable, then rename it to `path`; on any failure nothing is left.

    Raises:
        OSError: it cannot be written; the error names `path`.
    """
    target = Path(path)
    if not str(path) or target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is no file name; need one to write to", str(path))
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write(beside)
        with beside.open("rb") as stream:
            os.fsync(stream.fileno())
        beside.replace(target)
    except OSError as error:
        raise OSError(error.errno or errno.EIO, error.strerror or str(error), str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def read_bytes(path: str | Path) -> bytes:
    """All of a file.

    Raises:
        OSError: it is missing or unreadable, with the path in its message.
    """
    if not is_uri(path):
        return Path(path).read_bytes()
    from pyarrow import fs

    filesystem, inner = fs.FileSystem.from_uri(str(path))
    with filesystem.open_input_stream(inner) as stream:
        return bytes(stream.read())


def read_text(path: str | Path) -> str:
    """All of a UTF-8 file."""
    return read_bytes(path).decode()
