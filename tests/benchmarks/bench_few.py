"""Claim: from 3 to 8 mixtures the law is never worse than BiMix alone, and better than the mean curve where BiMix cannot be used.

Published curves of three sizes, K random mixtures fitted, the others predicted at every checkpoint, 10 draws; six targets have a training
domain of their own (OWN in published.py). The mean curve is the geometric mean of the seen mixtures' losses at each step.
"""

import time

import numpy as np

from bimix_sweep.law.fitting.fit_law import fit_law
from bimix_sweep.mixture.table import LossTable
from bimix_sweep.seeding import rng
from tests.benchmarks.published import OWN, changed, curves, mixture_ids
from tests.benchmarks.recording import Claim, record

SEEDS = 10
SIZES = ("70M", "160M", "305M")
COUNTS = (3, 4, 6, 8)


def mean_curve(seen: LossTable, steps: np.ndarray) -> np.ndarray:
    """(rows, targets) mean of the seen losses, interpolated in log step."""
    known = np.unique(seen.steps)
    level = np.array([np.log(seen.losses[seen.steps == s]).mean(axis=0) for s in known])
    return np.exp(
        np.stack([np.interp(np.log(steps), np.log(known), column) for column in level.T], axis=1)
    )


def main() -> None:
    started = time.perf_counter()
    rows: dict[str, list[dict[str, float]]] = {}
    for size in SIZES:
        table = curves(size)
        mixture = mixture_ids(table)
        own = np.array([name in OWN for name in table.targets])
        names = tuple(name for name in table.targets if name in OWN)
        for count in COUNTS:
            for seed in range(SEEDS):
                seen = np.isin(
                    mixture, rng(seed, "few", count).permutation(mixture.max() + 1)[:count]
                )
                fitted, rest = table.select(seen), table.select(~seen)
                miss = lambda loss, rest=rest: np.abs(loss / rest.losses[:, : loss.shape[1]] - 1)  # noqa: E731
                ours = miss(fit_law(fitted, own=OWN).predict(rest.proportions, rest.steps))
                flat = miss(mean_curve(fitted, rest.steps))
                alone = fit_law(
                    changed(fitted, targets=names, losses=fitted.losses[:, own]),
                    own=OWN,
                    law="bimix",
                )
                published = np.abs(
                    alone.predict(rest.proportions, rest.steps) / rest.losses[:, own] - 1
                )
                rows.setdefault(str(count), []).append(
                    {
                        "own domain": 100 * ours[:, own].mean(),
                        "BiMix alone": 100 * published.mean(),
                        "mean curve, own": 100 * flat[:, own].mean(),
                        "others": 100 * ours[:, ~own].mean(),
                        "mean curve, others": 100 * flat[:, ~own].mean(),
                        "worst over mean curve's": float(
                            (ours.max(axis=0) / flat.max(axis=0)).max()
                        ),
                    }
                )
    mean = {
        count: {key: float(np.mean([one[key] for one in many])) for key in many[0]}
        for count, many in rows.items()
    }
    for count, values in mean.items():
        print(count, {key: round(value, 3) for key, value in values.items()})
    worst = max(one["worst over mean curve's"] for many in rows.values() for one in many)
    against = {
        count: values["own domain"] / values["BiMix alone"] for count, values in mean.items()
    }
    absolute = {count: values["own domain"] for count, values in mean.items()}
    without = {
        count: values["others"] / values["mean curve, others"] for count, values in mean.items()
    }
    claims = [
        Claim(
            claim="error over BiMix's alone, own domains, worst K",
            goal="<= 1.05",
            value=max(against.values()),
            spread=against,
            holds=max(against.values()) <= 1.05,
        ),
        Claim(
            claim="error with own domains, worst K, %",
            goal="<= 2",
            value=max(absolute.values()),
            spread=absolute,
            holds=max(absolute.values()) <= 2,
        ),
        Claim(
            claim="error over the mean curve's, no own domain, worst K",
            goal="< 1",
            value=max(without.values()),
            spread=without,
            holds=max(without.values()) < 1,
        ),
        Claim(
            claim="worst error of any fit and target over the mean curve's worst",
            goal="<= 3",
            value=worst,
            holds=worst <= 3,
        ),
    ]
    record(
        "few", claims, seconds=time.perf_counter() - started, extra={"by number of mixtures": mean}
    )


if __name__ == "__main__":
    main()
