"""A disk that takes its time: who writes waits for it, nobody else does."""

import os
import threading
import time

import numpy as np
import pytest

from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.journal.segments import read
from bimix_sweep.mixture.domains import DomainSet
from bimix_sweep.sweep.coordinator.actor import LawActor
from bimix_sweep.sweep.history.events import SweepEvent
from bimix_sweep.sweep.history.stored_spec import StoredSpec

NAMES = ("web", "code", "books")
STEPS = (100, 200, 400)
SECONDS = 60.0
"""Longest wait for what must happen."""


class Disk:
    """Flushes nothing while it stalls."""

    def __init__(self, fsync):
        self._fsync, self._moves, self.asked = fsync, threading.Event(), threading.Event()
        self._moves.set()

    def stall(self):
        self.asked.clear()
        self._moves.clear()

    def go_on(self):
        self._moves.set()

    def fsync(self, file):
        self.asked.set()
        assert self._moves.wait(SECONDS)
        self._fsync(file)


@pytest.fixture
def disk(monkeypatch):
    disk = Disk(os.fsync)
    monkeypatch.setattr(os, "fsync", disk.fsync)
    yield disk
    disk.go_on()


@pytest.fixture
def actor(disk, tmp_path):
    domains = DomainSet(names=NAMES)
    spec = SweepSpec(
        domains=domains,
        targets=NAMES,
        weights=dict.fromkeys(NAMES, 1.0),
        own={name: name for name in NAMES},
        steps=400,
        size=1e5,
        eval_steps=STEPS,
        min_step=100,
        max_trials=40,
        slots=4,
        tolerance=1e-9,
    )
    actor = LawActor(
        str(tmp_path),
        SweepEvent(name="s", config_digest="c", data={}, spec=StoredSpec.of(spec), versions={}),
        lock_seconds=0,
    )
    actor.ready()
    yield actor
    disk.go_on()
    actor.close()


def losses(proposal, step):
    values = (proposal.mixture.as_array(NAMES) + 0.03) ** -np.array([0.1, 0.16, 0.13]) * (
        8 * step**-0.45 + 2
    )
    return dict(zip(NAMES, values.tolist(), strict=True))


def train(actor, proposal):
    for step in STEPS:
        actor.record(proposal.trial, step, losses(proposal, step))
    actor.finish(proposal.trial)


def until(condition):
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not happen while the disk stalled"
        threading.Event().wait(0.01)


def in_thread(call, *given):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(call(*given)))
    thread.start()
    return thread, answers


def test_a_stalled_disk_holds_up_neither_fits_nor_reads_and_answers_come_when_it_moves(
    actor, disk, tmp_path
):
    for number in range(6):
        train(actor, actor.propose(f"t{number:04d}"))
    running = actor.propose("t0006")
    disk.stall()
    waiting = [in_thread(actor.record, running.trial, 100, losses(running, 100))]
    assert disk.asked.wait(SECONDS)
    for name in ("t0007", "t0008"):  # the second is computed although the first waits for the disk
        waiting.append(in_thread(actor.propose, name))
        until(lambda name=name: any(row.trial == name for row in actor.snapshot().trials))
    assert [past.state for past in actor.past()] == ["finished"] * 6 + ["running"] * 3
    assert actor.statistics().trials == {"running": 3, "finished": 6, "failed": 0}
    assert not any(answers for _, answers in waiting)
    kept = {event.get("trial") for event in read(tmp_path / "journal").events}
    disk.go_on()
    for thread, _ in waiting:
        thread.join()
    assert [
        answers[0] if number == 0 else answers[0].trial
        for number, (_, answers) in enumerate(waiting)
    ] == [True, "t0007", "t0008"]
    assert {"t0007", "t0008"} - kept <= {
        event.get("trial") for event in read(tmp_path / "journal").events
    }


def test_trainings_that_wait_for_a_slow_disk_share_its_flushes(actor, disk, tmp_path):
    proposals = [actor.propose(f"t{number:04d}") for number in range(12)]
    disk.stall()
    waiting = [
        in_thread(actor.record, proposal.trial, 100, losses(proposal, 100))
        for proposal in proposals
    ]
    until(lambda: sum(row.step == 100 for row in actor.snapshot().trials) == 12)
    flushes = []
    disk._fsync = lambda file, fsync=disk._fsync: (flushes.append(file), fsync(file))
    disk.go_on()
    for thread, answers in waiting:
        thread.join()
        assert answers == [True]
    assert len(flushes) <= 3
    assert sum(event["kind"] == "point" for event in read(tmp_path / "journal").events) == 12
