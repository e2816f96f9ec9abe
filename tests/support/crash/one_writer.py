"""Crash states of one journal writer after another on a local disk: kills, restarts, power cuts."""

import itertools
import random
from collections.abc import Iterable
from pathlib import Path

import pytest

from bimix_sweep.errors import JournalError
from bimix_sweep.journal import backends
from bimix_sweep.journal.segments import read
from bimix_sweep.journal.writer import Journal
from tests.support.crash.power import State
from tests.support.crash.tally import Tally

FOLDER = "deep/sweep/journal"
"""Made by the journal, with those above it."""


def restarts(tally: Tally) -> None:
    """Kills a writer at every call, cuts the power or starts the next writer, kills that one at
    every call, and cuts the power again.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backends, "DISK_BYTES", 700)
        first = unique(_write(tally, None, range(100), [1, 3, 1]))
        for killed in first:
            for cut in (killed, *killed.after_power_cut()):
                _check(tally, cut)
        unsafe = [state for state in first if record(state.tree()) != _safe_record(state)]
        for killed in tally.some((*unsafe, first[-1])):
            for later in unique(_write(tally, killed, range(100, 200), [2])):
                for cut in (later, *later.after_power_cut()):
                    _check(tally, cut)


def long_lives(tally: Tally, count: int) -> None:
    """Lives of five writers, each ended by a kill or a power cut at a random moment."""
    choose = random.Random(11)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backends, "DISK_BYTES", 700)
        for _ in range(count):
            state = None
            for life in range(5):
                groups = [choose.randint(1, 4) for _ in range(choose.randint(0, 4))]
                states = _write(tally, state, range(100 * life, 100 * life + 99), groups)
                state = choose.choice(states)
                if choose.random() < 0.5:
                    state = choose.choice(list(itertools.islice(state.after_power_cut(), 5000)))
                _check(tally, state)


def _write(
    tally: Tally, begin: State | None, values: Iterable[int], groups: list[int]
) -> list[State]:
    """The states of a disk while a writer opens the journal and writes groups of events."""
    values = iter(values)
    with tally.disk(begin) as disk:
        journal, _ = Journal.open(disk.root / FOLDER)
        for size in groups:
            group = list(itertools.islice(values, size))
            numbers = [journal.append({"kind": "x", "value": value}) for value in group]
            journal.sync(numbers[-1])
            disk.acknowledge(*group)
        journal.close()
        disk.acknowledge()
        return disk.states


def _check(tally: Tally, state: State) -> None:
    """Reads a journal and goes on with it: every acknowledged event is there once, in order."""
    if not tally.new((tuple(record(state.tree()).items()), state.acknowledged)):
        return
    with tally.laid_out(state) as root:
        go_on(tally, root / FOLDER, state.acknowledged)


def go_on(tally: Tally, place: str | Path, *acknowledged: Iterable[object]) -> None:
    """Opens a journal, writes one event more and reads it all again.

    Args:
        acknowledged: the acknowledged events of each writer, in their order. Writers that live at
            the same time may be told in another order than that of the record.
    """
    try:
        journal, events = Journal.open(place)
        journal.write({"kind": "x", "value": "new"})
        journal.close()
        after = [event["value"] for event in read(place).events]
    except (JournalError, OSError, KeyError) as error:
        tally.failed(error)
        return
    found = [event["value"] for event in events]
    if any(
        [value for value in dict.fromkeys(found) if value in told] != [*told]
        for told in acknowledged
    ):
        tally.lost["acknowledged events are lost or out of order"] += 1
    if len(set(found)) != len(found):
        tally.twice["events are there twice"] += 1
    if after != [*found, "new"]:
        tally.failed("the event of the next writer is not read after the others")


def record(tree: dict[str, bytes | None]) -> dict[str, bytes | None]:
    """A tree without lock and lease, which no reader of the record looks at."""
    return {path: data for path, data in tree.items() if "lease" not in path and "lock" not in path}


def unique(states: Iterable[State]) -> list[State]:
    """Of states in order, those in which the record or what is safe of it differs."""
    found: dict[object, State] = {}
    for state in states:
        key = (str(record(state.tree())), str(_safe_record(state)), state.acknowledged)
        found.setdefault(key, state)
    return list(found.values())


def _safe_record(state: State) -> dict[str, bytes | None]:
    return record(State(state.safe_names, state.safe_contents, {}, {}, {}).tree())
