"""Sweeps under faults, for bench_faults and bench_soak: several at a time on one Ray of several nodes, each resumed when its driver dies."""

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.recording import Claim
from tests.support.evidence import Findings, decisions, investigate
from tests.support.faults import PATIENCE, STEPS, Nodes, Stuck, Supervised, wait_for

NAMESPACE = "BIMIX_FAULTS_NAMESPACE"
KINDS = (
    "trial worker",
    "worker node",
    "LawActor",
    "driver",
    "driver during a journal write",
    "disk full",
    "head node",
)
DISK_BYTES = 256 << 20
"""Of the small filesystem that is filled up: holds some thirty finished sweeps, 7 MB each with their pages."""
REPLACED_SECONDS = 4.0
"""Until another worker node stands in for a lost one."""


def own_namespace() -> None:
    """Go on in namespaces of this benchmark's own: a small filesystem can be mounted there, and every process ends with it."""
    if os.environ.get(NAMESPACE):
        return
    command = [
        "unshare",
        "--map-root-user",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*command, "true"], check=False, capture_output=True).returncode
    ):
        sys.exit(
            "this benchmark fills a filesystem of its own: need Linux with user namespaces (`unshare --map-root-user --mount` must work)"
        )
    os.environ[NAMESPACE] = "1"
    # a shell is process 1 there: it reaps what loses its parent
    again = [sys.executable, *sys.orig_argv[1:]]
    os.execvp("unshare", [*command, "bash", "-c", '"$@"; exit $?', "_", *again])  # noqa: S606, S607


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A filesystem of DISK_BYTES."""
    folder.mkdir(parents=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)],  # noqa: S607
        check=True,
    )
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)  # noqa: S607


@dataclass
class Storm:
    """What happens to all sweeps together."""

    ray: Nodes
    folder: Path
    began: float = field(default_factory=time.monotonic)
    kills: Counter[str] = field(default_factory=Counter)
    torn: int = 0
    found: dict[str, Findings] = field(default_factory=dict)
    other_decisions: dict[str, bool] = field(default_factory=dict)
    """Sweeps of one slot: whether they decided anything but what an undisturbed one decides."""
    restarts: int = 0
    troubles: list[str] = field(default_factory=list)
    _nodes: threading.Lock = field(default_factory=threading.Lock)

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.began:6.0f} s  {text}", flush=True)

    def strike(self, kind: str, sweep: Supervised, rng: np.random.Generator) -> bool:
        """One fault; False where there was nothing to strike just now."""
        struck = {
            "trial worker": lambda: sweep.kill_training(rng.random()),
            "worker node": lambda: self._lose_node(int(rng.integers(self.ray.num_workers))),
            "LawActor": sweep.kill_actor,
            "driver": sweep.kill_driver,
            "driver during a journal write": sweep.kill_in_write,
            "disk full": lambda: self._fill_disk(sweep),
            "head node": self._lose_head,
        }[kind]()
        if struck:
            self.kills[kind] += 1
            self.say(f"{sweep.folder.name}: {kind}")
        return struck

    def judge(self, sweep: Supervised) -> None:
        """Compare a finished sweep with its evidence."""
        findings = investigate(sweep.folder, sweep.witness, STEPS)
        self.found[sweep.folder.name] = findings
        self.restarts += sweep.starts - 1
        self.torn += sweep.torn
        self.say(
            f"{sweep.folder.name}: complete after {sweep.starts} drivers, {findings.points} points; {findings.faults or 'all is there, once'}"
        )
        for refusal in sweep.refusals:
            self.say(
                f"    a driver ended by itself: {refusal.strip().splitlines()[-1][:300] if refusal.strip() else 'without a word'}"
            )
        if sweep.options["slots"] == 1:
            calm = Supervised(
                folder=self.folder / f"{sweep.folder.name}-calm",
                ray=None,
                options=sweep.options | {"pause": 0},
                temporary=self.folder,
            )
            calm.finish()
            self.other_decisions[sweep.folder.name] = decisions(calm.folder) != decisions(
                sweep.folder
            )
            self.say(
                f"{sweep.folder.name}: {'NOT ' if self.other_decisions[sweep.folder.name] else ''}the decisions of an undisturbed sweep"
            )

    def _lose_node(self, number: int) -> bool:
        with self._nodes:
            self.ray.kill_worker(number)
            time.sleep(REPLACED_SECONDS)
            self.ray.start_worker(number)
        return True

    def _lose_head(self) -> bool:
        with self._nodes:
            self.ray.kill_all()
            self.ray.start()
        return True

    def _fill_disk(self, sweep: Supervised) -> bool:
        if not sweep.alive() or not (sweep.folder / "journal").exists():
            return False
        ballast = sweep.folder.parent / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as stream:
            while True:
                stream.write(bytes(4096))
        try:
            wait_for(
                f"the driver of {sweep.folder.name} gives up on a full disk",
                lambda: not sweep.alive(),
                every=0.2,
            )
        finally:
            ballast.unlink()
        said = sweep.log.read_text(errors="replace")
        if sweep.complete() or any(
            other in said
            for other in (
                "has not answered for",  # a head that was killed at the same time
                "nothing listens",
                "the nodes have",
                "Failed to connect to GCS",
            )
        ):
            return False
        if (
            "error: " not in said or "No space left on device" not in said.rpartition("error: ")[2]
        ):  # a traceback, or another reason
            self.troubles.append(f"full disk, but the driver said: {said[-600:]}")
        return True


@dataclass
class Campaign:
    """One sweep after another in one place, and the faults that strike there."""

    storm: Storm
    name: str
    place: Path
    rng: np.random.Generator
    options: dict[str, object]
    _number: int = 0
    _sweep: Supervised | None = None

    def run(self, plan: Iterable[tuple[float, str]]) -> None:
        """Strike as planned (seconds to wait, kind of fault), then let the last sweep end."""
        try:
            for seconds, kind in plan:
                self._wait(seconds)
                deadline = time.monotonic() + PATIENCE
                while not self.storm.strike(kind, self._current(), self.rng):
                    if time.monotonic() > deadline:
                        raise Stuck(f"{self.name}: no {kind} could be struck")
                    self._wait(0.3)
            if self._sweep is not None:
                self._sweep.finish(2 * PATIENCE)
                self.storm.judge(self._sweep)
        except (Stuck, OSError, subprocess.SubprocessError) as error:
            self.storm.troubles.append(f"{self.name}: {error}")
            self.storm.say(f"{self.name}: STUCK {error}")

    def _current(self) -> Supervised:
        """The sweep that runs here, its driver started where it is dead; a new sweep after a complete one."""
        if self._sweep is not None and self._sweep.see_to():
            self.storm.judge(self._sweep)
            self._sweep = None
        if self._sweep is None:
            name = f"{self.name}{self._number}"
            options = self.options | {"name": name, "seed": int(self.rng.integers(1000))}
            self._sweep = Supervised(
                folder=self.place / name,
                ray=self.storm.ray,
                options=options,
                temporary=self.storm.folder,
            )
            self._number += 1
            self._sweep.see_to()
        return self._sweep

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._current()
            time.sleep(min(0.2, seconds))


def none(claim: str, value: float) -> Claim:
    """A claim whose goal is 0."""
    return Claim(claim=claim, goal="0", value=value, holds=value == 0)


def claims(storm: Storm, left: list[str]) -> list[Claim]:
    """What every storm must show."""
    found = summary(storm)
    return [
        none(
            f"acknowledged points lost, of {found['points']} in {found['sweeps']} sweeps",
            found["lost"],
        ),
        none("points, proposals or ends twice in a journal", found["duplicated"]),
        none(f"finished trials run again, of {found['trainings']}", found["rerun"]),
        none("acknowledged steps computed again", found["retrained"]),
        none("points whose losses are not those measured", found["wrong"]),
        none(
            "sweeps whose final law is not that of the same results recorded undisturbed",
            found["other_law"],
        ),
        none(
            "trials without an end, sweeps that could not go on",
            found["unfinished"] + len(storm.troubles),
        ),
        none("processes left", len(left)),
    ]


def clear_up(storm: Storm, left: list[str]) -> None:
    """Remove everything, or say where to look."""
    if left or storm.troubles or any(found.faults for found in storm.found.values()):
        print(
            f"what happened is in {storm.folder}: {storm.troubles}; still running: {left}",
            file=sys.stderr,
        )
    else:
        shutil.rmtree(storm.folder)


def left_processes() -> list[str]:
    """Command lines of what still runs in this namespace beside process 1 and this one."""
    from tests.support.faults import command_line, processes

    return [command_line(pid) for pid in processes() if pid not in (1, os.getpid())]


def summary(storm: Storm) -> dict[str, Any]:
    """What every record of a storm holds."""
    total = lambda name: sum(getattr(found, name) for found in storm.found.values())  # noqa: E731
    return {
        "kills": {kind: storm.kills[kind] for kind in KINDS},
        "lost": total("lost"),
        "duplicated": total("duplicated"),
        "rerun": total("rerun"),
        "retrained": total("retrained"),
        "wrong": total("wrong"),
        "unfinished": total("unfinished"),
        "other_law": total("other_law"),
        "other_decisions": sum(storm.other_decisions.values()),
        "one_slot_sweeps": len(storm.other_decisions),
        "torn_tails": storm.torn,
        "sweeps": len(storm.found),
        "trainings": total("trainings"),
        "points": total("points"),
        "drivers_started_again": storm.restarts,
        "troubles": storm.troubles,
    }
