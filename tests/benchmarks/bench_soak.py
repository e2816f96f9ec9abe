"""Claim: sweeps that meet a fault every minute for half an hour end in the right state: nothing acknowledged is lost, nothing is
there twice, no finished trial ran again, and each ends in the law of its results.

As bench_faults, but for a long time and one fault a minute. The next sweep begins where one is complete, and a supervising loop
starts the driver again whenever it died, as a cron job would. --minutes N makes a short trial of it.
"""

import argparse
import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.benchmarks.recording import Claim, record
from tests.benchmarks.storm import (
    KINDS,
    Campaign,
    Storm,
    claims,
    clear_up,
    left_processes,
    own_namespace,
    small_disk,
    summary,
)

SEED = 11
MINUTES = 30.0
EVERY_SECONDS = 60.0
SHARES = (0.2, 0.15, 0.15, 0.2, 0.15, 0.1, 0.05)
"""Of KINDS."""
OPTIONS: dict[str, object] = {"slots": 2, "trials": 40, "pause": 0.5, "tolerance": 1e-6}


def faults_for(seconds: float, rng: np.random.Generator) -> Iterator[tuple[float, str]]:
    """(wait, kind): one at a random moment of each minute; where one took longer than that, the next follows at once."""
    began = time.monotonic()
    for minute in range(int(seconds / EVERY_SECONDS)):
        due = began + EVERY_SECONDS * (minute + float(rng.random()))
        yield max(0.0, due - time.monotonic()), str(rng.choice(KINDS, p=SHARES))


def main() -> None:
    start = time.perf_counter()
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=MINUTES)
    minutes = parser.parse_args().minutes
    own_namespace()
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    with contextlib.ExitStack() as stack:
        from tests.support import faults

        disk = stack.enter_context(small_disk(folder / "disk"))
        ray = stack.enter_context(faults.nodes(folder / "ray"))
        storm = Storm(ray=ray, folder=folder)
        campaign = Campaign(
            storm=storm, name="s", place=disk, rng=np.random.default_rng([SEED, 0]), options=OPTIONS
        )
        campaign.run(faults_for(60 * minutes, np.random.default_rng([SEED, 1])))
        struck = (time.monotonic() - storm.began) / 60
    left, found = left_processes(), summary(storm)
    clear_up(storm, left)
    kills = sum(found["kills"].values())
    record(
        "soak",
        [
            Claim(
                claim="minutes with faults",
                goal=f">= {MINUTES:g}",
                value=struck,
                holds=struck >= MINUTES,
            ),
            Claim(
                claim="random faults",
                goal=f">= {MINUTES * 60 / EVERY_SECONDS:g}",
                value=kills,
                holds=kills >= MINUTES * 60 / EVERY_SECONDS,
            ),
            *claims(storm, left),
        ],
        seconds=time.perf_counter() - start,
        extra=found,
    )


if __name__ == "__main__":
    main()
