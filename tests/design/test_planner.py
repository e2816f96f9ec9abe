"""The whole loop with a planted law and no cluster."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import optimize

from bimix_sweep.design.initial_design import repeated_mixture
from bimix_sweep.design.planner import SweepState
from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.design.trial import Proposal
from bimix_sweep.errors import DivergedError, SweepError
from bimix_sweep.mixture.domains import DomainSet, Mixture

NAMES = ("code", "docs", "web")
HELP = np.array([[1.0, 0.2, 0.05], [0.1, 1.0, 0.3], [0.02, 0.25, 1.0]])
POWER = np.array([0.3, 0.15, 0.2])
STEPS = (100, 200, 400, 800)
DOMAINS = DomainSet(names=NAMES, tokens=(1e9, 3e9, 6e9))
SPEC = SweepSpec(
    domains=DOMAINS,
    targets=NAMES,
    weights=dict.fromkeys(NAMES, 1.0),
    own={n: n for n in NAMES},
    steps=800,
    size=1e5,
    eval_steps=STEPS,
    min_step=100,
    seed=7,
    max_trials=24,
    slots=1,
    tolerance=0.001,
    patience=3,
)


def truth(proportions, step):
    """(3,) planted losses of one mixture."""
    useful = 0.03 + HELP @ np.asarray(proportions) ** 0.9
    return 3 * useful**-POWER * (1 + 0.4 * (step / 200) ** -0.6)


def curve(proposal, noise=0.002):
    """{step: {target: loss}} of a training, its noise a function of trial and seed."""
    generator = np.random.default_rng([proposal.seed % 2**32, *proposal.trial.encode()])
    offset = generator.normal(0, noise, 3)
    return {
        step: dict(
            zip(
                NAMES,
                map(
                    float,
                    truth(proposal.mixture.as_array(), step)
                    * np.exp(offset + generator.normal(0, noise / 4, 3)),
                ),
                strict=True,
            )
        )
        for step in STEPS
    }


def train(state, proposal):
    for step, losses in curve(proposal).items():
        assert state.record(proposal.trial, step, losses)
    state.finish(proposal.trial)


def run(state, *, watch=False):
    """Runs a sweep to its end with one slot."""
    while (proposal := state.propose(f"t{len(state.trials)}")) is not None:
        for step, losses in curve(proposal).items():
            state.record(proposal.trial, step, losses)
            if watch:
                state.refit()
        state.finish(proposal.trial)
        state.decide()
    return state


def true_regret(mixture):
    def objective(x):
        return float(truth(x, 800).mean())

    best = optimize.minimize(
        objective,
        np.full(3, 1 / 3),
        method="SLSQP",
        bounds=[(1e-6, 1)] * 3,
        constraints=[{"type": "eq", "fun": lambda x: x.sum() - 1}],
    )
    return objective(mixture.as_array()) / best.fun - 1


def test_the_loop_recovers_a_planted_law_and_stops_before_its_budget():
    state = run(SweepState(SPEC))
    decision, last = state.decide(), state.history[-1]
    assert decision.stop
    assert len(NAMES) + 3 <= len(state.proposals) < SPEC.max_trials
    assert decision.regret_expected <= SPEC.tolerance
    assert decision.streak >= SPEC.patience
    assert 0 <= decision.movement_tv <= 1
    assert true_regret(last.optimum.mixture) <= SPEC.tolerance
    mixtures = np.random.default_rng(0).dirichlet(np.ones(3), 30)
    expected = np.array([truth(row, 800) for row in mixtures])
    assert np.abs(last.law.predict(mixtures, np.full(30, 800.0)) / expected - 1).mean() <= 0.01


def test_curves_of_hundreds_of_points_that_wander_settle_a_sweep_as_few_points_do():
    steps = np.arange(50, 801, 3)
    root = np.linalg.cholesky(
        np.exp(-np.abs(steps[:, None] - steps) / 120) + 1e-9 * np.eye(len(steps))
    )
    state = SweepState(replace(SPEC, eval_steps=tuple(map(int, steps)), min_step=50, max_trials=12))
    while (proposal := state.propose(f"t{len(state.trials)}")) is not None:
        generator = np.random.default_rng([3, *proposal.trial.encode()])
        noise = 0.004 * generator.standard_normal(3) + 0.004 * root @ generator.standard_normal(
            (len(steps), 3)
        )
        for step, shift in zip(map(int, steps), noise, strict=True):
            state.record(
                proposal.trial,
                step,
                dict(
                    zip(
                        NAMES, truth(proposal.mixture.as_array(), step) * np.exp(shift), strict=True
                    )
                ),
            )
        state.finish(proposal.trial)
        state.decide()
    refit = state.refit()
    assert any("251 points were read as up to 10 means" in note for note in refit.law.notes)
    assert len(refit.law.trials.trial) == 10 * state.trial_record.num_proposed
    assert true_regret(refit.optimum.mixture) < min(refit.optimum.regret.upper95, 0.002)


def test_a_journal_played_back_goes_on_exactly_as_if_nothing_had_happened():
    whole = SweepState(SPEC)
    for _ in range(10):
        train(whole, whole.propose(f"t{len(whole.trials)}"))
    for stop in (3, 7, 9):
        again = SweepState(SPEC)
        for proposal in whole.proposals[:stop]:
            again.restore_proposal(proposal)
            train(again, proposal)
        for _ in range(10 - stop):
            train(again, again.propose(f"t{len(again.trials)}"))
        assert again.proposals == whole.proposals


def test_watching_a_sweep_does_not_change_its_proposals():
    quiet, watched = SweepState(SPEC), SweepState(SPEC)
    for _ in range(9):
        train(quiet, quiet.propose(f"t{len(quiet.trials)}"))
        proposal = watched.propose(f"t{len(watched.trials)}")
        watched.refit()
        train(watched, proposal)
        watched.refit()
    assert quiet.proposals == watched.proposals


def test_every_proposal_and_the_optimum_lie_in_the_bounds():
    bounded = DomainSet(names=NAMES, lower=(0.05, 0.05, 0.05), upper=(0.25, 0.9, 0.9))
    state = SweepState(replace(SPEC, domains=bounded, max_trials=10))
    run(state)
    optimum = state.history[-1].optimum.mixture
    for mixture in (*(proposal.mixture for proposal in state.proposals), optimum):
        shares = mixture.as_array()
        assert (shares >= bounded.lower_array - 1e-12).all()
        assert (shares <= bounded.upper_array + 1e-12).all()


def test_a_batch_holds_different_mixtures_because_running_trials_count_as_seen():
    state = SweepState(replace(SPEC, slots=8))
    for _ in range(SPEC.num_initial):
        train(state, state.propose(f"t{len(state.trials)}"))
    batch = [state.propose(f"batch {i}").mixture.as_array() for i in range(8)]
    apart = [np.abs(one - other).sum() / 2 for i, one in enumerate(batch) for other in batch[:i]]
    assert np.median(apart) > 0.1
    assert len({tuple(np.round(row, 6)) for row in batch}) >= 6


@pytest.mark.parametrize("slots", [1, 6])
@pytest.mark.parametrize(
    "bounds",
    [
        {"lower": (0.33,) * 3, "upper": (0.335,) * 3},
        {"lower": (0.3, 0.3, 0), "upper": (0.301, 1, 1)},
    ],
)
def test_under_narrow_bounds_a_mixture_is_repeated_only_on_purpose_and_with_another_seed(
    bounds, slots
):
    state = SweepState(replace(SPEC, domains=DomainSet(names=NAMES, **bounds), slots=slots))
    while len(state.proposals) < 18:
        batch = [state.propose(f"t{len(state.trials)}") for _ in range(slots)]
        for proposal in batch:
            train(state, proposal)
    rows = np.array([proposal.mixture.as_array() for proposal in state.proposals])
    width = rows.max(axis=0) - rows.min(axis=0)
    assert (width > 1e-4).any()
    for later, proposal in enumerate(state.proposals):
        for earlier in range(later):
            if (np.abs(rows[later] - rows[earlier]) < 1e-4 * width + 1e-12).all():
                assert "replicate" in proposal.reason
                assert proposal.seed != state.proposals[earlier].seed


def test_first_mixtures_for_a_larger_scale_keep_to_bounds_that_became_tighter():
    tighter = DomainSet(names=NAMES, upper=(0.2, 1, 1))
    first = np.array([[0.6, 0.2, 0.2], [0.1, 0.4, 0.5], [0.3, 0.3, 0.4]])
    assert repeated_mixture(tighter, first, first[:0]).proportions == (0.1, 0.4, 0.5)
    outside = repeated_mixture(tighter, first[[0]], first[:0]).as_array()
    assert outside == pytest.approx([0.2, 0.4, 0.4])


def test_proposals_go_on_while_nothing_is_measured_yet():
    state = SweepState(replace(SPEC, slots=20))
    mixtures = [state.propose(f"t{i}").mixture.proportions for i in range(20)]
    assert len(set(mixtures)) == 20


def test_the_budget_ends_the_proposals_and_the_sweep():
    state = SweepState(replace(SPEC, max_trials=4, tolerance=1e-6))
    for i in range(4):
        train(state, state.propose(f"t{i}"))
    assert state.propose("one more") is None
    decision = state.decide()
    assert decision.stop
    assert "budget of 4" in decision.reason


def test_asked_twice_for_a_name_it_answers_the_same():
    state = SweepState(SPEC)
    assert state.propose("a") == state.propose("a")
    assert len(state.proposals) == 1


def test_a_point_recorded_twice_counts_once():
    state = SweepState(SPEC)
    proposal = state.propose("a")
    losses = curve(proposal)[100]
    assert state.record("a", 100, losses)
    assert not state.record("a", 100, dict.fromkeys(NAMES, 9.0))
    assert state.trials["a"].points[100] == losses


@pytest.mark.parametrize("loss", [math.nan, math.inf, 0.0, -1.0, 5e-324, 1e100, 1e200])
def test_a_loss_that_is_none_is_a_divergence(loss):
    state = SweepState(SPEC)
    state.propose("a")
    with pytest.raises(DivergedError, match="loss of docs"):
        state.record("a", 100, {"code": 1.0, "docs": loss, "web": 1.0})
    assert state.trials["a"].points == {}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda state: state.record("b", 100, dict.fromkeys(NAMES, 1.0)), "trial b is not known"),
        (lambda state: state.record("a", 0, dict.fromkeys(NAMES, 1.0)), "step is 0"),
        (lambda state: state.record("a", 100, {"code": 1.0}), "need code, docs, web"),
        (lambda state: state.finish("b"), "trial b is not known"),
        (lambda state: state.add_trial(state.proposals[0], "confirmation"), "already there"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(call, message):
    state = SweepState(SPEC)
    state.propose("a")
    with pytest.raises(SweepError, match=message):
        call(state)


def test_a_failed_training_counts_against_the_budget_but_not_in_the_table():
    state = SweepState(replace(SPEC, max_trials=8))
    for i in range(7):
        train(state, state.propose(f"t{i}"))
    failed = state.propose("bad")
    state.record("bad", 100, curve(failed)[100])
    state.abandon("bad", "out of memory")
    assert "bad" not in state.trial_record.table().trials
    assert state.trials["bad"].failure == "out of memory"
    assert state.propose("t8") is None


def test_final_trainings_enter_the_table_but_not_the_budget():
    state = SweepState(SPEC)
    train(state, state.propose("a"))
    final = Proposal(
        trial="final",
        mixture=Mixture.from_array(NAMES, [0.2, 0.3, 0.5]),
        reason="predicted optimum",
        seed=1,
    )
    state.add_trial(final, "confirmation")
    train(state, final)
    assert state.trials["final"].role == "confirmation"
    assert set(state.trial_record.table().trials) == {"a", "final"}
    assert len(state.proposals) == 1


def test_a_final_training_that_ran_early_leaves_law_and_proposals_as_they_were():
    plain, early = (
        run(SweepState(replace(SPEC, max_trials=8))),
        run(SweepState(replace(SPEC, max_trials=8))),
    )
    final = Proposal(
        trial="final",
        mixture=Mixture.from_array(NAMES, [0.2, 0.3, 0.5]),
        reason="final: uniform",
        seed=1,
    )
    early.add_trial(final, "confirmation")
    early.record("final", 800, dict.fromkeys(NAMES, 99.0))
    assert early.refit().law.digest == plain.refit().law.digest
    assert early.history[-1].num_trials == plain.history[-1].num_trials


def test_a_restored_stop_ends_the_proposals():
    done = run(SweepState(replace(SPEC, max_trials=4)))
    again = SweepState(SPEC)
    again.restore_decision(done.decide())
    assert again.propose("a") is None


def test_a_replicate_gets_another_seed():
    state = SweepState(SPEC)
    first = state.propose("a")
    state.add_trial(replace(first, trial="b"), "confirmation")
    assert state.propose("c").seed == first.seed
    assert state._seed(first.mixture, SPEC.target_fidelity) != first.seed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": (), "weights": {}}, "no targets"),
        ({"max_trials": 0}, "budget.trials is 0"),
        ({"weights": {"sport": 1.0}}, "weights name sport"),
        ({"weights": {"code": 0.0}}, "all target weights are 0"),
    ],
)
def test_a_spec_that_asks_for_nothing_is_refused(changes, message):
    with pytest.raises(SweepError, match=message):
        replace(SPEC, **changes)
