"""A driver for the tests of faults: run as a script, it sweeps a planted law on a real Ray, so that
it can be killed.

python planted_sweep.py run|resume DIR [--address A] [--slots N] [--trials N] [--pause SECONDS]
    [--diverge TRIAL] [--crash TRIAL] [--fall SECONDS]

Each trial writes one line a step to DIR/trained.log: what was really computed, in which process.
With --witness FILE it writes JSON lines there instead, each on the disk before it goes on: every
step computed, and every acknowledgement that it received.
"""

import argparse
import json
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from bimix_sweep.config import SweepConfig
from bimix_sweep.errors import BimixSweepError, DivergedError
from bimix_sweep.sweep.api import resume_sweep, run_sweep
from bimix_sweep.sweep.history.trainer_facts import TrainerFacts
from bimix_sweep.sweep.views.terminal import Progress
from bimix_sweep.sweep.workspace.paths import local_part

DOMAINS = ("web", "code", "books")
NEEDS = (0.10, 0.16, 0.13)


def planted_losses(mixture, seed, step):
    """What a trial measures: a function of its arguments and of nothing else."""
    noise = np.random.default_rng([seed % 2**31, step]).normal(size=len(DOMAINS))
    shares = mixture.as_array(DOMAINS)
    return {
        name: float((share + 0.03) ** -need * (8 * step**-0.45 + 2) * np.exp(0.002 * e))
        for name, share, need, e in zip(DOMAINS, shares, NEEDS, noise, strict=True)
    }


def testify(witness, what, job, step, losses):
    line = {
        "what": what,
        "trial": job.trial,
        "step": step,
        "pid": os.getpid(),
        "at": time.time(),
        "losses": losses,
    }
    with witness.open("ab", buffering=0) as log:
        log.write(
            json.dumps(line).encode() + b"\n"
        )  # one write a line: lines of several processes do not mix
        os.fsync(log.fileno())


FACTS = TrainerFacts(
    steps=400,
    eval_steps=(100, 150, 200, 300, 400),
    sizes=(1e5,),
    data={"planted": list(NEEDS)},
)


@dataclass(frozen=True)
class PlantedTrainer:
    log: Path
    pause: float
    diverge: str
    crash: str
    fall: float | None
    """Its worker dies so long after the end of a trial."""
    witness: Path | None = None
    facts: TrainerFacts = FACTS

    def precision(self, num_trials):
        return {"dtype": "planted"}

    def computed(self, job, step):
        if self.witness is not None:
            testify(self.witness, "computed", job, step, None)
            return
        with self.log.open("a") as log:
            log.write(f"{job.trial} {step} {os.getpid()}\n")

    def train(self, job, report):
        job.checkpoint_dir.mkdir(parents=True, exist_ok=True)
        checkpoint = job.checkpoint_dir / "step"
        done = int(checkpoint.read_text()) if checkpoint.exists() else 0
        for step in self.facts.eval_steps:
            if step > done:
                time.sleep(self.pause)
                self.computed(job, step)
                if job.trial in self.diverge.split(","):
                    raise DivergedError(
                        f"the loss of web is nan at step {step}; lower the learning rate"
                    )
                if (
                    job.trial == self.crash
                    and step == 200
                    and not (marker := job.checkpoint_dir / "crashed").exists()
                ):
                    marker.touch()
                    os.kill(os.getpid(), signal.SIGKILL)
                beside = checkpoint.with_suffix(".part")
                beside.write_text(str(step))
                beside.replace(checkpoint)
            losses = planted_losses(job.mixture, job.seed, step)
            report(step, losses)
            if self.witness is not None:
                testify(self.witness, "acknowledged", job, step, losses)
        if self.fall is not None:
            timer = threading.Timer(self.fall, os.kill, (os.getpid(), signal.SIGKILL))
            timer.daemon = True
            timer.start()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["run", "resume"])
    parser.add_argument("folder")
    parser.add_argument("--address")
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--pause", type=float, default=0.02)
    parser.add_argument("--diverge", default="")
    parser.add_argument("--crash", default="")
    parser.add_argument("--fall", type=float)
    parser.add_argument("--witness", type=Path)
    parser.add_argument("--name", default="planted")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tolerance", type=float, default=1e-6)
    asked = parser.parse_args()
    config = SweepConfig.parse(
        {
            "name": asked.name,
            "seed": asked.seed,
            "domains": {name: {"path": "none"} for name in DOMAINS},
            "proxy": {"steps": 400},
            "budget": {"trials": asked.trials},
            "resources": {"slots": asked.slots},
            "stop": {"tolerance": asked.tolerance},
        }
    )

    def prepare(config, folder, say):
        folder = local_part(folder)
        folder.mkdir(parents=True, exist_ok=True)
        return PlantedTrainer(
            log=folder / "trained.log",
            pause=asked.pause,
            diverge=asked.diverge,
            crash=asked.crash,
            fall=asked.fall,
            witness=asked.witness,
        )

    progress = Progress(Console(stderr=True, force_terminal=False))
    try:
        if asked.what == "run":
            recipe = run_sweep(
                config, out=asked.folder, address=asked.address, prepare=prepare, progress=progress
            )
        else:
            recipe = resume_sweep(
                asked.folder, address=asked.address, prepare=prepare, progress=progress
            )
    except BimixSweepError as error:
        sys.exit(f"error: {error}")
    print(json.dumps(recipe.proportions))


if __name__ == "__main__":
    main()
