"""Cross-validates by mixture and chooses the law of each target.

The law with the smaller error on mixtures left out is chosen.
"""

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
"""Largest number of groups in which mixtures are left out."""
JUDGED_FROM = 4
"""Number of mixtures from which held-out errors are stated as the reason for a choice.

With fewer, each mixture is predicted from two at most.
"""
BIMIX_BETTER = 0.85
"""Largest error of BiMix over that of the transfer law for BiMix to be chosen
(docs/evidence.md)."""
BATCH = 2_000_000
"""Largest problems x rows fitted together, to bound memory."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """All (target, law) pairs to be fitted, as one batch."""

    runs: Runs
    """Trials, grouped for fitting."""
    design: tl.Design
    """Inputs of the law."""
    reference: tuple[float, float]
    """s0 and N0 of the law."""
    target: Index
    """(problems,) index of the target."""
    bimix: npt.NDArray[np.bool_]
    """(problems,) True for BiMix, False for the transfer law."""
    y: Array
    """(problems, rows) log losses, 0 where not measured."""
    weight: Array
    """(problems, rows) 1 where measured, else 0."""
    start: Array
    """(problems, parameters) where the fit starts."""
    noise: Noise | None
    """Noise of the earlier fit; None for a cold fit."""
    problems: Problems
    """Which law is fitted to which target."""
    common: Common
    """Shared values to start from."""
    notes: tuple[str, ...]
    """Notes for the user on the trials and targets."""

    def fit(self) -> tuple[Fit, Prior, Common]:
        """Fits all problems; see `fit_laws`."""
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
        """Returns the problem of a target and a law ("bimix" or "transfer")."""
        return int(np.flatnonzero((self.target == target) & (self.bimix == (law == "bimix")))[0])


def folds(batch: Batch, fit: Fit, prior: Prior, generator: np.random.Generator | None) -> Array:
    """(problems, rows) log loss predicted for each row by a fit without the mixture of the row.

    Args:
        generator: assigns mixtures to folds; None assigns them in turn.
    """
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
    """(problems, rows) log loss predicted for each row without its trial, from one fit.

    Leaving out one trial at a time is approximated linearly.

    Args:
        law: the law at the fit.
        state: the normal equations at the fit.
    """
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
    """Compares the error of real refits with that of the linear approximation.

    Args:
        picked: chosen problems, one for each target.
        refitted: (problems, rows) predictions by `folds`.
        quick: (problems, rows) predictions by `left_out`.

    Returns:
        (targets,) sum of squared errors of the trials' means by real refits, and (targets,) this
        sum over that of the linear approximation, in [1, 10].
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
    """(problems,) Spearman's correlation over the columns that count.

    The correlation is 0 where fewer than three columns count or one side is constant.

    Args:
        first, second: (problems, trials).
        counted: (problems, trials).
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
    """Chooses the law with the smaller held-out error for each target.

    Returns:
        {target: law}, {target: {law: errors}} and {target: reason in words}.
    """
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
                f"{best}: {mixtures} mixtures are too few to judge; it missed the ones left out by "
                "less, which says little"
            )
        elif len(by_law) == 2:
            other = "bimix" if best == "transfer" else "transfer"
            reasons[name] = (
                f"{best}: {by_law[best]['mean_relative_error']:.2%} error on mixtures left out, "
                f"{other} {by_law[other]['mean_relative_error']:.2%}"
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
