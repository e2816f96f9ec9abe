"""Claim: a sweep's wall time is at most 1.15 x (time of the same trainings, one after another in one plain process without
Ray, / slots) + 15 s of start.

The sweep is the demo's kind: real text of this machine, real proxies, embedded Ray, final trainings, recipe and page. The
plain process trains exactly the mixtures and seeds the sweep journalled, from the same token store in the same precision,
and must arrive at the same losses. The text is
tokenised before either is timed. Run on a machine that does nothing else: python tests/benchmarks/bench_overhead.py
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from recording import Claim, record

ROUNDS = 2
TRIALS = 8
SLOTS = 2
FACTOR, START_SECONDS = 1.15, 15.0


def prepared(folder: Path) -> None:
    """The sweep's folder with its configuration and token store, but nothing trained."""
    from bimix_sweep.config import SweepConfig
    from bimix_sweep.sweep.demo import demo_config
    from bimix_sweep.sweep.trainers import prepare_builtin

    config = demo_config(folder, slots=SLOTS)
    changed = config.model_dump(mode="json") | {"budget": {"trials": TRIALS}, "stop": {"tolerance": 1e-6, "patience": 3}}
    config = SweepConfig.parse(changed)
    prepare_builtin(config, folder, lambda _: None)
    (folder / "config.yaml").write_text(config.to_yaml())


def sweep(folder: str) -> float:
    """Wall seconds of `bimix-sweep resume` from the first import to the last byte of the page."""
    start = time.perf_counter()
    subprocess.run([str(Path(sys.executable).with_name("bimix-sweep")), "resume", folder], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def plain(folder: str) -> None:
    """Train what the sweep in `folder` trained, one after another; print the seconds, imports and model set-up included."""
    start = time.perf_counter()
    from bimix_sweep.config import SweepConfig
    from bimix_sweep.sweep.history import replay
    from bimix_sweep.sweep.trainers import TrialJob, prepare_builtin

    history = replay(folder)
    trainer = prepare_builtin(SweepConfig.load(Path(folder) / "config.yaml"), Path(folder), lambda _: None)
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
    print(json.dumps({"seconds": time.perf_counter() - start, "trainings": len(history.proposals), "differing": differing}))


def alone(folder: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, __file__, folder], check=True, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    start = time.perf_counter()
    rounds = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            prepared(Path(folder))
            seconds = sweep(folder)
            same = alone(folder)
        bound = FACTOR * same["seconds"] / SLOTS + START_SECONDS
        rounds.append({"sweep_seconds": seconds, "plain_seconds": same["seconds"], "bound_seconds": bound, **same})
        print(rounds[-1])
    excess = [r["sweep_seconds"] - r["bound_seconds"] for r in rounds]
    shares = [(r["sweep_seconds"] - START_SECONDS) / (r["plain_seconds"] / SLOTS) for r in rounds]
    record(
        "overhead",
        [
            Claim(
                claim=f"(sweep wall time - 15 s of start) / (plain time / {SLOTS} slots), {rounds[0]['trainings']:.0f} trainings, mean of {ROUNDS} rounds",
                goal="<= 1.15", value=sum(shares) / ROUNDS, spread=[min(shares), max(shares)], holds=sum(excess) <= 0,
            ),
            Claim(
                claim="trainings whose losses differ from those of the plain process", goal="0",
                value=sum(r["differing"] for r in rounds), holds=not any(r["differing"] for r in rounds),
            ),
        ],
        seconds=time.perf_counter() - start,
        extra={"rounds": rounds, "slots": SLOTS},
    )  # fmt: skip


if __name__ == "__main__":
    if len(sys.argv) > 1:
        plain(sys.argv[1])
    else:
        main()
