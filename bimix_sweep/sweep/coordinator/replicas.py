"""The state of a sweep in two copies, front and brain, and the journal that both follow.

The front is where events are checked and put in line, in microseconds; the brain follows when somebody thinks, for as long as that
takes. Both are rebuilt from the journal's events and from nothing else. A call that waits until what it recorded is on the disk holds no lock meanwhile.
"""

import contextlib
import threading
from collections.abc import Iterator

from bimix_sweep import files
from bimix_sweep.errors import SweepError
from bimix_sweep.journal.codec import Event, decode, encode
from bimix_sweep.journal.writer import Journal
from bimix_sweep.sweep.history.history import SweepHistory, rebuild


class Copies:
    """Front, brain and journal of one sweep, for many threads."""

    def __init__(
        self, folder: str, first: Event, change: Event | None, lock_seconds: float
    ) -> None:
        """Open or begin the journal in `folder/journal` and rebuild both copies.

        Args:
            first, change, lock_seconds: as the LawActor takes them.

        Raises:
            JournalError: another sweep writes there, or the journal is damaged.
            SweepError: the configuration or the data are not those the sweep began with.
        """
        self._lock = threading.Lock()  # journal order and front
        self._thinking = threading.Lock()  # brain
        self._pending: list[Event] = []  # in the journal, not yet in the brain
        self._journal, events = Journal.open(
            files.join(folder, "journal"), wait_seconds=lock_seconds
        )
        try:
            said = self._restore(folder, first, events, change)
        except BaseException:
            self._journal.close()
            raise
        self.notes: tuple[str, ...] = (*said, *self._journal.notes)
        """What beginning changed and passed over, for a person."""

    def _restore(
        self, folder: str, first: Event, events: list[Event], change: Event | None
    ) -> list[str]:
        said: list[str] = []
        if not events:
            rebuild(
                [decode(encode(first)[:-1])], folder
            )  # before it is written: what cannot be read again is not recorded
            self._journal.write(first)
            events = [first]
        self.front = rebuild(events, folder)
        if change is not None and self.front.first["config_digest"] != first["config_digest"]:
            self.front = rebuild(
                [*events, change], folder
            )  # before it is written: what cannot be replayed is not recorded
            self._journal.write(change)
            events = [*events, change]
            said = [f"changed: {line}" for line in change["what"]]
        self.brain = rebuild(events, folder)
        began = self.front.first
        for key, what in (("config_digest", "configuration"), ("data", "data")):
            if began.get(key) != first[key]:
                raise SweepError(
                    f"{folder}: the {what} is not what this sweep began with; start a new sweep, or bring it back"
                )
        self.brain.restore_refits()
        self._last_number = len(events)
        return said

    @property
    def epoch(self) -> int:
        """Of the journal's writer."""
        return self._journal.epoch

    @contextlib.contextmanager
    def looking(self) -> Iterator[SweepHistory]:
        """The front, which stands still meanwhile."""
        with self._lock:
            yield self.front

    @contextlib.contextmanager
    def recording(self) -> Iterator[SweepHistory]:
        """The front, to `append` to. At the end everything recorded so far, by anyone, is on the disk; only the caller waits for that."""
        with self._lock:
            yield self.front
            number = self._last_number
        self._journal.sync(number)

    def append(self, event: Event) -> None:
        """Check an event by taking it in, then put it in line; inside of `recording`."""
        self.front.apply(event)
        self._last_number = self._journal.append(event)
        self._pending.append(event)

    def commit(self, event: Event) -> None:
        """Take an event in and wait until it is on the disk."""
        with self.recording():
            self.append(event)

    def enter(self, event: Event) -> None:
        """Take an event in; it is on the disk some time later."""
        with self._lock:
            self.append(event)

    @contextlib.contextmanager
    def thinking(self) -> Iterator[SweepHistory]:
        """The brain with everything recorded so far. What is entered inside is on the disk at the end; only the caller waits for that."""
        with self._thinking:
            self.catch_up()
            yield self.brain
            with self._lock:
                number = self._last_number
        self._journal.sync(number)

    def catch_up(self) -> None:
        """Bring the brain to what the front knows; inside of `thinking`."""
        with self._lock:
            events, self._pending = self._pending, []
        for event in events:
            self.brain.apply(event)

    def close(self) -> None:
        """Flush the journal and let go of it, when nobody thinks any more."""
        with self._thinking, self._lock:
            self._journal.close()
