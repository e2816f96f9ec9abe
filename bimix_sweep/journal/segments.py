"""The segments of a journal: how they are named, chosen and read. `journal` says why they are so."""

import contextlib
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bimix_sweep import files
from bimix_sweep.errors import JournalError
from bimix_sweep.journal.codec import (
    FORMAT,
    MOST_LINE_BYTES,
    VERSION,
    check_version,
    decode,
    encode,
)
from bimix_sweep.journal.reader import Named, Reader, Reading

MOST_SEGMENT_BYTES = 256 << 20
"""A larger file is not read."""
READERS = 8
"""Segments fetched at a time."""
LOOKS = 20
"""How often a folder is listed anew because an object was replaced between listing and reading."""
LAST = "last.json"
"""Beside the segments: the last segment that holds acknowledged events, and how many there were."""

_NAME = re.compile(r"(\d{6}-[0-9a-f]{8})-(\d{6})(?:-(\d{6}))?\.jsonl")


def writers(folder: str, names: Mapping[str, int]) -> dict[str, list[str]]:
    """{writer: names of its segments}, both rising, of the files in a journal's folder.

    Of the objects of one segment the last that is not empty is taken: it holds what those before it
    hold, and an empty one is a claim or still being written.

    Raises:
        JournalError: a segment is missing or foreign.
    """
    found: dict[str, dict[int, str]] = {}
    for name in sorted(names):
        if not name.endswith(".jsonl") or name.startswith("."):
            continue
        if not (match := _NAME.fullmatch(name)):
            raise JournalError(
                f"{files.join(folder, name)} is not a segment's name; a segment is foreign, so restore the folder"
            )
        writer, number = match[1], int(match[2])
        parts = found.setdefault(writer, {})
        if number not in (len(parts), len(parts) + 1) or number == 0:
            raise JournalError(
                f"{files.join(folder, name)} comes after {len(parts)} parts; a segment is missing, so restore the folder"
            )
        if number not in parts or names[name]:
            parts[number] = name
    return {writer: list(parts.values()) for writer, parts in sorted(found.items())}


def superseded(names: Mapping[str, int], writer: str) -> list[str]:
    """The objects of a writer that a later put of the same segment replaces."""
    ours = {
        name: match[2]
        for name in sorted(names)
        if (match := _NAME.fullmatch(name)) and match[1] == writer and match[3]
    }
    last = {part: name for name, part in ours.items() if names[name]}
    return [name for name, part in ours.items() if name < last.get(part, "")]


def newest_writer(names: Iterable[str]) -> str:
    """The greatest writer with a segment among a folder's files, be it empty; "" where there is none."""
    return max((match[1] for name in names if (match := _NAME.fullmatch(name))), default="")


def holds_events(folder: str | Path) -> bool:
    """A segment holds an event, or what may once have been one; a header without its events does not count."""
    for name, size in files.names(folder).items():
        if size and name.endswith(".jsonl") and not name.startswith("."):
            place = files.join(folder, name)
            if files.is_uri(folder):
                try:
                    if files.read_bytes(place).count(b"\n") > 1:
                        return True
                except FileNotFoundError:  # a later put with more events replaced it
                    return True
            else:
                with Path(place).open("rb") as stream:
                    stream.readline(MOST_LINE_BYTES)
                    if stream.readline(MOST_LINE_BYTES).endswith(b"\n"):
                        return True
    return False


def say_last(folder: str, writer: str, part: int, num_events: int) -> None:
    """Write down which segment, and how many events, must be found from now on.

    Every such statement stays true, so it does no harm if an earlier one arrives after a later one.

    Raises:
        OSError: it cannot be written.
    """
    content = {"format": FORMAT, "version": VERSION, "writer": writer, "part": part}
    files.write_bytes(files.join(folder, LAST), encode({**content, "events": num_events}))


def read(folder: str | Path) -> Reading:
    """All events of `folder`, a local one or a URI; nothing is changed.

    The last writer with a segment tells which writer it continues and up to which event, that one in turn tells of the one before:
    this chain is the record. Lines that are not in it were never acknowledged and are passed over.

    Raises:
        JournalError: a segment is missing, damaged, out of order or of another version; it names file and line.
    """
    folder = str(folder)
    try:
        for _ in range(LOOKS):
            with contextlib.suppress(FileNotFoundError):  # a later put replaced what was listed
                return _read_once(folder)
        return _read_once(folder)
    except OSError as error:
        raise JournalError(f"{folder} cannot be read ({error.strerror or error})") from error


def _read_once(folder: str) -> Reading:
    last = _read_last(folder)  # before the listing, which must find what it tells of
    names = files.names(folder)
    parts = writers(folder, names)
    data = _fetch(folder, names, [name for group in parts.values() for name in group])
    return Reader(folder, parts, data, last).read()


def _fetch(folder: str, names: Mapping[str, int], chosen: list[str]) -> dict[str, bytes]:
    """{name: content} of segments; empty ones are left out."""
    for name in chosen:
        if names[name] > MOST_SEGMENT_BYTES:
            raise JournalError(
                f"{files.join(folder, name)} has {names[name]} bytes; need at most {MOST_SEGMENT_BYTES}"
            )
    written = [name for name in chosen if names[name]]
    with ThreadPoolExecutor(READERS if files.is_uri(folder) else 1) as pool:
        found = pool.map(lambda name: files.read_bytes(files.join(folder, name)), written)
        return dict(zip(written, found, strict=True))


def _read_last(folder: str) -> tuple[str, int, int]:
    """Writer and part of the last segment that must be there, and how many events; "", 0, 0: none."""
    place = files.join(folder, LAST)
    try:
        if files.is_uri(folder):
            text = files.read_bytes(place)[:10_000].decode(errors="replace")
        else:
            text = files.peek(Path(place), 10_000)
    except (FileNotFoundError, NotADirectoryError):
        return "", 0, 0
    if not text:  # some object stores show an object empty while it is written
        return "", 0, 0
    with Named(place):
        content = decode(text.removesuffix("\n").encode())
        check_version(content)
        writer, part, events = (content.get(key) for key in ("writer", "part", "events"))
        if not isinstance(writer, str) or type(part) is not int or type(events) is not int:
            raise ValueError("does not name a segment and a number of events")
        return writer, part, events
