"""Claim: choosing which of 512 published runs to look at teaches the law faster than looking at random ones, at 20, 24 and 32 runs.

The runs are chosen for predictions of all mixtures (`replay --policy predictions`). A sweep looks for the best mixture and chooses otherwise;
what its choice teaches of all mixtures is recorded beside it. All policies run in this process on the same seeds and are judged on the 256 other
published mixtures at 1M parameters.
"""

import time

import numpy as np

from bimix_sweep.design.replay.replay import replay
from tests.benchmarks.recording import Claim, record
from tests.benchmarks.truths import published

SEEDS = range(5)
GOALS = {20: 0.950, 24: 0.975, 32: 0.985}


def main() -> None:
    start = time.perf_counter()
    table, heldout = published(), published("test")
    found: dict[str, dict[int, list[float]]] = {}
    errors: dict[str, dict[int, list[float]]] = {}
    for policy in ("predictions", "informative", "random"):
        rows = [
            row
            for seed in SEEDS
            for row in replay(table, trials=32, policy=policy, slots=2, heldout=heldout, seed=seed)
        ]
        found[policy] = {n: [row.spearman for row in rows if row.trials == n] for n in GOALS}
        errors[policy] = {n: [row.mre for row in rows if row.trials == n] for n in GOALS}
    claims = []
    for n, goal in GOALS.items():
        ours, random = found["predictions"][n], found["random"][n]
        claims.append(
            Claim(
                claim=f"rank correlation on unseen 1M mixtures, {n} runs chosen for predictions, mean of {len(ours)} seeds (as a sweep chooses: {np.mean(found['informative'][n]):.4f})",
                goal=f">= {goal}",
                value=float(np.mean(ours)),
                spread=[min(ours), max(ours)],
                holds=bool(round(float(np.mean(ours)), 4) >= goal),
            )
        )
        claims.append(
            Claim(
                claim=f"the same less that of {n} random runs",
                goal="> 0",
                value=float(np.mean(ours) - np.mean(random)),
                spread=[min(random), max(random)],
                holds=bool(np.mean(ours) > np.mean(random)),
            )
        )
    extra = {"spearman": found, "mre_percent": errors}
    record("chosen", claims, seconds=time.perf_counter() - start, extra=extra)


if __name__ == "__main__":
    main()
