"""Reads and writes files of a `pyarrow.fs` filesystem that a URI names.

Object stores are used only for put, get, list and delete. A read is repeated for a while when the
store fails, because a read changes nothing and stores fail now and then. `patiently` does the same
for writes that may be repeated.

**Late requests.** Client libraries repeat a request that gets no answer. The first request may
still arrive, much later, and a late PUT would replace newer content of the same name. `put`
therefore uses a multipart upload of S3: the content counts when the upload is completed, an upload
is completed once, and a late request of a completed upload changes nothing. Google's client uploads
in a session with the same property. `put_new` needs one request instead of three, and is for a name
that no other content ever gets.
"""

import contextlib
import errno
import functools
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

from bimix_sweep import locations

MAX_BYTES = 1 << 30
"""Maximum bytes of a file that is read whole. Tables, laws and configurations are far smaller; a
device has no end.
"""
PIECE = 16 << 20
"""Bytes of a stream that are read at a time, so that most objects in a bucket need one request."""
READ_SECONDS = 20.0
"""Seconds for which a read is repeated while the storage fails."""
OBJECT_STORES = frozenset({"s3", "gcs", "abfs"})
"""Filesystems where a single put is atomic and folders need not be made."""
LASTING_CODES = frozenset(
    {
        errno.ENOENT,
        errno.EACCES,
        errno.EPERM,
        errno.EISDIR,
        errno.ENOTDIR,
        errno.EEXIST,
        errno.EINVAL,
        errno.EFBIG,
        errno.ENAMETOOLONG,
    }
)
"""Codes of failures that repeating does not mend."""
LASTING_WORDS = ("ACCESS_DENIED", "NO_SUCH_", "INVALID_", "SIGNATURE_DOES_NOT_MATCH", "status 40")
"""Words in the message of an object store's failure that repeating does not mend."""
# Functions import pyarrow.fs where they use it: a local path does not need it.

T = TypeVar("T")


def patiently(act: Callable[[], T], seconds: float) -> T:
    """Calls `act` again, with growing pauses, while the storage fails.

    A missing file, a refused access and the like are raised at once.

    Args:
        act: what to call; it must do no harm twice.
        seconds: how long to try.

    Raises:
        OSError: the last failure.
    """
    until, pause = time.monotonic() + seconds, 0.5
    while True:
        try:
            return act()
        except OSError as error:
            if _lasts(error) or time.monotonic() + pause > until:
                raise
        time.sleep(pause)
        pause = min(2 * pause, 15.0)


def _lasts(error: OSError) -> bool:
    """Whether a repeated call would fail in the same way."""
    return error.errno in LASTING_CODES or any(word in str(error) for word in LASTING_WORDS)


def exists(uri: str) -> bool:
    """True where there is such a file.

    Raises:
        OSError: the storage cannot be reached.
    """
    from pyarrow import fs

    def look() -> bool:
        with _reached(uri) as (filesystem, inner):
            return bool(filesystem.get_file_info(inner).type != fs.FileType.NotFound)

    return patiently(look, READ_SECONDS)


def names(folder: str) -> dict[str, int]:
    """Returns {name: bytes} of the files directly in a folder, sorted; empty for a missing folder.

    Raises:
        OSError: the folder cannot be listed.
    """
    from pyarrow import fs

    def look() -> dict[str, int]:
        with _reached(folder) as (filesystem, inner):
            found = filesystem.get_file_info(fs.FileSelector(inner, allow_not_found=True))
        files = [info for info in found if info.type == fs.FileType.File]
        return {info.base_name: info.size for info in sorted(files, key=lambda info: info.path)}

    return patiently(look, READ_SECONDS)


def read(uri: str) -> bytes:
    """Returns all bytes of a file, at most MAX_BYTES.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: the file cannot be read, or is too large.
    """

    def get() -> bytes:
        with (
            _reached(uri) as (filesystem, inner),
            filesystem.open_input_stream(inner, compression=None) as stream,
        ):
            return read_all(stream, uri)

    return patiently(get, READ_SECONDS)


def download(uri: str, target: Path) -> None:
    """Copies a URI's file to a local file piece by piece.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: any other failure.
    """

    def get() -> None:
        with (
            _reached(uri) as (filesystem, inner),
            filesystem.open_input_stream(inner, compression=None) as stream,
            target.open("wb") as data,
        ):
            shutil.copyfileobj(stream, data, 8 << 20)

    patiently(get, READ_SECONDS)


