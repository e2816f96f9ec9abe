"""Quality of a law in a replay: its predictions against the losses of runs not in its fit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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
    runs: tuple[str, ...]
    """Names of the runs selected since the row before, in the order of the selection."""
    spearman: float
    """Rank correlation of predicted and measured losses of runs that the law was not fitted to,
    mean over targets; NaN where it is not defined."""
    mre: float
    """Mean relative error of these predictions, percent."""
    regret: float
    """What a sweep is for: mean loss over targets of the run that the law predicts best among all
    runs of the table at the target fidelity, relative to the best of them, minus 1: a fraction."""
    num_judged: int
    """Number of runs that `spearman` and `mre` are computed from."""
    cost: float | None
    """Cost of the selected runs, in units of one run at the target fidelity; None where all runs
    have one size and one last step."""


def judge(
    law: FittedLaw,
    table: LossTable,
    choices: LossTable,
    *,
    policy: str,
    seed: int,
    trials: int,
    runs: tuple[str, ...],
    cost: float | None,
) -> ReplayRow:
    """Compares a law's predictions with measured losses.

    Args:
        law: law of the selected runs.
        table: rows to judge predictions on, one for each run; columns of targets as in the law, at
            least.
        choices: rows that the law picks the best of, one for each run; columns as in `table`.
        policy, seed, trials, runs, cost: as in `ReplayRow`.
    """
    predicted, measured = _predicted(law, table), _measured(law, table)
    ranks = [_rank(predicted[:, k], measured[:, k]) for k in range(len(law.targets))]
    of_choices = _measured(law, choices)
    full = ~np.isnan(of_choices).any(axis=1)
    regret = np.nan
    if full.any():
        mean = of_choices[full].mean(axis=1)
        pick = _predicted(law, choices)[full].mean(axis=1).argmin()
        regret = float(mean[pick] / mean.min() - 1)
    return ReplayRow(
        policy=policy,
        seed=seed,
        trials=trials,
        runs=runs,
        num_judged=len(table),
        cost=cost,
        spearman=_mean(ranks),
        mre=float(100 * np.nanmean(np.abs(predicted / measured - 1))),
        regret=regret,
    )


def _predicted(law: FittedLaw, table: LossTable) -> Array:
    """Returns the (rows, law's targets) predicted losses of rows."""
    proportions = np.zeros((len(table), len(law.domains)))
    for column, name in enumerate(law.domains):
        if name in table.domains:
            proportions[:, column] = table.proportions[:, table.domains.index(name)]
    return law.losses(proportions, table.steps, None if law.sizes is None else table.sizes)


def _measured(law: FittedLaw, table: LossTable) -> Array:
    """Returns the (rows, law's targets) measured losses of rows."""
    columns = [table.targets.index(name) for name in law.targets]
    return losses_of(law.goals, law.targets, table.losses[:, columns])


def _rank(predicted: Array, measured: Array) -> float:
    from scipy.stats import spearmanr  # takes as long to import as the rest of the package

    there = ~np.isnan(measured)
    if there.sum() < 3 or np.ptp(predicted[there]) == 0 or np.ptp(measured[there]) == 0:
        return float("nan")
    return float(spearmanr(predicted[there], measured[there])[0])


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")
