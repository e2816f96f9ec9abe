"""Crash states of a change of the configuration that adds a domain, on a disk and on an object
store.
"""

import contextlib
import shutil
from pathlib import Path

import pytest

from bimix_sweep import files, locations
from bimix_sweep.config import SweepConfig
from bimix_sweep.data.store import TokenStore
from bimix_sweep.errors import BimixSweepError
from bimix_sweep.parsing import parse_json
from bimix_sweep.sweep.config_staging import take_up
from bimix_sweep.sweep.history.history import SweepHistory
from bimix_sweep.sweep.history.rebuilding import replay
from bimix_sweep.sweep.trainers.texts import TEXTS
from bimix_sweep.sweep.workspace.archive import send
from bimix_sweep.sweep.workspace.paths import CONFIG, local_part
from tests.support.crash.bucket import Bucket, stored_in
from tests.support.crash.power import State
from tests.support.crash.tally import Tally
from tests.support.crash.text_sweep import MORE, change, configuration, resume
from tests.support.crash.turns import Died

LEFT = ("store.next", "texts.next", "config.next", ".store.old")
"""Beginnings of the names of what a change writes before it takes effect."""
MOST = 12
"""Choices of names, and of contents for each, after a power cut."""
TRIALS = 7
"""Budget that the change asks for."""


def on_disk(tally: Tally, sweep: Path, texts: Path, *, resumed: int, most: int) -> None:
    """A change is killed at every call and the power fails; then the next driver finishes or undoes
    it, is killed at every call, and the power fails again.

    Args:
        sweep: folder of a sweep that has begun.
        texts: folder of its texts.
        resumed: number of recovered sweeps that are changed again and then resumed.
        most: largest number of trials that one of them runs.
    """
    begin, changed = State.of(sweep), configuration(texts, TRIALS, MORE)
    with tally.disk(begin) as disk:
        change(str(disk.root), changed, disk.acknowledge)
        states = disk.states
    kinds: dict[object, State] = {}
    for state in tally.some(states):
        for cut in (state, *state.after_power_cut(MOST)):
            _check(tally, cut, kinds)
    unfinished = [
        state for state in states if any(name.startswith(LEFT) for name in state.folders[0])
    ]
    for state in tally.some(unfinished[:: max(1, len(unfinished) // 4)]):
        with tally.disk(state) as disk:
            _recover(str(disk.root))
            again = disk.states
        for later in tally.some(again):
            for cut in (later, *later.after_power_cut(MOST)):
                _check(tally, cut, kinds)
    for state in [*kinds.values()][:resumed]:
        with tally.laid_out(state) as root:
            try:
                history = change(str(root), changed)
                if len(history.changes) != 1 or inconsistent(str(root), history):
                    tally.failed("a recovered sweep cannot be changed again")
                ran, history = resume(str(root), most)
                if not (ran == most or history.complete):
                    tally.failed("a recovered sweep does not go on")
            except (BimixSweepError, OSError) as error:
                tally.failed(error)


def _check(tally: Tally, state: State, kinds: dict[object, State]) -> None:
    """Recovers from a state; notes one state of each kind of leftovers in `kinds`."""
    tree = state.tree()
    if not tally.new((str(hash(tuple(tree.items()))), state.acknowledged)):
        return
    with tally.laid_out(state) as root:
        try:
            history = _recover(str(root))
        except (BimixSweepError, OSError) as error:
            tally.failed(error)
            return
        _judge(tally, str(root), history, told="change" in state.acknowledged)
        names = [name for name in state.folders[0] if name.startswith(LEFT)]
        kinds.setdefault((len(history.changes), *sorted(names)), state)


def _recover(folder: str) -> SweepHistory:
    take_up(folder, replay(folder), None)
    return replay(folder)


def _judge(tally: Tally, folder: str, history: SweepHistory, *, told: bool) -> None:
    if told and not history.changes:
        tally.lost["an acknowledged change is lost"] += 1
    if len(history.changes) > 1:
        tally.twice["a change is there twice"] += 1
    for what in inconsistent(folder, history):
        tally.failed(f"after recovery, {what} not those of the journal")


def inconsistent(folder: str, history: SweepHistory) -> list[str]:
    """Which of the files beside the journal are not those that it speaks of."""
    place = local_part(folder)
    config = SweepConfig.load(locations.join(folder, CONFIG))
    known = parse_json(files.read_text(locations.join(folder, TEXTS)))["domains"]
    names = [*files.names(folder), *(path.name for path in place.iterdir())]
    same = {
        "configuration is": config.digest == history.first.config_digest,
        "token store is": TokenStore.open(place / "store").digest == history.first.data["store"],
        "fingerprints of the texts are": set(known) == set(history.spec.domains.names),
        "other files are": not [name for name in names if name.startswith(LEFT)],
    }
    return [what for what, holds in same.items() if not holds]


def in_bucket(tally: Tally, sweep: Path, texts: Path) -> None:
    """The driver of a change dies before and after every request; a driver on another machine
    finishes or undoes the change.
    """
    changed = configuration(texts, TRIALS, MORE)
    num_calls = _change_in_bucket(tally, sweep, changed, {})
    for number in range(1, num_calls + 1):
        for fate in ("die before", "die after"):
            if tally.chosen():
                _change_in_bucket(tally, sweep, changed, {number: fate})


def _change_in_bucket(tally: Tally, sweep: Path, changed: SweepConfig, fates: dict) -> int:
    bucket, folder, told = Bucket(), "s3://bucket/sweep", []
    with stored_in(bucket), tally.place() as machines, pytest.MonkeyPatch.context() as patch:
        _move_to(patch, machines / "first")
        for path in (*sweep.glob("*.*"), *(sweep / "journal").glob("*.json*")):
            if path.is_file():
                bucket.objects[f"bucket/sweep/{path.relative_to(sweep)}"] = path.read_bytes()
        send(sweep / "store", f"{folder}/stores/{TokenStore.open(sweep / 'store').digest}.tar")
        shutil.copytree(sweep / "store", local_part(folder) / "store")
        bucket.num_calls, bucket.fates = 0, fates
        with contextlib.suppress(Died):
            change(folder, changed, told.append)
        num_calls, bucket.fates = bucket.num_calls, {}
        bucket.begin_process()
        _move_to(patch, machines / "second")
        try:
            _judge(tally, folder, _recover(folder), told=bool(told))
        except (BimixSweepError, OSError) as error:
            tally.failed(error)
    return num_calls


def _move_to(patch: pytest.MonkeyPatch, machine: Path) -> None:
    """This process is on another machine, as far as its cache goes."""
    machine.mkdir()
    patch.setattr("tempfile.tempdir", str(machine))
