"""Reads the texts of Arrow files and streams, such as `datasets.save_to_disk` and Feather write."""

import io
import struct
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
DICTIONARY_BATCH = 2
"""Number of the kind of message that holds the values of a dictionary."""


def arrow_texts(file: OpenedFile, portion: Portion, field: str) -> Iterator[str | None]:
    """Texts of one column, batch by batch.

    Raises:
        DataError: there is no such column, or a batch or a text is too long.
        OSError, pa.ArrowException: the file cannot be read.
    """
    if file.stream.peek(len(MAGIC)).startswith(MAGIC):
        file.stream.read(len(MAGIC))
    path = portion.path
    names: tuple[str, ...] = ()
    for number, batch in enumerate(chosen(_batches(file.stream, path), file, portion)):
        names = names or column_path(batch.schema, field, path)
        yield from texts_in(batch.column(names[0]), names, f"{path} batch {number}")


def _batches(stream: io.BufferedReader, path: str) -> Iterator[pa.RecordBatch]:
    """The record batches of a stream, each checked for its size before it is decompressed."""
    before = b""  # the schema and the dictionaries, which every batch needs
    for message in pa.ipc.MessageReader.open_stream(_Limited(stream, path)):
        if _unpacked_bytes(message) > MAX_BATCH_BYTES:
            raise _too_large(path)
        if message.type != "record batch":
            before += message.serialize().to_pybytes()
            continue
        with pa.ipc.open_stream(before + message.serialize().to_pybytes()) as reader:
            yield reader.read_next_batch()


def _unpacked_bytes(message: Any) -> int:
    """Bytes of the buffers of a message after decompression; 0 if they are not compressed.

    A compressed buffer begins with its own length after decompression.

    Source: Arrow columnar format, format/Message.fbs; FlatBuffers internals.
    """
    data, body = message.metadata.to_pybytes(), message.body
    try:
        root = struct.unpack_from("<I", data)[0]
        kind, header = _field(data, root, 1), _field(data, root, 2)
        if message.type == "schema" or kind is None or header is None:
            return 0
        batch = _target(data, header)
        if data[kind] == DICTIONARY_BATCH:
            inner = _field(data, batch, 1)
            batch = batch if inner is None else _target(data, inner)
        vector = _field(data, batch, 2)
        if vector is None or _field(data, batch, 3) is None:
            return 0
        first = _target(data, vector)
        count = struct.unpack_from("<I", data, first)[0]
        buffers = struct.iter_unpack("<qq", data[first + 4 : first + 4 + 16 * count])
        return sum(
            max(0, int.from_bytes(body[start : start + 8].to_pybytes(), "little", signed=True))
            for start, length in buffers
            if length >= 8
        )
    except (struct.error, IndexError) as error:
        raise pa.ArrowInvalid(f"a message is damaged ({error})") from error


def _field(data: bytes, table: int, number: int) -> int | None:
    """Position of a field of a FlatBuffers table; None if the table lacks it."""
    fields = table - struct.unpack_from("<i", data, table)[0]
    place = 4 + 2 * number
    if place >= struct.unpack_from("<H", data, fields)[0]:
        return None
    offset = struct.unpack_from("<H", data, fields + place)[0]
    return table + offset if offset else None


def _target(data: bytes, place: int) -> int:
    """Position to which the offset at a place leads."""
    return int(place + struct.unpack_from("<I", data, place)[0])


def _too_large(path: str) -> DataError:
    return DataError(
        f"{path} has a batch of more than {MAX_BATCH_BYTES // 10**6} MB, which would be held in "
        "memory; write it again in smaller batches"
    )


class _Limited(io.RawIOBase):
    """A stream that refuses to read more than MAX_BATCH_BYTES at once."""

    def __init__(self, stream: io.BufferedReader, path: str) -> None:
        self._stream, self._path = stream, path

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Reads `size` bytes, fewer at the end of the stream."""
        if not 0 <= size <= MAX_BATCH_BYTES:
            raise _too_large(self._path)
        return self._stream.read(size)
