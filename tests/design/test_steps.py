"""Trainings of two numbers of steps, on a planted law whose optimum moves with the step, without a
cluster.
"""

from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy import optimize

from bimix_sweep.design.evidence import points_to_fit
from bimix_sweep.design.fidelity import TARGET_FIDELITY_SHARE, Fidelity
from bimix_sweep.design.initial_design import REPEATED, num_initial
from bimix_sweep.design.planner import SweepState
from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.design.simulation import World, simulate
from bimix_sweep.design.trial import Proposal
from bimix_sweep.errors import SweepError
from bimix_sweep.mixture.domains import DomainSet, Mixture
from tests.support.played_back import check_from_the_middle, check_in_a_batch

NAMES = ("code", "docs", "web")
HELP = np.array([[1.0, 0.2, 0.05], [0.1, 1.0, 0.3], [0.02, 0.25, 1.0]])
POWER = np.array([0.3, 0.15, 0.2])
FALL = np.array([[0.2, 0.35], [0.7, 0.9], [0.4, 0.6]])
"""Of each target's level with the step: fidelity and power."""
SMALL, LARGE = 1e5, 4e5
SHORT, LONG = 200, 800
DOMAINS = DomainSet(names=NAMES, tokens=(1e9, 3e9, 6e9))
BOTH = SweepSpec(
    domains=DOMAINS,
    targets=NAMES,
    weights=dict.fromkeys(NAMES, 1.0),
    own={n: n for n in NAMES},
    steps=LONG,
    shorter=(SHORT,),
    size=LARGE,
    eval_steps=(200, 320, 500, 800),
    min_step=200,
    seed=7,
    max_trials=60,
    tolerance=1e-9,
)
FOUR = replace(BOTH, smaller=(SMALL,))
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


def truth(shares, step, size=LARGE):
    """(3,) planted losses of one mixture."""
    useful = 0.03 + HELP @ np.asarray(shares) ** 0.9
    return (
        3
        * useful**-POWER
        * (1 + FALL[:, 0] * (step / 200) ** -FALL[:, 1] + 0.2 * (size / LARGE) ** -0.34)
    )


@cache
def best(step):
    return optimize.minimize(
        lambda x: float(truth(x, step).mean()),
        np.full(3, 1 / 3),
        method="SLSQP",
        bounds=[(1e-6, 1)] * 3,
        constraints=[{"type": "eq", "fun": lambda x: x.sum() - 1}],
    )


def regret(shares):
    """At the last step of the long ones."""
    return float(truth(shares, LONG).mean()) / best(LONG).fun - 1


def train(state, proposal):
    """Offsets of targets and trainings are a function of spec's seed and trial; points from a
    quarter of the training's steps on.
    """
    generator, record = (
        np.random.default_rng([state.spec.seed, *proposal.trial.encode()]),
        state.trials[proposal.trial],
    )
    offset = generator.normal(0, 0.003, 3)
    for part in (0.25, 0.4, 0.625, 1):
        step = round(part * record.steps)
        losses = truth(proposal.mixture.as_array(), step, record.size) * np.exp(
            offset + generator.normal(0, 0.00075, 3)
        )
        state.record(proposal.trial, step, dict(zip(NAMES, map(float, losses), strict=True)))
    state.finish(proposal.trial)


def sweep(spec, cost):
    """A sweep until its trainings cost as much as so many of the dearest."""
    state, spent = SweepState(spec), 0.0
    while spent < cost:
        proposal = state.propose(f"t{len(state.trials)}")
        train(state, proposal)
        spent += spec.cost_of(state.trials[proposal.trial].fidelity)
    return state


def test_the_planted_optimum_moves_with_the_step():
    assert np.abs(best(SHORT).x - best(LONG).x).max() > 0.02
    assert regret(best(SHORT).x) > 0.0005


def test_for_the_same_cost_two_numbers_of_steps_find_the_optimum_as_well_as_the_long_one_alone_and_train_more_short_ones():
    found = {"both": [], "long": []}
    for seed in range(3):
        for name, spec in (("both", BOTH), ("long", replace(BOTH, shorter=()))):
            state = sweep(replace(spec, seed=seed), cost=7)
            optimum = state.refit(anew=True).optimum
            assert optimum.step == LONG
            assert optimum.extrapolation["step"] == 1
            found[name].append(regret(optimum.mixture.as_array()))
            steps = Counter(record.steps for record in state.trials.values())
            assert steps[SHORT] >= 2 * steps[LONG] if name == "both" else not steps[SHORT]
            assert (
                steps[LONG] * LONG
                >= TARGET_FIDELITY_SHARE * sum(number * count for number, count in steps.items())
                - SHORT
            )
    assert np.mean(found["both"]) <= np.mean(found["long"])
    assert max(found["both"]) < 0.2 * regret(best(SHORT).x)


def test_a_sweep_of_two_sizes_and_two_numbers_of_steps_trains_all_four_and_costs_are_size_times_steps():
    cheap, *between, dear = FOUR.fidelities
    assert (cheap, dear) == (Fidelity(size=SMALL, steps=SHORT), Fidelity(size=LARGE, steps=LONG))
    assert {FOUR.cost_of(fidelity) for fidelity in between} == {0.25}
    assert FOUR.cost_of(cheap) == 1 / 16
    state = sweep(FOUR, cost=6)
    assert {record.fidelity for record in state.trials.values()} == {*FOUR.fidelities}
    assert {(p.size, p.steps) for p in state.proposals} == {
        (fidelity.size, fidelity.steps) for fidelity in FOUR.fidelities
    }
    assert regret(state.refit(anew=True).optimum.mixture.as_array()) < 0.2 * regret(best(SHORT).x)


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
    state = SweepState(replace(BOTH, min_step=205))
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


def test_a_batch_of_many_proposals_has_both_numbers_and_is_the_same_after_a_restart(monkeypatch):
    monkeypatch.setattr("bimix_sweep.design.refit_schedule.EACH", 10)
    monkeypatch.setattr("bimix_sweep.design.refit_schedule.GROWTH", 0.5)
    whole = sweep(BOTH, cost=5)
    batch = [whole.propose(f"b{i}") for i in range(10)]
    assert {proposal.steps for proposal in batch} == {SHORT, LONG}
    check_in_a_batch(whole, train, batch, 4)


def test_played_back_from_the_middle_it_proposes_the_same():
    whole = sweep(FOUR, cost=4.5)
    check_from_the_middle(whole, train, (6, 10, len(whole.proposals) - 2))


def test_simulated_sweeps_have_a_step_axis_and_count_what_it_saves():
    world = World.draw(BOTH, 0.003, np.random.default_rng(0))
    shares = np.full((1, 3), 1 / 3)
    assert (
        world.losses(shares, Fidelity(size=LARGE, steps=SHORT)) > world.losses(shares) * 1.01
    ).all()
    looks = simulate(replace(BOTH, max_trials=12), noise=0.003, seconds=4)
    assert 5 * 0.25 + REPEATED < looks[-1].cost < 12


def test_steps_that_the_sweep_does_not_have_are_refused():
    state = SweepState(BOTH)
    mixture = Mixture.from_array(NAMES, [0.2, 0.3, 0.5])
    with pytest.raises(
        SweepError, match="trial a has 400 steps; the sweep trains proxies for 200, 800 steps"
    ):
        state.add_trial(Proposal(trial="a", mixture=mixture, reason="", seed=1, steps=400), "sweep")
    with pytest.raises(
        SweepError, match="steps of the trials are 900, 800; need rising whole numbers from 1"
    ):
        replace(BOTH, shorter=(900,))
