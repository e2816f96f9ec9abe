"""Decides how a file is read: by its content first, then by the ending of its name."""

import json
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath

from pyarrow import fs

from bimix_sweep.data.finding.compression import (
    ERRORS,
    OpenedFile,
    compression_of,
    unreadable,
)
from bimix_sweep.data.finding.endings import BY_ENDING, FORMATS, TEXT_ENDINGS, TOKENS, ending_of
from bimix_sweep.data.finding.stored_file import StoredFile
from bimix_sweep.errors import DataError

HEAD_BYTES = 1 << 16
"""Bytes at the beginning of a file that are looked at."""
BINARY = ("parquet", "arrow", "webdataset", TOKENS)
"""Formats whose files are no text."""
RAW_ENDINGS = (".bin", ".npy")
"""Endings of files of tokens, which may have no header: their first bytes may be any."""
SNIFFERS = 16
"""Files of a remote filesystem that are looked at concurrently."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedFile:
    """A file and how it is read."""

    file: StoredFile
    """The file."""
    format: str
    """One of FORMATS, or TOKENS."""
    compression: str | None
    """Compression, as `compression_of` names it; None: not compressed."""

    @property
    def whole(self) -> bool:
        """True if the file cannot be read in blocks: it is one document or one JSON value."""
        return self.format in ("json", "text")

    @property
    def sought(self) -> bool:
        """True if reading can begin at any position of the file."""
        return self.compression is None and self.format in ("jsonl", TOKENS)


def typed_files(found: Sequence[StoredFile], stated: str | None) -> list[TypedFile]:
    """The files with their formats.

    Args:
        found: the files.
        stated: format of all of them, as the user states it; None: each file's own.

    Raises:
        DataError: a file cannot be read or is of no known format, or a folder or glob names both
            plain text and files of another format.
    """
    if all(isinstance(file.filesystem, fs.LocalFileSystem) for file in found):
        typed = [_typed(file, stated, found) for file in found]
    else:
        with ThreadPoolExecutor(SNIFFERS) as pool:
            typed = [*pool.map(lambda file: _typed(file, stated, found), found)]
    if stated is None:
        _check_unmixed(typed)
    return typed


def _typed(file: StoredFile, stated: str | None, found: Sequence[StoredFile]) -> TypedFile:
    """One file with its format, found from its first bytes and its name."""
    try:
        with file.filesystem.open_input_file(file.path) as raw:
            head = raw.read(HEAD_BYTES)
            compression = None if file.path.endswith(RAW_ENDINGS) else compression_of(head)
            if compression is not None:
                raw.seek(0)
                head = OpenedFile(raw, compression, chunk=HEAD_BYTES).stream.read(HEAD_BYTES)
    except ERRORS as error:
        raise unreadable(file.path, error) from error
    form = stated or _format_of(head, file, found)
    if form == TOKENS and compression is not None:
        raise DataError(
            f"{file.path} holds compressed tokens, which cannot be read from the middle; "
            "decompress it"
        )
    return TypedFile(file=file, format=form, compression=compression)


def _format_of(head: bytes, file: StoredFile, found: Sequence[StoredFile]) -> str:
    """Format of a file, from its first bytes and its name.

    Raises:
        DataError: the content is binary or of no known format.
    """
    ending = ending_of(file.path)
    named = BY_ENDING.get(ending)
    if (form := _binary_format(head, ending)) is not None:
        return form
    if named in BINARY or b"\0" in head or not _is_utf8(head):
        raise _no_format(file, named)
    if (form := _json_format(head, ending)) is not None:
        return form
    if named is not None:
        return named
    if ending in TEXT_ENDINGS or not ending:
        return "text"
    raise _unknown_ending(file, ending, found)


def _binary_format(head: bytes, ending: str) -> str | None:
    """Format that the first bytes of a binary file say; None: it is not binary or not known."""
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"ARROW1\0\0"):
        return "arrow"
    if head.startswith(b"\x93NUMPY") or ending in RAW_ENDINGS:
        return TOKENS  # the first bytes of raw tokens may be any
    if head.startswith(b"\xff\xff\xff\xff"):
        return "arrow"
    return "webdataset" if head[257:262] == b"ustar" else None


def _json_format(head: bytes, ending: str) -> str | None:
    """Whether text is JSON lines or one JSON value; None: neither, or not to be told from text.

    A file is JSON lines if its first line is an object. The ending decides only where the first
    line is cut or does not hold a whole value.
    """
    begun = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    code = ending in TEXT_ENDINGS and ending not in (".txt", ".text")
    if not begun.startswith((b"{", b"[", b'"')) or code:
        return None
    first, newline, _ = begun.partition(b"\n")
    if not newline and len(head) == HEAD_BYTES:  # a long first line
        lines = begun.startswith(b"{") and ending not in TEXT_ENDINGS
        return "jsonl" if lines else BY_ENDING.get(ending)
    try:
        value = json.loads(first)
    except (ValueError, RecursionError):
        return BY_ENDING.get(ending)
    return "jsonl" if isinstance(value, dict) else BY_ENDING.get(ending)


def _is_utf8(head: bytes) -> bool:
    """True if bytes are UTF-8 text, whose last character may be cut."""
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return len(head) >= HEAD_BYTES - 3 and error.start > len(head) - 4
    return True


def _no_format(file: StoredFile, named: str | None) -> DataError:
    """Returns the error for a file whose content is of no known format."""
    if named in (None, "json", "jsonl", "csv", "tsv"):
        return DataError(
            f"{file.path} is not UTF-8 text, and of no known binary format; convert it or leave "
            "it out"
        )
    return DataError(
        f"{file.path} cannot be read: its ending stands for {named}, and its content is none; "
        "it is damaged, or has another format: rename it or leave it out"
    )


def _unknown_ending(file: StoredFile, ending: str, found: Sequence[StoredFile]) -> DataError:
    """Returns the error for a file of text with an unknown ending, with a proposal."""
    others = Counter(
        other for one in found if (other := ending_of(one.path)) != ending and _is_known(other)
    )
    proposal = (
        f"leave it out with a glob such as **/*{others.most_common(1)[0][0]}*, or "
        if others and not file.single
        else ""
    )
    return DataError(
        f"{file.path}: nothing is known of the ending {ending}; {proposal}state its format: text "
        f"(one document a file) or one of {', '.join(f for f in FORMATS if f != 'text')}"
    )


def _is_known(ending: str) -> bool:
    return ending in BY_ENDING or ending in TEXT_ENDINGS


def _check_unmixed(typed: Sequence[TypedFile]) -> None:
    """Refuses a folder or glob with both plain text and files of another format.

    Such a text is most often a README beside the data, and not a document.
    """
    by_entry: dict[str, dict[bool, TypedFile]] = {}
    for one in typed:
        by_entry.setdefault(one.file.entry, {}).setdefault(one.format == "text", one)
    for entry, kinds in by_entry.items():
        if len(kinds) > 1:
            text, other = kinds[True].file.path, kinds[False]
            raise DataError(
                f"{entry} holds both plain text ({PurePosixPath(text).name}) and {other.format} "
                f"({PurePosixPath(other.file.path).name}), and a text file would be one document; "
                f"give a glob of the files that are meant, such as "
                f"**/*{ending_of(other.file.path)}*, or one path for each kind"
            )
