"""Claim: small runs and a few large ones tell which mixture is best for the large size, at least as well as rivals do.

Published runs of the same mixtures at two sizes. The law sees the small ones, whole curves and default options, and k of the large ones; the other large runs are
ranked at their end, for 20 random weightings of the targets. Beside it: carrying over the measured small losses of the same mixtures, and log-linear, LightGBM
and Gaussian-process models of the small losses at the end. Rivals have no size, so they rank by the small size.
"""

import time

import numpy as np
from scipy.stats import spearmanr

from bimix_sweep.law.fitting.fit_law import fit_law
from bimix_sweep.mixture.table import LossTable
from bimix_sweep.seeding import rng
from tests.benchmarks import rivals
from tests.benchmarks.bench_forward import ends, redpajama, slimpajama
from tests.benchmarks.published import stacked, swarm
from tests.benchmarks.recording import Claim, record

DRAWS = 5
"""Draws of the k large runs, and of the weightings."""
WEIGHTINGS = 20
LARGE_RUNS = (0, 2, 4)
NOISE = {"rank": 0.01, "regret": 0.03}
"""Differences of means over draws that count as equal, of the rank correlation and of the regret in %."""


def whole(table: LossTable) -> LossTable:
    """The rows in which every target was measured."""
    return table.select(~np.isnan(table.losses).any(axis=1))


def carried_over(small: LossTable, large: LossTable) -> np.ndarray:
    """(n, targets) measured small losses of the mixtures of the large runs."""
    apart = np.abs(large.proportions[:, None] - small.proportions[None]).sum(axis=2)
    if apart.min(axis=1).max() > 1e-6:
        raise RuntimeError("a large mixture was not trained small")
    return small.losses[apart.argmin(axis=1)]


def scores(predicted: np.ndarray, measured: np.ndarray, weights: np.ndarray) -> dict[str, float]:
    """Mean rank correlation and regret (%) of the pick over weightings."""
    rank, regret = [], []
    for weight in weights:
        guess, true = predicted @ weight, measured @ weight
        rank.append(spearmanr(guess, true)[0])
        regret.append(100 * (true[guess.argmin()] / true.min() - 1))
    return {"rank": float(np.mean(rank)), "regret": float(np.mean(regret))}


def judged(small: LossTable, large: LossTable) -> dict[int, dict[str, dict[str, float]]]:
    """{k: {method: {"rank", "regret", "inside"}}}, means over draws."""
    small_ends, large_ends = whole(ends(small)), whole(ends(large))
    models = {
        "carry-over": carried_over(small_ends, large_ends),
        "log-linear": rivals.log_linear(
            small_ends.proportions, small_ends.losses, large_ends.proportions
        ),
        "LightGBM": rivals.lightgbm(
            small_ends.proportions, small_ends.losses, large_ends.proportions
        ),
        "GP": rivals.gaussian_process(
            small_ends.proportions, small_ends.losses, large_ends.proportions
        ),
    }
    names, found = np.array(large.trials), {}
    for k in LARGE_RUNS:
        rows: dict[str, list[dict[str, float]]] = {}
        for draw in range(DRAWS):
            generator = rng(draw, "pairs", k)
            picked = generator.permutation(len(large_ends))[:k]
            weights = generator.dirichlet(np.ones(len(large.targets)), WEIGHTINGS)
            rest = np.setdiff1d(np.arange(len(large_ends)), picked)
            chosen = np.isin(names, [large_ends.trials[index] for index in picked])
            law = fit_law(stacked(small, large.select(chosen)) if k else small)
            unseen = large_ends.select(rest)
            loss, sd = law.predict_with_sd(
                unseen.proportions, unseen.steps, unseen.sizes, noise=True
            )
            inside = float((np.abs(loss - unseen.losses) < 1.96 * sd).mean())
            rows.setdefault("law", []).append(
                scores(loss, unseen.losses, weights) | {"inside": inside}
            )
            for name, predicted in models.items():
                rows.setdefault(name, []).append(scores(predicted[rest], unseen.losses, weights))
        found[k] = {
            name: {what: float(np.mean([row[what] for row in each])) for what in each[0]}
            for name, each in rows.items()
        }
    return found


def claims_of(name: str, small: LossTable, large: LossTable) -> list[Claim]:
    """The claims on one pair of sizes."""
    claims = []
    for k, methods in judged(small, large).items():
        print(
            name,
            k,
            {m: {w: round(v, 4) for w, v in row.items()} for m, row in methods.items()},
            flush=True,
        )
        law = methods.pop("law")
        what = f"{name}, {k} large runs"
        others = {method: row["regret"] for method, row in methods.items()}
        claims += [
            Claim(
                claim=f"{what}: mean regret of the pick, %",
                goal=f"<= the best of {', '.join(others)} + {NOISE['regret']}",
                value=law["regret"],
                spread=others,
                holds=law["regret"] <= min(others.values()) + NOISE["regret"],
            ),
            Claim(
                claim=f"{what}: rank correlation",
                goal=f">= the best of these - {NOISE['rank']}",
                value=law["rank"],
                spread={method: row["rank"] for method, row in methods.items()},
                holds=law["rank"] >= max(row["rank"] for row in methods.values()) - NOISE["rank"],
            ),
            Claim(
                claim=f"{what}: fraction of losses inside the 95 % interval",
                goal="0.90 to 0.98",
                value=law["inside"],
                holds=0.90 <= law["inside"] <= 0.98,
            ),
        ]
    return claims


def main() -> None:
    started = time.perf_counter()
    claims = []
    for size in ("122M", "310M"):
        claims += claims_of(f"slimpajama {size} to 680M", slimpajama(size), slimpajama("680M"))
    for size in ("70M", "160M"):
        claims += claims_of(f"RedPajama {size} to 305M", redpajama(size), redpajama("305M"))
    tried = swarm("test", "1m", with_size=True)
    first = swarm("train", "1m", with_size=True).select(np.arange(64))
    claims += claims_of(
        "RegMix 1M to 60M", stacked(first, tried), swarm("test", "60m", with_size=True)
    )
    record("pairs", claims, seconds=time.perf_counter() - started)


if __name__ == "__main__":
    main()
