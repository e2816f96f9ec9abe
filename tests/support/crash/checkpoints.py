"""Crash states of a trial's checkpoint: its file on a disk, and its archive on an object store."""

import contextlib
import itertools

import pytest
import torch

from bimix_sweep import locations
from bimix_sweep.errors import BimixSweepError
from bimix_sweep.proxy import checkpoint as proxy
from bimix_sweep.sweep.workspace.archive import Checkpoint
from tests.support.crash.bucket import FATES, URI, Bucket, stored_in
from tests.support.crash.power import State
from tests.support.crash.tally import Tally
from tests.support.crash.turns import Died


def on_disk(tally: Tally) -> None:
    """Two checkpoints of the built-in trainer, one over the other."""
    with tally.disk() as disk:
        for step in (1, 2):
            parts = {name: torch.full((3,), float(step)) for name in proxy.TENSORS}
            stored = proxy.Checkpoint(identity={"trial": "t"}, step=step, points={}, **parts)
            stored.save(disk.root / "checkpoints" / "t0000")
            disk.acknowledge(step)
        states = disk.states
    for state in states:
        for cut in (state, *state.after_power_cut(24)):
            if tally.new((str(hash(tuple(cut.tree().items()))), cut.acknowledged)):
                _load(tally, cut)


def _load(tally: Tally, state: State) -> None:
    """A checkpoint is found from the first acknowledgement on, and no older one."""
    with tally.laid_out(state) as root:
        folder = root / "checkpoints" / "t0000"
        if not (folder / proxy.FILE).exists():
            if state.acknowledged:
                tally.lost["a checkpoint is lost"] += 1
            return
        found = proxy.load(folder, {"trial": "t"}, 3)
        if found is None:
            tally.failed("a checkpoint cannot be read")
        elif found.step < max(state.acknowledged, default=0):
            tally.lost["a checkpoint is replaced by an older one"] += 1


def archived(tally: Tally) -> None:
    """Every fate of every request of a worker that archives two checkpoints; then the trial goes on
    elsewhere.
    """
    num_calls = _archived(tally, {}, counted=False)
    for number, fate in itertools.product(range(1, num_calls + 1), FATES):
        if tally.chosen():
            _archived(tally, {number: fate})


def _archived(tally: Tally, fates: dict, *, counted: bool = True) -> int:
    bucket, kept = Bucket(), 0
    bucket.fates = fates
    place = locations.join(URI, "checkpoints")
    with stored_in(bucket), tally.place() as machines, pytest.MonkeyPatch.context() as patch:
        for name in ("first", "second", "third"):
            (machines / name).mkdir()
            patch.setattr("tempfile.tempdir", str(machines / name))
            bucket.begin_process()
            said: list[str] = []
            checkpoint = Checkpoint(place, "t0000")
            with contextlib.suppress(Died, OSError):
                checkpoint.fetch(said.append)
                found = _step(checkpoint)
                if (found is None and checkpoint.folder.exists()) or said:
                    tally.failed("an archive is not whole")
                if (found or 0) < kept:
                    tally.lost["an archived checkpoint is replaced by an older one"] += 1
                for step in (kept + 1, kept + 2):
                    checkpoint.folder.mkdir(parents=True, exist_ok=True)
                    for file in ("weights", "optimizer"):
                        (checkpoint.folder / file).write_text(str(step) * 100)
                    checkpoint.keep(last=True)
                    kept = step
            if name == "first":
                num_calls, bucket.fates = bucket.num_calls, {}
            elif name == "second":
                bucket.arrive()
    if counted and kept == 0:
        tally.failed("no checkpoint can be archived")
    return num_calls


def _step(checkpoint: Checkpoint) -> int | None:
    """The step of a checkpoint whose files belong together."""
    try:
        texts = {(checkpoint.folder / file).read_text() for file in ("weights", "optimizer")}
    except (OSError, BimixSweepError):
        return None
    (text,) = texts if len(texts) == 1 else ("",)
    return int(text[0]) if text and text == text[0] * 100 else None
