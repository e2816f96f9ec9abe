"""Claim: the realised regret is within the reported 95 % bound in >= 93 % of simulated sweeps, >= 88 % in every family, and the bound is not idle.

Each sweep runs in a world of one of five families (truths.py), noise .2 to 1 %, and is asked once, after a number of runs that its seed
draws from 20 to 64. Regret is against the best mixture that many descents find in that world. The constants of the belief (law/optimum/decision_problem.py,
law/optimum/optimal_mixture.py) were set on other sweeps: seeds 7200 to 7211 and 7300 to 7347 of the same worlds, and other decisions in real pools than those of bench_pools.
"""

import argparse
import time

import numpy as np

from bimix_sweep.design.planner import SweepState
from bimix_sweep.seeding import rng
from tests.benchmarks.recording import Claim, record, scatter_of_bounds
from tests.benchmarks.truths import FAMILIES, advance, spec, truth

NOISES = (0.002, 0.003, 0.005, 0.01)
RUNS = (20, 24, 32, 48, 64)
NOTE = (
    "On the sweeps that the belief was chosen on the ratio is 3.3, with 99 % inside and 95 % in the worst world; without what the good trials, left out, missed by, it "
    "was 3.9 at a narrower width. Long sweeps are chaotic: a difference in the twelfth digit of a fit sends them to other mixtures."
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sweeps", type=int, default=40, help="sweeps a family")
    count = parser.parse_args().sweeps
    start = time.perf_counter()
    rows = []
    for family in FAMILIES:
        world = truth(family)
        for seed in range(1000, 1000 + count):
            generator = rng(seed, "calibration", family)
            noise, runs = float(generator.choice(NOISES)), int(generator.choice(RUNS))
            state = SweepState(spec(world, seed=seed, slots=4, max_trials=runs))
            advance(state, world, noise, runs)
            optimum = state.refit().optimum
            if optimum is None:
                raise RuntimeError(f"no law after {runs} runs")
            regret = optimum.regret
            rows.append(
                {
                    "family": family,
                    "seed": seed,
                    "noise": noise,
                    "runs": runs,
                    "expected": regret.expected,
                    "upper95": regret.upper95,
                    "realised": max(0.0, world.regret(optimum.mixture.as_array(world.domains))),
                }
            )
        print(
            f"{family}: {np.mean([row['realised'] <= row['upper95'] for row in rows if row['family'] == family]):.1%} within the bound",
            flush=True,
        )
    within = {
        family: float(
            np.mean([r["realised"] <= r["upper95"] for r in rows if r["family"] == family])
        )
        for family in FAMILIES
    }
    overall, lowest = (
        float(np.mean([r["realised"] <= r["upper95"] for r in rows])),
        min(within.values()),
    )
    idle = float(np.mean([r["upper95"] for r in rows]) / np.mean([r["realised"] for r in rows]))
    claims = [
        Claim(
            claim=f"realised regret within upper95, {len(rows)} sweeps",
            goal=">= .93",
            value=overall,
            spread=within,
            holds=overall >= 0.93,
        ),
        Claim(
            claim="the same in the worst family", goal=">= .88", value=lowest, holds=lowest >= 0.88
        ),
        Claim(
            claim="mean upper95 over mean realised regret", goal="<= 4", value=idle, holds=idle <= 4
        ),
    ]
    families = [[row for row in rows if row["family"] == family] for family in FAMILIES]
    notes = [
        f"Standard error of the ratio, over sweeps drawn anew within families: {scatter_of_bounds(families):.2f}.",
        NOTE,
    ]
    record(
        "calibration",
        claims,
        seconds=time.perf_counter() - start,
        extra={"sweeps": rows},
        notes=notes,
    )


if __name__ == "__main__":
    main()
