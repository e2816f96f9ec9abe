import numpy as np
import optuna
import pytest

from bimix_sweep.design.planner import SweepState
from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.errors import SweepError
from bimix_sweep.mixture.domains import DomainSet
from bimix_sweep.mixture.simplex import total_variation
from bimix_sweep.sweep.sampler import MixtureSampler, suggest_mixture, trial_name

NAMES = ("web", "code", "books")
NEEDS = np.array([0.05, 0.20, 0.12])
"""Exponents of the planted law: the needier a domain, the more of it the optimum holds."""


def planted(shares, step):
    return (np.asarray(shares) + 0.03) ** -NEEDS * (8 * step**-0.45 + 2)


def spec(**changes):
    domains = changes.pop("domains", DomainSet(names=NAMES, upper=(0.5, 1.0, 1.0)))
    fields = {
        "domains": domains,
        "targets": NAMES,
        "weights": dict.fromkeys(NAMES, 1.0),
        "own": {name: name for name in NAMES},
        "steps": 400,
        "size": 1e5,
        "eval_steps": (100, 200, 400),
        "min_step": 100,
        "max_trials": 14,
        "tolerance": 1e-3,
        "patience": 2,
    }
    return SweepSpec(**(fields | changes))


def study_of(sampler):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(sampler=sampler)


def objective_for(state, noise=0.001):
    def objective(trial):
        mixture = suggest_mixture(trial, NAMES)
        generator = np.random.default_rng(trial.number)
        for step in state.spec.eval_steps:
            losses = planted(mixture.proportions, step) * np.exp(noise * generator.normal(size=3))
            state.record(
                trial_name(trial.number), step, dict(zip(NAMES, losses.tolist(), strict=True))
            )
        return float(losses.mean())

    return objective


def true_optimum():
    grid = [
        (a, b, 1 - a - b)
        for a in np.linspace(0, 0.5, 101)
        for b in np.linspace(0, 1, 201)
        if a + b <= 1
    ]
    return np.array(min(grid, key=lambda shares: planted(shares, 400).mean()))


def test_plain_optuna_with_a_sweep_state_finds_the_planted_optimum_and_stops_by_itself():
    state = SweepState(spec())
    sampler = MixtureSampler(state, NAMES)
    study = study_of(sampler)
    study.optimize(objective_for(state), n_trials=14, callbacks=[sampler.stop_when_settled])
    optimum = state.refit().optimum
    best = true_optimum()
    assert planted(optimum.mixture.proportions, 400).mean() <= planted(best, 400).mean() * 1.001
    assert total_variation(optimum.mixture.as_array(), best) < 0.1
    assert {trial.state for trial in study.trials} == {optuna.trial.TrialState.COMPLETE}
    assert {record.state for record in state.trials.values()} == {"finished"}
    assert state.decide().stop


def test_every_trial_carries_the_proposed_proportions_to_the_last_bit_and_inside_the_bounds():
    state = SweepState(spec(max_trials=9))
    study = study_of(MixtureSampler(state, NAMES))
    study.optimize(objective_for(state), n_trials=9)
    for trial in study.trials:
        proposed = state.trials[trial_name(trial.number)].mixture
        assert trial.params == proposed.as_dict()
        assert trial.params["web"] <= 0.5 + 1e-9


def test_a_parameter_that_is_no_proportion_is_refused():
    study = study_of(MixtureSampler(SweepState(spec()), NAMES))
    trial = study.ask()
    with pytest.raises(
        SweepError, match=r"parameter learning_rate .* is none of the proportions web, code, books"
    ):
        trial.suggest_float("learning_rate", 1e-4, 1e-2)
    study.tell(trial, state=optuna.trial.TrialState.FAIL)


def test_a_failed_trial_is_told_to_the_planner_and_its_budget_is_spent():
    state = SweepState(spec(max_trials=2))
    study = study_of(MixtureSampler(state, NAMES))
    trial = study.ask()
    suggest_mixture(trial, NAMES)
    trial.set_user_attr("failed", "loss of web is nan at step 100")
    study.tell(trial, state=optuna.trial.TrialState.FAIL)
    assert (state.trials["t0000"].state, state.trials["t0000"].failure) == (
        "failed",
        "loss of web is nan at step 100",
    )
    suggest_mixture(study.ask(), NAMES)
    with pytest.raises(SweepError, match="nothing left to propose after 2 trials"):
        suggest_mixture(study.ask(), NAMES)
