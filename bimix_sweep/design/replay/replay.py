"""Replay of a sweep against a table of finished runs: which of them a sweep would have chosen, and
how good its law would have been after each choice.

The replay is a sweep whose trials are the runs of the table: `SweepState` proposes among the runs
that were not selected, by the same first design, score, refit schedule and share of the target
fidelity as in a sweep, and the losses of the selected run are taken from the table. Nothing is
trained. Where the runs have several fidelities, any of them may be selected. Runs that were cut
short are left out, since a sweep has no such trials.

The law is judged at the target fidelity in two ways. A sweep looks for the best mixture: the run
that the law predicts best among all runs of the table is compared with the best of them. And the
law predicts losses: they are compared with the losses of runs that were not selected, or of the
held-out table. Where runs have several fidelities and there is no held-out table, `run_pool.JUDGED`
runs are never selected. A run that continued longer is judged at the step where the others end.
"""

import numpy as np

from bimix_sweep.design.acquisition.scores import EXPLORATION
from bimix_sweep.design.planner import SweepState
from bimix_sweep.design.replay.judging import ReplayRow, judge
from bimix_sweep.design.replay.pool_record import PoolRecord, PoolSpec
from bimix_sweep.design.replay.run_pool import RunPool
from bimix_sweep.errors import SweepError
from bimix_sweep.law.fitting.fit_law import fit_law
from bimix_sweep.mixture.table import LossTable
from bimix_sweep.seeding import rng

PREDICTIONS = 30.0
"""Weight of the variance over all mixtures in the policy "predictions" (docs/evidence.md)."""
POLICIES = {"informative": EXPLORATION, "predictions": PREDICTIONS, "random": EXPLORATION}
"""Policies of a replay with their weight of the variance over all mixtures. informative: runs are
chosen as in a sweep, which looks for the best mixture. predictions: the same with another weight,
for a law that predicts all mixtures. random: runs are drawn uniformly, so that the weight has no
effect."""


def replay(
    table: LossTable,
    *,
    trials: int,
    policy: str = "informative",
    slots: int = 1,
    heldout: LossTable | None = None,
    seed: int = 0,
) -> tuple[ReplayRow, ...]:
    """Selects `trials` runs of a table, one batch after another, and judges the law after each
    batch, from the last of the first trials on.

    Args:
        table: finished runs.
        trials: number of runs to select in all.
        policy: one of POLICIES.
        slots: number of runs chosen at once, without knowledge of each other's losses.
        heldout: finished runs to judge predictions on; default: the runs not selected.
        seed: seed of everything random.

    Raises:
        SweepError: the policy is unknown, the table has too few runs (runs to judge on included),
            `slots` is below 1, or the held-out table has other domains or targets.
        LawError: the runs determine no law.
    """
    if policy not in POLICIES:
        raise SweepError(f"policy {policy!r} is not known; need one of {', '.join(POLICIES)}")
    pool = RunPool(table)
    if heldout is None and pool.several:
        pool.reserve(rng(seed, "replay", "judged"))
    _check_numbers(pool, trials, slots, judge_on_rest=heldout is None)
    if heldout is not None:
        _check_alike(table, heldout)
    spec = PoolSpec.of(pool, trials=trials, slots=slots, seed=seed)
    record = PoolRecord(spec, pool, POLICIES[policy])
    state, generator = SweepState(spec, record), rng(seed, "replay", policy)
    rows: list[ReplayRow] = []
    while len(record.trials) < trials:
        _add_batch(state, record, min(slots, trials - len(record.trials)), policy, generator)
        if len(record.trials) < spec.num_initial:
            continue
        seen = [*record.run_of.values()]
        judged = pool.unseen(seen) if heldout is None else RunPool(heldout).unseen([])
        # The law that a sweep ends with is fitted anew, without the state of earlier fits.
        law = fit_law(
            pool.rows(sorted(seen)), own=spec.own, generator=rng(seed, "replay fit", len(seen))
        )
        rows.append(
            judge(
                law,
                judged,
                pool.unseen([]),
                policy=policy,
                seed=seed,
                trials=len(seen),
                runs=tuple(pool.names[run] for run in seen[rows[-1].trials if rows else 0 :]),
                cost=pool.cost(seen) if pool.several else None,
            )
        )
    return tuple(rows)


def _add_batch(
    state: SweepState,
    record: PoolRecord,
    count: int,
    policy: str,
    generator: np.random.Generator,
) -> None:
    """Selects `count` runs before any of them is measured, then records their losses."""
    names = [f"t{len(record.trials) + number}" for number in range(count)]
    if policy == "random":
        drawn = generator.choice(record.left, count, replace=False)
        for name, run in zip(names, drawn.tolist(), strict=True):
            state.restore_proposal(record.proposal_of(name, run))
    else:
        for name in names:
            state.propose(name)
    for name in names:
        record.measure(name)


def _check_numbers(pool: RunPool, trials: int, slots: int, *, judge_on_rest: bool) -> None:
    """Raises SweepError where the pool has too few runs, or `slots` is below 1.

    Args:
        pool: the runs of the table.
        trials, slots: as for `replay`.
        judge_on_rest: whether predictions are judged on the runs that are not selected.
    """
    most = len(pool.open)
    if not 2 <= trials <= most:
        more = f" ({pool.num_cut_short} more were cut short)" if pool.num_cut_short else ""
        raise SweepError(
            f"trials {trials} do not fit a table of {most} runs{more}; need 2 <= trials <= {most}"
        )
    if slots < 1:
        raise SweepError(f"slots is {slots}; need at least 1")
    if judge_on_rest and not pool.several and trials == most:
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
