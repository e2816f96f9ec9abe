"""Proxies of two sizes, on a planted law whose optimum moves with size, without a cluster."""

from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy import optimize

from bimix_sweep.design.acquisition.optimality import optimality_criterion
from bimix_sweep.design.acquisition.scores import choose, costs
from bimix_sweep.design.fidelity import TARGET_FIDELITY_SHARE, Fidelities, Fidelity
from bimix_sweep.design.initial_design import REPEATED, initial_fidelities, num_initial
from bimix_sweep.design.planner import SweepState
from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.design.trial import Proposal
from bimix_sweep.errors import SweepError
from bimix_sweep.law.fitting.fit_law import fit_law
from bimix_sweep.law.optimum.optimal_mixture import ask
from bimix_sweep.mixture.domains import DomainSet, Mixture
from bimix_sweep.mixture.table import LossTable
from tests.support.played_back import check_from_the_middle, check_in_a_batch

NAMES = ("code", "docs", "web")
HELP = np.array([[1.0, 0.2, 0.05], [0.1, 1.0, 0.3], [0.02, 0.25, 1.0]])
POWER = np.array([0.3, 0.15, 0.2])
GROWTH = np.array([0.12, -0.08, -0.1])
"""Of each target's slope with size."""
SCALE = np.array([0.09, 0.36, 0.18])
"""Of each target's level."""
SMALL, LARGE = 1e5, 4e5
STEPS = (100, 200, 400, 800)
DOMAINS = DomainSet(names=NAMES, tokens=(1e9, 3e9, 6e9))
BOTH = SweepSpec(
    domains=DOMAINS,
    targets=NAMES,
    weights=dict.fromkeys(NAMES, 1.0),
    own={n: n for n in NAMES},
    steps=800,
    size=LARGE,
    smaller=(SMALL,),
    eval_steps=STEPS,
    min_step=100,
    seed=7,
    max_trials=60,
    tolerance=1e-9,
)


def truth(shares, step, size):
    """(3,) planted losses of one mixture."""
    useful = 0.03 + HELP @ np.asarray(shares) ** 0.9
    return (
        3
        * useful ** -(POWER * (size / LARGE) ** GROWTH)
        * (1 + 0.4 * (step / 200) ** -0.6 + SCALE * (size / LARGE) ** -0.34)
    )


@cache
def best(size):
    return optimize.minimize(
        lambda x: float(truth(x, 800, size).mean()),
        np.full(3, 1 / 3),
        method="SLSQP",
        bounds=[(1e-6, 1)] * 3,
        constraints=[{"type": "eq", "fun": lambda x: x.sum() - 1}],
    )


def regret(shares):
    """At the large size."""
    return float(truth(shares, 800, LARGE).mean()) / best(LARGE).fun - 1


def train(state, proposal):
    """Offsets of targets and trainings are a function of spec's seed and trial."""
    generator = np.random.default_rng([state.spec.seed, *proposal.trial.encode()])
    offset, size = generator.normal(0, 0.003, 3), state.trials[proposal.trial].size
    for step in STEPS:
        losses = truth(proposal.mixture.as_array(), step, size) * np.exp(
            offset + generator.normal(0, 0.00075, 3)
        )
        state.record(proposal.trial, step, dict(zip(NAMES, map(float, losses), strict=True)))
    state.finish(proposal.trial)


def sweep(spec, cost):
    """A sweep until its trainings cost as much as so many of the largest size; the next of what it
    proposes.
    """
    state, spent = SweepState(spec), 0.0
    while spent < cost:
        proposal = state.propose(f"t{len(state.trials)}")
        train(state, proposal)
        spent += state.trials[proposal.trial].size / spec.size
    return state


def test_the_planted_optimum_moves_with_size():
    assert np.abs(best(SMALL).x - best(LARGE).x).max() > 0.08
    assert regret(best(SMALL).x) > 0.0025


