"""Trials of two sizes, or of two numbers of steps, on planted laws whose optimum moves with the axis,
without a cluster.
"""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from bimix_sweep.design.acquisition.optimality import optimality_criterion
from bimix_sweep.design.acquisition.scores import choose, costs
from bimix_sweep.design.evidence import points_to_fit
from bimix_sweep.design.fidelity import TARGET_FIDELITY_SHARE, Fidelities, Fidelity
from bimix_sweep.design.initial_design import REPEATED, initial_fidelities, num_initial
from bimix_sweep.design.planner import SweepState
from bimix_sweep.design.simulation import World, simulate
from bimix_sweep.design.trial import Proposal
from bimix_sweep.errors import SweepError
from bimix_sweep.law.fitting.fit_law import fit_law
from bimix_sweep.law.optimum.decision_problem import DecisionProblem
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.mixture.table import LossTable
from tests.support.planted_fidelities import (
    BY_SIZE,
    BY_STEPS,
    DOMAINS,
    FOUR,
    LARGE,
    LONG,
    NAMES,
    SHORT,
    SIZES,
    SMALL,
    STEPS,
    losses_by_size,
)
from tests.support.played_back import check_from_the_middle, check_in_a_batch

FIRST = [
    (SMALL, "uniform", [0.3333, 0.3333, 0.3333]),
    (SMALL, "natural", [0.1, 0.3, 0.6]),
    (SMALL, "space-filling", [0.0659, 0.013, 0.9212]),
    (SMALL, "space-filling", [0.0067, 0.7561, 0.2372]),
    (SMALL, "space-filling", [0.7782, 0.0482, 0.1735]),
    (LARGE, "again at a larger size", [0.1, 0.3, 0.6]),
    (LARGE, "again at a larger size", [0.7782, 0.0482, 0.1735]),
    (LARGE, "again at a larger size", [0.0659, 0.013, 0.9212]),
]
FIRST_SEED = 6231247910526707


@pytest.mark.parametrize(
    ("planted", "distance", "regret"), [(BY_SIZE, 0.08, 0.0025), (BY_STEPS, 0.02, 0.0005)]
)
def test_the_planted_optimum_moves_with_the_axis(planted, distance, regret):
    cheap, dear = planted.best(planted.cheap), planted.best(planted.dear)
    assert np.abs(cheap.x - dear.x).max() > distance
    assert planted.regret(cheap.x) > regret


@pytest.mark.parametrize(("planted", "fraction"), [(BY_SIZE, 0.1), (BY_STEPS, 0.2)])
def test_for_the_same_cost_two_fidelities_find_the_optimum_as_well_as_the_target_alone_and_train_more_cheap_ones(
    planted, fraction
):
    found = {"both": [], "alone": []}
    cheap, dear = planted.cheap, planted.dear
    for seed in range(3):
        for name, spec in (("both", planted.several), ("alone", planted.alone)):
            state = planted.sweep(replace(spec, seed=seed), cost=7)
            optimum = state.refit(anew=True).optimum
            assert (optimum.size, optimum.step) == (LARGE, LONG)
            assert optimum.extrapolation["step" if planted.axis == "steps" else "size"] == 1
            found[name].append(planted.regret(optimum.mixture.as_array()))
            counts = Counter(getattr(record, planted.axis) for record in state.trials.values())
            if name == "alone":
                assert not counts[cheap]
            else:
                assert counts[cheap] > counts[dear]
                assert planted is BY_SIZE or counts[cheap] >= 2 * counts[dear]
            assert (
                counts[dear] * dear
                >= TARGET_FIDELITY_SHARE * sum(value * count for value, count in counts.items())
                - cheap
            )
    assert np.mean(found["both"]) <= np.mean(found["alone"])
    assert max(found["both"]) < fraction * planted.regret(planted.best(cheap).x)


@pytest.mark.parametrize("planted", [BY_SIZE, BY_STEPS])
def test_a_batch_of_many_proposals_has_both_fidelities_and_is_the_same_after_a_restart(
    monkeypatch, planted
):
    monkeypatch.setattr("bimix_sweep.design.refit_schedule.EACH", 10)
    monkeypatch.setattr("bimix_sweep.design.refit_schedule.GROWTH", 0.5)
    whole = planted.sweep(planted.several, cost=5)
    batch = [whole.propose(f"b{i}") for i in range(10)]
    assert {getattr(proposal, planted.axis) for proposal in batch} == {planted.cheap, planted.dear}
    check_in_a_batch(whole, planted.train, batch, 4)


@pytest.mark.parametrize(
    ("planted", "spec", "cost", "stop"), [(BY_SIZE, SIZES, 5.5, 9), (BY_STEPS, FOUR, 4.5, 10)]
)
def test_played_back_from_the_middle_it_proposes_the_same(planted, spec, cost, stop):
    whole = planted.sweep(spec, cost=cost)
    check_from_the_middle(whole, planted.train, (6, stop, len(whole.proposals) - 2))


