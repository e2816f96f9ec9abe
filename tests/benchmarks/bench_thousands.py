"""Claim: a sweep of 2000 trials, 64 at a time over 4 nodes, costs at most .15 s a trial beside the trials, in flat memory, and
a resume of it runs again within 20 s.

The trials take no time: a planted law of 7 domains with noise answers, 5 points each, and imports no torch. The driver is killed
(SIGKILL) near the end and resumed. Memory is that of driver and LawActor, the median over the last quarter of the trials against the second.
Four nodes on one machine: python tests/benchmarks/bench_thousands.py
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bimix_sweep.sweep.history.trainer_facts import TrainerFacts
from tests.benchmarks.ray_nodes import loaded, named, nodes, proportional, resident
from tests.benchmarks.recording import Claim, record

TRIALS, SLOTS, NODES = 2000, 64, 4
KILL_AT = 0.98
"""Fraction of the trials after which the driver is killed."""
DOMAINS = ("web", "code", "books", "math", "wiki", "papers", "forums")
HELP = np.exp(np.random.default_rng(0).normal(-2, 1, (7, 7))) + np.eye(7)
NEEDS = np.array([0.10, 0.16, 0.13, 0.2, 0.12, 0.15, 0.11])


FACTS = TrainerFacts(
    steps=400,
    eval_steps=(100, 150, 200, 300, 400),
    sizes=(1e5,),
    data={"planted": "instant"},
)


@dataclass(frozen=True)
class InstantTrainer:
    """Answers from a planted law."""

    facts: TrainerFacts = FACTS

    def precision(self, num_trials: int) -> dict[str, Any]:
        return {"dtype": "planted"}

    def train(self, job: Any, report: Any) -> None:
        useful = 0.03 + HELP @ job.mixture.as_array(DOMAINS) ** 0.8
        generator = np.random.default_rng([*job.trial.encode(), job.seed % 2**31])
        offset = generator.normal(0, 0.003, 7)
        for step in self.facts.eval_steps:
            losses = (
                (1 + 6 * step**-0.45)
                * useful**-NEEDS
                * np.exp(offset + generator.normal(0, 0.001, 7))
            )
            report(step, dict(zip(DOMAINS, losses.tolist(), strict=True)))


def drive(what: str, folder: str, address: str, trials: int, slots: int) -> None:
    """A driver: runs or resumes the sweep."""
    from rich.console import Console

    from bimix_sweep.config import SweepConfig
    from bimix_sweep.sweep.api import resume_sweep, run_sweep
    from bimix_sweep.sweep.views.terminal import Progress

    content = {
        "name": "thousands",
        "domains": {name: {"path": "none"} for name in DOMAINS},
        "proxy": {"steps": 400},
        "budget": {"trials": trials},
        "resources": {"slots": slots},
        "stop": {"tolerance": 1e-9},
    }

    def prepare(*_: Any) -> InstantTrainer:
        return InstantTrainer()

    progress = Progress(Console(stderr=True, force_terminal=False))
    if what == "run":
        run_sweep(
            SweepConfig.parse(content),
            out=folder,
            address=address,
            prepare=prepare,
            progress=progress,
        )
    else:
        resume_sweep(folder, address=address, prepare=prepare, progress=progress)


class Journal:
    """Follows the lines that a sweep writes."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._read = folder / "journal", {}
        self.ends: list[float] = []
        """When each trial of the sweep ended."""
        self.starts: list[tuple[int, float]] = []
        """(epoch, when) of each attempt."""
        self.begun: dict[int, float] = {}

    def look(self) -> None:
        for path in sorted(self._folder.glob("*.jsonl")):
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                data = file.read()
            whole = data.rfind(b"\n") + 1
            self._read[path] = self._read.get(path, 0) + whole
            for line in data[:whole].splitlines():
                if b'"kind":"end"' in line and b'"trial":"t' in line:
                    self.ends.append(json.loads(line)["at"])
                elif b'"kind":"start"' in line:
                    event = json.loads(line)
                    self.starts.append((event["epoch"], event["at"]))


def start(
    what: str, folder: Path, address: str, trials: int, slots: int
) -> "subprocess.Popen[bytes]":
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.bench_thousands",
        what,
        str(folder),
        address,
        str(trials),
        str(slots),
    ]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=(folder.parent / f"{what}.log").open("wb")
    )


