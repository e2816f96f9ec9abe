"""Replay of the planning loop against a table of finished runs: which mixtures the loop would have
chosen, and how well the law would have predicted after each choice.

The replay selects a run of the table by taking its losses from the table; nothing is trained. The
law is judged at the runs' last step on rows that were not selected: the rows of the held-out table,
or else the rest of the table. A run that was cut short may be selected at its cost, but is not used
for judging, since only losses of one step compare. A run that continued longer is judged at the
step where the others end. The law is judged on predictions of all mixtures, so the variance over
all mixtures has a larger weight (LEARNING) than in a sweep, which only has to find the optimum.

Where runs have several fidelities, any of them may be selected. The choice is made per cost and
with TARGET_FIDELITY_SHARE for the target fidelity, as in a sweep. The law is judged on runs of the target
fidelity; without a held-out table, JUDGED of them are never selected.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from bimix_sweep.design.acquisition import choose, target_fidelity_due
from bimix_sweep.design.fidelity import SAME_STEPS, Fidelity, fidelities_of, kinds_of
from bimix_sweep.design.initial_design import REPEATED, initial_fidelities, most_informative
from bimix_sweep.design.optimality import optimality_criterion
from bimix_sweep.errors import SweepError
from bimix_sweep.law.fitting.fit_law import FittedLaw, fit_law
from bimix_sweep.law.optimum.decision_problem import DecisionProblem
from bimix_sweep.mixture.domains import DomainSet
from bimix_sweep.mixture.goals import losses_of
from bimix_sweep.mixture.simplex import Array
from bimix_sweep.mixture.table import LossTable
from bimix_sweep.seeding import rng

POLICIES = ("informative", "random")
"""Policies of a replay. informative: runs are chosen as in a sweep; random: runs are drawn
uniformly."""
LEARNING = 30.0
"""Weight of the variance over all mixtures, relative to the regret, in `acquisition.choose`."""
JUDGED = 3
"""Number of runs of the target fidelity that are kept for judging where other fidelities exist:
with fewer runs a rank correlation is not defined."""


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


def replay(
    table: LossTable,
    *,
    trials: int,
    start: int | None = None,
    policy: str = "informative",
    slots: int = 1,
    heldout: LossTable | None = None,
    seed: int = 0,
) -> tuple[ReplayRow, ...]:
    """Selects up to `trials` runs of a table, one batch after another, and judges the law after each
    batch.

    Args:
        table: finished runs.
        trials: number of runs to select in all.
        start: number of runs before the law is first fitted; default: domains + 3, at most half of
            `trials`.
        policy: "informative" or "random".
        slots: number of runs chosen at once, without knowledge of each other's losses.
        heldout: finished runs to judge on; default: the runs not selected.
        seed: seed of everything random.

    Raises:
        SweepError: the policy is unknown, the table has too few runs (runs to judge on included),
            `slots` is below 1, or the held-out table has other domains or targets.
    """
    pool = _Pool(table)
    start = max(2, min(len(table.domains) + 3, trials // 2)) if start is None else start
    if policy not in POLICIES:
        raise SweepError(f"policy {policy!r} is not known; need one of {', '.join(POLICIES)}")
    if heldout is None and pool.several:
        pool.reserve(rng(seed, "replay", "judged"))
    most = len(pool.open)
    if not 2 <= start <= trials <= most:
        raise SweepError(
            f"start {start} and trials {trials} do not fit a table of {most} runs; need "
            f"2 <= start <= trials <= {most}"
        )
    if slots < 1:
        raise SweepError(f"slots is {slots}; need at least 1")
    if heldout is None and trials == len(pool.fidelities):
        raise SweepError(
            f"all {trials} runs would be chosen and none is left to judge on; give a held-out "
            "table or fewer trials"
        )
    if heldout is not None:
        _check_alike(table, heldout)
    run_ids, generator = table.run_ids(), rng(seed, "replay", policy)
    seen = pool.first(start, generator) if policy != "random" else pool.drawn(start, [], generator)
    rows: list[ReplayRow] = []
    while True:
        law = fit_law(
            table.select(np.isin(run_ids, seen)), generator=rng(seed, "replay fit", len(seen))
        )
        judged = pool.unseen(seen) if heldout is None else _last(heldout)
        rows.append(
            _judge(law, judged, policy, seed, len(seen), pool.cost(seen) if pool.several else None)
        )
        if len(seen) == trials:
            return tuple(rows)
        count = min(slots, trials - len(seen))
        seen = [
            *seen,
            *(
                pool.drawn(count, seen, generator)
                if policy == "random"
                else pool.chosen(law, count, seen, generator)
            ),
        ]


class _Pool:
    """The runs of a table, each identified by its number."""

    def __init__(self, table: LossTable) -> None:
        """Makes a pool in which every run may be selected."""
        self.table, self.last, self.fidelities = table, table.last_rows(), fidelities_of(table)
        self.mixtures, self.kinds = table.proportions[self.last], kinds_of(self.fidelities)
        self.target_fidelity = self.kinds[-1]
        self.open = np.arange(len(self.last))
        ids, at_target = table.run_ids(), {*self.at(self.target_fidelity, self.open)}
        there = (table.steps >= SAME_STEPS * self.target_fidelity.steps) & (
            table.steps <= self.target_fidelity.steps
        )
        rising = (
            row
            for row in np.argsort(table.steps, kind="stable").tolist()
            if there[row] and int(ids[row]) in at_target
        )
        self.judged = {
            int(ids[row]): row for row in rising
        }  # run of the target fidelity -> its row at the last step

    @property
    def several(self) -> bool:
        """Whether runs have several fidelities; runs that were cut short are one cause."""
        return len({*self.fidelities}) > 1

    def at(self, fidelity: Fidelity, runs: Iterable[int]) -> list[int]:
        """Returns the runs among `runs` that have this fidelity."""
        return [int(run) for run in runs if self.fidelities[run] == fidelity]

    def reserve(self, generator: np.random.Generator) -> None:
        """Keeps JUDGED runs of the target fidelity out of the selection.

        Raises:
            SweepError: the target fidelity has too few runs.
        """
        there = sorted(self.judged)
        if len(there) <= JUDGED:
            size = (
                ""
                if np.isnan(self.table.sizes).all()
                else f"size {self.target_fidelity.size:g} and "
            )
            raise SweepError(
                f"{len(there)} runs have {size}last step {self.target_fidelity.steps:g}; need more than "
                f"{JUDGED}, to look at some and judge on the others, or a held-out table"
            )
        self.open = np.setdiff1d(self.open, generator.choice(there, JUDGED, replace=False))

    def unseen(self, seen: list[int]) -> LossTable:
        """Returns the rows at the target fidelity's last step of its runs that were not
        selected."""
        return self.table.select(
            np.array(
                [row for run, row in sorted(self.judged.items()) if run not in seen], dtype=np.int64
            )
        )

    def cost(self, seen: list[int]) -> float:
        """Returns the cost of runs, in units of one run at the target fidelity."""
        return sum(self.fidelities[run].cost for run in seen) / self.target_fidelity.cost

    def drawn(self, count: int, seen: list[int], generator: np.random.Generator) -> list[int]:
        """Returns `count` further runs, drawn at random."""
        return [
            int(run)
            for run in generator.choice(np.setdiff1d(self.open, seen), count, replace=False)
        ]

    def first(self, count: int, generator: np.random.Generator) -> list[int]:
        """Returns the first runs, as far as the table has them: as in a sweep most runs at the
        cheapest fidelity, and some of their mixtures again at more expensive fidelities."""
        dearer = REPEATED + len(self.kinds) - 2 if len(self.kinds) > 1 else 0
        order = initial_fidelities(max(2, count - dearer), len(self.kinds), count)
        seen: list[int] = []
        for index in (*order, *[0] * (count - len(order))):
            left = np.setdiff1d(self.open, seen)
            there = self.at(self.kinds[index], seen)
            candidates = self.at(self.kinds[index], left) or left.tolist()
            if index:
                known = self.mixtures[self.at(self.kinds[0], seen)]
                candidates = [
                    run
                    for run in candidates
                    if (np.abs(known - self.mixtures[run]).max(axis=1) < 1e-6).any()
                ] or candidates
            if seen:
                tried = generator.permutation(candidates)[:400]
                seen.append(
                    int(tried[most_informative(self.mixtures[tried], self.mixtures[there])])
                )
            else:
                seen.append(
                    candidates[
                        int(
                            np.abs(self.mixtures[candidates] - 1 / self.mixtures.shape[1])
                            .sum(axis=1)
                            .argmin()
                        )
                    ]
                )
        return seen

    def chosen(
        self, law: FittedLaw, count: int, seen: list[int], generator: np.random.Generator
    ) -> list[int]:
        """Returns `count` further runs, chosen as in a sweep."""
        size = None if law.sizes is None else self.target_fidelity.size
        problem = DecisionProblem.of(
            law, DomainSet(names=law.domains), step=self.target_fidelity.steps, size=size
        )
        criterion = optimality_criterion(problem, generator)
        picked: list[int] = []
        for _ in range(count):
            left = np.setdiff1d(self.open, [*seen, *picked]).tolist()
            if target_fidelity_due(
                [self.fidelities[run] for run in (*seen, *picked)], self.target_fidelity
            ):
                left = self.at(self.target_fidelity, left) or left
            left.sort(key=lambda run: (-self.fidelities[run].size, -self.fidelities[run].steps))
            at, running = ([self.fidelities[run] for run in runs] for runs in (left, picked))
            best, _ = choose(
                problem,
                criterion,
                self.mixtures[left],
                at,
                self.mixtures[picked],
                running,
                LEARNING,
            )
            picked.append(left[best])
        return picked


def _check_alike(table: LossTable, heldout: LossTable) -> None:
    """Raises SweepError where the law of the runs cannot predict the held-out runs."""
    sized, lacking = (
        ("the runs", "the held-out runs")
        if np.isnan(heldout.sizes).all()
        else ("the held-out runs", "the runs")
    )
    if np.isnan(heldout.sizes).all() != np.isnan(table.sizes).all():
        raise SweepError(
            f"{sized} have a size and {lacking} have none, so it is not known whether their "
            "losses compare; give both a size, or none"
        )
    if missing := [name for name in table.targets if name not in heldout.targets]:
        raise SweepError(
            f"the held-out runs lack loss_{missing[0]}; need the targets {', '.join(table.targets)}"
        )
    for column, name in enumerate(heldout.domains):
        if name not in table.domains and heldout.proportions[:, column].any():
            raise SweepError(
                f"the held-out runs hold {name}, the others don't; they know "
                f"{', '.join(table.domains)}"
            )


def seen_before(table: LossTable, heldout: LossTable) -> int:
    """Counts the runs of `heldout` that `table` holds, too: same mixture, size and last step, and
    same losses there."""

    def told(one: LossTable) -> list[tuple[float, ...]]:
        rows = one.last_rows()
        order = np.argsort(one.domains)
        columns = [one.targets.index(name) for name in table.targets]
        content = np.column_stack(
            [
                one.steps[rows],
                np.nan_to_num(one.sizes[rows], nan=-1.0),
                np.round(one.proportions[rows][:, order], 9),
                np.nan_to_num(one.losses[rows][:, columns], nan=-1.0),
            ]
        )
        return [tuple(row) for row in content.tolist()]

    if set(table.domains) != set(heldout.domains):
        return 0
    known = {*told(table)}
    return sum(row in known for row in told(heldout))


def _last(table: LossTable) -> LossTable:
    """Returns the last rows of a table's runs of its target fidelity."""
    return _Pool(table).unseen([])


def _judge(
    law: FittedLaw, table: LossTable, policy: str, seed: int, trials: int, cost: float | None
) -> ReplayRow:
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
