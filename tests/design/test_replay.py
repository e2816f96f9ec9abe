from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from bimix_sweep.design.acquisition.optimality import optimality_criterion
from bimix_sweep.design.acquisition.scores import choose
from bimix_sweep.design.fidelity import Fidelity, fidelities_of, kinds_of, target_fidelity
from bimix_sweep.design.initial_design import most_informative
from bimix_sweep.design.planner import SweepState
from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.design.replay.replay import replay
from bimix_sweep.design.replay.run_pool import JUDGED, RunPool
from bimix_sweep.errors import SweepError
from bimix_sweep.law.fitting.fit_law import fit_law
from bimix_sweep.mixture.domains import DomainSet, Mixture
from bimix_sweep.mixture.table import LossTable
from bimix_sweep.seeding import rng


@cache
def planted(runs=120, seed=0):
    """Finished runs of a planted transfer law, 5 domains and targets."""
    generator = np.random.default_rng(seed)
    names = tuple("abcde")
    useful = np.exp(np.random.default_rng(1).normal(-3, 1, (5, 5)))
    np.fill_diagonal(useful, 1)
    mixtures = generator.dirichlet(np.full(5, 0.4), runs)
    losses = (
        3
        * (0.05 + mixtures**0.9 @ useful.T) ** -np.array([0.1, 0.15, 0.2, 0.25, 0.3])
        * np.exp(generator.normal(0, 0.003, (runs, 5)))
    )
    missing = np.full(runs, np.nan)
    return LossTable(
        domains=names,
        targets=names,
        trials=tuple(map(str, range(runs))),
        steps=np.full(runs, 1000.0),
        sizes=missing,
        seeds=missing,
        proportions=mixtures,
        losses=losses,
    )


SMALL, LARGE, SHORT, LONG = 1e5, 4e5, 200.0, 800.0


@cache
def scaled(large=30, seed=0):
    """60 small and long, 30 large and short, and so many large and long runs of a planted law of 4
    domains, each a curve of 2 points.
    """
    generator = np.random.default_rng(seed)
    useful = np.exp(np.random.default_rng(1).normal(-2, 0.7, (4, 4)))
    np.fill_diagonal(useful, 1)
    kinds = [(SMALL, LONG)] * 60 + [(LARGE, SHORT)] * 30 + [(LARGE, LONG)] * large
    mixtures = generator.dirichlet(np.full(4, 0.8), len(kinds))
    sizes, ends = np.array(kinds).T
    slope = np.array([0.1, 0.15, 0.2, 0.25]) * (sizes[:, None] / LARGE) ** np.array(
        [0.1, -0.1, 0.05, -0.05]
    )
    level = (
        np.exp(generator.normal(0, 0.002, (len(kinds), 4)))
        * (0.05 + mixtures**0.9 @ useful.T) ** -slope
    )
    steps = np.stack([ends / 2, ends], axis=1)
    factor = (
        1 + 0.5 * (steps[:, :, None] / 200) ** -0.6 + 0.2 * (sizes[:, None, None] / LARGE) ** -0.34
    )
    rows = np.repeat(np.arange(len(kinds)), 2)
    return LossTable(
        domains=tuple("abcd"),
        targets=tuple("abcd"),
        trials=tuple(map(str, rows)),
        steps=steps.ravel(),
        sizes=sizes[rows],
        seeds=np.full(len(rows), np.nan),
        proportions=mixtures[rows],
        losses=(3 * level[:, None] * factor).reshape(-1, 4),
    )


def sweep_of(table, trials, **fields):
    """Specification of a sweep, written as a user of the planning loop does, that would train what
    the runs of the table trained."""
    return SweepSpec(
        domains=DomainSet(names=table.domains),
        targets=table.targets,
        weights=dict.fromkeys(table.targets, 1.0),
        own={name: name for name in table.targets},
        steps=int(table.steps.max()),
        size=float(table.sizes.max()),
        max_trials=trials,
        seed=3,
        tolerance=1e-9,
        **fields,
    )


def played(spec, table, past):
    """A sweep that proposed these trials and measured what the table holds of their runs."""
    state = SweepState(spec)
    for proposal, run in past:
        state.restore_proposal(proposal)
        for row in np.flatnonzero(np.array(table.trials) == run):
            losses = dict(zip(table.targets, table.losses[row].tolist(), strict=True))
            state.record(proposal.trial, int(table.steps[row]), losses)
        state.finish(proposal.trial)
    return state


def alike(rows, mixture):
    return (np.abs(rows - mixture).max(axis=1) < 1e-9) if len(rows) else np.zeros(0, dtype=bool)


