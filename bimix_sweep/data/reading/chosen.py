"""Keeps the records of the chosen blocks of a file that can only be read from its beginning."""

from collections.abc import Iterator
from typing import TypeVar

from bimix_sweep.data.finding.compression import OpenedFile
from bimix_sweep.data.reading.blocks import BLOCK, Portion

Record = TypeVar("Record")
"""What is read: a line, a row, a document."""


def chosen(records: Iterator[Record], file: OpenedFile, portion: Portion) -> Iterator[Record]:
    """The records that are in the chosen blocks; all records if the portion is the whole file.

    The block of a record is the one in which the read position of the stored file stands before the
    record is read. Reading ends after the last chosen block.
    """
    if portion.blocks is None:
        yield from records
        return
    reach = portion.size if portion.reach is None else portion.reach
    wanted = {*portion.within(portion.size, reach)}
    last = max(wanted)
    while (block := file.place() // BLOCK) <= last:
        try:
            record = next(records)
        except StopIteration:
            return
        if block in wanted:
            yield record
