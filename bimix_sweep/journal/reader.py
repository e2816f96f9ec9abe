"""Reads the record from a journal's segments.

The record is a chain of writers. Each writer is read up to the event that the next writer names.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bimix_sweep import locations
from bimix_sweep.errors import JournalError
from bimix_sweep.journal.codec import (
    Event,
    TornLineError,
    check_event,
    check_header,
    decode,
    segment_name,
)


@dataclass(slots=True, kw_only=True)
class Reading:
    """The content of a journal."""

    events: list[Event] = field(default_factory=list)
    """The events in order, each with `seq`, `epoch`, `at` and `kind`."""
    writer: str | None = None
    """Name of the last writer that wrote a line; None if no writer did."""
    epoch: int = 0
    """Epoch of the last writer; 0 if there was no writer."""
    segments: list[str] = field(default_factory=list)
    """Names of the segments that hold the record, in order."""
    notes: list[str] = field(default_factory=list)
    """Messages for the user about the lines that were skipped."""


class Reader:
    """Reads the record once, from segments that were already fetched."""

    def __init__(
        self,
        folder: str,
        parts: Mapping[str, list[str]],
        data: Mapping[str, bytes],
        last: tuple[str, int, int],
    ) -> None:
        self.folder, self.parts, self.data, self.last = folder, parts, data, last
        self.reading = Reading()
        self.torn = "lines are missing"
        """Reason for the last skipped torn line; an error quotes it if events are missing."""

    def read(self) -> Reading:
        """Reads the chain of writers from the newest one down.

        Returns:
            The events, the writer, and what was skipped.

        Raises:
            JournalError: a segment is missing, damaged or out of order, or acknowledged events are
                missing.
        """
        self._check_last_is_there()
        newest = next(filter(self._begun, sorted(self.parts, reverse=True)), None)
        chain: list[tuple[str, int | None]] = [] if newest is None else [(newest, None)]
        while chain and (came_from := self._parent(chain[-1][0])) is not None:
            chain.append(came_from)
        for writer, up_to in reversed(chain):
            self._take(writer, up_to)
        if len(self.reading.events) < self.last[2]:
            raise JournalError(
                f"{self.folder} holds {len(self.reading.events)} of {self.last[2]} acknowledged "
                f"events: {self.torn}; restore it from a copy"
            )
        for writer in self.parts:
            if newest is not None and writer < newest and writer not in dict(chain):
                self._note_outside(writer)
        self.reading.writer = newest
        return self.reading

    def _check_last_is_there(self) -> None:
        writer, part, _ = self.last
        names = self.parts.get(writer, [])[:part]
        if len(names) < part or not all(name in self.data for name in names):
            lost = segment_name(writer, part) if len(names) < part else names[-1]
            raise JournalError(
                f"{locations.join(self.folder, lost)} held acknowledged events and is missing or "
                "empty; restore it from a copy"
            )

    def _note(self, writer: str, what: str) -> None:
        self.reading.notes.append(f"{locations.join(self.folder, self.parts[writer][-1])} {what}")

    def _note_outside(self, writer: str) -> None:
        data = self.data.get(self.parts[writer][0], b"")
        if b"\n" in data:
            self._note(
                writer,
                "lost the sweep to another driver before anything of it was acknowledged; "
                "it is passed over",
            )
        elif data:
            self._pass_over_partial(writer, len(data))

    def _begun(self, writer: str) -> bool:
        """Whether the first line of a writer is whole."""
        name = self.parts[writer][0]
        *lines, partial = self.data.get(name, b"").split(b"\n")
        if not lines:
            if partial:
                self._pass_over_partial(writer, len(partial))
            return False
        with self._named(name, 1):
            try:
                decode(lines[0])
            except TornLineError as error:
                self._pass_over(writer, name, 1, lines[1:], error)
                return False
        return True

    def _parent(self, writer: str) -> tuple[str, int] | None:
        """The writer that `writer` continues, and the number of the last event read from it."""
        name = self.parts[writer][0]
        with self._named(name, 1):
            content = decode(self.data[name].split(b"\n", 1)[0])
            check_header(content, writer, 1)
            parent, after = content["parent"], content["after"]
            if parent is None:
                if after != 0:
                    raise ValueError(f"begins after event {after} of nobody")
                return None
            if not isinstance(parent, str) or parent >= writer:
                raise ValueError(f"continues writer {str(parent)[:40]!r}; need one before {writer}")
            if parent not in self.parts:
                raise ValueError(f"continues {segment_name(parent, 1)}, which is missing")
            if b"\n" not in self.data.get(first := self.parts[parent][0], b""):
                raise ValueError(f"continues {first}, which has lost its lines")
            return parent, after

    def _take(self, writer: str, up_to: int | None) -> None:
        """Reads the lines of a writer, up to the event after which the next writer continues."""
        events, names = self.reading.events, self.parts[writer]
        for part, name in enumerate(names, start=1):
            if up_to is not None and len(events) >= up_to and part > 1:
                break
            self._take_part(writer, part, name, up_to)
        if up_to is not None and len(events) < up_to:
            raise JournalError(
                f"{locations.join(self.folder, names[-1])} ends with event {len(events)} and the "
                f"next writer had read {up_to}: {self.torn}, so restore the file from a copy"
            )

    def _take_part(self, writer: str, part: int, name: str, up_to: int | None) -> None:
        *lines, partial = self.data.get(name, b"").split(b"\n")
        events = self.reading.events
        if lines:
            self.reading.segments.append(name)
        for number, line in enumerate(lines, start=1):
            if number > 1 and up_to is not None and len(events) >= up_to:
                self._note(
                    writer,
                    f"has lines after event {up_to} that the next writer did not find whole, "
                    "so nobody was told that they are safe; they are passed over",
                )
                return
            with self._named(name, number):
                try:
                    content = decode(line)
                except TornLineError as error:
                    self._pass_over(writer, name, number, lines[number:], error)
                    return
                self._take_line(writer, part, number, content)
        if not partial or (up_to is not None and len(events) >= up_to):
            return
        if name != self.parts[writer][-1]:
            with self._named(name, len(lines) + 1):
                raise ValueError("ends in a partial line")
        self._pass_over_partial(writer, len(partial))

    def _take_line(self, writer: str, part: int, number: int, content: Event) -> None:
        events = self.reading.events
        if number > 1 and "seq" in content:
            check_event(content, self.reading.epoch, len(events) + 1)
            events.append(content)
            return
        if number == 1:
            check_header(content, writer, part)
            self.reading.epoch = int(writer[:6])
        if content.get("after") != len(events):
            raise ValueError(
                f"begins after event {content.get('after')}; need {len(events)}, so lines "
                "are missing or doubled"
            )

    def _pass_over(
        self, writer: str, name: str, number: int, rest: list[bytes], error: TornLineError
    ) -> None:
        """Skips a torn line and the lines after it, as a write that did not end.

        A power cut can leave any part of the last group, which was never acknowledged. A group
        begins only when everything before it is durable. A torn line before the beginning of a
        group is therefore damage.

        Raises:
            TornLineError: the line is damaged.
        """
        if name != self.parts[writer][-1] or any(map(_begins_group, rest)):
            raise error
        self.torn = f"{locations.join(self.folder, name)} line {number} {error}"
        self._note(
            writer,
            f"line {number} {error}: a write that did not end, never acknowledged; "
            "it and what follows it are passed over",
        )

    def _pass_over_partial(self, writer: str, num_bytes: int) -> None:
        self.torn = f"{locations.join(self.folder, self.parts[writer][-1])} ends in a partial line"
        self._note(
            writer,
            f"ended in a partial line of {num_bytes} bytes, never acknowledged; it is passed over",
        )

    def _named(self, name: str, number: int) -> "Named":
        return Named(f"{locations.join(self.folder, name)} line {number}")


class Named:
    """Context manager that adds file and line to the message of an error."""

    def __init__(self, where: str) -> None:
        self.where = where

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, JournalError):
            raise JournalError(f"{self.where}: {error}") from error
        if isinstance(error, ValueError | RecursionError):
            raise JournalError(f"{self.where}: {error}; restore the file from a copy") from error


def _begins_group(line: bytes) -> bool:
    try:
        content = decode(line)
    except (ValueError, RecursionError):
        return False
    return "seq" not in content