def first_choice(spec, fidelity, left, at, mixtures, past):
    """The run that the initial design of a sweep prefers among the runs left."""
    there = [run for run in left if at[run] == fidelity]
    if fidelity == spec.fidelities[0]:
        seen = mixtures[past]
    else:
        cheap = mixtures[[run for run in past if at[run] == spec.fidelities[0]]]
        there = [run for run in there if alike(cheap, mixtures[run]).any()] or there
        seen = mixtures[[run for run in past if at[run] == fidelity]]
    if not past:
        return there[int(np.abs(mixtures[there] - 1 / len(spec.domains)).sum(axis=1).argmin())]
    return there[most_informative(mixtures[there], seen)]


def law_choice(spec, law, left, at, mixtures, past):
    """The run with the largest acquisition score of a sweep among the runs left."""
    target = spec.target_fidelity
    spent = {run: at[run].size * at[run].steps for run in past}
    of_target = sum(cost for run, cost in spent.items() if at[run] == target)
    allowed = [target] if of_target < 0.5 * sum(spent.values()) else spec.fidelities[::-1]
    there = [run for fidelity in allowed for run in left if at[run] == fidelity]
    problem, generator = spec.decision_problem(law), rng(spec.seed, "proposal", len(past))
    criterion = optimality_criterion(problem, generator)
    none = np.zeros((0, len(spec.domains)))
    fidelities = [at[run] for run in there]
    return there[choose(problem, criterion, mixtures[there], fidelities, none, ())[0]]


@pytest.mark.parametrize("several", [False, True])
def test_a_replay_chooses_what_a_sweep_with_these_trials_prefers(several):
    if several:
        everything = scaled()
        table = everything.select(everything.run_ids() % 3 != 0)
        table = table.select(~np.isin(table.trials, list(map(str, range(60, 90)))))
        spec = sweep_of(table, 14, smaller=(SMALL,))
    else:
        table = replace(planted(), sizes=np.full(120, LARGE))
        spec = sweep_of(table, 9)
    rows = replay(table, trials=spec.max_trials, seed=spec.seed, heldout=table)
    chosen = [run for row in rows for run in row.runs]
    last = table.last_rows()
    names, mixtures = [table.trials[row] for row in last], table.proportions[last]
    at = [Fidelity(size=table.sizes[row], steps=int(table.steps[row])) for row in last]
    assert rows[0].trials == spec.num_initial
    assert [at[names.index(run)] for run in rows[0].runs] == list(spec.initial_fidelities)
    history, past = [], []
    for number, run in enumerate(chosen):
        left = [index for index in range(len(names)) if index not in past]
        state = played(spec, table, history)
        if number < spec.num_initial:
            fidelity = spec.initial_fidelities[number]
            expected = first_choice(spec, fidelity, left, at, mixtures, past)
        else:
            state.decide()
            expected = law_choice(spec, state.history[-1].law, left, at, mixtures, past)
        assert run == names[expected]
        proposal, index = state.propose(f"t{number}"), names.index(run)
        history.append(
            (
                replace(
                    proposal,
                    mixture=Mixture.from_array(table.domains, mixtures[index]),
                    size=at[index].size,
                    steps=int(at[index].steps),
                ),
                run,
            )
        )
        past.append(index)


def test_the_regret_is_that_of_the_best_prediction_among_all_runs():
    table = planted()
    rows = replay(table, trials=12, slots=4, seed=1)
    row, chosen = rows[-1], [run for one in rows for run in one.runs]
    law = fit_law(table.select(np.isin(table.trials, chosen)))
    pick = law.losses(table.proportions, table.steps).mean(axis=1).argmin()
    mean = table.losses.mean(axis=1)
    assert row.regret == pytest.approx(mean[pick] / mean.min() - 1)
    assert row.num_judged == len(table) - 12


@pytest.mark.parametrize(("small", "large"), [(3, 5), (9, 3)])
def test_where_a_scale_has_no_run_left_another_one_is_chosen(small, large):
    """3 small runs are fewer than the first mixtures; 3 large ones are used up by their repeats."""
    everything = scaled()
    kept = [*range(small), *range(90, 90 + large)]
    table = everything.select(np.isin(everything.run_ids(), kept))
    rows = replay(table, trials=small + large, slots=4, heldout=everything)
    assert sorted(run for row in rows for run in row.runs) == sorted(map(str, kept))


