"""Claim: whatever is killed, a resumed sweep loses no acknowledged point, has none twice, runs no finished trial again, and ends
in the law of the same results recorded undisturbed; a sweep of one slot decides exactly what an undisturbed one decides.

Sweeps of a planted law on a real Ray of a head and two worker nodes on this machine, three at a time. More than 40 faults at
seeded random times: kill -9 of a trial's process, a whole worker node, the LawActor, the driver, driver and actor while they write
(with half a line left as a crash of the machine leaves it), the whole cluster with its head; and a filesystem that
fills up. The evidence is not the sweep's own: each trial writes what it computed and every acknowledgement it received to a log
outside the sweep's folder, and the journal is read as plain JSON.
"""

import contextlib
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from tests.benchmarks.recording import Claim, record
from tests.benchmarks.storm import (
    Campaign,
    Storm,
    claims,
    clear_up,
    left_processes,
    none,
    own_namespace,
    small_disk,
    summary,
)

SEED = 7
PLAN = {
    "trial worker": 8,
    "worker node": 6,
    "LawActor": 9,
    "driver": 9,
    "driver during a journal write": 7,
    "head node": 2,
}
DISK_FULL = 3
MAX_WAIT = 9.0
"""Seconds between two faults in one place."""
CALM = {"slots": 1, "trials": 14, "pause": 0.2, "tolerance": 0.004}
"""One slot, and a tolerance that stops it by itself: its proposals, its stop and its final mixtures must be those of a calm sweep."""
BUSY = {"slots": 2, "trials": 14, "pause": 0.3, "tolerance": 1e-6}


def main() -> None:
    start = time.perf_counter()
    own_namespace()
    rng = np.random.default_rng(SEED)
    plan = [kind for kind, count in PLAN.items() for _ in range(count)]
    rng.shuffle(plan)
    plans = [plan[number::3] for number in range(3)]
    for place in sorted(rng.integers(0, len(plans[2]), DISK_FULL), reverse=True):
        plans[2].insert(int(place), "disk full")
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    with contextlib.ExitStack() as stack:
        from tests.support import faults

        disk = stack.enter_context(small_disk(folder / "disk"))
        ray = stack.enter_context(faults.nodes(folder / "ray"))
        storm = Storm(ray=ray, folder=folder)
        places = (("a", folder, BUSY), ("b", folder, CALM), ("c", disk, BUSY))
        campaigns = [
            Campaign(
                storm=storm,
                name=name,
                place=place,
                rng=np.random.default_rng([SEED, number]),
                options=options,
            )
            for number, (name, place, options) in enumerate(places)
        ]
        waits = [[(float(rng.uniform(0.3, MAX_WAIT)), kind) for kind in kinds] for kinds in plans]
        threads = [
            threading.Thread(target=campaign.run, args=(waiting,))
            for campaign, waiting in zip(campaigns, waits, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    left, found = left_processes(), summary(storm)
    clear_up(storm, left)
    kills = sum(found["kills"].values())
    record(
        "faults",
        [
            Claim(
                claim="random faults, each followed by a resume or a recovery",
                goal=">= 40",
                value=kills,
                holds=kills >= 40,
            ),
            *claims(storm, left),
            none(
                f"sweeps of one slot that decided otherwise than an undisturbed one, of {found['one_slot_sweeps']}",
                found["other_decisions"],
            ),
        ],
        seconds=time.perf_counter() - start,
        extra=found,
    )


if __name__ == "__main__":
    main()
