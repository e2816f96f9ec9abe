"""The loop against a finished table: which of its mixtures would it have looked at, and what would it have known by then.

A run of the table is looked at by taking its losses out of the table; nothing is trained. Quality is judged at every run's
last step on rows not looked at: the held-out table's, else the rest of the table. Since it is judged on predictions of all mixtures,
the variance over all of them weighs more in the choice than in a sweep, which only has to find the optimum.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from bimix_sweep.design.acquisition import choose, contending
from bimix_sweep.design.initial import most_informative
from bimix_sweep.design.scale import Scale
from bimix_sweep.errors import SweepError
from bimix_sweep.law.optimum import ask
from bimix_sweep.law.selection import FittedLaw, fit_law
from bimix_sweep.mixture.domains import DomainSet
from bimix_sweep.mixture.simplex import Array
from bimix_sweep.mixture.table import LossTable
from bimix_sweep.seeding import rng

POLICIES = ("informative", "random")
"""informative: as a sweep would choose; random: uniformly."""
LEARNING = 30.0
"""Weight of the variance over all mixtures beside the regret, in `acquisition.choose`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRow:
    """What was known after some runs."""

    policy: str
    """One of POLICIES."""
    seed: int
    """Of the replay."""
    runs: int
    """How many were looked at."""
    spearman: float
    """Rank correlation of predicted and measured losses over the unseen mixtures, mean over targets; NaN where it is not defined."""
    mre: float
    """Mean relative error of the predictions, percent."""
    regret: float
    """Mean loss over targets of the row predicted best among the unseen ones, above the best of them, a fraction."""


def replay(
    table: LossTable, *, runs: int, start: int | None = None, policy: str = "informative", slots: int = 1,
    heldout: LossTable | None = None, seed: int = 0,
) -> tuple[ReplayRow, ...]:  # fmt: skip
    """Look at up to `runs` runs of a table one batch after another, and judge the law after each batch.

    Args:
        table: finished runs.
        runs: how many to look at in all.
        start: how many before the law is first fitted; default: domains + 3, at most half of `runs`.
        policy: "informative" or "random".
        slots: runs chosen at once, without knowing each other's losses.
        heldout: finished runs to judge on; default: the runs not looked at.
        seed: of everything random.

    Raises:
        SweepError: an unknown policy, more runs than the table has, or a held-out table of other domains or targets.
    """
    last = table.last_rows()
    start = max(2, min(len(table.domains) + 3, runs // 2)) if start is None else start
    if policy not in POLICIES:
        raise SweepError(f"policy {policy!r} is not known; need one of {', '.join(POLICIES)}")
    if not 2 <= start <= runs <= len(last):
        raise SweepError(f"start {start} and runs {runs} do not fit a table of {len(last)} runs; need 2 <= start <= runs <= {len(last)}")
    if slots < 1:
        raise SweepError(f"slots is {slots}; need at least 1")
    if heldout is None and runs == len(last):
        raise SweepError(f"all {runs} runs would be looked at and none is left to judge on; give a held-out table or fewer runs")
    if heldout is not None:
        _check_alike(table, heldout)
    run_ids, generator = table.run_ids(), rng(seed, "replay", policy)
    seen = _first(table.proportions[last], start, policy, generator)
    rows: list[ReplayRow] = []
    while True:
        known = table.select(np.isin(run_ids, seen))
        law = fit_law(known, generator=rng(seed, "replay fit", len(seen)))
        unseen = np.setdiff1d(np.arange(len(last)), seen)
        rows.append(_judge(law, table.select(last[unseen]) if heldout is None else _last(heldout), policy, seed, len(seen)))
        if len(seen) == runs:
            return tuple(rows)
        count = min(slots, runs - len(seen))
        if policy == "random":
            seen = [*seen, *(int(i) for i in generator.choice(unseen, count, replace=False))]
        else:
            seen = [*seen, *_chosen(law, table.proportions[last], unseen, count, table.proportions[last[seen]], generator)]


def _first(mixtures: Array, count: int, policy: str, generator: np.random.Generator) -> list[int]:
    if policy == "random":
        return [int(i) for i in generator.choice(len(mixtures), count, replace=False)]
    seen: list[int] = [int(np.abs(mixtures - 1 / mixtures.shape[1]).sum(axis=1).argmin())]
    while len(seen) < count:
        left = generator.permutation(np.setdiff1d(np.arange(len(mixtures)), seen))[:400]
        seen.append(int(left[most_informative(mixtures[left], mixtures[seen])]))
    return seen


def _chosen(law: FittedLaw, mixtures: Array, unseen: np.ndarray, count: int, measured: Array, generator: np.random.Generator) -> list[int]:
    question = ask(law, DomainSet(names=law.domains))
    contenders = contending(question, generator)
    picked: list[int] = []
    one = Scale(size=question.size or 1.0, steps=question.step)
    for _ in range(count):
        left = np.setdiff1d(unseen, picked)
        best, _ = choose(
            question, contenders, mixtures[left], [one] * len(left), mixtures[picked], [one] * len(picked), generator, LEARNING
        )
        picked.append(int(left[best]))
    return picked


def _check_alike(table: LossTable, heldout: LossTable) -> None:
    """Raises SweepError where the held-out runs can't be predicted from the others."""
    if missing := [name for name in table.targets if name not in heldout.targets]:
        raise SweepError(f"the held-out runs lack loss_{missing[0]}; need the targets {', '.join(table.targets)}")
    for column, name in enumerate(heldout.domains):
        if name not in table.domains and heldout.proportions[:, column].any():
            raise SweepError(f"the held-out runs hold {name}, the others don't; they know {', '.join(table.domains)}")


def _last(table: LossTable) -> LossTable:
    return table.select(table.last_rows())


def _judge(law: FittedLaw, table: LossTable, policy: str, seed: int, runs: int) -> ReplayRow:
    proportions = np.zeros((len(table), len(law.domains)))
    for column, name in enumerate(law.domains):
        if name in table.domains:
            proportions[:, column] = table.proportions[:, table.domains.index(name)]
    predicted = law.predict(proportions, table.steps, None if law.sizes is None else table.sizes)
    measured = table.losses[:, [table.targets.index(name) for name in law.targets]]
    ranks = [_rank(predicted[:, k], measured[:, k]) for k in range(len(law.targets))]
    full = ~np.isnan(measured).any(axis=1)
    regret = np.nan
    if full.any():
        mean = measured[full].mean(axis=1)
        regret = float(mean[predicted[full].mean(axis=1).argmin()] / mean.min() - 1)
    return ReplayRow(
        policy=policy, seed=seed, runs=runs, spearman=_mean(ranks),
        mre=float(100 * np.nanmean(np.abs(predicted / measured - 1))), regret=regret,
    )  # fmt: skip


def _rank(predicted: Array, measured: Array) -> float:
    there = ~np.isnan(measured)
    if there.sum() < 3 or np.ptp(predicted[there]) == 0 or np.ptp(measured[there]) == 0:
        return float("nan")
    return float(spearmanr(predicted[there], measured[there])[0])


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")
