"""Reads the texts of Arrow files and streams, such as `datasets.save_to_disk` and Feather write."""

import io
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.ipc

from bimix_sweep.data.finding.compression import OpenedFile
from bimix_sweep.data.reading.blocks import Portion
from bimix_sweep.data.reading.chosen import chosen
from bimix_sweep.data.reading.columns import column_path, texts_in
from bimix_sweep.errors import DataError

MAX_BATCH_BYTES = 1_000_000_000
"""Maximum bytes of one record batch, which is held in memory."""
MAGIC = b"ARROW1\0\0"
"""First bytes of an Arrow file. A stream follows them."""


def arrow_texts(file: OpenedFile, portion: Portion, field: str) -> Iterator[str | None]:
    """Texts of one column, batch by batch.

    Raises:
        DataError: there is no such column, or a batch or a text is too long.
        OSError, pa.ArrowException: the file cannot be read.
    """
    if file.stream.peek(len(MAGIC)).startswith(MAGIC):
        file.stream.read(len(MAGIC))
    limited = _Limited(file.stream, portion.path)
    with pa.ipc.open_stream(limited) as reader:
        names = column_path(reader.schema, field, portion.path)
        for number, batch in enumerate(chosen(_batches(reader), file, portion)):
            yield from texts_in(batch.column(names[0]), names, f"{portion.path} batch {number}")


def _batches(reader: Any) -> Iterator[pa.RecordBatch]:
    """The record batches of a stream."""
    yield from reader


class _Limited(io.RawIOBase):
    """A stream that refuses to read more than MAX_BATCH_BYTES at once."""

    def __init__(self, stream: io.BufferedReader, path: str) -> None:
        self._stream, self._path = stream, path

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Reads `size` bytes, fewer at the end of the stream."""
        if not 0 <= size <= MAX_BATCH_BYTES:
            raise DataError(
                f"{self._path} has a batch of more than {MAX_BATCH_BYTES // 10**6} MB, which would "
                "be held in memory; write it again in smaller batches"
            )
        return self._stream.read(size)
