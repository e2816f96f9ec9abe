"""Leaving mixtures out: what each law predicts for trainings it has not seen decides which law a target gets."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from bimix_sweep.law.fitting.map_fit import Fit, Noise, Normal, fit_laws, minimise
from bimix_sweep.law.model import jacobian
from bimix_sweep.law.model import transfer as tl
from bimix_sweep.law.model.observations import Index, Runs
from bimix_sweep.law.model.priors import Common, Prior, Problems
from bimix_sweep.mixture.simplex import Array

MAX_FOLDS = 8
"""Mixtures are left out in at most this many groups."""
JUDGED_FROM = 4
"""Mixtures from which held-out errors judge between laws: of fewer, each is predicted from two at most."""
BIMIX_BETTER = 0.85
"""BiMix is taken where its error on mixtures left out is below this share of the transfer law's. That one contains BiMix, and
few mixtures flatter the smaller law by chance: on the 17-domain swarm taking the smaller error cost .001 of rank correlation at 32 runs; with
3 to 6 mixtures of the published curves a stricter rule costs more than it gains."""
BATCH = 2_000_000
"""Largest problems x rows fitted together, to bound memory."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Every (target, law) to be fitted, as one batch."""

    runs: Runs
    design: tl.Design
    reference: tuple[float, float]
    target: Index
    """(problems,)."""
    bimix: npt.NDArray[np.bool_]
    y: Array
    """(problems, rows)."""
    weight: Array
    start: Array
    noise: Noise | None
    problems: Problems
    common: Common
    notes: tuple[str, ...]

    def fit(self) -> tuple[Fit, Prior, Common]:
        return fit_laws(
            self.start,
            self.problems,
            self.common,
            self.runs,
            self.design,
            self.y,
            self.weight,
            noise=self.noise,
        )

    def index(self, target: int, law: str) -> int:
        return int(np.flatnonzero((self.target == target) & (self.bimix == (law == "bimix")))[0])


