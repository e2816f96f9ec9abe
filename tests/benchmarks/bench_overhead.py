"""Claims: a sweep's wall time is at most 1.15 x (time of the same trials, one after another in one plain process without
Ray, / slots) + 15 s of start; and where trials take 20 s, at most 5 % of the slots' time passes without one, from the first trial to the
last.

The sweep is the demo's kind: real text of this machine, real proxies, embedded Ray, confirmation trials, recipe and page. The
plain process trains exactly the mixtures and seeds the sweep journalled, from the same token store in the same precision,
and must arrive at the same losses. The text is
tokenised before either is timed. The trials of 20 s sleep through them and answer from a planted law: what is timed is what passes between them
(proposals, start and end of a trial, confirmation trials). Run on a machine that does nothing else: python tests/benchmarks/bench_overhead.py
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bimix_sweep.sweep.history.trainer_facts import TrainerFacts
from tests.benchmarks.recording import Claim, record

ROUNDS = 1
TRIALS = 8
SLOTS = 2
SLEEPING_TRIALS, SLEEPING_SECONDS = 14, 20.0
FACTOR, START_SECONDS = 1.15, 15.0


def prepared(folder: Path) -> None:
    """The sweep's folder with its configuration and token store, but nothing trained."""
    from bimix_sweep.config import SweepConfig
    from bimix_sweep.sweep.preflight.demo import demo_config
    from bimix_sweep.sweep.trainers.builtin import prepare_builtin

    config = demo_config(folder, slots=SLOTS)
    changed = config.model_dump(mode="json") | {
        "budget": {"trials": TRIALS},
        "stop": {"tolerance": 1e-6, "patience": 3},
    }
    config = SweepConfig.parse(changed)
    prepare_builtin(config, folder, lambda _: None)
    (folder / "config.yaml").write_text(config.to_yaml())


def sweep(folder: str) -> float:
    """Wall seconds of `bimix-sweep resume` from the first import to the last byte of the page."""
    start = time.perf_counter()
    subprocess.run(
        [str(Path(sys.executable).with_name("bimix-sweep")), "resume", folder],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - start


def plain(folder: str) -> None:
    """Train what the sweep in `folder` trained, one after another; print the seconds, imports and model set-up included."""
    start = time.perf_counter()
    from bimix_sweep.config import SweepConfig
    from bimix_sweep.sweep.history.rebuilding import replay
    from bimix_sweep.sweep.trainers.base import TrialJob
    from bimix_sweep.sweep.trainers.builtin import prepare_builtin

    history = replay(folder)
    trainer = prepare_builtin(
        SweepConfig.load(Path(folder) / "config.yaml"), Path(folder), lambda _: None
    )
    differing = 0
    for name, proposal in history.proposals.items():
        points: dict[int, dict[str, float]] = {}
        with tempfile.TemporaryDirectory() as checkpoints:
            job = TrialJob(
                trial=name,
                mixture=proposal.mixture,
                seed=proposal.seed,
                checkpoint_dir=Path(checkpoints),
                precision=history.precision or {},
            )
            trainer.train(job, points.__setitem__)
        differing += points != history.state.trials[name].points
    print(
        json.dumps(
            {
                "seconds": time.perf_counter() - start,
                "trainings": len(history.proposals),
                "differing": differing,
            }
        )
    )


def alone(folder: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.bench_overhead", folder],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


FACTS = TrainerFacts(
    steps=400,
    eval_steps=(100, 150, 200, 300, 400),
    sizes=(1e5,),
    data={"planted": "sleeping"},
)


@dataclass(frozen=True)
class SleepingTrainer:
    """Answers from a planted law, slowly, and notes when each trial began and ended."""

    log: Path
    facts: TrainerFacts = FACTS

    def precision(self, num_trials):
        return {"dtype": "planted"}

    def train(self, job, report):
        began = time.time()
        useful = 0.03 + job.mixture.as_array(("web", "code", "books"))
        for number, step in enumerate(self.facts.eval_steps, start=1):
            time.sleep(
                max(
                    0.0,
                    began + SLEEPING_SECONDS * number / len(self.facts.eval_steps) - time.time(),
                )
            )
            report(
                step,
                dict(
                    zip(
                        ("web", "code", "books"),
                        (useful**-0.13 * (8 * step**-0.45 + 2)).tolist(),
                        strict=True,
                    )
                ),
            )
        with self.log.open("a") as log:
            log.write(f"{began} {time.time()}\n")


def sleeping(folder: Path) -> None:
    """A sweep of trials that sleep, on embedded Ray."""
    from bimix_sweep.config import SweepConfig
    from bimix_sweep.sweep.api import run_sweep

    content = {
        "name": "sleeping",
        "domains": {name: {"path": "none"} for name in ("web", "code", "books")},
        "proxy": {"steps": 400},
        "budget": {"trials": SLEEPING_TRIALS},
        "resources": {"slots": SLOTS},
        "stop": {"tolerance": 1e-9},
    }
    run_sweep(
        SweepConfig.parse(content),
        out=folder / "sweep",
        prepare=lambda *_: SleepingTrainer(log=folder / "log"),
    )


def idle() -> dict[str, float]:
    """How much of the slots' time passed without a trial, and how long the sweep took as a whole."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.bench_overhead", "--sleeping", folder],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        whole = time.perf_counter() - start
        times = [
            tuple(map(float, line.split())) for line in Path(folder, "log").read_text().splitlines()
        ]
    wall = max(end for _, end in times) - min(began for began, _ in times)
    return {
        "share": 1 - sum(end - began for began, end in times) / (SLOTS * wall),
        "wall_seconds": wall,
        "whole_seconds": whole,
        "trainings": len(times),
    }


def main() -> None:
    start = time.perf_counter()
    between = idle()
    print(between)
    rounds = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            prepared(Path(folder))
            seconds = sweep(folder)
            same = alone(folder)
        bound = FACTOR * same["seconds"] / SLOTS + START_SECONDS
        rounds.append(
            {
                "sweep_seconds": seconds,
                "plain_seconds": same["seconds"],
                "bound_seconds": bound,
                **same,
            }
        )
        print(rounds[-1])
    excess = [r["sweep_seconds"] - r["bound_seconds"] for r in rounds]
    shares = [(r["sweep_seconds"] - START_SECONDS) / (r["plain_seconds"] / SLOTS) for r in rounds]
    record(
        "overhead",
        [
            Claim(
                claim=f"(sweep wall time - 15 s of start) / (plain time / {SLOTS} slots), {rounds[0]['trainings']:.0f} trials, mean of {ROUNDS} rounds",
                goal="<= 1.15",
                value=sum(shares) / ROUNDS,
                spread=[min(shares), max(shares)],
                holds=sum(excess) <= 0,
            ),
            Claim(
                claim="trials whose losses differ from those of the plain process",
                goal="0",
                value=sum(r["differing"] for r in rounds),
                holds=not any(r["differing"] for r in rounds),
            ),
            Claim(
                claim=f"fraction of {SLOTS} slots' time without a trial, {between['trainings']} trials that sleep {SLEEPING_SECONDS:g} s, first to last",
                goal="<= 0.05",
                value=between["share"],
                holds=between["share"] <= 0.05,
            ),
        ],
        seconds=time.perf_counter() - start,
        extra={"rounds": rounds, "slots": SLOTS, "sleeping": between},
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--sleeping"]:
        sleeping(Path(sys.argv[2]))
    elif len(sys.argv) > 1:
        plain(sys.argv[1])
    else:
        main()
