"""Finds the column with the text in a table of Arrow, and reads its texts."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute

from bimix_sweep.data.reading.fields import MAX_TEXT_BYTES, likely, missing_field, too_long
from bimix_sweep.errors import DataError


def column_path(schema: pa.Schema, field: str, path: str) -> tuple[str, ...]:
    """Names that lead to the text in a table: of a column, or of a column and fields inside it.

    Raises:
        DataError: the table has no such column, or the column holds no text.
    """
    names = _path_of(schema, field)
    if names is None:
        texts = {name: 0 for column in schema for name in _text_fields(column.name, column.type)}
        raise missing_field(path, field, schema.names, likely(texts))
    kind = schema.field(names[0]).type
    for name in names[1:]:
        kind = kind.field(name).type
    if not _is_text(kind):
        raise DataError(f"{path}: field {field!r} is {kind}; need text")
    return names


def texts_in(column: pa.Array, names: tuple[str, ...], where: str) -> Iterator[str | None]:
    """Texts of a column; None where there is none.

    Args:
        column: values of the first of the names.
        names: as `column_path` gives them.
        where: place of the column, for messages.

    Raises:
        DataError: a text is too long.
        UnicodeDecodeError: bytes are not UTF-8.
    """
    for name in names[1:]:
        column = pa.compute.struct_field(column, name)
    if pa.types.is_dictionary(column.type):  # a value that occurs often is held in memory once
        values = [*texts_in(column.dictionary, names[-1:], where)]
        yield from (None if i is None else values[i] for i in column.indices.to_pylist())
        return
    for value in column.to_pylist():
        if value is not None and len(value) > MAX_TEXT_BYTES:
            raise too_long(f"{where}: a text of field {'.'.join(names)!r}")
        yield value.decode() if isinstance(value, bytes) else value


def _path_of(schema: pa.Schema, field: str) -> tuple[str, ...] | None:
    """Names that lead to a field; None if it is not there."""
    if field in schema.names:
        return (field,)
    parts = field.split(".")
    for cut in range(1, len(parts)):
        if (name := ".".join(parts[:cut])) in schema.names:
            kind: Any = schema.field(name).type
            for part in parts[cut:]:
                if not pa.types.is_struct(kind) or kind.get_field_index(part) < 0:
                    break
                kind = kind.field(part).type
            else:
                return (name, *parts[cut:])
    return None


def _text_fields(name: str, kind: pa.DataType) -> Iterator[str]:
    """Names of the fields with text in a column, nested ones included."""
    if _is_text(kind) and not _is_binary(kind):
        yield name
    elif pa.types.is_struct(kind):
        for inner in kind:
            yield from _text_fields(f"{name}.{inner.name}", inner.type)


def _is_text(kind: pa.DataType) -> bool:
    """True for a type that can hold text: strings, bytes, and dictionaries of these."""
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or _is_binary(kind)
    )


def _is_binary(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)
    )
