"""Claim: 32 trials at once have at least 1000 points a second acknowledged, each on the disk before, while refits run; 99 % within .1 s.

Real Ray, the real LawActor and journal with fsync on a local disk, points of 7 targets. Every trial is a process that sends its next point
as soon as the one before is acknowledged, as `report` does. Meanwhile the driver asks for decisions without pause, so that the law is refitted as
often as trials end. At the end the journal is read again: every acknowledged point must be in it.
On a machine that does nothing else: python tests/benchmarks/bench_ingest.py
"""

import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from tests.benchmarks.ray_nodes import nodes
from tests.benchmarks.recording import Claim, record

TRAININGS, POINTS, SECONDS = 32, 100, 30.0
DOMAINS = ("web", "code", "books", "math", "wiki", "papers", "forums")


def spec():
    from bimix_sweep.design.problem import SweepSpec
    from bimix_sweep.mixture.domains import DomainSet

    domains = DomainSet(names=DOMAINS)
    steps = tuple(range(10, 10 * POINTS + 1, 10))
    return SweepSpec(
        domains=domains,
        targets=DOMAINS,
        weights=dict.fromkeys(DOMAINS, 1.0),
        own={n: n for n in DOMAINS},
        steps=steps[-1],
        size=1e5,
        eval_steps=steps,
        min_step=steps[0],
        max_trials=100_000,
        slots=TRAININGS,
        tolerance=1e-9,
    )


class Training:
    """A process that trains one mixture after another in no time."""

    def __init__(self, name: str) -> None:
        from bimix_sweep.sweep.cluster.actor_client import law_actor

        self._actor = law_actor(name)

    def pid(self) -> int:
        return os.getpid()

    def run(self, trial: str, shares: list[float], until: float) -> list[tuple[float, float]]:
        """(when, seconds) of each acknowledged point."""
        from bimix_sweep.sweep.cluster.actor_client import ask

        generator = np.random.default_rng([*trial.encode()])
        ask(self._actor.start.remote(trial, "here"))
        useful = 0.03 + np.array(shares) ** 0.8
        took = []
        for step in range(10, 10 * POINTS + 1, 10):
            losses = (1 + 6 * step**-0.45) * useful**-0.15 * np.exp(generator.normal(0, 0.002, 7))
            given = dict(zip(DOMAINS, losses.tolist(), strict=True))
            clock = time.perf_counter()
            ask(self._actor.record.remote(trial, step, given))
            took.append((time.time(), time.perf_counter() - clock))
            if time.time() > until:
                return took
        ask(self._actor.finish.remote(trial))
        return took


def measure(address: str, folder: Path) -> tuple[list[tuple[float, float]], float, float]:
    """All points, and begin and end of the time that counts."""
    import ray

    from bimix_sweep.sweep.cluster.actor_client import NAMESPACE, ask
    from bimix_sweep.sweep.cluster.actor_start import start_actor
    from bimix_sweep.sweep.history.attempts import AttemptLimits
    from bimix_sweep.sweep.history.events import SweepEvent
    from bimix_sweep.sweep.history.stored_spec import StoredSpec

    ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, configure_logging=False)
    try:
        first = SweepEvent(
            name="ingest",
            config_digest="c",
            data={"planted": True},
            spec=StoredSpec.of(spec()),
            versions={},
        )
        actor = start_actor("ingest", folder, first, None, AttemptLimits())
        clients = [
            ray.remote(Training).options(num_cpus=1).remote("ingest") for _ in range(TRAININGS)
        ]
        ray.get([client.pid.remote() for client in clients])
        proposals = iter(
            [ask(actor.propose.remote(f"t{number:04d}")) for number in range(TRAININGS * 25)]
        )
        over = threading.Event()

        def decide() -> None:
            while not over.is_set():
                ask(actor.decide.remote())

        began = time.time()
        until = began + SECONDS
        asking = threading.Thread(target=decide)
        asking.start()

        def begin(client):
            proposal = next(proposals)
            return client.run.remote(
                proposal.trial, proposal.mixture.as_array(DOMAINS).tolist(), until
            )

        running, points = {begin(client): client for client in clients}, []
        while running:
            done, _ = ray.wait(list(running), num_returns=1)
            client = running.pop(done[0])
            points += ray.get(done[0])
            if time.time() < until:
                running[begin(client)] = client
        over.set()
        asking.join()
        ask(actor.close.remote())
        return points, began, until
    finally:
        ray.shutdown()


def main() -> None:
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="bench-") as base, nodes(1, TRAININGS) as address:
        folder = Path(base) / "sweep"
        folder.mkdir()
        points, began, until = measure(address, folder)
        from bimix_sweep.sweep.history.rebuilding import replay

        history = replay(str(folder))
        kept = sum(len(trial.points) for trial in history.state.trials.values())
        refits, seconds = len(history.refits), sum(refit.seconds for refit in history.refits)
    rate = sum(at <= until for at, _ in points) / (until - began)
    each = sum(
        np.histogram([at for at, _ in points], bins=np.linspace(began, until, 7))[0].reshape(3, 2).T
    ) / ((until - began) / 3)
    took = np.array([seconds for _, seconds in points])
    p99 = float(np.quantile(took, 0.99))
    record(
        "ingest",
        [
            Claim(
                claim=f"points a second on the disk and acknowledged to {TRAININGS} trials at once, over {SECONDS:g} s with {refits} refits",
                goal=">= 1000",
                value=rate,
                spread=[float(each.min()), float(each.max())],
                holds=rate >= 1000,
            ),
            Claim(
                claim="seconds within which 99 % of points were acknowledged",
                goal="< 0.1",
                value=p99,
                spread={
                    "median": float(np.median(took)),
                    "p90": float(np.quantile(took, 0.9)),
                    "max": float(took.max()),
                },
                holds=p99 < 0.1,
            ),
            Claim(
                claim="acknowledged points that the journal lacks or has twice",
                goal="0",
                value=abs(kept - len(points)),
                holds=kept == len(points),
            ),
            Claim(claim="refits during that time", goal="> 0", value=refits, holds=refits > 0),
        ],
        seconds=time.perf_counter() - started,
        extra={"points": len(points), "decision_seconds": seconds},
    )


if __name__ == "__main__":
    sys.exit(main())
