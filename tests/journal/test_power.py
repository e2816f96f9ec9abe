"""Whatever a kill, a restart and a power cut leave, a journal can be read and gone on with."""

import contextlib
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

import numpy as np
import pytest

from bimix_sweep import files
from bimix_sweep.data.store import TokenStore
from bimix_sweep.data.store_writing import Split, write_store
from bimix_sweep.errors import JournalError
from bimix_sweep.journal import backends, lease
from bimix_sweep.journal.segments import read
from bimix_sweep.journal.writer import Journal
from tests.support.power import Disk, State

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
        monkeypatch.setattr(backends, "DISK_BYTES", 700)
        # On a slow machine the lease's thread would write in the middle; the model has one thread.
        monkeypatch.setattr(lease, "RENEW_SECONDS", 3600.0)

    def write(self, begin, values, groups, *, close=True):
        """The states of a disk while a writer opens the journal and writes groups of events."""
        values = iter(values)
        tokens = itertools.count(len(begin.tree()) if begin else 0)
        self._monkeypatch.setattr(secrets, "token_hex", lambda n: f"{next(tokens):0{2 * n}x}")
        with self.disk(begin) as disk:
            journal, _ = Journal.open(disk.root / FOLDER)
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
        with self.place() as root, self._monkeypatch.context() as patch:
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

    @contextlib.contextmanager
    def place(self):
        """An empty folder for a while."""
        path = self._folder / f"disk{next(self._numbers)}"
        path.mkdir()
        yield path
        shutil.rmtree(path)

    @contextlib.contextmanager
    def disk(self, begin=None):
        """A modelled disk on which code runs."""
        with self.place() as root, self._monkeypatch.context() as patch:
            yield Disk(root, patch, begin)


def record(tree):
    """A tree without lock and lease, which no reader of the record looks at."""
    return {path: data for path, data in tree.items() if "lease" not in path and "lock" not in path}


def unique(states):
    """Of states in order, those in which the record or what is safe of it differs."""
    found = {}
    for state in states:
        key = (str(record(state.tree())), str(safe_record(state)), state.acknowledged)
        found.setdefault(key, state)
    return list(found.values())


def safe_record(state):
    return record(State(state.safe_names, state.safe_contents, {}, {}, {}).tree())


def test_every_state_after_kill_restart_and_power_cut_is_read_and_gone_on_with(lives):
    first = unique(lives.write(None, range(100), [1, 3, 1]))
    for killed in first:
        lives.check(killed)
        for cut in killed.after_power_cut():
            lives.check(cut)
    unsafe = [state for state in first if record(state.tree()) != safe_record(state)]
    for killed in (*unsafe, first[-1]):
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


def test_a_file_is_the_old_one_or_the_new_one_and_the_new_one_once_it_is_written(lives):
    with lives.disk() as disk:
        for text in ("one" * 50, "two" * 60):
            files.write_text(disk.root / "results" / "deep" / "RECIPE.json", text)
            disk.acknowledge(text)
    found = Counter()
    for state in disk.states:
        for cut in state.after_power_cut():
            text = cut.tree().get("results/deep/RECIPE.json", b"").decode()
            assert text in ("", "one" * 50, "two" * 60)
            assert not state.acknowledged or text >= state.acknowledged[-1]
            found[text] += 1
    assert len(found) == 3


def test_a_token_store_that_is_there_after_a_power_cut_is_whole(lives):
    def split(*lengths):
        return Split(documents=[np.arange(n, dtype=np.uint16) for n in lengths])

    domains = {"a": split(3, 50), "b": split(40)}
    with lives.disk() as disk:
        write_store(disk.root / "sweep" / "store", train=domains, validation=domains, vocabulary=60)
        disk.acknowledge("written")
    num_there = 0
    for state in disk.states:
        for cut in itertools.islice(state.after_power_cut(), 40):
            with lives.place() as root:
                cut.lay_out(root)
                there = (root / "sweep" / "store").exists()
                assert there or not state.acknowledged
                num_there += there
                if there:
                    store = TokenStore.open(root / "sweep" / "store")
                    assert store.train("a").tolist() == [*range(3), *range(50)]
                    assert store.validation("b").tolist() == list(range(40))
    assert num_there
