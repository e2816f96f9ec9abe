"""Quality of a law in a replay: its predictions against the losses of runs not in its fit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from bimix_sweep.law.fitting.fit_law import FittedLaw
from bimix_sweep.mixture.goals import losses_of
from bimix_sweep.mixture.simplex import Array
from bimix_sweep.mixture.table import LossTable


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRow:
    """Quality of the law after a number of runs."""

    policy: str
    """One of POLICIES."""
    seed: int
    """Seed of the replay."""
    trials: int
    """Number of trials: runs selected."""
    spearman: float
    """Rank correlation of predicted and measured losses over the mixtures not selected, mean over
    targets; NaN where it is not defined."""
    mre: float
    """Mean relative error of the predictions, percent."""
    regret: float
    """Mean loss over targets of the row predicted best among the judged rows, relative to the best
    of them, minus 1: a fraction."""
    num_judged: int
    """Number of rows that the law was judged on."""
    cost: float | None
    """Cost of the selected runs, in units of one run at the target fidelity; None where all runs
    have one size and one last step."""


def judge(
    law: FittedLaw, table: LossTable, *, policy: str, seed: int, trials: int, cost: float | None
) -> ReplayRow:
    """Compares a law's predictions with the measured losses of a table.

    Args:
        law: law of the selected runs.
        table: rows to judge on, one for each run; columns of targets as in the law, at least.
        policy, seed, trials, cost: as in `ReplayRow`.
    """
    proportions = np.zeros((len(table), len(law.domains)))
    for column, name in enumerate(law.domains):
        if name in table.domains:
            proportions[:, column] = table.proportions[:, table.domains.index(name)]
    predicted = law.losses(proportions, table.steps, None if law.sizes is None else table.sizes)
    measured = losses_of(
        law.goals,
        law.targets,
        table.losses[:, [table.targets.index(name) for name in law.targets]],
    )
    ranks = [_rank(predicted[:, k], measured[:, k]) for k in range(len(law.targets))]
    full = ~np.isnan(measured).any(axis=1)
    regret = np.nan
    if full.any():
        mean = measured[full].mean(axis=1)
        regret = float(mean[predicted[full].mean(axis=1).argmin()] / mean.min() - 1)
    return ReplayRow(
        policy=policy,
        seed=seed,
        trials=trials,
        num_judged=len(table),
        cost=cost,
        spearman=_mean(ranks),
        mre=float(100 * np.nanmean(np.abs(predicted / measured - 1))),
        regret=regret,
    )


def _rank(predicted: Array, measured: Array) -> float:
    there = ~np.isnan(measured)
    if there.sum() < 3 or np.ptp(predicted[there]) == 0 or np.ptp(measured[there]) == 0:
        return float("nan")
    return float(spearmanr(predicted[there], measured[there])[0])


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")
