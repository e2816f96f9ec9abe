"""Opens a stored file from its beginning, decompressed.

The first bytes of a file say how it is compressed, whatever its name is. No codec may ask for more
memory than MAX_WINDOW_BYTES for its window.
"""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from bimix_sweep.data.finding.stored_file import StoredFile
from bimix_sweep.errors import DataError

CHUNK = 1 << 18
"""Bytes that are read at once."""
MAX_WINDOW_BYTES = 1 << 27
"""Maximum window of a compressed file, 128 MB: what `zstd --long` and `xz -9` need."""
MAGIC = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
}
"""{first bytes of a file: its compression}."""
ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowException)
"""Errors of reading a stored file that is cut off or damaged, or that cannot be reached."""


def compression_of(head: bytes) -> str | None:
    """Compression of a file with these first bytes; None: not compressed.

    A zstd file may begin with frames to be skipped (`pzstd` writes one).
    """
    while head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50:
        head = head[8 + int.from_bytes(head[4:8], "little") :]
    return next((name for magic, name in MAGIC.items() if head.startswith(magic)), None)


class OpenedFile:
    """A file that is read from its beginning, decompressed."""

    def __init__(self, raw: Any, compression: str | None, *, chunk: int = CHUNK) -> None:
        """Args:
        raw: the stored file.
        compression: as `compression_of` names it.
        chunk: decompressed bytes that are read at once.
        """
        self._raw = raw
        self.stream = io.BufferedReader(_decompressed(raw, compression), buffer_size=chunk)
        """The decompressed bytes."""

    def place(self) -> int:
        """Read position in the stored file, in bytes."""
        return int(self._raw.tell())


@contextmanager
def opened(file: StoredFile, compression: str | None) -> Iterator[OpenedFile]:
    """Opens a file for reading from its beginning."""
    with file.filesystem.open_input_file(file.path) as raw:
        yield OpenedFile(raw, compression)


def unreadable(path: str, error: BaseException) -> DataError:
    """Returns the error for a file that is damaged or cannot be reached."""
    reason = (str(error) or type(error).__name__).splitlines()[0]
    if "too much memory" in reason or "Memory usage limit" in reason:  # of zstd, of xz
        reason += (
            f" (its window is larger than {MAX_WINDOW_BYTES >> 20} MB); compress it again "
            "without --ultra, and with --long=27 at most"
        )
    return DataError(f"{path} cannot be read: {reason}")


def _decompressed(raw: Any, compression: str | None) -> Any:
    """Stream of the decompressed bytes of a stored file."""
    if compression == "gzip":
        return gzip.GzipFile(fileobj=raw)
    if compression == "bzip2":
        return bz2.BZ2File(raw)
    if compression == "xz":
        return _XzStream(raw)
    return pa.CompressedInputStream(raw, compression) if compression else raw


class _XzStream(io.RawIOBase):
    """The decompressed bytes of an xz file of one or several streams.

    `lzma.LZMAFile` reads the same, but takes as much memory as the file asks for.
    """

    def __init__(self, raw: Any) -> None:
        self._raw, self._left = raw, b""
        self._decoder: lzma.LZMADecompressor | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        """Fills `target` as far as the next piece of input allows; 0 at the end of the file."""
        while True:
            if self._decoder is None and not self._begin():
                return 0
            assert self._decoder is not None  # noqa: S101 - `_begin` made it
            if self._decoder.needs_input and not self._left:
                self._left = self._raw.read(CHUNK)
                if not self._left:
                    raise EOFError("Compressed file ended before the end-of-stream marker")
            data = self._decoder.decompress(self._left, max_length=len(target))
            self._left = b""
            if self._decoder.eof:
                self._left, self._decoder = self._decoder.unused_data, None
            if data:
                target[: len(data)] = data
                return len(data)

    def _begin(self) -> bool:
        """Begins the next stream of the file; returns False if there is none."""
        while not (rest := self._left.lstrip(b"\0")):  # zeros may stand between streams
            if not (piece := self._raw.read(CHUNK)):
                return False
            self._left = piece
        self._left = rest
        self._decoder = lzma.LZMADecompressor(
            lzma.FORMAT_XZ, memlimit=MAX_WINDOW_BYTES + (MAX_WINDOW_BYTES >> 3)
        )
        return True