def main(trials: int = TRIALS, slots: int = SLOTS) -> None:
    began = time.perf_counter()
    samples: list[tuple[int, int, int]] = []  # trials that ended, bytes of driver and actor
    workers: dict[str, float] = {}
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as base,
        nodes(NODES, slots // NODES) as address,
    ):
        folder = Path(base) / "sweep"
        journal = Journal(folder)
        first = time.time()
        driver = start("run", folder, address, trials, slots)
        while len(journal.ends) < KILL_AT * trials:
            if driver.poll() is not None:
                sys.exit(
                    f"the driver ended with {driver.returncode}: {(Path(base) / 'run.log').read_text()[-3000:]}"
                )
            time.sleep(0.5)
            journal.look()
            actors = named("ray::LawActor")
            used = (resident(driver.pid), resident(actors[0]) if actors else None)
            if None not in used:
                samples.append((len(journal.ends), *used))
            if not workers and len(journal.ends) > trials / 2:
                pids = [pid for pid in named("ray::") if pid not in actors]
                shares = [share for pid in pids if (share := proportional(pid))]
                workers = {
                    "count": len(pids),
                    "median_bytes": statistics.median(shares),
                    "total_bytes": sum(shares),
                    "with_torch": sum(loaded(pid, "libtorch") for pid in pids),
                }
        wall, done = journal.ends[-1] - first, len(journal.ends)
        first_hundred = journal.ends[99] - first
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
        again = time.time()
        driver = start("resume", folder, address, trials, slots)
        while not (resumed := [at for epoch, at in journal.starts if epoch > 1 and at > again]):
            if driver.poll() is not None:
                sys.exit(
                    f"the resumed driver ended with {driver.returncode}: {(Path(base) / 'resume.log').read_text()[-3000:]}"
                )
            time.sleep(0.2)
            journal.look()
        failed = driver.wait()
        whole = time.time() - again
        journal.look()
        if failed:
            sys.exit(
                f"the resumed driver ended with {failed}: {(Path(base) / 'resume.log').read_text()[-3000:]}"
            )
        from bimix_sweep.sweep.history.rebuilding import replay

        history = replay(str(folder))
        finished = sum(
            record.state == "finished" and record.role == "sweep"
            for record in history.state.trials.values()
        )
        seconds = sum(refit.seconds for refit in history.refits)
        size = sum(path.stat().st_size for path in (folder / "journal").iterdir())
    growth = {}
    for column, name in ((1, "driver"), (2, "actor")):
        quarters = [
            statistics.median(s[column] for s in samples if low <= 4 * s[0] / trials < low + 1)
            for low in range(4)
        ]
        growth[name] = quarters
    claims = [
        Claim(
            claim=f"seconds a trial, {trials} instant trials, {slots} at a time over {NODES} nodes, from the driver's start",
            goal="<= 0.15",
            value=wall / done,
            holds=wall / done <= 0.15,
        ),
        *(
            Claim(
                claim=f"memory of the {name}, last quarter over second ({quarters[1] / 2**20:.0f} to {quarters[3] / 2**20:.0f} MiB)",
                goal="<= 1.1",
                value=quarters[3] / quarters[1],
                holds=quarters[3] <= 1.1 * quarters[1],
            )
            for name, quarters in growth.items()
        ),
        Claim(
            claim="seconds from the start of a resumed driver to its first trial",
            goal="<= 20",
            value=resumed[0] - again,
            holds=resumed[0] - again <= 20,
        ),
        Claim(
            claim="trials of the budget that finished, each once",
            goal=f"{trials}",
            value=finished,
            holds=finished == trials == len(journal.ends),
        ),
        Claim(
            claim="workers that loaded torch",
            goal="0",
            value=workers["with_torch"],
            holds=workers["with_torch"] == 0,
        ),
    ]
    extra = {
        "memory_quarters_bytes": growth,
        "workers": workers,
        "resumed_run_seconds": whole,
        "refits": len(history.refits),
        "decision_seconds": seconds,
        "journal_bytes": size,
    }
    notes = [
        f"{first_hundred:.0f} s passed until 100 trials had ended and {wall - first_hundred:.0f} s with the others: at first 64 workers start on these cores, "
        "two to three seconds of a core each (Ray and Tune are imported)."
    ]
    record("thousands", claims, seconds=time.perf_counter() - began, extra=extra, notes=notes)


if __name__ == "__main__":
    if len(sys.argv) > 3:
        drive(*sys.argv[1:4], *map(int, sys.argv[4:]))
    else:
        main(*map(int, sys.argv[1:]))
