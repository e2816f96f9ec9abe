"""Two replicas of the sweep state, rebuilt from the same journal.

The write replica (`write_replica`) validates and appends events, in microseconds. The planning
replica (`planning_replica`) is locked while a law is fitted, for seconds. Both are rebuilt from the
journal's events and from nothing else. A call that waits until its events are on the disk holds no lock meanwhile.
"""

import contextlib
import threading
from collections.abc import Iterator

from bimix_sweep import locations
from bimix_sweep.errors import SweepError
from bimix_sweep.journal.codec import Event, decode, encode
from bimix_sweep.journal.writer import Journal
from bimix_sweep.sweep.history.events import AnyEvent, ChangeEvent, SweepEvent
from bimix_sweep.sweep.history.history import SweepHistory
from bimix_sweep.sweep.history.rebuilding import rebuild


class Replicas:
    """The write replica, the planning replica and the journal of one sweep, for many threads."""

    def __init__(
        self, folder: str, first: SweepEvent, change: ChangeEvent | None, lock_seconds: float
    ) -> None:
        """Opens or begins the journal in `folder/journal` and rebuilds both replicas.

        Args:
            folder: path or URI of the sweep.
            first, change, lock_seconds: the arguments of `LawActor`.

        Raises:
            JournalError: another sweep writes there, or the journal is damaged.
            SweepError: the configuration or the data are not those with which the sweep began.
        """
        self._lock = threading.Lock()  # protects the journal's order and the write replica
        self._planning = threading.Lock()  # protects the planning replica
        self._pending: list[AnyEvent] = []  # not yet applied to `planning_replica`
        self._journal, stored = Journal.open(
            locations.join(folder, "journal"), wait_seconds=lock_seconds
        )
        try:
            changes = self._restore(folder, first, stored, change)
        except BaseException:
            self._journal.close()
            raise
        self.notes: tuple[str, ...] = (*changes, *self._journal.notes)
        """Messages for the user about what the start changed and skipped."""

    def _restore(
        self, folder: str, first: SweepEvent, stored: list[Event], change: ChangeEvent | None
    ) -> list[str]:
        """Rebuilds both replicas from the stored events; returns what a change changed."""
        notes: list[str] = []
        if not stored:
            # an event that could not be read again is refused before it is written
            rebuild([decode(encode(first.to_json())[:-1])], folder)
            self._journal.write(first.to_json())
            stored = [first.to_json()]
        self.write_replica = rebuild(stored, folder)
        if change is not None and self.write_replica.first.config_digest != first.config_digest:
            # a change that could not be replayed is refused before it is written
            self.write_replica = rebuild([*stored, change.to_json()], folder)
            self._journal.write(change.to_json())
            stored = [*stored, change.to_json()]
            notes = [f"changed: {line}" for line in change.what]
        self.planning_replica = rebuild(stored, folder)
        began = self.write_replica.first
        for before, now, what in (
            (began.config_digest, first.config_digest, "configuration"),
            (began.data, first.data, "data"),
        ):
            if before != now:
                raise SweepError(
                    f"{folder}: the {what} is not what this sweep began with; start a new "
                    "sweep, or bring it back"
                )
        self.planning_replica.restore_refits()
        self._last_number = len(stored)
        return notes

    @property
    def epoch(self) -> int:
        """Epoch of the journal's writer."""
        return self._journal.epoch

    @contextlib.contextmanager
    def reading(self) -> Iterator[SweepHistory]:
        """Locks the write replica for reading."""
        with self._lock:
            yield self.write_replica

    @contextlib.contextmanager
    def recording(self) -> Iterator[SweepHistory]:
        """Locks the write replica for `append`.

        On exit, all events recorded so far, by any thread, are on the disk; only the caller waits.
        """
        with self._lock:
            yield self.write_replica
            number = self._last_number
        self._journal.sync(number)

    def append(self, event: AnyEvent) -> None:
        """Validates an event on the write replica, then queues it; called inside `recording`."""
        self.write_replica.apply(event)
        self._last_number = self._journal.append(event.to_json())
        self._pending.append(event)

    def commit(self, event: AnyEvent) -> None:
        """Records an event and waits until it is on the disk."""
        with self.recording():
            self.append(event)

    def enter(self, event: AnyEvent) -> None:
        """Records an event without waiting; it reaches the disk some time later."""
        with self._lock:
            self.append(event)

    @contextlib.contextmanager
    def planning(self) -> Iterator[SweepHistory]:
        """Locks the planning replica, which first catches up with all recorded events.

        On exit, events that were entered inside are on the disk; only the caller waits.
        """
        with self._planning:
            self.catch_up()
            yield self.planning_replica
            with self._lock:
                number = self._last_number
        self._journal.sync(number)

    def catch_up(self) -> None:
        """Applies to the planning replica the events that it lacks; called inside `planning`."""
        with self._lock:
            events, self._pending = self._pending, []
        for event in events:
            self.planning_replica.apply(event)

    def close(self) -> None:
        """Flushes the journal and closes it, after a computation in progress has ended."""
        with self._planning, self._lock:
            self._journal.close()
