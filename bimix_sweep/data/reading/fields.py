"""Finds the text of a document in a record or a table, and proposes a field where it is missing."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bimix_sweep.errors import DataError

MAX_TEXT_BYTES = 64_000_000
"""Maximum bytes of one document; a longer text is a collection without marked document ends."""
LIKELY = (
    "text",
    "content",
    "raw_content",
    "body",
    "document",
    "article",
    "page_content",
    "markdown",
    "contents",
    "code",
    "txt",
)
"""Usual names of the field that holds the text, in the order in which they are proposed."""
MAX_NAMED = 12
"""Maximum number of fields that a message names."""
ABSENT = object()
"""Value of a field that a record does not have."""


class MissingFieldError(DataError):
    """A record or table lacks the field that holds the text."""

    def __init__(self, message: str, proposed: str | None) -> None:
        super().__init__(message)
        self.proposed = proposed
        """The field that is probably meant; None: no proposal."""


def too_long(where: str) -> DataError:
    """Returns the error for a document of more than MAX_TEXT_BYTES."""
    return DataError(
        f"{where} is longer than {MAX_TEXT_BYTES // 10**6} MB, which would be held in memory as "
        "one document; cut it into documents"
    )


def text_of(record: Any, field: str, where: str) -> str | None:
    """Text of one record of JSON: an object with the field, or the text itself.

    Args:
        record: the record.
        field: name of the field; a dot leads into a nested object where no field has the whole
            name.
        where: place of the record, for messages.

    Returns:
        The text; None where the field is null.

    Raises:
        DataError: the record has no such field, or the field holds no text.
    """
    if isinstance(record, str):
        return record
    if not isinstance(record, dict):
        raise DataError(
            f"{where} has no field {field!r}; it is a {type(record).__name__}, need an object"
        )
    if (value := _value(record, field)) is ABSENT:
        texts = {name: len(text) for name, text in _texts(record)}
        raise missing_field(where, field, [*record], likely(texts))
    if value is not None and not isinstance(value, str):
        raise DataError(f"{where}: field {field!r} is {type(value).__name__}; need text")
    return value


def missing_field(
    where: str, field: str, names: Sequence[str], proposed: str | None
) -> MissingFieldError:
    """Returns the error for a field that is missing.

    Args:
        where: place of the record or table.
        field: name of the field.
        names: names of the fields that are there.
        proposed: the field that is probably meant; None: no proposal.
    """
    shown = ", ".join(map(str, names[:MAX_NAMED])) + (", ..." if len(names) > MAX_NAMED else "")
    return MissingFieldError(
        f"{where} has no field {field!r}; it has {shown or 'no field'}"
        + (f"; probably meant is field: {proposed}" if proposed else "; state its field with text"),
        proposed,
    )


def likely(texts: Mapping[str, int]) -> str | None:
    """The field that probably holds the documents.

    Args:
        texts: {field with text: length of its text}; equal lengths where they are not known.
    """
    last = {name.rpartition(".")[2].lower(): name for name in reversed(list(texts))}
    for usual in LIKELY:
        if usual in last:
            return last[usual]
    return max(texts, key=lambda name: texts[name], default=None)


def _value(record: Mapping[str, Any], field: str) -> Any:
    """Value of a field, or of a nested one; ABSENT where it is not there."""
    if field in record:
        return record[field]
    head, dot, rest = field.partition(".")
    while dot:
        inner = record.get(head)
        if isinstance(inner, dict) and (value := _value(inner, rest)) is not ABSENT:
            return value
        more, dot, rest = rest.partition(".")
        head = f"{head}.{more}"
    return ABSENT


def _texts(record: Mapping[str, Any], depth: int = 2) -> Iterator[tuple[str, str]]:
    """(field, text) of the fields with text, nested ones included."""
    for name, value in record.items():
        if isinstance(value, str):
            yield name, value
        elif isinstance(value, dict) and depth:
            yield from ((f"{name}.{inner}", text) for inner, text in _texts(value, depth - 1))
