"""Claim: a domain added later costs about 4 runs, not a new sweep: old runs count at 0 there (the 17-domain swarm).

For each of four domains: 40 runs that lack it (below .2 %) and k that hold at least 3 % of it; judged on the 1M test mixtures that hold
at least 3 %. Beside it, 48 runs chosen at random without regard to the domain. Three draws.
"""

import time

import numpy as np

from bimix_sweep.law.fitting.fit_law import fit_law
from bimix_sweep.seeding import rng
from tests.benchmarks.published import swarm
from tests.benchmarks.recording import Claim, record
from tests.benchmarks.rivals import error, rank

SEEDS = 3
ADDED = ("github", "pile_cc", "pubmed_central", "stackexchange")
OLD, LACKS, HOLDS = 40, 0.002, 0.03


def main() -> None:
    started = time.perf_counter()
    train, test = swarm("train", "1m"), swarm("test", "1m")
    rows: dict[str, dict[str, list[float]]] = {}
    for name in ADDED:
        share, column = (
            train.proportions[:, train.domains.index(name)],
            test.proportions[:, test.domains.index(name)],
        )
        judged = test.select(column >= HOLDS)
        for seed in range(SEEDS):
            generator = rng(seed, "newdomain", name)
            old = generator.permutation(np.flatnonzero(share < LACKS))[:OLD]
            new = generator.permutation(np.flatnonzero(share >= HOLDS))
            picks = {str(k): np.r_[old, new[:k]] for k in (0, 2, 4, 8, 12)} | {
                "48 fresh": generator.permutation(len(train))[:48]
            }
            for key, index in picks.items():
                loss = fit_law(train.select(np.sort(index))).predict(
                    judged.proportions, judged.steps
                )
                slot = rows.setdefault(key, {"rho": [], "mre": []})
                slot["rho"].append(rank(loss, judged.losses))
                slot["mre"].append(error(loss, judged.losses))
    mean = {
        key: {what: float(np.mean(v)) for what, v in slot.items()} for key, slot in rows.items()
    }
    print(mean)
    fresh = mean["48 fresh"]
    claims = [
        Claim(
            claim=f"rank correlation with 4 new runs (48 fresh ones: {fresh['rho']:.4f})",
            goal=">= .979",
            value=mean["4"]["rho"],
            spread=[min(rows["4"]["rho"]), max(rows["4"]["rho"])],
            holds=mean["4"]["rho"] >= 0.979,
        ),
        Claim(
            claim=f"error with 4 new runs, % (48 fresh ones: {fresh['mre']:.2f})",
            goal="<= 1.8",
            value=mean["4"]["mre"],
            spread=[min(rows["4"]["mre"]), max(rows["4"]["mre"])],
            holds=mean["4"]["mre"] <= 1.8,
        ),
    ]
    record(
        "newdomain",
        claims,
        seconds=time.perf_counter() - started,
        extra={"by number of new runs": mean},
    )


if __name__ == "__main__":
    main()
