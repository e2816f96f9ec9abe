"""Reads the texts of a Parquet file or of some of its blocks, by row number within a row group."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from bimix_sweep.data.finding.formats import TypedFile
from bimix_sweep.data.reading.blocks import Portion
from bimix_sweep.data.reading.columns import column_path, texts_in
from bimix_sweep.data.reading.fields import MAX_TEXT_BYTES, too_long
from bimix_sweep.errors import DataError

MAX_COMPRESSION = 1000
"""Maximum compression factor of a Parquet column; text compresses less, and more could fill the
memory."""
BATCH_BYTES = 16_000_000
"""Approximate bytes of text in Parquet rows that are decoded at once."""


def parquet_texts(typed: TypedFile, portion: Portion, field: str) -> Iterator[str | None]:
    """Yields the texts of a Parquet file or of some of its blocks; None where there is none.

    Args:
        typed: the file.
        portion: the part of the file to read.
        field: column that holds the text; a dot leads into a column of structs.

    Raises:
        DataError: the column is missing or holds no text, or a text is too long.
        OSError, pa.ArrowException: the file cannot be read.
    """
    path = portion.path
    if typed.compression is not None:
        raise DataError(
            f"{path} is a Parquet file inside another compression, which cannot be read from the "
            "middle; decompress it"
        )
    with (
        typed.file.filesystem.open_input_file(path) as stream,
        pa.parquet.ParquetFile(stream) as table,
    ):
        names = column_path(table.schema_arrow, field, path)
        for group, ranges in _rows(table.metadata, portion):
            yield from _group_texts(table, group, ranges, names, path)


def _rows(metadata: Any, portion: Portion) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """(row group, [first, last) ranges of its rows that are read)."""
    sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    if portion.blocks is None:
        yield from ((group, [(0, size)]) for group, size in enumerate(sizes) if size)
        return
    per_block = metadata.num_rows / portion.num_blocks
    ranges_of: dict[int, list[tuple[int, int]]] = {}
    first = 0
    for group, size in enumerate(sizes):
        for block in portion.blocks:
            low, high = round(block * per_block), round((block + 1) * per_block)
            low, high = max(low - first, 0), min(high - first, size)
            if low < high:
                ranges_of.setdefault(group, []).append((low, high))
        first += size
    for group, ranges in ranges_of.items():
        factor = 1.0
        if portion.reach is not None and (stored := metadata.row_group(group).total_byte_size):
            factor = min(1.0, portion.reach / len(ranges_of) / stored)
        moved, end = [], 0
        for low, high in ranges:
            start = max(end, int(low * factor))
            end = min(start + high - low, sizes[group])
            moved.append((start, end))
        yield group, moved


def _group_texts(
    table: Any, group: int, ranges: list[tuple[int, int]], names: tuple[str, ...], path: str
) -> Iterator[str | None]:
    """Texts of some row ranges of one row group, decoded in batches of about BATCH_BYTES."""
    details, column = table.metadata.row_group(group), ".".join(names)
    where, batch = f"{path} row group {group}", 1
    for number in range(details.num_columns):
        chunk = details.column(number)
        if chunk.path_in_schema == column:
            size, stored = chunk.total_uncompressed_size, chunk.total_compressed_size
            if size > MAX_TEXT_BYTES * details.num_rows:
                raise too_long(f"{where}: a text of field {column!r}")
            if size > BATCH_BYTES and size > MAX_COMPRESSION * stored:
                raise DataError(
                    f"{where}: field {column!r} is compressed {size // max(1, stored)}-fold, as "
                    "no text is, and could fill the memory; leave the file out"
                )
            batch = max(1, min(1024, BATCH_BYTES * details.num_rows // max(1, size)))
    place, left = 0, [*ranges]
    for rows in table.iter_batches(batch_size=batch, row_groups=[group], columns=[column]):
        texts = rows.column(0)
        while left and left[0][0] < place + len(texts):
            low, high = left[0]
            part = texts.slice(max(0, low - place), high - max(low, place))
            yield from texts_in(part, names, where)
            if high > place + len(texts):
                break
            left.pop(0)
        place += len(texts)
        if not left:
            return
