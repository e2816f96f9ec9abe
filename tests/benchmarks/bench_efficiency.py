"""Claim: a few random 1M runs of the published swarm (17 domains, 13 targets) predict 256 unseen mixtures as well as rivals do from 512.

Hyper-parameters of ours were chosen on the training runs alone (see law/model/priors.py). Five draws, the same for all methods.
"""

import time

import numpy as np

from bimix_sweep.design.replay.replay import replay
from bimix_sweep.law.fitting.fit_law import fit_law
from bimix_sweep.mixture.table import LossTable
from bimix_sweep.seeding import rng
from tests.benchmarks.published import swarm
from tests.benchmarks.recording import Claim, record
from tests.benchmarks.rivals import error, gaussian_process, lightgbm, log_linear, rank

HARD = "dm_mathematics"
"""Target of most large misses: a proportion of .001 lowers its loss by a third, and proportions are published with three decimals."""
SEEDS = 5
GOALS = {24: 0.965, 32: 0.981, 64: 0.987, 512: 0.992}
CHOSEN = {20: 0.950, 24: 0.975, 32: 0.985}


def hidden_share(small: LossTable, large: LossTable, missed: np.ndarray) -> str:
    """Whether the misses at a published proportion of 0 are chance: a mixture that 1M and 60M trials both find easy holds some of the domain."""
    target, share = small.targets.index(HARD), small.proportions[:, small.domains.index(HARD)]
    beside = {trial.rsplit("-", 1)[1]: row for row, trial in enumerate(large.trials)}
    sixty = np.array(
        [large.losses[beside[trial.rsplit("-", 1)[1]], target] for trial in small.trials]
    )
    absent, few = share == 0, (share > 0) & (share < 0.0015)
    easy = absent & missed[:, target]
    rank_60m = [float((sixty[absent] <= loss).mean()) for loss in sixty[easy]]
    return (
        f"Limit: {easy.sum()} of the {missed.sum()} losses that 512 runs miss by more than 15 % are {HARD} at a published proportion of 0, where the measured loss "
        f"is {small.losses[easy, target].mean():.2f} against a median of {np.median(small.losses[absent, target]):.2f} of all {absent.sum()} such mixtures and "
        f"{np.median(small.losses[few, target]):.2f} at a proportion of .001. The same mixtures trained at 60M are among the lowest {100 * max(rank_60m):.0f} % of those "
        f"{absent.sum()} again, so it is no chance of one trial: they hold a proportion below .0005 that rounding hides, and no law of the published proportions can tell "
        "them from mixtures without any: from 512 runs ours and LightGBM miss one of them by more than 30 % too, as the claims say. Tried without gain on the "
        "training runs (20 draws of 16, 20, 24 and 32, the others predicted): tighter bounds on what may be predicted, down to none above the worst fitted "
        "run, leave the worst miss at 31 to 33 % on average at every one of these numbers."
    )


