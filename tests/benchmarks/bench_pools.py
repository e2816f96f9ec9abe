"""Claim: on real pools of published runs the realised regret of the pick is within the reported 95 % bound in >= 93 % of decisions, >= 88 % in every pool.

A decision: fit the law to random runs of a pool, pick the mixture with the lowest predicted objective among runs not looked at, and
compare what was measured there with the best measured among them. Weights of the targets are equal or random. The bound is the 95 %
quantile of that regret over draws of the belief; as the measured best of noisy runs profits from chance, the draws hold a run's noise too.
The constants of the belief were set on simulated sweeps (bench_calibration.py) with a look at 322 other decisions (seeds 100 to 145; in these
pools and in one more, the swarm's 512 training runs).
"""

import time
from functools import cache

import numpy as np

from bimix_sweep.law.fitting.fit_law import fit_law
from bimix_sweep.law.optimum.decision_problem import DecisionProblem
from bimix_sweep.mixture.domains import DomainSet
from bimix_sweep.mixture.table import LossTable
from bimix_sweep.seeding import rng
from tests.benchmarks.published import curves, swarm
from tests.benchmarks.recording import Claim, record, scatter_of_bounds

DECISIONS = 40
"""A pool."""
DRAWS = 600
RUNS = {"swarm": (20, 24, 32, 48, 64), "curves": (12, 14, 16)}


@cache
def pools() -> dict[str, tuple[str, LossTable]]:
    """Name -> (kind, finished runs at their last step)."""
    found = {f"17 domains, {size}": ("swarm", swarm("test", size)) for size in ("1m", "60m")}
    for size in ("70M", "160M", "305M"):
        table = curves(size)
        found[f"7 domains, {size}"] = ("curves", table.select(table.last_rows()))
    return found


def decide(table: LossTable, kind: str, seed: int) -> dict[str, float]:
    """One decision: expected and upper95 regret as claimed, and the realised one."""
    generator = rng(seed, "pool", str(len(table.domains)))
    count = int(generator.choice(RUNS[kind]))
    order = generator.permutation(len(table))
    known, rest = np.sort(order[:count]), np.sort(order[count:])
    equal = seed % 2 == 0
    weights = (
        np.ones(len(table.targets)) if equal else generator.dirichlet(np.ones(len(table.targets)))
    )
    law = fit_law(table.select(known), generator=generator)
    problem = DecisionProblem.of(
        law, DomainSet(names=law.domains), weights=dict(zip(table.targets, weights, strict=True))
    )
    posterior = problem.posterior(table.proportions[rest])
    pick = int(problem.objective(np.exp(posterior.mean)).argmin())
    root = np.linalg.cholesky(posterior.trial_noise + 1e-15 * np.eye(len(law.targets)))
    noise = generator.standard_normal((DRAWS, len(rest), len(law.targets))) @ root.T
    values = problem.objective(np.exp(posterior.draws(generator, DRAWS) + noise))
    regrets = values[:, pick] / values.min(axis=1) - 1
    measured = problem.objective(table.losses[rest])
    return {
        "runs": count,
        "expected": float(regrets.mean()),
        "upper95": float(np.quantile(regrets, 0.95)),
        "realised": float(measured[pick] / measured.min() - 1),
    }


def main() -> None:
    start = time.perf_counter()
    rows = {
        name: [decide(table, kind, seed) for seed in range(DECISIONS)]
        for name, (kind, table) in pools().items()
    }
    within = {
        name: float(np.mean([row["realised"] <= row["upper95"] for row in found]))
        for name, found in rows.items()
    }
    every = [row for found in rows.values() for row in found]
    overall = float(np.mean(list(within.values())))
    idle = float(
        np.mean([row["upper95"] for row in every]) / np.mean([row["realised"] for row in every])
    )
    claims = [
        Claim(
            claim=f"realised regret within upper95, {len(every)} decisions in real pools",
            goal=">= .93",
            value=overall,
            spread=within,
            holds=overall >= 0.93,
        ),
        Claim(
            claim="the same in the worst pool",
            goal=">= .88",
            value=min(within.values()),
            holds=min(within.values()) >= 0.88,
        ),
        Claim(
            claim="mean upper95 over mean realised regret in real pools",
            goal="<= 4",
            value=idle,
            holds=idle <= 4,
        ),
    ]
    own = np.mean([row["upper95"] for row in every]) / np.mean([row["expected"] for row in every])
    hit = np.mean([row["realised"] == 0 for row in every])
    notes = [
        f"Limit: in {hit:.0%} of the decisions the pick is the best and its regret 0, so a bound of 95 % lies far above the mean: it is {own:.1f} times the regret that the belief itself "
        f"expects, which is {np.mean([row['expected'] for row in every]) / np.mean([row['realised'] for row in every]):.2f} times the realised one here and 1.26 times on 200 other decisions "
        "(seeds 100 to 139; the ratio is 4.3 there, with 98 % inside). Narrower beliefs lose the worst simulated world (bench_calibration.py).",
        f"Standard error of the ratio, over decisions drawn anew within pools: {scatter_of_bounds(list(rows.values())):.2f}.",
    ]
    record(
        "pools", claims, seconds=time.perf_counter() - start, extra={"decisions": rows}, notes=notes
    )


if __name__ == "__main__":
    main()