@pytest.mark.parametrize(
    ("spec", "other", "message"),
    [
        (
            SIZES,
            {"size": 2e5},
            "trial a has size 200000; the sweep trains proxies of size 100000, 400000",
        ),
        (
            STEPS,
            {"steps": 400},
            "trial a has 400 steps; the sweep trains proxies for 200, 800 steps",
        ),
    ],
)
def test_a_fidelity_that_the_sweep_does_not_have_is_refused(spec, other, message):
    mixture = Mixture.from_array(NAMES, [0.2, 0.3, 0.5])
    with pytest.raises(SweepError, match=message):
        SweepState(spec).add_trial(
            Proposal(trial="a", mixture=mixture, reason="", seed=1, **other), "sweep"
        )


@pytest.mark.parametrize(
    ("spec", "other", "message"),
    [
        (SIZES, {"smaller": (5e5,)}, "need rising numbers above 0"),
        (
            STEPS,
            {"shorter": (900,)},
            "steps of the trials are 900, 800; need rising whole numbers from 1",
        ),
    ],
)
def test_fidelities_that_do_not_rise_are_refused(spec, other, message):
    with pytest.raises(SweepError, match=message):
        replace(spec, **other)


def test_all_first_mixtures_are_small_and_a_few_of_them_are_repeated_at_each_larger_size():
    spec = replace(SIZES, smaller=(5e4, 1e5, 2e5))
    state = SweepState(spec)
    proposals = [state.propose(f"t{i}") for i in range(spec.num_initial)]
    small = {p.mixture for p in proposals if p.size == 5e4}
    assert len(small) == num_initial(3, 60)
    assert Counter(p.size for p in proposals) == {5e4: 5, LARGE: REPEATED, 1e5: 1, 2e5: 1}
    assert all(p.mixture in small for p in proposals)
    assert len({p.mixture for p in proposals if p.size == LARGE}) == REPEATED
    assert len({p.seed for p in proposals}) == 1  # chance cancels between sizes, too


def test_where_the_first_trainings_tell_no_law_yet_the_cheapest_is_run_and_the_dearest_reckoned_with():
    state = SweepState(SIZES)
    for number in range(SIZES.num_initial):
        assert (
            state.spec.fidelity_of(state.propose(f"t{number}")) == SIZES.initial_fidelities[number]
        )
    assert state.next_fidelity == SIZES.target_fidelity
    assert state.propose("next").size == SMALL


@pytest.mark.parametrize(
    ("mixtures", "sizes", "budget", "expected"),
    [(5, 1, 40, 5), (5, 2, 40, 8), (5, 2, 6, 6), (2, 3, 40, 5)],
)
def test_the_first_trainings_stay_in_the_budget(mixtures, sizes, budget, expected):
    assert len(initial_fidelities(mixtures, sizes, budget)) == expected


def test_a_sweep_of_one_size_has_no_size_in_its_proposals():
    state = SweepState(replace(SIZES, smaller=()))
    assert state.propose("a").size is None
    assert state.trials["a"].size == LARGE


def test_where_both_sizes_tell_the_same_the_cheap_one_is_run():
    """A law that knows no sizes predicts alike at all of them."""
    generator = np.random.default_rng(0)
    shares = generator.dirichlet(np.ones(3), 8)
    losses = np.array([losses_by_size(row, 800, LARGE) for row in shares]) * np.exp(
        generator.normal(0, 0.003, (8, 3))
    )
    nan = np.full(8, np.nan)
    table = LossTable(
        domains=NAMES,
        targets=NAMES,
        trials=tuple("abcdefgh"),
        steps=np.full(8, 800.0),
        sizes=nan,
        seeds=nan,
        proportions=shares,
        losses=losses,
    )
    problem = DecisionProblem.of(fit_law(table), DOMAINS)
    criterion, candidates, nothing = (
        optimality_criterion(problem, generator),
        generator.dirichlet(np.ones(3), 5),
        np.zeros((0, 3)),
    )
    fidelities = Fidelities(
        choices=(Fidelity(size=LARGE, steps=800), Fidelity(size=SMALL, steps=800)),
        finished=(),
        running=(),
    )
    at = fidelities.of(len(candidates))
    one, fall = choose(problem, criterion, candidates, at[:5], nothing, ())
    both, same = choose(problem, criterion, np.tile(candidates, (2, 1)), at, nothing, ())
    assert both == one + len(candidates)
    assert same == pytest.approx(fall)
    assert costs(at).tolist() == [1.0] * 5 + [0.25] * 5


