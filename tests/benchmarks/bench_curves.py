"""Claim: on published curves (7 domains, 22 targets, three sizes) mixtures left out are predicted at every checkpoint, closer than by log-linear.

One law is fitted to the three sizes together, five deals of the mixtures into 4 folds; a mixture left out is left out of every size. The same law
fitted to each size alone, as in earlier versions of this page, stands beside it. The law's hyper-parameters were chosen on half of the 70M
mixtures (law/model/priors.py); where that could not tell, near-equal variants were compared by folds of all 70M and 160M mixtures and partly of 305M,
so no size here is fully untouched: how slopes and transfer weights move with size was chosen by curves of a size predicted from a smaller one and few of their own. 16 variants (process,
curvature, floor, slope, how slopes move with size and step), compared by three folds inside each of four training sets, lowered the error there by
.003 % at most; none was taken.

What limits the numbers is measured in the same run: in worlds where the fitted law is the truth, with the offsets and point noise it estimates,
the truth itself misses the measurements by so much, and the law fitted by the same folds by so much more. And the error of someone who has trained
the left-out mixture itself at the next smaller size, and carries it over by a line for each target through the other mixtures.
"""

import time

import numpy as np

from bimix_sweep.law.fitting.fit_law import fit_law
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.mixture.table import LossTable
from bimix_sweep.seeding import rng
from tests.benchmarks.published import OWN, changed, curves, mixture_ids, stacked
from tests.benchmarks.recording import Claim, record
from tests.benchmarks.rivals import log_linear

SEEDS = 5
FOLDS = 4
WORLDS = 3
SIZES = ("70M", "160M", "305M")
Scores = dict[str, list[float]]


def judged(predicted: np.ndarray, measured: np.ndarray, last: np.ndarray) -> dict[str, float]:
    """Errors in percent over all checkpoints; R2 over mixtures at the last one."""
    by_target = np.abs(predicted / measured - 1).mean(axis=0) * 100
    rest = ((predicted - measured)[last] ** 2).sum(axis=0)
    r2 = 1 - rest / ((measured[last] - measured[last].mean(axis=0)) ** 2).sum(axis=0)
    return {
        "mre": float(by_target.mean()),
        "median_mre": float(np.median(by_target)),
        "median_r2": float(np.median(r2)),
    }


def left_out(table: LossTable, seed: int, *, rival: bool = False) -> np.ndarray:
    """(rows, targets) predictions from fits that did not see the row's mixture at any size."""
    mixture = mixture_ids(table)
    fold = (rng(seed, "curves").permutation(mixture.max() + 1) % FOLDS)[mixture]
    out = np.empty_like(table.losses)
    for number in range(FOLDS):
        seen, rest = table.select(fold != number), fold == number
        if rival:
            out[rest] = log_linear(
                seen.proportions,
                seen.losses,
                table.proportions[rest],
                steps=seen.steps,
                unseen_steps=table.steps[rest],
            )
        else:
            out[rest] = fit_law(seen, own=OWN).predict(
                table.proportions[rest], table.steps[rest], table.sizes[rest]
            )
    return out


def planted(table: LossTable, law: FittedLaw, seed: int) -> tuple[np.ndarray, LossTable]:
    """(rows, targets) losses of a world where the law is right, and the table that trials with its noise would measure there."""
    generator = rng(seed, "curves planted")
    number = {trial: index for index, trial in enumerate(dict.fromkeys(table.trials))}
    training = np.array([number[trial] for trial in table.trials])
    root = np.linalg.cholesky(law.correlation + 1e-9 * np.eye(len(law.targets)))
    offset = (
        generator.standard_normal((len(number), len(law.targets)))
        @ root.T
        * np.sqrt(law.conditioned.variances.trial)
    )
    truth = law.predict(table.proportions, table.steps, table.sizes)
    noise = offset[training] + generator.standard_normal(truth.shape) * np.sqrt(
        law.conditioned.variances.point
    )
    return truth, changed(table, losses=truth * np.exp(noise))


def carried_over(small: LossTable, large: LossTable) -> float:
    """Error in percent at the last step: each mixture's loss at the smaller size through a line fitted to the other mixtures, mean over targets."""
    ends = [
        {np.round(t.proportions[row], 6).tobytes(): t.losses[row] for row in t.last_rows()}
        for t in (small, large)
    ]
    both = [mixture for mixture in ends[1] if mixture in ends[0]]
    x, y = (np.log([end[mixture] for mixture in both]) for end in ends)
    missed = np.empty_like(y)
    for row in range(len(both)):
        rest = np.arange(len(both)) != row
        centre = x[rest].mean(axis=0)
        slope = ((x[rest] - centre) * y[rest]).sum(axis=0) / ((x[rest] - centre) ** 2).sum(axis=0)
        missed[row] = np.expm1(y[rest].mean(axis=0) + slope * (x[row] - centre) - y[row])
    return float(np.abs(missed).mean() * 100)


