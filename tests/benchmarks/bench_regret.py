"""Claim: the loop finds a better mixture with 32 trials than any rival with up to 256, in a world our law nearly fits; and never stalls in one it does not.

Worlds (truths.py): law-like and alien, noise .3 %. Rivals see the same worlds in this process, with the same noise and budget:
Optuna's TPE, CMA-ES and Gaussian-process samplers over logarithmic coordinates (proportions = normalised exponentials, so that uniform
coordinates are uniform mixtures), and swarms: random Dirichlet mixtures, then LightGBM or a log-linear law of every target, whose recommendation
is the average of the 100 best of 100 000 random mixtures, as the swarm's authors do. A sampler recommends the best it measured.
Regret is that of the recommendation, without noise.
"""

import argparse
import time
import warnings
from collections.abc import Callable

import numpy as np
from scipy import optimize

from bimix_sweep.design.planner import SweepState
from bimix_sweep.mixture.simplex import Array
from bimix_sweep.seeding import rng
from tests.benchmarks.recording import Claim, record
from tests.benchmarks.truths import Truth, advance, spec, truth

NOISE = 0.003
OURS = (32, 64, 96)
BATCHED = 41
"""1.3 times 32, whole runs: two batches of 16 and one of 9."""
RIVALS = (32, 64, 128, 256)
NOTES = (
    "Five seeds scatter: on 10 others (100 to 109) the law-like world's mean regret at 32 runs is .097 % (standard error .009), on 20 more (200 to 219) .111 % (.007). Tried on 8 of the first (.101 %) "
    "without gain: a belief .4 or 1.5 times as wide (.128 and .099 %; other worlds no better), .4 of the process's length (.205 %), 7 or 14 first mixtures instead of 10 (.101 and .112 %), "
    "more candidates from anywhere or near the optimum (.109 and .108 %), a knowledge gradient beside the price of a wrong gradient (.131 %; instead of it .134 %); on 14 of the others "
    "(.118 %): exploration of good mixtures alone or weighed by what the objective feels (.113 and .116 %; other worlds no better). "
    "The law-like world is this project's own law fitted to 512 runs, so it changes with it: numbers of different commits do not compare.",
)


def ours(world: Truth, seed: int, slots: int, counts: tuple[int, ...]) -> dict[int, float]:
    state, found = SweepState(spec(world, seed=seed, slots=slots, max_trials=max(counts))), {}
    for count in counts:
        advance(state, world, NOISE, count)
        optimum = state.refit().optimum
        if optimum is None:
            raise RuntimeError(f"no law after {count} runs")
        found[count] = world.regret(optimum.mixture.as_array(world.domains))
    return found


def mean_loss(world: Truth, mixture: Array, generator: np.random.Generator) -> float:
    return float(np.mean(list(world.measured(mixture, generator, NOISE).values())))


