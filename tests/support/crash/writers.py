"""Crash states of several journal writers at once, on a local disk and on an object store, where
neither locks nor leases keep the second writer out.
"""

import contextlib
import itertools
import os
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from bimix_sweep.errors import JournalError
from bimix_sweep.journal import backends, lease
from bimix_sweep.journal import writer as journals
from bimix_sweep.journal.segments import read
from bimix_sweep.journal.writer import Journal
from tests.support.crash.bucket import FATES, URI, Bucket, stored_in
from tests.support.crash.one_writer import go_on
from tests.support.crash.power import Disk
from tests.support.crash.tally import Tally
from tests.support.crash.turns import Died, Turns

CALLS = ("open", "write", "fsync", "ftruncate", "replace", "unlink", "scandir", "mkdir")
"""Functions of `os` before which a writer on a local disk gives way."""
EVENTS = 3
"""Events that a writer writes, in two groups."""
CUTS = 4
"""Moments of a schedule at which the power fails, and choices of what is left at each."""
MAX_CALLS = 80
"""More storage calls than a writer makes."""

Storage = Literal["disk", "bucket"]


class Writers:
    """Writers of one journal, each a process of a schedule."""

    def __init__(self, place: str, count: int, disk: Disk | None = None) -> None:
        self.place, self._disk, self._count = place, disk, count
        self.acknowledged: list[str] = []
        self.seen_too_little = 0
        """Readings that lacked an event acknowledged before they began."""
        self._journals: list[Journal] = []
        self.turns = Turns([self._writer(number) for number in range(count)])

    def _writer(self, number: int) -> Callable[[], None]:
        def write() -> None:
            with contextlib.suppress(JournalError):  # fenced by a greater writer
                before = list(self.acknowledged)
                journal, events = Journal.open(self.place)
                self._journals.append(journal)
                self._compare(before, events)
                values = [f"{number}.{value}" for value in range(EVENTS)]
                for group in (values[:1], values[1:]):
                    numbers = [journal.append({"kind": "x", "value": value}) for value in group]
                    journal.sync(numbers[-1])
                    self.acknowledged += group
                    if self._disk is not None:
                        self._disk.acknowledge(*group)
                before = list(self.acknowledged)
                self._compare(before, read(self.place).events)
                journal.close()

        return write

    def _compare(self, before: list[str], events: list[Any]) -> None:
        found = [event["value"] for event in events]
        self.seen_too_little += not all(value in found for value in before)

    def told(self) -> list[list[str]]:
        return by_writer(self.acknowledged, self._count)

    def bury(self) -> None:
        """Releases what dead writers hold in this process."""
        for journal in self._journals:
            with contextlib.suppress(JournalError, OSError):
                journal.close()
            if journal._lock_file is not None:
                with contextlib.suppress(OSError):
                    os.close(journal._lock_file)