def upload(source: Path, uri: str) -> None:
    """Copies a local file to a URI piece by piece.

    Raises:
        OSError: the file cannot be read or written; no part of it is left then.
    """

    def write(stream: Any) -> None:
        with source.open("rb") as data:
            shutil.copyfileobj(data, stream, 8 << 20)

    put(uri, write)


def delete(uri: str) -> None:
    """Removes a file; a missing file is no error."""
    with _reached(uri) as (filesystem, inner), contextlib.suppress(FileNotFoundError):
        filesystem.delete_file(inner)


def read_all(stream: Any, path: str | Path) -> bytes:
    """Reads a stream of unknown length to its end; refuses more than MAX_BYTES."""
    pieces, size = [], 0
    while piece := stream.read(PIECE):
        pieces.append(piece)
        size += len(piece)
        if size > MAX_BYTES:
            raise too_large(path)
    return b"".join(pieces)


def too_large(path: str | Path) -> OSError:
    said = f"has more than {MAX_BYTES / 2**30:g} GiB, which is the most that is read"
    return OSError(errno.EFBIG, said, str(path))


def put(uri: str | Path, write: Callable[[Any], Any]) -> None:
    """Calls `write(stream)` for the file of a URI; the file appears whole or not at all.

    No request of an earlier `put` can replace the file afterwards, if that `put` returned.

    Args:
        uri: URI of the file.
        write: writes the content; it may be called twice.

    Raises:
        OSError: the file cannot be written; an earlier file of this name is kept.
    """
    try:
        _put(uri, write, single=False)
    except OSError as error:
        # The answer to the request that completed the upload was lost; some stores then refuse the
        # repeated request.
        if "NO_SUCH_UPLOAD" not in str(error):
            raise
        _put(uri, write, single=False)


def put_new(uri: str | Path, data: bytes) -> None:
    """Writes `data` to the URI of a name that never gets other content, with a single request.

    Raises:
        OSError: the file cannot be written, or its write was not confirmed.
    """
    _put(uri, lambda stream: stream.write(data), single=True)


def _put(uri: str | Path, write: Callable[[Any], Any], *, single: bool) -> None:
    with _reached(uri, single=single) as (filesystem, inner):
        place = inner
        if filesystem.type_name not in OBJECT_STORES:
            folder, _, name = inner.rpartition("/")
            place = f"{folder}/.{name}.{secrets.token_hex(4)}.part"
            filesystem.create_dir(folder, recursive=True)
        stream = filesystem.open_output_stream(place, compression=None)
        written = closed = False
        try:
            try:
                write(stream)
                written = True
            finally:
                stream.close()  # a stream that is not closed here closes itself later
                closed = True
            if place != inner:
                filesystem.move(place, inner)
        except BaseException:
            # A stream that was closed before its end left a part of the content.
            if place != inner or (closed and not written):
                with contextlib.suppress(OSError):
                    filesystem.delete_file(place)
            raise


@contextlib.contextmanager
def _reached(uri: str | Path, *, single: bool = True) -> Iterator[tuple[Any, str]]:
    """Yields the filesystem of a URI and the path in it; errors become an OSError with the URI.

    Args:
        uri: URI of a file or folder.
        single: write a small object with a single request.
    """
    import pyarrow as pa

    place, mark, options = str(uri).partition("?")
    folder, _, name = place.rstrip("/").rpartition("/")
    try:
        locations.check_uri(str(uri))
    except ValueError as error:
        raise OSError(
            errno.EINVAL, f"is no place to write to or read from: {error}", "the URI"
        ) from None
    try:
        if folder.endswith("/") or folder.endswith(":"):  # the URI names a bucket
            yield _filesystem(str(uri), single=single)
        else:
            filesystem, inner = _filesystem(folder + mark + options, single=single)
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
def _filesystem(folder: str, *, single: bool) -> tuple[Any, str]:
    """Returns pyarrow's filesystem of a folder's URI and the path in it; connections are kept."""
    from pyarrow import fs

    if single and folder.startswith("s3://") and "allow_delayed_open" not in folder:
        folder += ("&" if "?" in folder else "?") + "allow_delayed_open=true"
    filesystem, inner = fs.FileSystem.from_uri(folder)
    return filesystem, inner