def sampler(name: str) -> Callable[[Truth, int], dict[int, float]]:
    def run(world: Truth, seed: int) -> dict[int, float]:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        generator = rng(seed, "rival", name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = {
                "tpe": lambda: optuna.samplers.TPESampler(
                    seed=seed, multivariate=True, n_startup_trials=20
                ),
                "cma-es": lambda: optuna.samplers.CmaEsSampler(seed=seed),
                "gp": lambda: optuna.samplers.GPSampler(seed=seed),
            }[name]()
            study = optuna.create_study(sampler=made)
            best, found, lowest = np.full(len(world.domains), 1 / len(world.domains)), {}, np.inf
            for number in range(1, max(RIVALS) + 1):
                trial = study.ask()
                shares = -np.log(
                    [trial.suggest_float(domain, 1e-6, 1 - 1e-6) for domain in world.domains]
                )
                mixture = shares / shares.sum()
                loss = mean_loss(world, mixture, generator)
                study.tell(trial, loss)
                if loss < lowest:
                    lowest, best = loss, mixture
                if number in RIVALS:
                    found[number] = world.regret(best)
        return found

    return run


def swarm(model: str) -> Callable[[Truth, int], dict[int, float]]:
    def run(world: Truth, seed: int) -> dict[int, float]:
        generator, domains = rng(seed, "rival", model), len(world.domains)
        mixtures = np.concatenate(
            [
                generator.dirichlet(np.full(domains, k), max(RIVALS) // 4)
                for k in (0.1, 0.3, 1.0, 3.0)
            ]
        )
        mixtures = mixtures[generator.permutation(len(mixtures))]
        losses = np.array(
            [list(world.measured(row, generator, NOISE).values()) for row in mixtures]
        )
        candidates = np.concatenate(
            [generator.dirichlet(np.full(domains, k), 25_000) for k in (0.1, 0.3, 1.0, 3.0)]
        )
        found = {}
        for count in RIVALS:
            predicted = (_boosted if model == "lightgbm" else _log_linear)(
                mixtures[:count], losses[:count], candidates
            )
            found[count] = world.regret(candidates[np.argsort(predicted)[:100]].mean(axis=0))
        return found

    return run


def _boosted(mixtures: Array, losses: Array, candidates: Array) -> Array:
    import lightgbm

    model = lightgbm.LGBMRegressor(
        n_estimators=300,
        learning_rate=0.03,
        num_leaves=15,
        min_child_samples=5,
        verbose=-1,
        n_jobs=1,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(model.fit(mixtures, losses.mean(axis=1)).predict(candidates))


def _log_linear(mixtures: Array, losses: Array, candidates: Array) -> Array:
    """c + exp(k + t.r) for each target, relative residuals, a weak pull of t to 0."""
    total = np.zeros(len(candidates))
    for values in losses.T:

        def model(p: Array, x: Array) -> Array:
            return np.asarray(p[0] + np.exp(np.clip(p[1] + x @ p[2:], -30, 4)))

        def residual(p: Array, values: Array = values) -> Array:
            return np.append((model(p, mixtures) / values - 1) / 0.01, 0.05 * p[2:])

        start = np.append(
            [values.min() * 0.8, np.log(values.mean() * 0.3)], np.zeros(mixtures.shape[1])
        )
        total += model(optimize.least_squares(residual, start, max_nfev=100).x, candidates)
    return total / losses.shape[1]


RIVAL = {
    "tpe": sampler("tpe"),
    "cma-es": sampler("cma-es"),
    "gp": sampler("gp"),
    "lightgbm": swarm("lightgbm"),
    "log-linear": swarm("log-linear"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    seeds = range(parser.parse_args().seeds)
    start = time.perf_counter()
    means: dict[str, dict[str, dict[int, float]]] = {}
    every: dict[str, dict[str, list[dict[int, float]]]] = {}
    for family in ("law-like", "alien"):
        world = truth(family)
        runs = {
            "ours": [ours(world, seed, 1, OURS) for seed in seeds],
            "ours, batches of 16": [ours(world, seed, 16, (BATCHED,)) for seed in seeds],
        }
        for name, rival in RIVAL.items():
            runs[name] = [rival(world, seed) for seed in seeds]
            print(
                family,
                name,
                {n: f"{np.mean([row[n] for row in runs[name]]):.3%}" for n in runs[name][0]},
                flush=True,
            )
        every[family] = runs
        means[family] = {
            name: {n: float(np.mean([row[n] for row in rows])) for n in rows[0]}
            for name, rows in runs.items()
        }
        print(
            family,
            "ours",
            {n: f"{value:.3%}" for n, value in means[family]["ours"].items()},
            flush=True,
        )

    def best_rival(family: str, runs: int) -> float:
        return min(means[family][name].get(runs, np.inf) for name in RIVAL)

    easy, hard = means["law-like"], means["alien"]
    third = best_rival("law-like", 256) / 3
    worst_step = max(row[b] / row[a] for row in every["alien"]["ours"] for a, b in ((32, 96),))
    batch = easy["ours, batches of 16"][BATCHED] / easy["ours"][32]
    claims = [
        Claim(
            claim="law-like: mean regret at 32 runs, %",
            goal=f"<= {100 * third:.3f} (a third of the best rival's at 256)",
            value=100 * easy["ours"][32],
            holds=easy["ours"][32] <= third,
        ),
        Claim(
            claim="alien: mean regret at 32 runs, %",
            goal=f"<= {100 * best_rival('alien', 64):.3f} (the best rival's at 64)",
            value=100 * hard["ours"][32],
            holds=hard["ours"][32] <= best_rival("alien", 64),
        ),
        Claim(
            claim="alien: mean regret at 96 runs, %",
            goal=f"<= {100 * best_rival('alien', 256):.3f} (the best rival's at 256)",
            value=100 * hard["ours"][96],
            holds=hard["ours"][96] <= best_rival("alien", 256),
        ),
        Claim(
            claim="alien: largest regret at 96 runs over that at 32 (a stall is 1)",
            goal="< 1",
            value=worst_step,
            holds=worst_step < 1,
        ),
        Claim(
            claim=f"law-like: regret of batches of 16 at {BATCHED} runs over one at a time at 32",
            goal="<= 1 (within 1.3 x the runs)",
            value=batch,
            holds=batch <= 1,
        ),
    ]
    record(
        "regret",
        claims,
        seconds=time.perf_counter() - start,
        extra={"mean_regret": means, "by_seed": every},
        notes=NOTES,
    )


if __name__ == "__main__":
    main()
