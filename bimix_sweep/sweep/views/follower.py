"""Follows a sweep through its journal, from any machine, while the sweep runs or after its end.

A follower writes nothing and does not use Ray. It reads only the events that the journal gained
since the last poll, so frequent polls of a sweep of thousands of trials cost almost nothing.
"""

import contextlib
from collections import deque
from collections.abc import Callable
from pathlib import Path

from bimix_sweep import files, locations
from bimix_sweep.errors import BimixSweepError, JournalError
from bimix_sweep.journal.codec import Event, decode
from bimix_sweep.journal.segments import read, writers
from bimix_sweep.sweep.coordinator.progress_log import MAX_LINES, done_line, refit_line
from bimix_sweep.sweep.history.events import (
    AnyEvent,
    EndEvent,
    RefitEvent,
    RetryEvent,
    StartEvent,
    read_event,
)
from bimix_sweep.sweep.history.history import SweepHistory
from bimix_sweep.sweep.history.snapshot import Snapshot, snapshot_of


class Follower:
    """Reads new events of a journal; reads all of it again when another writer takes over."""

    def __init__(
        self, folder: str, listen: Callable[[AnyEvent, float], None] | None = None
    ) -> None:
        """Prepares the follower; the first poll reads the journal.

        Args:
            folder: folder or URI of the sweep.
            listen: called with each event, after the history has taken it, and the time at which it
                was written, seconds since 1970. Where the journal is read again, all events come
                again, from the first one.
        """
        self._listen = listen
        self._journal = locations.join(folder, "journal")
        self._writer = ""
        self._begin()

    def _begin(self) -> None:
        self._read: dict[int, int] = {}
        self._seconds: list[float] = []
        self._began: dict[str, float] = {}
        self._lines: deque[str] = deque(maxlen=MAX_LINES)
        self._num_lines = 0
        self.num_events = 0
        """Number of events read so far."""
        self.last_at: float | None = None
        """Time at which the last event was written, seconds since 1970."""
        self.history: SweepHistory | None = None
        """History of the sweep from the events read; None before the first event."""

    @property
    def complete(self) -> bool:
        """True where the sweep's results are written."""
        return self.history is not None and self.history.complete

    def poll(self) -> Snapshot | None:
        """Reads new events and returns the sweep's current state; None before the sweep has begun.

        Raises:
            JournalError: the journal is damaged.
            OSError: the journal cannot be read.
        """
        names = files.names(self._journal)
        parts = writers(self._journal, names)
        newest = max((writer for writer, group in parts.items() if names[group[0]]), default="")
        if newest != self._writer:
            self._read_anew(newest)
        for part, name in enumerate(parts[newest] if newest == self._writer != "" else ()):
            if names[name] > self._read.get(part, 0):
                with contextlib.suppress(FileNotFoundError):  # a later object replaced this one
                    self._read_on(part, name)
        if self.history is None:
            return None
        return snapshot_of(
            self.history,
            elapsed_seconds=self.history.seconds,
            training_seconds=sum(self._seconds) / max(1, len(self._seconds)),
            lines=list(self._lines),
            num_lines=self._num_lines,
            epoch=self._epoch(),
        )

    def _epoch(self) -> int:
        return int(self._writer[:6] or 0)

    def _read_anew(self, newest: str) -> None:
        """Reads the whole journal: a new writer may have skipped the old writer's last lines."""
        reading = read(self._journal)
        if reading.writer != newest:  # the writer's first line is incomplete
            return
        self._begin()
        self._writer = newest
        for event in reading.events:
            self._take(event)

    def _read_on(self, part: int, name: str) -> None:
        """Reads what a segment gained; leaves an incomplete last line for the next poll."""
        path, done = locations.join(self._journal, name), self._read.get(part, 0)
        if locations.is_uri(path):
            data = files.read_bytes(path)[done:]
        else:
            with Path(path).open("rb") as stream:
                stream.seek(done)
                data = stream.read()
        whole = data.rfind(b"\n") + 1
        for line in data[:whole].split(b"\n")[:-1]:
            try:
                event = decode(line)
            except (ValueError, RecursionError):
                # `read` refuses a damaged journal. A torn line is left: no writer continues it.
                read(self._journal)
                return
            if event.get("seq", 0) > self.num_events:
                self._take(event)
        self._read[part] = done + whole

    def _take(self, event: Event) -> None:
        try:
            if event["seq"] != self.num_events + 1:
                raise ValueError(f"need number {self.num_events + 1}, so lines are missing")
            self._apply(read_event(event), event["seq"], event["at"])
        except (
            BimixSweepError,
            ValueError,
            LookupError,
            TypeError,
            ArithmeticError,
            AttributeError,
        ) as error:
            raise JournalError(
                f"{self._journal}: event {event.get('seq')} ({event.get('kind')}) cannot be used: "
                f"{error}"
            ) from error

    def _apply(self, event: AnyEvent, number: int, at: float) -> None:
        """Takes event `number`, which was written at `at`, seconds since 1970."""
        if self.history is None:
            self.history = SweepHistory.begin(event)
        else:
            self.history.replay(event)
        self.num_events, self.last_at = number, at
        if self._listen is not None:
            self._listen(event, at)
        if isinstance(event, StartEvent):
            self._began.setdefault(event.trial, at)
        elif isinstance(event, EndEvent):
            seconds = at - self._began.pop(event.trial, at)
            if event.state == "finished":
                self._seconds.append(seconds)
                proposal, loss = (
                    self.history.proposals[event.trial],
                    self.history.objective(event.trial),
                )
                self._say(done_line(proposal, seconds, loss))
            else:
                self._say(f"{event.trial} failed: {event.reason}")
        elif isinstance(event, RetryEvent):
            # A worker may have asked to start the trial after the trial had failed.
            self._began.pop(event.trial, None)
            self._say(f"{event.trial} is tried again from its beginning")
        elif isinstance(event, RefitEvent) and event.optimum is not None:
            self._say(
                refit_line(
                    len(self.history.refits),
                    event.num_trials,
                    event.optimum.mixture,
                    event.decision.regret_expected,
                    event.decision.regret_upper95,
                    event.decision.movement_tv,
                )
            )

    def _say(self, line: str) -> None:
        self._lines.append(line)
        self._num_lines += 1