def test_for_the_same_cost_two_sizes_find_the_large_optimum_as_well_as_the_large_one_alone_and_train_more_small_ones():
    found = {"both": [], "large": []}
    for seed in range(3):
        for name, spec in (("both", BOTH), ("large", replace(BOTH, smaller=()))):
            state = sweep(replace(spec, seed=seed), cost=7)
            optimum = state.refit(anew=True).optimum
            assert optimum.size == LARGE
            assert optimum.extrapolation["size"] == 1
            found[name].append(regret(optimum.mixture.as_array()))
            sizes = Counter(record.size for record in state.trials.values())
            assert sizes[SMALL] > sizes[LARGE] if name == "both" else not sizes[SMALL]
            assert (
                sizes[LARGE] * LARGE
                >= TARGET_FIDELITY_SHARE * sum(size * count for size, count in sizes.items())
                - SMALL
            )
    assert np.mean(found["both"]) <= np.mean(found["large"])
    assert max(found["both"]) < 0.1 * regret(best(SMALL).x)


def test_all_first_mixtures_are_small_and_a_few_of_them_are_repeated_at_each_larger_size():
    spec = replace(BOTH, smaller=(5e4, 1e5, 2e5))
    state = SweepState(spec)
    proposals = [state.propose(f"t{i}") for i in range(spec.num_initial)]
    small = {p.mixture for p in proposals if p.size == 5e4}
    assert len(small) == num_initial(3, 60)
    assert Counter(p.size for p in proposals) == {5e4: 5, LARGE: REPEATED, 1e5: 1, 2e5: 1}
    assert all(p.mixture in small for p in proposals)
    assert len({p.mixture for p in proposals if p.size == LARGE}) == REPEATED
    assert len({p.seed for p in proposals}) == 1  # chance cancels between sizes, too


def test_where_the_first_trainings_tell_no_law_yet_the_cheapest_is_run_and_the_dearest_reckoned_with():
    state = SweepState(BOTH)
    for number in range(BOTH.num_initial):
        assert (
            state.spec.fidelity_of(state.propose(f"t{number}")) == BOTH.initial_fidelities[number]
        )
    assert state.next_fidelity == BOTH.target_fidelity
    assert state.propose("next").size == SMALL


@pytest.mark.parametrize(
    ("mixtures", "sizes", "budget", "expected"),
    [(5, 1, 40, 5), (5, 2, 40, 8), (5, 2, 6, 6), (2, 3, 40, 5)],
)
def test_the_first_trainings_stay_in_the_budget(mixtures, sizes, budget, expected):
    assert len(initial_fidelities(mixtures, sizes, budget)) == expected


def test_a_sweep_of_one_size_has_no_size_in_its_proposals():
    state = SweepState(replace(BOTH, smaller=()))
    assert state.propose("a").size is None
    assert state.trials["a"].size == LARGE


def test_where_both_sizes_tell_the_same_the_cheap_one_is_run():
    """A law that knows no sizes predicts alike at all of them."""
    generator = np.random.default_rng(0)
    shares = generator.dirichlet(np.ones(3), 8)
    losses = np.array([truth(row, 800, LARGE) for row in shares]) * np.exp(
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
    problem = ask(fit_law(table), DOMAINS)
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
    state = sweep(BOTH, cost=5)
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


def test_a_batch_of_many_proposals_has_both_sizes_and_is_the_same_after_a_restart(monkeypatch):
    monkeypatch.setattr("bimix_sweep.design.refit_schedule.EACH", 10)
    monkeypatch.setattr("bimix_sweep.design.refit_schedule.GROWTH", 0.5)
    whole = sweep(BOTH, cost=5)
    batch = [whole.propose(f"b{i}") for i in range(10)]
    assert {proposal.size for proposal in batch} == {SMALL, LARGE}
    check_in_a_batch(whole, train, batch, 4)


def test_played_back_from_the_middle_it_proposes_the_same():
    whole = sweep(BOTH, cost=5.5)
    check_from_the_middle(whole, train, (6, 9, len(whole.proposals) - 2))


def test_a_size_that_the_sweep_does_not_have_is_refused():
    state = SweepState(BOTH)
    with pytest.raises(
        SweepError, match="trial a has size 200000; the sweep trains proxies of size 100000, 400000"
    ):
        state.add_trial(
            Proposal(
                trial="a",
                mixture=Mixture.from_array(NAMES, [0.2, 0.3, 0.5]),
                reason="",
                seed=1,
                size=2e5,
            ),
            "sweep",
        )
    with pytest.raises(SweepError, match="need rising numbers above 0"):
        replace(BOTH, smaller=(5e5,))
