"""Whatever a kill, a restart and a power cut leave, a journal can be read and gone on with."""

import itertools
import os
import random
import re
import secrets
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest
from power import Disk, State

from bimix_sweep.errors import JournalError
from bimix_sweep.sweep import storage
from bimix_sweep.sweep.journal import Journal
from bimix_sweep.sweep.segments import read

FOLDER = "deep/sweep/journal"
"""Made by the journal, with those above it."""


@pytest.fixture
def lives(monkeypatch):
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # thousands of small files
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Lives(Path(folder), monkeypatch)


class Lives:
    """Runs writers on modelled disks."""

    def __init__(self, folder, monkeypatch):
        self._folder, self._monkeypatch = folder, monkeypatch
        self._numbers = itertools.count()
        self.failures = Counter()
        self.num_states = 0
        self._seen = set()
        monkeypatch.setattr(time, "time", lambda: 1767225600.0)
        monkeypatch.setattr(storage, "DISK_BYTES", 900)

    def write(self, begin, values, groups, *, close=True):
        """The states of a disk while a writer opens the journal and writes groups of events."""
        values = iter(values)
        with self._place() as root, self._monkeypatch.context() as patch:
            tokens = itertools.count(len(begin.tree()) if begin else 0)
            patch.setattr(secrets, "token_hex", lambda n: f"{next(tokens):0{2 * n}x}")
            disk = Disk(root, patch, begin)
            journal, _ = Journal.open(root / FOLDER)
            for size in groups:
                group = list(itertools.islice(values, size))
                numbers = [journal.append({"kind": "x", "value": value}) for value in group]
                journal.sync(numbers[-1])
                disk.acknowledge(*group)
            if close:
                journal.close()
            disk.acknowledge()
            return disk.states

    def check(self, state):
        """A journal is read and gone on with: every acknowledged event is there once, in order."""
        key = (tuple(record(state.tree()).items()), state.acknowledged)
        if key in self._seen:
            return
        self._seen.add(key)
        self.num_states += 1
        with self._place() as root, self._monkeypatch.context() as patch:
            patch.setattr("os.fsync", lambda file: None)
            state.lay_out(root)
            try:
                journal, events = Journal.open(root / FOLDER)
                journal.write({"kind": "x", "value": "new"})
                journal.close()
                after = [event["value"] for event in read(root / FOLDER).events]
            except (JournalError, KeyError) as error:
                self.failures[re.sub(r"/\S+/|[0-9a-f]{4,}", "*", str(error))] += 1
                return
        found = [event["value"] for event in events]
        kept = [value for value in found if value in state.acknowledged]
        if kept != list(state.acknowledged) or len(set(found)) != len(found):
            self.failures["acknowledged events lost"] += 1
        if after != [*found, "new"]:
            self.failures["not gone on with"] += 1

    def _place(self):
        return _Place(self._folder / f"disk{next(self._numbers)}")


class _Place:
    def __init__(self, path):
        self.path = path

    def __enter__(self):
        self.path.mkdir()
        return self.path

    def __exit__(self, *_):
        shutil.rmtree(self.path)


def record(tree):
    """A tree without lock and lease, which no reader of the record looks at."""
    return {path: data for path, data in tree.items() if "lease" not in path and "lock" not in path}


def unique(states):
    """Of states in order, those in which the record or what is safe of it differs."""
    found = {}
    for state in states:
        safe = State(state.safe_names, state.safe_contents, {}, {}, {}).tree()
        key = (str(record(state.tree())), str(record(safe)), state.acknowledged)
        found.setdefault(key, state)
    return list(found.values())


def test_every_state_after_kill_restart_and_power_cut_is_read_and_gone_on_with(lives):
    first = unique(lives.write(None, range(100), [1, 3, 2]))
    for killed in first:
        lives.check(killed)
        for cut in killed.after_power_cut():
            lives.check(cut)
    for killed in first:
        for later in unique(lives.write(killed, range(100, 200), [2])):
            lives.check(later)
            for cut in later.after_power_cut():
                lives.check(cut)
    assert not lives.failures, f"of {lives.num_states} states"
    assert lives.num_states > 1000


def test_long_lives_of_kills_and_power_cuts_lose_nothing(lives):
    choose = random.Random(11)
    for _ in range(12):
        state = None
        for life in range(5):
            groups = [choose.randint(1, 4) for _ in range(choose.randint(0, 4))]
            states = lives.write(state, range(100 * life, 100 * life + 99), groups)
            state = choose.choice(states)
            if choose.random() < 0.5:
                state = choose.choice(list(itertools.islice(state.after_power_cut(), 5000)))
            lives.check(state)
    assert not lives.failures, f"of {lives.num_states} states"