def main() -> None:
    started = time.perf_counter()
    train, small, large = swarm("train", "1m"), swarm("test", "1m"), swarm("test", "60m")
    rows: dict[str, dict[str, list[float]]] = {}
    # shares below .0005 are published as 0, and a little mathematics halves the loss on it: where 512 runs cannot tell, 16 cannot
    full = [
        fit_law(train).predict(small.proportions, small.steps),
        lightgbm(train.proportions, train.losses, small.proportions),
    ]
    beyond = np.any([np.abs(loss / small.losses - 1) > 0.15 for loss in full], axis=0)

    def keep(method: str, n: int, **values: float) -> None:
        slot = rows.setdefault(f"{method} n={n}", {})
        for key, value in values.items():
            slot.setdefault(key, []).append(float(value))

    for n in (16, 20, 24, 32, 64, 512):
        for seed in range(SEEDS if n < 512 else 1):
            seen = train.select(np.sort(rng(seed, "efficiency", n).permutation(len(train))[:n]))
            law = fit_law(seen)
            loss, sd = law.predict_with_sd(small.proportions, small.steps, noise=True)
            sixty = law.predict(large.proportions, large.steps)
            keep(
                "ours",
                n,
                rho=rank(loss, small.losses),
                mre=error(loss, small.losses),
                worst=100 * np.abs(loss / small.losses - 1).max(),
                worst_knowable=100 * np.abs(loss / small.losses - 1)[~beyond].max(),
                rho_60m=rank(sixty, large.losses),
                cover=np.mean(np.abs(loss - small.losses) < 1.96 * sd),
                median_rho=float(
                    np.median(
                        [
                            rank(loss[:, [k]], small.losses[:, [k]])
                            for k in range(len(small.targets))
                        ]
                    )
                ),
            )
            if n in (24, 64, 512):
                for name, method in (
                    ("log-linear", log_linear),
                    ("LightGBM", lightgbm),
                    ("Gaussian process", gaussian_process),
                ):
                    if name == "Gaussian process" and n == 512:
                        continue
                    rival = method(seen.proportions, seen.losses, small.proportions)
                    over = (
                        method(seen.proportions, seen.losses, large.proportions)
                        if n == 64 and name != "Gaussian process"
                        else None
                    )
                    keep(name, n, rho=rank(rival, small.losses), mre=error(rival, small.losses))
                    if over is not None:
                        keep(name, n, rho_60m=rank(over, large.losses))
        print(
            n, {k: round(float(np.mean(v)), 4) for k, v in rows[f"ours n={n}"].items()}, flush=True
        )
    for policy in ("predictions", "informative", "random"):
        for seed in range(SEEDS):
            for row in replay(train, trials=32, policy=policy, heldout=small, seed=seed):
                if row.trials in CHOSEN:
                    keep(policy, row.trials, rho=row.spearman, mre=row.mre)
    mean = lambda key, value: float(np.mean(rows[key][value]))  # noqa: E731
    span = lambda key, value: [min(rows[key][value]), max(rows[key][value])]  # noqa: E731
    claims = [
        Claim(
            claim=f"rank correlation on 256 unseen 1M mixtures, {n} random runs",
            goal=f">= {goal}",
            value=mean(f"ours n={n}", "rho"),
            spread=span(f"ours n={n}", "rho"),
            holds=mean(f"ours n={n}", "rho") >= goal,
        )
        for n, goal in GOALS.items()
    ]
    value = mean("ours n=512", "mre")
    claims.append(
        Claim(
            claim="relative error from 512 runs, %", goal="<= .95", value=value, holds=value <= 0.95
        )
    )
    value = mean("ours n=64", "rho_60m")
    claims.append(
        Claim(
            claim="rank correlation at 60M from 64 1M runs",
            goal=">= .983",
            value=value,
            spread=span("ours n=64", "rho_60m"),
            holds=value >= 0.983,
        )
    )
    for n in (16, 20):
        value = max(rows[f"ours n={n}"]["worst"])
        reference = 100 * np.abs(full[1] / small.losses - 1).max()
        claims.append(
            Claim(
                claim=f"worst single prediction from {n} runs, % (from 512: ours {100 * np.abs(full[0] / small.losses - 1).max():.0f}, LightGBM {reference:.0f})",
                goal="<= 30",
                value=value,
                holds=value <= 30,
            )
        )
        value = max(rows[f"ours n={n}"]["worst_knowable"])
        claims.append(
            Claim(
                claim=f"the same without the {beyond.sum()} of {beyond.size} that 512 runs miss by > 15 %",
                goal="<= 30",
                value=value,
                holds=value <= 30,
            )
        )
    for n, goal in CHOSEN.items():
        value, by_chance = mean(f"predictions n={n}", "rho"), mean(f"random n={n}", "rho")
        as_a_sweep = mean(f"informative n={n}", "rho")
        claims.append(
            Claim(
                claim=f"rank correlation, {n} runs chosen for predictions (as a sweep, which looks for the best mixture, chooses: {as_a_sweep:.4f}; random choice: {by_chance:.4f})",
                goal=f">= {goal}, > random",
                value=value,
                spread=span(f"predictions n={n}", "rho"),
                holds=value >= goal and value > by_chance,
            )
        )
    summary = {
        key: {name: float(np.mean(v)) for name, v in slot.items()} for key, slot in rows.items()
    }
    record(
        "efficiency",
        claims,
        seconds=time.perf_counter() - started,
        extra={"methods": summary},
        notes=[hidden_share(small, large, beyond)],
    )


if __name__ == "__main__":
    main()