def main() -> None:
    started = time.perf_counter()
    rows: dict[str, dict[str, Scores]] = {}

    def keep(method: str, size: str, values: dict[str, float]) -> None:
        for key, value in values.items():
            rows.setdefault(method, {}).setdefault(size, {}).setdefault(key, []).append(value)

    alone = {size: curves(size, with_size=True) for size in SIZES}
    table = stacked(*alone.values())
    part = np.array([SIZES[int(trial.split("/")[0])] for trial in table.trials])

    def keep_each(method: str, predicted: np.ndarray, measured: np.ndarray) -> None:
        for size in SIZES:
            keep(
                method,
                size,
                judged(predicted[part == size], measured[part == size], alone[size].last_rows()),
            )

    law = fit_law(table, own=OWN)
    keep_each(
        "fitted to all mixtures",
        law.predict(table.proportions, table.steps, table.sizes),
        table.losses,
    )
    for seed in range(SEEDS):
        keep_each("ours", left_out(table, seed), table.losses)
    for seed in range(WORLDS):
        truth, world = planted(table, law, seed)
        keep_each("the truth of a planted world", truth, world.losses)
        keep_each("ours in a planted world", left_out(world, seed), world.losses)
    for size in SIZES:
        single = curves(size)
        last, mixture = single.last_rows(), mixture_ids(single)
        for seed in range(SEEDS):
            keep("ours, each size alone", size, judged(left_out(single, seed), single.losses, last))
            if seed == 0:
                keep(
                    "log-linear, each size alone",
                    size,
                    judged(left_out(single, seed, rival=True), single.losses, last),
                )
            ten = np.isin(mixture, rng(seed, "ten").permutation(mixture.max() + 1)[:10])
            rest = single.select(~ten)
            few = fit_law(single.select(ten), own=OWN).predict(rest.proportions, rest.steps)
            keep(
                "ours, 10 mixtures, each size alone",
                size,
                judged(few, rest.losses, rest.last_rows()),
            )
        print(
            size,
            {m: {k: round(float(np.mean(v)), 4) for k, v in rows[m][size].items()} for m in rows},
            flush=True,
        )
    mean = lambda method, key: float(np.mean([np.mean(rows[method][size][key]) for size in SIZES]))  # noqa: E731
    spread = lambda method, key: {size: float(np.mean(rows[method][size][key])) for size in SIZES}  # noqa: E731
    own = {key: mean("ours, each size alone", key) for key in ("mre", "median_mre", "median_r2")}
    rival = mean("log-linear, each size alone", "median_mre")  # its mean is a few blow-ups
    claims = [
        Claim(
            claim=f"error on mixtures left out, %, mean over targets and sizes (each size fitted alone: {own['mre']:.3f})",
            goal="<= .38",
            value=mean("ours", "mre"),
            spread=spread("ours", "mre"),
            holds=mean("ours", "mre") <= 0.38,
        ),
        Claim(
            claim=f"the same, median over targets, % (each size alone: {own['median_mre']:.3f})",
            goal="<= .38",
            value=mean("ours", "median_mre"),
            spread=spread("ours", "median_mre"),
            holds=mean("ours", "median_mre") <= 0.38,
        ),
        Claim(
            claim=f"median R2 at the last step (each size alone: {own['median_r2']:.3f})",
            goal=">= .95",
            value=mean("ours", "median_r2"),
            spread=spread("ours", "median_r2"),
            holds=mean("ours", "median_r2") >= 0.95,
        ),
        Claim(
            claim="error from 10 mixtures, each size alone, %",
            goal="<= .8",
            value=mean("ours, 10 mixtures, each size alone", "mre"),
            spread=spread("ours, 10 mixtures, each size alone", "mre"),
            holds=mean("ours, 10 mixtures, each size alone", "mre") <= 0.8,
        ),
        Claim(
            claim=f"error of log-linear over ours, each size alone, same folds, medians over targets (log-linear {rival:.3f} %)",
            goal=">= 1.2",
            value=rival / own["median_mre"],
            holds=rival >= 1.2 * own["median_mre"],
        ),
    ]
    truth_of, world_of = (
        {key: mean(name, key) for key in ("mre", "median_mre", "median_r2")}
        for name in ("the truth of a planted world", "ours in a planted world")
    )
    carried = {
        f"{small} to {large}": carried_over(alone[small], alone[large])
        for small, large in (("70M", "160M"), ("160M", "305M"))
    }
    notes = [
        f"Limit: in {WORLDS} planted worlds where the law is right and trials scatter as estimated here, the truth itself misses the measurements by "
        f"{truth_of['mre']:.3f} % (median over targets {truth_of['median_mre']:.3f}, R2 {truth_of['median_r2']:.3f}), and the law fitted by the same folds by "
        f"{world_of['mre']:.3f} % ({world_of['median_mre']:.3f}, R2 {world_of['median_r2']:.3f}): what is missing on the published curves is noise of single "
        f"trials, which no mixture left out can be predicted without. That estimate calls noise what neither law nor process explains. Without any law: whoever "
        f"trained the left-out mixture itself at the next smaller size and carries its last loss over by a line errs by "
        + ", ".join(f"{value:.3f} % ({way})" for way, value in carried.items())
        + ".",
        "Tried without gain: a free level for each checkpoint, 16 settings of priors and process by nested folds, Student-t weights, full covariance of log t, "
        "other kernels, tighter curvature.",
    ]
    summary = {
        m: {s: {k: float(np.mean(v)) for k, v in scores.items()} for s, scores in sizes.items()}
        for m, sizes in rows.items()
    }
    record(
        "curves",
        claims,
        seconds=time.perf_counter() - started,
        extra={"methods": summary, "carried over, %": carried},
        notes=notes,
    )


if __name__ == "__main__":
    main()
