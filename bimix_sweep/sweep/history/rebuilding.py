"""Rebuilds the history of a sweep from the events of its journal."""

from collections.abc import Iterable
from pathlib import Path

from bimix_sweep import locations
from bimix_sweep.errors import BimixSweepError, JournalError
from bimix_sweep.journal.codec import Event
from bimix_sweep.journal.segments import read
from bimix_sweep.sweep.history.events import read_event
from bimix_sweep.sweep.history.history import SweepHistory


def rebuild(stored: Iterable[Event], where: str) -> SweepHistory:
    """Rebuilds a history from events.

    Args:
        stored: all events of a journal, in order.
        where: the journal's folder, for messages.

    Raises:
        JournalError: there are no events, or an event does not fit; the message gives its number.
    """
    history: SweepHistory | None = None
    for event in stored:
        try:
            typed = read_event(event)
            if history is None:
                history = SweepHistory.begin(typed)
            else:
                history.replay(typed)
        except (
            BimixSweepError,
            LookupError,
            TypeError,
            ValueError,
            AttributeError,
            ArithmeticError,
        ) as error:
            raise JournalError(
                f"{where}: event {event.get('seq', 1)} ({event['kind']}) cannot be used: {error}"
            ) from error
    if history is None:
        raise JournalError(f"{where} holds no events; nothing was started there")
    return history


def replay(folder: str | Path) -> SweepHistory:
    """Rebuilds the history of the sweep in a folder, read only.

    Args:
        folder: path or URI of the sweep.

    Raises:
        JournalError: the journal is empty, damaged or does not fit together.
    """
    journal = locations.join(folder, "journal")
    return rebuild(read(journal).events, journal)