class World:
    """The storage of a schedule, and what happens to its calls."""

    def __init__(self, place: str, bucket: Bucket | None = None, disk: Disk | None = None) -> None:
        self.place, self.disk = place, disk
        self._bucket = bucket
        self._broken_off = False
        self.way: Callable[[], None] = lambda: None
        """Called before each storage call."""

    def give_way(self) -> None:
        self.way()

    def break_off(self) -> None:
        """The next request to a bucket gets no answer and arrives some calls later; the next write
        to a disk writes half, then its process is dead.
        """
        if self._bucket is not None:
            self._bucket.fates[self._bucket.num_calls + 1] = "late"
        self._broken_off = True

    def arrive(self) -> None:
        """Carries out late requests."""
        if self._bucket is not None:
            self._bucket.arrive()

    def end(self) -> None:
        """From now on every call works."""
        self.way = lambda: None
        self._broken_off = False
        if self._bucket is not None:
            self._bucket.fates = {}

    def on_disk(self, name: str, act: Callable[..., Any]) -> Callable[..., Any]:
        """A function of `os` that lets other writers go on before it acts."""

        def acting(*args: Any, **kwargs: Any) -> Any:
            self.give_way()
            if name == "write" and self._broken_off:
                self._broken_off = False
                act(args[0], args[1][: len(args[1]) // 2])
                raise Died
            return act(*args, **kwargs)

        return acting


def two_writers(tally: Tally, storage: Storage) -> None:
    """The second writer opens at every call of the first one and makes any number of calls; then
    the first one goes on, is dead, or died in the middle of a call.
    """
    first_calls = _num_calls(tally, storage)
    for stop, calls, fate in itertools.product(
        range(first_calls),
        (*range(0, first_calls, 4), MAX_CALLS),
        ("goes on", "dead", "broken off"),
    ):
        if not tally.chosen():
            continue

        def schedule(turns: Turns, world: World, stop=stop, calls=calls, fate=fate) -> None:
            turns.step(0, stop + 1)
            if fate == "broken off":
                world.break_off()
                turns.step(0)
            if fate != "goes on":
                turns.kill(0)
            turns.step(1, calls + 1)
            turns.finish(0)
            world.arrive()
            turns.finish(1)

        _run(tally, storage, 2, schedule)


def three_writers(tally: Tally, storage: Storage, count: int, *, cut: bool = False) -> None:
    """Seeded schedules of three writers in bursts of calls, any of which may be killed.

    Args:
        cut: on a disk, the power fails at some moments of each schedule too.
    """
    for seed in range(count):
        if not tally.chosen():
            continue
        choose = random.Random(seed)

        def schedule(turns: Turns, world: World, choose=choose) -> None:
            while len(turns.over) < 3:
                who = choose.choice([who for who in range(3) if who not in turns.over])
                if choose.random() < 0.04:
                    turns.kill(who)
                if choose.random() < 0.05:
                    world.break_off()
                turns.step(who, choose.choice([1, 1, 2, 5, 12, 30]))
            world.arrive()

        _run(tally, storage, 3, schedule, random.Random(seed) if cut else None)


def requests(tally: Tally) -> None:
    """One writer after another on an object store, where one request of the first two meets every
    fate, and then a second one.
    """
    num_calls = _requests(tally, {}, counted=False)
    for number, fate, delay in itertools.product(range(1, num_calls + 1), FATES, (1, 9)):
        if (delay == 1 or fate in ("late", "twice")) and tally.chosen():
            _requests(tally, {number: fate}, delay)
    choose = random.Random(5)
    for _ in range(2 * num_calls):
        chosen = {choose.randint(1, num_calls): choose.choice(FATES) for _ in range(3)}
        if tally.chosen():
            _requests(tally, chosen, choose.choice([1, 4, 9]))


def _requests(tally: Tally, fates: dict[int, Any], delay: int = 1, *, counted: bool = True) -> int:
    bucket, place = Bucket(), f"{URI}/journal"
    bucket.fates, bucket.delay = fates, delay
    acknowledged: list[object] = []
    with stored_in(bucket):
        for life in range(2):
            bucket.begin_process()
            with contextlib.suppress(Died, JournalError):
                journal, _ = Journal.open(place)
                try:
                    for value in range(4):
                        journal.write({"kind": "x", "value": f"{life}.{value}"})
                        acknowledged.append(f"{life}.{value}")
                finally:
                    journal.close()
        num_calls = bucket.num_calls
        bucket.begin_process()
        bucket.arrive()
        bucket.fates = {}
        if counted:
            go_on(tally, place, acknowledged)
    return num_calls


def _num_calls(tally: Tally, storage: Storage) -> int:
    """Storage calls of a writer that is alone."""
    count = 0

    def schedule(turns: Turns, world: World) -> None:
        nonlocal count
        while 0 not in turns.over:
            turns.step(0)
            count += 1

    _run(tally, storage, 1, schedule)
    return count


def _run(
    tally: Tally,
    storage: Storage,
    count: int,
    schedule: Callable[[Turns, World], None],
    cuts: random.Random | None = None,
) -> None:
    """Runs a schedule, then opens the journal once more.

    Args:
        cuts: chooses moments at which the power fails; the journal is opened after each too.
    """
    with _storage(tally, storage, recorded=cuts is not None) as world:
        writers = Writers(world.place, count, world.disk)
        world.way = writers.turns.give_way
        try:
            schedule(writers.turns, world)
        finally:
            world.end()
            writers.bury()
        for error in writers.turns.errors:
            tally.failed(error)
        if writers.seen_too_little:
            tally.lost["a reader did not find an event acknowledged before"] += 1
        go_on(tally, world.place, *writers.told())
        states = world.disk.states if world.disk else []
    if cuts is not None:
        for state in cuts.sample(states, min(CUTS, len(states))):
            cut = cuts.choice(list(state.after_power_cut(CUTS)))
            tally.num_states += 1
            with tally.laid_out(cut) as root:
                go_on(tally, root / "journal", *by_writer(cut.acknowledged, count))


@contextlib.contextmanager
def _storage(tally: Tally, storage: Storage, *, recorded: bool) -> Iterator[World]:
    if storage == "bucket":
        bucket = Bucket()
        world = World(f"{URI}/journal", bucket)
        bucket.give_way = world.give_way
        with stored_in(bucket):
            yield world
        return
    with (
        tally.disk() if recorded else tally.place() as place,
        pytest.MonkeyPatch.context() as patch,
    ):
        root = place.root if recorded else place
        world = World(str(Path(root, "journal")), disk=place if recorded else None)
        patch.setattr(journals, "_lock", lambda folder, seconds: os.open(folder, os.O_RDONLY))
        patch.setattr(lease.Lease, "wait", lambda *args, **kwargs: None)
        patch.setattr(backends, "DISK_BYTES", 300)
        if not recorded:
            patch.setattr("os.fsync", lambda file: None)
        for name in CALLS:
            patch.setattr(os, name, world.on_disk(name, getattr(os, name)))
        yield world


def by_writer(acknowledged: Iterable[str], count: int) -> list[list[str]]:
    """The acknowledged events of each writer."""
    return [
        [value for value in acknowledged if value.startswith(f"{number}.")]
        for number in range(count)
    ]
