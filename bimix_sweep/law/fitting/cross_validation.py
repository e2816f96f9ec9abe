"""Cross-validates by mixture and chooses the law of each target.

The law with the smaller error on mixtures left out is chosen.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from bimix_sweep.law.fitting.fit_batch import FitBatch
from bimix_sweep.law.fitting.fit_data import FitData
from bimix_sweep.law.fitting.hierarchical_fit import HierarchicalFit
from bimix_sweep.law.fitting.map_fit import levenberg_marquardt
from bimix_sweep.law.fitting.normal_equations import Noise, NormalEquations
from bimix_sweep.law.model import jacobian
from bimix_sweep.law.model import transfer as tl
from bimix_sweep.law.model.observations import Index
from bimix_sweep.law.model.priors import Prior
from bimix_sweep.law.model.variances import VarianceComponents
from bimix_sweep.mixture.simplex import Array

MAX_FOLDS = 8
"""Largest number of groups in which mixtures are left out."""
LawErrors = dict[str, dict[str, float]]
"""{law: {name of an error: error}} of one target."""
JUDGED_FROM = 4
"""Number of mixtures from which held-out errors are stated as the reason for a choice.

With fewer, each mixture is predicted from two at most.
"""
BIMIX_BETTER = 0.85
"""Largest error of BiMix over that of the transfer law for BiMix to be chosen
(docs/evidence.md)."""
MAX_BATCH = 2_000_000
"""Largest problems x rows fitted together, to bound memory."""


def folds(batch: FitBatch, result: HierarchicalFit, generator: np.random.Generator | None) -> Array:
    """(problems, rows) log loss predicted for each row by a fit without the mixture of the row.

    Args:
        generator: assigns mixtures to folds; None assigns them in turn.
    """
    data, mixtures = batch.data, batch.num_mixtures
    count = min(MAX_FOLDS, mixtures)
    order = np.arange(mixtures) if generator is None else generator.permutation(mixtures)
    fold_of_row = (order[data.trials.mixture] % count)[data.trials.trial]
    fitted = fold_of_row[None, :] != np.arange(count)[:, None]
    out = np.empty_like(data.y)
    num, rows = data.y.shape
    chunk = max(1, MAX_BATCH // max(1, rows * num))
    for first in range(0, count, chunk):
        part = range(first, min(first + chunk, count))
        law = _refitted(result, data, fitted[first : part.stop])
        for position, fold in enumerate(part):
            out[:, ~fitted[fold]] = law[position][:, ~fitted[fold]]
    return out


def _refitted(result: HierarchicalFit, data: FitData, fitted: npt.NDArray[np.bool_]) -> Array:
    """(folds, problems, rows) log loss at all rows, by fits to a part of the rows.

    Args:
        fitted: (folds, rows) rows to which each fold is fitted.
    """
    many, (num, rows) = len(fitted), data.y.shape

    def repeated(values: Array) -> Array:
        return np.concatenate([values] * many)

    fit, prior = result.fit, result.prior
    again = levenberg_marquardt(
        repeated(fit.params),
        Prior(mean=repeated(prior.mean), sd=repeated(prior.sd), columns=prior.columns),
        Noise(trial=repeated(fit.noise.trial), point=repeated(fit.noise.point)),
        replace(
            data,
            y=repeated(data.y),
            weight=np.concatenate([data.weight * fold for fold in fitted]),
        ),
        iterations=25,
        tolerance=1e-4,
    )
    return tl.evaluate(again.params, data.inputs, ()).log_loss.reshape(many, num, rows)


def left_out(
    batch: FitBatch, result: HierarchicalFit, law: tl.Evaluation, state: NormalEquations
) -> Array:
    """(problems, rows) log loss predicted for each row without its trial, from one fit.

    Leaving out one trial at a time is approximated linearly.

    Args:
        law: the law at the fit.
        state: the normal equations at the fit.
    """
    trials, weight = batch.data.trials, batch.data.weight
    noise, columns = result.fit.noise, result.prior.columns
    covariance = np.linalg.inv(state.hessian)
    safe = np.maximum(trials.sums(weight), 1)
    mean_residual = trials.sums(state.residual) / safe
    mean = jacobian.means(law, trials, columns, result.fit.params.shape[1], weight)
    variance = noise.trial[:, None] + noise.point[:, None] / safe
    if batch.data.repeat_noise is not None:
        variance = variance * batch.data.repeat_noise.of_fit
    leverage = (np.matmul(mean, covariance) * mean).sum(axis=2) / variance
    shift = mean_residual * np.minimum(leverage / np.maximum(1 - leverage, 0.05), 20)
    return np.asarray(law.log_loss - shift[:, trials.trial])


def refit_errors(
    batch: FitBatch, chosen: Index, refitted: Array, linear: Array, variances: VarianceComponents
) -> tuple[Array, Array]:
    """Compares the error of real refits with that of the linear approximation.

    Args:
        chosen: chosen problems, one for each target.
        refitted: (problems, rows) predictions by `folds`.
        linear: (problems, rows) predictions by `left_out`.
        variances: variance components, of which the factors count.

    Returns:
        (targets,) sum of squared errors of the trials' means by real refits, over the factors on
        the trials' noise, and (targets,) this sum over that of the linear approximation, in
        [1, 10].
    """
    data = batch.data.of(chosen)
    counts = np.maximum(data.trials.sums(data.weight), 1)
    every = np.arange(counts.shape[1])

    def squares(predicted: Array) -> Array:
        error = data.trials.sums((data.y - predicted[chosen]) * data.weight) / counts
        squared = variances.standardised(error, every) ** 2
        return np.asarray(np.maximum(squared.sum(axis=1), 1e-300))

    by_refits, by_approximation = squares(refitted), squares(linear)
    return by_refits, np.clip(by_refits / by_approximation, 1.0, 10.0)


def rank_correlations(first: Array, second: Array, counted: npt.NDArray[np.bool_]) -> Array:
    """(problems,) Spearman's correlation over the columns that count.

    The correlation is 0 where fewer than three columns count or one side is constant.

    Args:
        first, second: (problems, trials).
        counted: (problems, trials).
    """
    from scipy.stats import rankdata  # takes as long to import as the rest of the package

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


def held_out_errors(
    batch: FitBatch, targets: tuple[str, ...], held_out: Array
) -> dict[str, LawErrors]:
    """Computes the errors of each law on mixtures left out.

    Args:
        held_out: (problems, rows) predicted log losses.

    Returns:
        {target: {law: errors}}, errors as in `FittedLaw.cross_validation`.
    """
    data = batch.data
    last = np.append(data.trials.starts[1:], len(data.trials.trial)) - 1
    errors: dict[str, LawErrors] = {name: {} for name in targets}
    correlations = rank_correlations(held_out[:, last], data.y[:, last], data.weight[:, last] > 0)
    for problem, t in enumerate(batch.target):
        counted = data.weight[problem] > 0
        relative = np.abs(np.expm1(held_out[problem] - data.y[problem]))[counted]
        ends = last[counted[last]]
        errors[targets[t]]["bimix" if batch.bimix[problem] else "transfer"] = {
            "mean_relative_error": float(relative.mean()),
            "worst": float(relative.max()),
            "last_step": float(
                np.abs(np.expm1(held_out[problem, ends] - data.y[problem, ends])).mean()
            )
            if ends.size
            else float(relative.mean()),
            "rank_correlation": float(correlations[problem]),
        }
    return errors


def choose_laws(
    errors: dict[str, LawErrors], law: str, num_mixtures: int
) -> tuple[dict[str, str], dict[str, str]]:
    """Chooses the law with the smaller held-out error for each target.

    Args:
        errors: result of `held_out_errors`.
        law: what was asked for: "bimix", "transfer" or "auto".

    Returns:
        {target: law} and {target: reason in words}.
    """
    choice, reasons = {}, {}
    for name, by_law in errors.items():
        best = min(
            by_law,
            key=lambda one: (
                by_law[one]["mean_relative_error"] * (BIMIX_BETTER if one == "transfer" else 1.0)
            ),
        )
        choice[name] = best
        if len(by_law) == 2:
            reasons[name] = f"{best}: {_comparison(by_law, best, num_mixtures)}"
        else:
            reasons[name] = f"{best}: " + (
                "as asked" if law != "auto" else "it has no domain of its own"
            )
    return choice, reasons


def _comparison(by_law: LawErrors, best: str, num_mixtures: int) -> str:
    if num_mixtures < JUDGED_FROM:
        return (
            f"{num_mixtures} mixtures are too few to judge; it missed the ones left out by less, "
            "which says little"
        )
    other = "bimix" if best == "transfer" else "transfer"
    error, other_error = (by_law[name]["mean_relative_error"] for name in (best, other))
    return f"{error:.2%} error on mixtures left out, {other} {other_error:.2%}" + (
        ", not enough lower" if other_error < error else ""
    )
