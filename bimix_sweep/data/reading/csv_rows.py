"""Reads the texts of CSV and TSV files with a header; texts with line breaks stand in quotes."""

import csv
import io
from collections.abc import Iterator

from bimix_sweep.data.finding.compression import OpenedFile
from bimix_sweep.data.reading.blocks import Portion
from bimix_sweep.data.reading.chosen import chosen
from bimix_sweep.data.reading.fields import MAX_TEXT_BYTES, likely, missing_field, too_long
from bimix_sweep.data.reading.json_lines import lines_of
from bimix_sweep.errors import DataError

DELIMITERS = (",", ";", "\t", "|")
"""Characters that may stand between the columns of a CSV file."""


def csv_texts(file: OpenedFile, portion: Portion, field: str, *, tabs: bool) -> Iterator[str]:
    """Texts of one column.

    Args:
        file: the opened file.
        portion: the part of the file to read.
        field: name of the column in the first line.
        tabs: True if tabs stand between the columns; otherwise the header decides.

    Raises:
        DataError: there is no such column, or a row has too few columns.
        csv.Error: a row cannot be read.
    """
    csv.field_size_limit(MAX_TEXT_BYTES)
    path = portion.path
    lines = _BoundedLines(file.stream, path)
    header = next(lines, "").removeprefix("\ufeff")
    columns = {
        delimiter: next(csv.reader([header], delimiter=delimiter), [])
        for delimiter in (("\t",) if tabs else DELIMITERS)
    }
    delimiter = max(columns, key=lambda one: (field in columns[one], len(columns[one])))
    names = columns[delimiter]
    if field not in names:
        raise missing_field(f"{path} line 1", field, names, likely(dict.fromkeys(names, 0)))
    place, reader = names.index(field), csv.reader(lines, delimiter=delimiter, strict=True)
    for row in chosen(lines.rows(reader), file, portion):
        where = f"{path} line {reader.line_num + 1}"
        if not row:
            continue
        if len(row) != len(names):
            raise DataError(
                f"{where} has {len(row)} columns; need {len(names)}, as its first line has (put "
                "texts with a delimiter or a line break in quotes)"
            )
        if len(row[place]) > MAX_TEXT_BYTES:
            raise too_long(where)
        yield row[place]


class _BoundedLines:
    """Lines of a CSV file, whose rows of several lines may not become too long."""

    def __init__(self, stream: io.BufferedReader, path: str) -> None:
        self._lines, self._size = lines_of(stream, path), 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        where, line = next(self._lines)
        self._size += len(line)
        if self._size > 2 * MAX_TEXT_BYTES:
            raise too_long(f"the row that ends after {where}")
        return line.decode()

    def rows(self, reader: Iterator[list[str]]) -> Iterator[list[str]]:
        """Yields the rows of a reader of these lines."""
        for row in reader:
            self._size = 0
            yield row