def test_a_belief_at_several_sizes_is_joint():
    state = BY_SIZE.sweep(SIZES, cost=5)
    law = state.refit(anew=True).law
    shares = np.array([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]])
    joint = law.posterior(np.tile(shares, (2, 1)), 800, np.array([LARGE, LARGE, SMALL, SMALL]))
    assert joint.covariance[:, :2, :2] == pytest.approx(
        law.posterior(shares, 800, LARGE).covariance, rel=1e-9
    )
    assert joint.covariance[:, 2:, 2:] == pytest.approx(
        law.posterior(shares, 800, SMALL).covariance, rel=1e-9
    )
    assert np.exp(joint.mean[2:]) == pytest.approx(
        law.predict(shares, np.full(2, 800.0), np.full(2, SMALL)), rel=1e-9
    )
    difference = np.array(
        [[1, -1, 0, 0], [0, 0, 1, -1]]
    )  # what is open about which of the two mixtures is better, at each size
    large, between, _, small = (difference @ joint.covariance @ difference.T).reshape(3, 4).T
    correlation = between / np.sqrt(large * small)
    assert (correlation > 0.05).all()
    assert correlation.max() > 0.5


def test_a_sweep_of_two_sizes_and_two_numbers_of_steps_trains_all_four_and_costs_are_size_times_steps():
    cheap, *between, dear = FOUR.fidelities
    assert (cheap, dear) == (Fidelity(size=SMALL, steps=SHORT), Fidelity(size=LARGE, steps=LONG))
    assert {FOUR.cost_of(fidelity) for fidelity in between} == {0.25}
    assert FOUR.cost_of(cheap) == 1 / 16
    state = BY_STEPS.sweep(FOUR, cost=6)
    assert {record.fidelity for record in state.trials.values()} == {*FOUR.fidelities}
    assert {(p.size, p.steps) for p in state.proposals} == {
        (fidelity.size, fidelity.steps) for fidelity in FOUR.fidelities
    }
    assert BY_STEPS.regret(
        state.refit(anew=True).optimum.mixture.as_array()
    ) < 0.2 * BY_STEPS.regret(BY_STEPS.best(SHORT).x)


def test_all_first_mixtures_are_cheapest_and_some_are_repeated_at_each_dearer_scale():
    state = SweepState(FOUR)
    proposals = [state.propose(f"t{i}") for i in range(FOUR.num_initial)]
    first = {p.mixture for p in proposals if (p.size, p.steps) == (SMALL, SHORT)}
    assert len(first) == num_initial(3, 60) == 5
    assert Counter((p.size, p.steps) for p in proposals) == {
        (SMALL, SHORT): 5,
        (LARGE, LONG): REPEATED,
        (SMALL, LONG): 1,
        (LARGE, SHORT): 1,
    }
    assert all(p.mixture in first for p in proposals)
    assert {p.reason: (p.size, p.steps) for p in proposals if "again" in p.reason} == {
        "initial: again at a larger size and for more steps": (LARGE, LONG),
        "initial: again at a larger size": (LARGE, SHORT),
        "initial: again for more steps": (SMALL, LONG),
    }
    assert len({p.seed for p in proposals}) == 1  # chance cancels between fidelities, too
    assert FOUR.rule.min_trials == 3 + 3 + REPEATED + 2


def test_with_one_number_of_steps_the_first_trainings_are_those_of_before_and_say_no_steps():
    """As the program proposed them before there were several numbers of steps."""
    state = SweepState(replace(FOUR, shorter=()))
    proposals = [state.propose(f"t{i}") for i in range(8)]
    assert [
        (p.size, p.reason.removeprefix("initial: "), np.round(p.mixture.as_array(), 4).tolist())
        for p in proposals
    ] == FIRST
    assert {p.seed for p in proposals} == {FIRST_SEED}
    assert {p.steps for p in proposals} == {None}
    assert {record.steps for record in state.trials.values()} == {LONG}


def test_points_count_from_a_quarter_of_their_own_trainings_steps_on():
    state = SweepState(replace(STEPS, min_step=205))
    for trial, steps in (("long", None), ("short", SHORT)):
        mixture = Mixture.from_array(NAMES, [0.2, 0.3, 0.5])
        state.restore_proposal(
            Proposal(trial=trial, mixture=mixture, reason="", seed=1, steps=steps)
        )
        for step in (30, 50, 51, 100, 204, 205):
            if step <= (steps or LONG):
                state.record(trial, step, dict.fromkeys(NAMES, 3.0))
    assert {
        curve.trial: curve.steps.tolist()
        for curve in points_to_fit(state.spec, state.trial_record.evidence()).curves()
    } == {"long": [205], "short": [51, 100]}
    assert len(state.trial_record.table()) == 10  # what was measured stays to be seen


def test_simulated_sweeps_have_a_step_axis_and_count_what_it_saves():
    world = World.draw(STEPS, 0.003, np.random.default_rng(0))
    shares = np.full((1, 3), 1 / 3)
    assert (
        world.losses(shares, Fidelity(size=LARGE, steps=SHORT)) > world.losses(shares) * 1.01
    ).all()
    looks = simulate(replace(STEPS, max_trials=12), noise=0.003, seconds=4)
    assert 5 * 0.25 + REPEATED < looks[-1].cost < 12
