"""Crash states of a token store that is being made, and of its folder of finished parts."""

import functools
import itertools
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bimix_sweep.data.prepare import prepare
from bimix_sweep.data.sampling.work_folder import INPUTS, LOCK
from bimix_sweep.data.sources import Source
from bimix_sweep.data.store import TokenStore
from bimix_sweep.errors import BimixSweepError
from tests.support.crash.power import State
from tests.support.crash.tally import Tally
from tests.support.crash.turns import Turns

STORE, WORK = "sweep/store/", "sweep/.store.work/"
MOST = 8
"""Choices of names, and of contents for each, after a power cut."""
CAPS = (400, 600)
"""Maximum training tokens of the first preparation and of the second one."""

CALLS = ("open", "mkdir", "rename", "replace", "unlink", "rmdir", "fsync")
"""Functions of `os` before which a process gives way to the other one."""

Tree = dict[str, bytes | None]


def prepared(tally: Tally, *, again: int) -> None:
    """A preparation is killed at every call and the power fails; a preparation of other inputs
    finds what is left, is killed at every call, and the power fails again.

    Args:
        again: number of states in which the store is made once more.
    """
    with tally.disk() as disk:
        disk.acknowledge(_prepare(disk.root, CAPS[0]).digest)
        first = disk.states
    unfinished = [state for state in first if WORK + INPUTS in state.tree()]
    later = []
    for state in (unfinished[len(unfinished) // 2], unfinished[-1]):
        with tally.disk(state) as disk:
            disk.acknowledge(_prepare(disk.root, CAPS[1]).digest)
            later.append(disk.states)
    stores, parts = [], {}
    for states in (first, later[0]):
        stores.append(_below(states[-1].tree(), STORE))
        inputs = next(
            t[WORK + INPUTS] for t in (s.tree() for s in states[::-1]) if WORK + INPUTS in t
        )
        parts[inputs] = {}
        for state in states:
            tree = state.tree()
            if tree.get(WORK + INPUTS) == inputs:
                parts[inputs] |= _parts(tree)
    cut = [
        one
        for states in (first, *later)
        for state in states
        for one in (state, *state.after_power_cut(MOST))
    ]
    for state in cut:
        if tally.new((str(hash(tuple(state.tree().items()))), state.acknowledged)):
            _check(tally, state, stores, parts)
    for state in cut[:: -(-len(cut) // again)] if again else ():
        with tally.laid_out(state) as root:
            try:
                _prepare(root, CAPS[1])
                tree = State.of(root).tree()
                if _below(tree, STORE) != stores[1]:
                    tally.failed("a store that is made again differs")
                if any(path.endswith(".part") for path in tree):
                    tally.failed("a store that was not finished is left")
            except (BimixSweepError, OSError) as error:
                tally.failed(error)


def two_processes(tally: Tally, count: int) -> None:
    """Seeded schedules of two processes that make stores of other inputs at one place, one of
    which may be killed.
    """
    stores = []
    for cap in CAPS:
        with tally.place() as root:
            _prepare(root, cap)
            stores.append(_below(State.of(root).tree(), STORE))
    for seed in range(count):
        choose = random.Random(seed)
        with tally.place() as root, pytest.MonkeyPatch.context() as patch:
            turns = Turns([functools.partial(_prepare, root, cap) for cap in CAPS])
            for name in CALLS:
                patch.setattr(os, name, _giving_way(turns, getattr(os, name)))
            patch.setattr("time.sleep", lambda seconds, turns=turns: turns.give_way())
            while len(turns.over) < len(CAPS):
                who = choose.choice([who for who in range(len(CAPS)) if who not in turns.over])
                turns.step(who, choose.choice([1, 3, 10, 40]))
                if seed % 2 and not turns.over and choose.random() < 0.1:
                    turns.kill(who)
            tally.num_states += 1
            for error in turns.errors:
                tally.failed(error)
            if _below(State.of(root).tree(), STORE) not in stores:
                tally.lost["a store that two processes make is not whole"] += 1


def _giving_way(turns: Turns, act: Callable[..., Any]) -> Callable[..., Any]:
    def acting(*args: Any, **kwargs: Any) -> Any:
        turns.give_way()
        return act(*args, **kwargs)

    return acting


def _check(tally: Tally, state: State, stores: list[Tree], parts: dict[bytes, Tree]) -> None:
    """A store that is there is whole; a part of these inputs is the part of these inputs."""
    tree = state.tree()
    there = _below(tree, STORE)
    if STORE[:-1] in tree and there not in stores:
        tally.lost["a store is not whole"] += 1
    if state.acknowledged and STORE[:-1] not in tree:
        tally.lost["a store is gone"] += 1
    known = parts.get(tree.get(WORK + INPUTS) or b"", {})
    for path, content in _parts(tree).items() if known else ():
        if known.get(path) != content:
            tally.failed(f"the part {Path(path).name} is of other inputs, or not whole")


def _parts(tree: Tree) -> Tree:
    """The finished parts in a work folder."""
    return {
        path: content
        for path, content in _below(tree, WORK).items()
        if not path.startswith(".") and path not in (INPUTS, LOCK)
    }


def _below(tree: Tree, folder: str) -> Tree:
    return {p.removeprefix(folder): content for p, content in tree.items() if p.startswith(folder)}


def _prepare(root: Path, cap: int) -> TokenStore:
    return prepare(
        {name: Source(documents=_documents(number)) for number, name in enumerate(("web", "code"))},
        out=root / "sweep" / "store",
        vocabulary=300,
        validation_tokens=128,
        context=31,
        max_tokens=cap,
    )


def _documents(seed: int) -> tuple[str, ...]:
    draw = np.random.default_rng(seed)
    words = ["".join(letters) for letters in itertools.product("abc", "de", "fgh")]
    return tuple(" ".join(draw.choice(words, 40)) + f" {seed}.{n}" for n in range(24))