@pytest.mark.parametrize("slots", [1, 40])
def test_no_run_is_chosen_twice_though_the_table_repeats_mixtures(slots):
    """40 trials at once make a batch from one law (`refit_schedule.SHARE`)."""
    table = planted(60)
    twice = replace(
        table,
        trials=(*table.trials, *(f"again{trial}" for trial in table.trials)),
        steps=np.tile(table.steps, 2),
        sizes=np.tile(table.sizes, 2),
        seeds=np.tile(table.seeds, 2),
        proportions=np.tile(table.proportions, (2, 1)),
        losses=np.tile(table.losses, (2, 1)) * 1.001,
    )
    rows = replay(twice, trials=80 if slots > 1 else 9, slots=slots)
    chosen = [run for row in rows for run in row.runs]
    assert len({*chosen}) == len(chosen) == rows[-1].trials


@pytest.mark.parametrize("policy", ["informative", "random"])
def test_a_planted_law_is_learnt_from_few_of_the_runs(policy):
    rows = replay(planted(), trials=24, policy=policy, slots=4)
    assert [row.trials for row in rows] == [8, 12, 16, 20, 24]
    assert {row.policy for row in rows} == {policy}
    assert rows[-1].spearman >= 0.97
    assert rows[-1].mre <= 1.5
    assert 0 <= rows[-1].regret <= 0.01
    assert rows[-1].mre < rows[0].mre


def test_the_same_seed_repeats_and_another_differs():
    assert replay(planted(), trials=10, slots=5, seed=1) == replay(
        planted(), trials=10, slots=5, seed=1
    )
    assert replay(planted(), trials=8, slots=8, policy="random", seed=1) != replay(
        planted(), trials=8, slots=8, policy="random", seed=2
    )


def test_a_held_out_table_may_name_its_columns_in_another_order():
    table, other = planted(), planted(seed=5)
    turned = LossTable(
        domains=other.domains[::-1],
        targets=other.targets[::-1],
        trials=other.trials,
        steps=other.steps,
        sizes=other.sizes,
        seeds=other.seeds,
        proportions=other.proportions[:, ::-1],
        losses=other.losses[:, ::-1],
    )
    straight, reverse = (
        replay(table, trials=12, slots=12, heldout=heldout)[0] for heldout in (other, turned)
    )
    assert reverse.spearman == pytest.approx(straight.spearman)
    assert reverse.mre == pytest.approx(straight.mre)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"trials": 10, "policy": "clever"}, "policy 'clever' is not known"),
        ({"trials": 500}, "do not fit a table of 120 runs"),
        ({"trials": 1}, "trials 1 do not fit a table of 120 runs"),
        ({"trials": 10, "slots": 0}, "slots is 0"),
        ({"trials": 120}, "none is left"),
    ],
)
def test_what_cannot_be_replayed_is_refused_in_words(arguments, message):
    with pytest.raises(SweepError, match=message):
        replay(planted(), **arguments)


def test_held_out_runs_of_other_domains_or_targets_are_refused():
    table, other = planted(), planted(runs=6, seed=3)
    with pytest.raises(SweepError, match="lack loss_e"):
        replay(
            table,
            trials=10,
            heldout=replace(other, targets=tuple("abcd"), losses=other.losses[:, :4]),
        )
    with pytest.raises(SweepError, match="hold z"):
        replay(table, trials=10, heldout=replace(other, domains=(*"abcd", "z")))


def test_where_runs_have_several_scales_any_may_be_looked_at_and_it_is_judged_on_the_dearest():
    rows = replay(scaled(), trials=24, slots=6)
    assert [row.trials for row in rows] == [12, 18, 24]
    assert (
        rows[0].cost == 8 / 4 + 3 + 1 / 4
    )  # most at the cheapest, three at the dearest, one between
    assert [row.cost for row in rows] == sorted(row.cost for row in rows)
    assert rows[-1].cost < 12  # most are cheap
    assert all(30 - row.trials < row.num_judged <= 30 for row in rows)
    assert rows[-1].spearman >= 0.97
    assert rows[-1].mre <= 1.0


def test_per_cost_several_scales_tell_more_than_the_dearest_alone():
    table = scaled()
    alone = table.select(
        np.flatnonzero(
            (table.sizes == LARGE) & np.isin(table.trials, list(map(str, range(90, 120))))
        )
    )
    cheap, dear = replay(table, trials=10)[-1], replay(alone, trials=5)[-1]
    assert dear.cost is None
    assert cheap.cost <= 5
    assert cheap.mre < dear.mre


def test_a_held_out_table_of_several_scales_is_judged_on_at_its_dearest_and_no_run_is_kept_back():
    row = replay(scaled(large=4), trials=94, slots=94, policy="random", heldout=scaled(seed=5))[0]
    assert row.num_judged == 30
    assert row.cost == 60 / 4 + 30 / 4 + 4
    with pytest.raises(
        SweepError,
        match=f"3 runs have size 400000 and last step 800; need more than {JUDGED}, to select "
        "some and judge",
    ):
        replay(scaled(large=3), trials=20)
    with pytest.raises(SweepError, match="trials 94 do not fit a table of 91 runs"):
        replay(scaled(large=4), trials=94)
    assert replay(scaled(large=4), trials=91, slots=91, policy="random")[0].num_judged == JUDGED


