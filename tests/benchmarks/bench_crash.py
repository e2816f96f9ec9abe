"""Claim: whatever storage call a process dies at, and whatever a power cut or a late request leaves, every acknowledged event,
change, result, token store and checkpoint is found once, and the work goes on from there.

Real code runs on a model of a disk and of an object store. The disk loses sectors that were not flushed and names in folders that
were not flushed, in any combination; the object store loses, delays and repeats requests. Up to three writers, which no lock keeps
out, take turns at every storage call. Each state is laid out in a folder or in memory, and the real recovery is run on it.
"""

import tempfile
import time
from pathlib import Path

from tests.benchmarks.recording import Claim, record
from tests.support.crash.scenarios import scenarios
from tests.support.crash.tally import tallying
from tests.support.crash.text_sweep import complete_sweep

SHARES = {
    "beginning of a sweep on a disk": 0.1,
    "change of the configuration on a disk": 0.26,
    "change of the configuration in a bucket": 0.5,
    "journal, two writers on a disk": 0.5,
}
"""Share of the states of a slow scenario; of the others all are tried."""
LEAST = 10_000


def main() -> None:
    start, states, found = time.perf_counter(), {}, []
    with tempfile.TemporaryDirectory() as folder:
        sweep, texts = complete_sweep(Path(folder))
        for name, act in scenarios(sweep, texts, seeds=400, again=4, most=1000).items():
            with tallying(SHARES.get(name, 1.0)) as tally:
                act(tally)
            states[name] = tally.num_states
            found.append(tally)
            print(f"{name}: {tally.num_states} states {tally.failures or ''}")
    total = sum(states.values())
    counts = {
        "acknowledged content lost": sum(sum(tally.lost.values()) for tally in found),
        "content found twice": sum(sum(tally.twice.values()) for tally in found),
        "states with which the work cannot go on": sum(sum(t.stuck.values()) for t in found),
    }
    record(
        "crash",
        [
            Claim(
                claim="crash states tried",
                goal=f">= {LEAST:,}",
                value=total,
                holds=total >= LEAST,
            ),
            *(
                Claim(claim=what, goal="0", value=count, holds=count == 0)
                for what, count in counts.items()
            ),
        ],
        seconds=time.perf_counter() - start,
        extra={"states": states},
    )


if __name__ == "__main__":
    main()
