"""Columns of CSV and Parquet files: reading and writing, by the ending of the file's name.

The separator of a CSV file is read from its header; a file is written with commas, or with tabs
where its name ends in `.tsv`.
"""

import re
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from bimix_sweep import files, locations
from bimix_sweep.errors import TableError
from bimix_sweep.mixture.simplex import Array

MAX_CELLS = 50_000_000
"""Largest number of fields (rows x columns) of a table that is read: about 5 GB of memory. A
Parquet file of a few kB can hold more."""


def write_columns(path: str | Path, columns: Mapping[str, pa.Array]) -> None:
    """Writes named columns as CSV or Parquet by the ending of `path`; the file is replaced as a
    whole or not at all."""
    table, buffer = pa.table(dict(columns)), BytesIO()
    if (suffix := check_ending(path)) == ".parquet":
        pa.parquet.write_table(table, buffer)
    else:
        options = pa.csv.WriteOptions(
            quoting_style="needed", delimiter="\t" if suffix == ".tsv" else ","
        )
        pa.csv.write_csv(table, buffer, options)
    files.write_bytes(path, buffer.getvalue())


def check_ending(path: str | Path) -> str:
    """Returns `.csv`, `.tsv` or `.parquet`; a device or pipe without an ending gets CSV.

    Raises:
        TableError: the file's name has another ending.
    """
    place = str(path).partition("?")[0] if locations.is_uri(path) else str(path)
    suffix = Path(place).suffix.lower() or (".csv" if files.is_stream(path) else "")
    if suffix not in (".csv", ".tsv", ".parquet"):
        raise TableError(f"{path} ends in {suffix or 'nothing'}; need .csv, .tsv or .parquet")
    return suffix


def read_columns(path: str | Path) -> dict[str, pa.Array]:
    """Reads the columns of a CSV or Parquet file; fields of a CSV file are text, empty fields are
    null.

    Raises:
        TableError: the file is missing or unreadable, two columns have the same name, or the table
            is too large.
    """
    suffix = check_ending(path)
    try:
        data = files.read_bytes(path)
        if suffix == ".parquet":
            opened = pa.parquet.ParquetFile(pa.BufferReader(data))
            _check_cells(path, opened.metadata.num_rows, opened.metadata.num_columns)
            table = opened.read()
        else:
            # Every field is read as text. `column_parsing` parses numbers, so that a message can
            # name row and column.
            parse = pa.csv.ParseOptions(delimiter=separator(data))
            header = pa.csv.open_csv(BytesIO(data), parse_options=parse).schema.names
            convert = pa.csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()),
                strings_can_be_null=True,
                null_values=[""],
            )
            table = pa.csv.read_csv(BytesIO(data), parse_options=parse, convert_options=convert)
    except OSError as error:
        raise TableError(
            f"{path} cannot be read ({error.strerror or error}); need a CSV or Parquet file"
        ) from error
    except (pa.ArrowException, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0].encode("unicode_escape").decode()[:200]
        raise TableError(f"{path} is not a readable {suffix[1:]} file: {reason}") from error
    return distinct_columns(path, table)


def separator(data: bytes) -> str:
    """Returns the separator of a CSV file: the one of tab, semicolon and comma that its header has
    most often outside quotes, or the comma."""
    header = re.sub(rb'"[^"]*"', b"", data.partition(b"\n")[0])
    return max((",", ";", "\t"), key=lambda sign: header.count(sign.encode()))


def distinct_columns(path: str | Path, table: pa.Table) -> dict[str, pa.Array]:
    """Returns the columns of a table by name; `path` is for messages.

    Raises:
        TableError: two columns have the same name, or the table is too large.
    """
    _check_cells(path, table.num_rows, table.num_columns)
    if len(set(table.column_names)) < len(table.column_names):
        twice = next(name for name in table.column_names if table.column_names.count(name) > 1)
        raise TableError(f"{path}: column {twice} is there twice; need distinct columns")
    return {name: table.column(name).combine_chunks() for name in table.column_names}


def whole_numbers(values: Array) -> pa.Array:
    """Converts to int64 where every number is whole, so that the file holds no number such as
    7.01e+14; NaN becomes an empty field."""
    given = ~np.isnan(values)
    if (np.abs(values[given]) < 2.0**63).all() and (values[given] == np.trunc(values[given])).all():
        return pa.array(
            [int(value) if there else None for value, there in zip(values, given, strict=True)],
            pa.int64(),
        )
    return pa.array(values, from_pandas=True)


def _check_cells(path: str | Path, num_rows: int, num_columns: int) -> None:
    if num_rows * num_columns > MAX_CELLS:
        raise TableError(
            f"{path} has {num_rows:,} rows of {num_columns:,} columns; need at most {MAX_CELLS:,} "
            "fields, so leave out columns that are not used or points between"
        )
