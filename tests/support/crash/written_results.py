"""Crash states of the results of a sweep, written over older ones."""

import shutil
from pathlib import Path

import pytest

from bimix_sweep.config import SweepConfig
from bimix_sweep.errors import BimixSweepError
from bimix_sweep.sweep import results
from bimix_sweep.sweep.workspace.paths import CONFIG
from tests.support.crash.power import State
from tests.support.crash.tally import Tally

FILES = ("runs.csv", "LAW.json", "RECIPE.json", "domains.yaml", "report.html")
OLD = b"an older result"
MOST = 24
"""Choices of names, and of contents for each, after a power cut."""


def on_disk(tally: Tally, sweep: Path, *, again: int) -> None:
    """The results of a complete sweep are written; each file is always the old one or the new one,
    and the new one when the call has returned.

    Args:
        again: number of states in which the results are written once more.
    """
    with pytest.MonkeyPatch.context() as patch, tally.place() as copy:
        patch.setattr(results, "render", lambda data: f"<html>{data.name}</html>")
        shutil.copytree(sweep, copy, dirs_exist_ok=True)
        for name in FILES:
            (copy / name).write_bytes(OLD)
        with tally.disk(State.of(copy)) as disk:
            _write(disk.root)
            disk.acknowledge("written")
            states = disk.states
        new = {name: states[-1].tree()[name] for name in FILES}
        cuts = [cut for state in states for cut in (state, *state.after_power_cut(MOST))]
        for cut in cuts:
            tree = cut.tree()
            if not tally.new((str(hash(tuple(tree.items()))), cut.acknowledged)):
                continue
            for name in FILES:
                if tree[name] not in (OLD, new[name]):
                    tally.failed(f"{name} is neither the old one nor the new one")
                elif cut.acknowledged and tree[name] == OLD:
                    tally.lost[f"{name} is the old one"] += 1
        for cut in cuts[:: -(-len(cuts) // again)] if again else ():
            with tally.laid_out(cut) as root:
                try:
                    _write(root)
                    if any((root / name).read_bytes() != new[name] for name in FILES):
                        tally.failed("results that are written again differ")
                except (BimixSweepError, OSError) as error:
                    tally.failed(error)


def _write(folder: Path) -> None:
    config = SweepConfig.load(folder / CONFIG)
    results.write_results(str(folder), config)