def folds(batch: Batch, fit: Fit, prior: Prior, generator: np.random.Generator | None) -> Array:
    """(problems, rows) log loss each row gets from a fit that saw none of its mixture."""
    runs = batch.runs
    mixtures = int(runs.mixture.max()) + 1
    count = min(MAX_FOLDS, mixtures)
    order = np.arange(mixtures) if generator is None else generator.permutation(mixtures)
    fold_of_row = (order[runs.mixture] % count)[runs.run]
    left = fold_of_row[None, :] != np.arange(count)[:, None]
    out = np.empty_like(batch.y)
    num, rows = batch.y.shape
    chunk = max(1, BATCH // max(1, rows * num))
    for first in range(0, count, chunk):
        folds = range(first, min(first + chunk, count))
        many = len(folds)
        weight = np.concatenate([batch.weight * left[f] for f in folds])
        noise = Noise(offset=_repeat(many, fit.noise.offset), point=_repeat(many, fit.noise.point))
        part = Prior(
            mean=_repeat(many, prior.mean), sd=_repeat(many, prior.sd), columns=prior.columns
        )
        again = minimise(
            _repeat(many, fit.params),
            part,
            noise,
            runs,
            batch.design,
            _repeat(many, batch.y),
            weight,
            iterations=25,
            tolerance=1e-4,
        )
        law = tl.evaluate(again.params, batch.design, ()).log_loss.reshape(many, num, rows)
        for position, f in enumerate(folds):
            out[:, ~left[f]] = law[position][:, ~left[f]]
    return out


def _repeat(times: int, values: Array) -> Array:
    return np.concatenate([values] * times)


def left_out(batch: Batch, fit: Fit, prior: Prior, law: tl.Evaluation, state: Normal) -> Array:
    """The same from one fit, `law` and `state` the law and the normal equations there: the linear approximation of leaving out one training at a time."""
    runs = batch.runs
    covariance = np.linalg.inv(state.hessian)
    safe = np.maximum(runs.sums(batch.weight), 1)
    mean_residual = runs.sums(state.residual) / safe
    mean = jacobian.means(law, runs, prior.columns, fit.params.shape[1], batch.weight)
    variance = fit.noise.offset[:, None] + fit.noise.point[:, None] / safe
    leverage = (np.matmul(mean, covariance) * mean).sum(axis=2) / variance
    shift = mean_residual * np.minimum(leverage / np.maximum(1 - leverage, 0.05), 20)
    return np.asarray(law.log_loss - shift[:, runs.run])


def misfit(batch: Batch, picked: Index, refitted: Array, quick: Array) -> tuple[Array, Array]:
    """(targets,) sum of squared misses of trainings' means by real refits, and the same over those of the linear rule, in [1, 10].

    Args:
        picked: problems chosen, one a target.
        refitted, quick: (problems, rows) what `folds` and `left_out` gave.
    """
    runs, weight = batch.runs, batch.weight[picked]
    counts = np.maximum(runs.sums(weight), 1)
    real, linear = (
        np.maximum(
            ((runs.sums((batch.y[picked] - guess[picked]) * weight) / counts) ** 2).sum(axis=1),
            1e-300,
        )
        for guess in (refitted, quick)
    )
    return real, np.clip(real / linear, 1.0, 10.0)


def rank_correlations(first: Array, second: Array, counted: npt.NDArray[np.bool_]) -> Array:
    """(problems,) Spearman's correlation over the columns that count, 0 where fewer than three do or one side is constant.

    Args:
        first, second: (problems, runs).
        counted: (problems, runs).
    """
    out = np.zeros(len(first))
    patterns, member = np.unique(counted, axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        problems = np.flatnonzero(member.reshape(-1) == number)
        if pattern.sum() < 3:
            continue
        a, b = (
            rankdata(side[problems][:, pattern], axis=1) - (pattern.sum() + 1) / 2
            for side in (first, second)
        )
        scale = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
        out[problems] = np.divide(
            (a * b).sum(axis=1), scale, out=np.zeros(len(problems)), where=scale > 0
        )
    return out


def choose(
    batch: Batch, targets: tuple[str, ...], law: str, held_out: Array
) -> tuple[dict[str, str], dict[str, dict[str, dict[str, float]]], dict[str, str]]:
    """The law with the smaller held-out error for each target, all errors, and the reason in words."""
    runs = batch.runs
    last = np.append(runs.starts[1:], len(runs.run)) - 1
    errors: dict[str, dict[str, dict[str, float]]] = {name: {} for name in targets}
    correlations = rank_correlations(held_out[:, last], batch.y[:, last], batch.weight[:, last] > 0)
    for problem, t in enumerate(batch.target):
        counted = batch.weight[problem] > 0
        relative = np.abs(np.expm1(held_out[problem] - batch.y[problem]))[counted]
        ends = last[counted[last]]
        errors[targets[t]]["bimix" if batch.bimix[problem] else "transfer"] = {
            "mean_relative_error": float(relative.mean()),
            "worst": float(relative.max()),
            "last_step": float(
                np.abs(np.expm1(held_out[problem, ends] - batch.y[problem, ends])).mean()
            )
            if ends.size
            else float(relative.mean()),
            "rank_correlation": float(correlations[problem]),
        }
    choice, reasons, mixtures = {}, {}, int(runs.mixture.max()) + 1
    for name, by_law in errors.items():
        best = min(
            by_law,
            key=lambda one: (
                by_law[one]["mean_relative_error"] * (BIMIX_BETTER if one == "transfer" else 1.0)
            ),
        )
        choice[name] = best
        if len(by_law) == 2 and mixtures < JUDGED_FROM:
            reasons[name] = (
                f"{best}: {mixtures} mixtures are too few to judge; it missed the ones left out by less, which says little"
            )
        elif len(by_law) == 2:
            other = "bimix" if best == "transfer" else "transfer"
            reasons[name] = (
                f"{best}: {by_law[best]['mean_relative_error']:.2%} error on mixtures left out, {other} {by_law[other]['mean_relative_error']:.2%}"
                + (
                    ", not enough lower"
                    if by_law[other]["mean_relative_error"] < by_law[best]["mean_relative_error"]
                    else ""
                )
            )
        else:
            reasons[name] = f"{best}: " + (
                "as asked" if law != "auto" else "it has no domain of its own"
            )
    return choice, errors, reasons