@pytest.mark.parametrize(
    ("sizes", "ends", "expected"),
    [
        ([np.nan] * 4, [1000, 1000, 1000, 1000], [(1, 1000)] * 4),
        ([1e5] * 4, [1000, 990, 950, 905], [(1e5, 1000)] * 4),  # ragged ends
        ([1e5] * 5, [30, 30, 30, 30, 100], [(1e5, 30)] * 5),  # one run went on
        ([1e5] * 6, [30, 30, 30, 100, 100, 100], [(1e5, 30)] * 3 + [(1e5, 100)] * 3),
        (
            [1e5] * 6,
            [100, 800, 800, 800, 800, 100],
            [(1e5, 100)] + [(1e5, 800)] * 4 + [(1e5, 100)],
        ),  # two were cut short
        ([1e5, 1e5, 4e5], [200, 200, 800], [(1e5, 200)] * 2 + [(4e5, 800)]),
    ],
)
def test_the_scale_of_a_run_is_its_size_and_last_step(sizes, ends, expected):
    count = len(ends)
    table = LossTable(
        domains=("a", "b"),
        targets=("a",),
        trials=tuple(map(str, range(count))),
        steps=np.array(ends, dtype=np.float64),
        sizes=np.array(sizes),
        seeds=np.full(count, np.nan),
        proportions=np.full((count, 2), 0.5),
        losses=np.ones((count, 1)),
    )
    assert [(fidelity.size, fidelity.steps) for fidelity in fidelities_of(table)] == expected
    assert target_fidelity(fidelities_of(table)) == Fidelity(
        size=max(sizes) if sizes[0] > 0 else 1, steps=max(step for _, step in expected)
    )
    assert kinds_of(fidelities_of(table))[-1] == target_fidelity(fidelities_of(table))
    assert (
        Fidelity(size=1e5, steps=100) not in kinds_of(fidelities_of(table)) or ends.count(100) >= 3
    )


def test_runs_cut_short_are_no_scale_and_nothing_is_judged_on_them_nor_at_the_end_of_one_that_went_on():
    whole = planted(30)
    steps = np.tile([100.0, 400.0, 800.0], (30, 1))
    losses = whole.losses[:, None] * (1 + 0.5 * (steps / 100)[:, :, None] ** -0.5)
    kept = np.ones((30, 3), dtype=bool)
    kept[:2, 1:] = False  # two ended at step 100
    steps[2, 2] = 2000.0
    steps = np.insert(steps, 2, 800.0, axis=1)  # all have 800, the third has 2000 too
    losses, kept = (
        np.insert(losses, 2, losses[:, 2], axis=1),
        np.insert(kept, 2, kept[:, 2], axis=1),
    )
    kept[3:, 3] = False
    rows = np.repeat(np.arange(30), 4)[kept.ravel()]
    missing = np.full(len(rows), np.nan)
    table = LossTable(
        domains=whole.domains,
        targets=whole.targets,
        trials=tuple(map(str, rows)),
        steps=steps[kept],
        sizes=missing,
        seeds=missing,
        proportions=whole.proportions[rows],
        losses=losses[kept],
    )
    assert kinds_of(fidelities_of(table)) == [Fidelity(size=1, steps=800)]
    pool = RunPool(table)
    judged = pool.unseen([])
    assert {*judged.steps} == {800.0}
    assert len(judged) == 28
    assert pool.num_cut_short == 2
    assert not {0, 1} & {*pool.open}
    assert pool.cost([2, 5]) == 2
    rows = replay(table, trials=24, slots=6)
    assert rows[-1].num_judged >= 4
    assert rows[-1].spearman > 0.9
    few = table.select(np.flatnonzero(np.isin(table.trials, list("01345"))))
    with pytest.raises(SweepError, match=r"trials 4 do not fit a table of 3 runs \(2 more were"):
        replay(few, trials=4)


@pytest.mark.parametrize(
    ("runs", "heldout"), [("the runs", "the held-out runs"), ("the held-out runs", "the runs")]
)
def test_runs_with_and_without_a_size_are_not_judged_on_each_other(runs, heldout):
    tables = {runs: scaled(), heldout: replace(scaled(), sizes=np.full(len(scaled()), np.nan))}
    with pytest.raises(SweepError, match=f"{runs} have a size and {heldout} have none"):
        replay(tables["the runs"], trials=20, heldout=tables["the held-out runs"])
