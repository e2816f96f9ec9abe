"""Crash states of the beginning of a sweep: token store, texts, configuration, first event."""

from pathlib import Path

from bimix_sweep.errors import BimixSweepError
from bimix_sweep.sweep.history.rebuilding import replay
from bimix_sweep.sweep.workspace.paths import begun, check_foreign
from tests.support.crash.changes import MOST, inconsistent
from tests.support.crash.tally import Tally
from tests.support.crash.text_sweep import change, configuration, start


def on_disk(tally: Tally, texts: Path) -> None:
    """`run` is killed at every call before the first trial and the power fails; `resume` goes on
    where the sweep has begun, `run` begins again where it has not.

    Args:
        texts: folder of the sweep's texts.
    """
    config = configuration(texts, 3)
    with tally.disk() as disk:
        start(str(disk.root), config, disk.acknowledge).close()
        states = disk.states
    for state in tally.some(states):
        for cut in (state, *state.after_power_cut(MOST)):
            if not tally.new((str(hash(tuple(cut.tree().items()))), cut.acknowledged)):
                continue
            with tally.laid_out(cut) as root:
                folder = str(root)
                try:
                    if begun(folder):
                        change(folder, None)
                    elif cut.acknowledged:
                        tally.lost["a sweep that began is gone"] += 1
                    else:
                        check_foreign(folder)
                        start(folder, config).close()
                    for what in inconsistent(folder, replay(folder)):
                        tally.failed(f"at the beginning, {what} not those of the journal")
                except (BimixSweepError, OSError) as error:
                    tally.failed(error)
