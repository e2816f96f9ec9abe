"""Names, selects and reads the segments of a journal; `bimix_sweep.journal` explains the format."""

import contextlib
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bimix_sweep import files, locations
from bimix_sweep.errors import JournalError
from bimix_sweep.journal.codec import (
    FORMAT,
    MAX_LINE_BYTES,
    VERSION,
    check_version,
    decode,
    encode,
)
from bimix_sweep.journal.reader import Named, Reader, Reading

MAX_SEGMENT_BYTES = 256 << 20
"""Largest size in bytes of a file that is read."""
READERS = 8
"""Number of segments that are fetched at the same time."""
MAX_LISTINGS = 20
"""Number of listings of a folder when objects are replaced between listing and reading."""
LAST = "last.json"
"""File beside the segments: the last segment with acknowledged events, and their number."""

_NAME = re.compile(r"(\d{6}-[0-9a-f]{8})-(\d{6})(?:-(\d{6}))?\.jsonl")


def writers(folder: str, names: Mapping[str, int]) -> dict[str, list[str]]:
    """Sorts a journal's files into {writer: names of its segments}, both in rising order.

    If a segment has several objects, the last one that is not empty is taken: each object holds the
    content of the objects before it. An empty object is a claim, or is still being written.

    Args:
        folder: path or URI of the journal, for messages.
        names: {file name: size in bytes}.

    Raises:
        JournalError: a segment is missing or foreign.
    """
    parts_of: dict[str, dict[int, str]] = {}
    for name in sorted(names):
        if not name.endswith(".jsonl") or name.startswith("."):
            continue
        if not (match := _NAME.fullmatch(name)):
            raise JournalError(
                f"{locations.join(folder, name)} is not a segment's name; a segment is foreign, "
                "so restore the folder"
            )
        writer, number = match[1], int(match[2])
        parts = parts_of.setdefault(writer, {})
        if number not in (len(parts), len(parts) + 1) or number == 0:
            raise JournalError(
                f"{locations.join(folder, name)} comes after {len(parts)} parts; a segment is "
                "missing, so restore the folder"
            )
        if number not in parts or names[name]:
            parts[number] = name
    return {writer: list(parts.values()) for writer, parts in sorted(parts_of.items())}


def superseded(names: Mapping[str, int], writer: str) -> list[str]:
    """Names of a writer's objects that a later put of the same segment replaces."""
    ours = {
        name: match[2]
        for name in sorted(names)
        if (match := _NAME.fullmatch(name)) and match[1] == writer and match[3]
    }
    last = {part: name for name, part in ours.items() if names[name]}
    return [name for name, part in ours.items() if name < last.get(part, "")]


def newest_writer(names: Iterable[str]) -> str:
    """The greatest writer with a segment, even an empty one, in `names`; "" if there is none."""
    return max((match[1] for name in names if (match := _NAME.fullmatch(name))), default="")


def holds_events(folder: str | Path) -> bool:
    """Whether a segment holds an event, or a line that may have been one.

    A header without events does not count.
    """
    for name, size in files.names(folder).items():
        if size and name.endswith(".jsonl") and not name.startswith("."):
            place = locations.join(folder, name)
            if locations.is_uri(folder):
                try:
                    if files.read_bytes(place).count(b"\n") > 1:
                        return True
                except FileNotFoundError:  # a later put, with more events, replaced the object
                    return True
            else:
                with Path(place).open("rb") as stream:
                    stream.readline(MAX_LINE_BYTES)
                    if stream.readline(MAX_LINE_BYTES).endswith(b"\n"):
                        return True
    return False


def say_last(folder: str, writer: str, part: int, num_events: int) -> None:
    """Records which segment, and how many events, readers must find from now on.

    Each such record stays true, so an earlier record that arrives after a later one does no harm.

    Raises:
        OSError: the record cannot be written.
    """
    content = {"format": FORMAT, "version": VERSION, "writer": writer, "part": part}
    files.write_bytes(locations.join(folder, LAST), encode({**content, "events": num_events}))


def read(folder: str | Path) -> Reading:
    """Reads all events of `folder`, a local path or a URI, and changes nothing.

    The header of the last writer with a segment names the writer that it continues and the last
    event that it read there, and so on down to the first writer. This chain is the record. Lines
    outside the chain were never acknowledged and are skipped.

    Raises:
        JournalError: a segment is missing, damaged, out of order or of another version; the message
            names file and line.
    """
    folder = str(folder)
    try:
        for _ in range(MAX_LISTINGS):
            with contextlib.suppress(FileNotFoundError):  # a later put replaced a listed object
                return _read_once(folder)
        return _read_once(folder)
    except OSError as error:
        raise JournalError(f"{folder} cannot be read ({error.strerror or error})") from error


def _read_once(folder: str) -> Reading:
    last = _read_last(folder)  # read before the listing, which must then find this segment
    names = files.names(folder)
    parts = writers(folder, names)
    data = _fetch(folder, names, [name for group in parts.values() for name in group])
    return Reader(folder, parts, data, last).read()


def _fetch(folder: str, names: Mapping[str, int], chosen: list[str]) -> dict[str, bytes]:
    """Reads the segments `chosen` as {name: content}, without the empty ones."""
    for name in chosen:
        if names[name] > MAX_SEGMENT_BYTES:
            raise JournalError(
                f"{locations.join(folder, name)} has {names[name]} bytes; need at most "
                f"{MAX_SEGMENT_BYTES}"
            )
    written = [name for name in chosen if names[name]]
    with ThreadPoolExecutor(READERS if locations.is_uri(folder) else 1) as pool:
        contents = pool.map(lambda name: files.read_bytes(locations.join(folder, name)), written)
        return dict(zip(written, contents, strict=True))


def _read_last(folder: str) -> tuple[str, int, int]:
    """Reads `last.json`.

    Returns:
        Writer and part of the last segment that must exist, and the number of events; ("", 0, 0) if
        there is no such file.
    """
    place = locations.join(folder, LAST)
    try:
        if locations.is_uri(folder):
            text = files.read_bytes(place)[:10_000].decode(errors="replace")
        else:
            text = files.peek(Path(place), 10_000)
    except (FileNotFoundError, NotADirectoryError):
        return "", 0, 0
    if not text:  # some object stores show an empty object during its write
        return "", 0, 0
    with Named(place):
        content = decode(text.removesuffix("\n").encode())
        check_version(content)
        writer, part, events = (content.get(key) for key in ("writer", "part", "events"))
        if not isinstance(writer, str) or type(part) is not int or type(events) is not int:
            raise ValueError("does not name a segment and a number of events")
        return writer, part, events
