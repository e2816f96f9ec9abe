"""Replay of the planning loop against a table of finished runs: which mixtures the loop would have
chosen, and how well the law would have predicted after each choice.

The replay selects a run of the table by taking its losses from the table; nothing is trained. The
law is judged at the runs' last step on rows that were not selected: the rows of the held-out table,
or else the rest of the table. A run that was cut short may be selected at its cost, but is not used
for judging, since only losses of one step compare. A run that continued longer is judged at the
step where the others end. The law is judged on predictions of all mixtures, so the variance over
all mixtures has a larger weight (`run_pool.LEARNING`) than in a sweep, which only has to find the
optimum.

Where runs have several fidelities, any of them may be selected. The choice is made per cost and
with TARGET_FIDELITY_SHARE for the target fidelity, as in a sweep. The law is judged on runs of the
target fidelity; without a held-out table, JUDGED of them are never selected.
"""

import numpy as np

from bimix_sweep.design.replay.judging import ReplayRow, judge
from bimix_sweep.design.replay.run_pool import RunPool
from bimix_sweep.errors import SweepError
from bimix_sweep.law.fitting.fit_law import fit_law
from bimix_sweep.mixture.table import LossTable
from bimix_sweep.seeding import rng

POLICIES = ("informative", "random")
"""Policies of a replay. informative: runs are chosen as in a sweep; random: runs are drawn
uniformly."""


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
    pool = RunPool(table)
    start = max(2, min(len(table.domains) + 3, trials // 2)) if start is None else start
    if policy not in POLICIES:
        raise SweepError(f"policy {policy!r} is not known; need one of {', '.join(POLICIES)}")
    if heldout is None and pool.several:
        pool.reserve(rng(seed, "replay", "judged"))
    _check_numbers(pool, start, trials, slots, judge_on_rest=heldout is None)
    if heldout is not None:
        _check_alike(table, heldout)
    run_ids, generator = table.run_ids(), rng(seed, "replay", policy)
    seen = pool.first(start, generator) if policy != "random" else pool.drawn(start, [], generator)
    rows: list[ReplayRow] = []
    while True:
        law = fit_law(
            table.select(np.isin(run_ids, seen)), generator=rng(seed, "replay fit", len(seen))
        )
        judged = pool.unseen(seen) if heldout is None else RunPool(heldout).unseen([])
        cost = pool.cost(seen) if pool.several else None
        rows.append(judge(law, judged, policy=policy, seed=seed, trials=len(seen), cost=cost))
        if len(seen) == trials:
            return tuple(rows)
        count = min(slots, trials - len(seen))
        seen += (
            pool.drawn(count, seen, generator)
            if policy == "random"
            else pool.chosen(law, count, seen, generator)
        )


def _check_numbers(
    pool: RunPool, start: int, trials: int, slots: int, *, judge_on_rest: bool
) -> None:
    """Raises SweepError where the pool has too few runs, or `slots` is below 1.

    Args:
        pool: the runs of the table.
        start, trials, slots: as for `replay`.
        judge_on_rest: whether the law is judged on the runs that are not selected.
    """
    most = len(pool.open)
    if not 2 <= start <= trials <= most:
        raise SweepError(
            f"start {start} and trials {trials} do not fit a table of {most} runs; need "
            f"2 <= start <= trials <= {most}"
        )
    if slots < 1:
        raise SweepError(f"slots is {slots}; need at least 1")
    if judge_on_rest and trials == len(pool.fidelities):
        raise SweepError(
            f"all {trials} runs would be chosen and none is left to judge on; give a held-out "
            "table or fewer trials"
        )


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

    def last_points(one: LossTable) -> list[tuple[float, ...]]:
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
    known = {*last_points(table)}
    return sum(row in known for row in last_points(heldout))
