"""`what_if` on a planted law, whose losses and best mixtures scipy finds from the truth."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from bimix_sweep.law.optimum.what_if import what_if
from bimix_sweep.law.posterior.problem_change import ProblemChange
from bimix_sweep.law.posterior.problem_statement import ProblemStatement
from bimix_sweep.mixture.domains import DomainSet, Mixture
from bimix_sweep.mixture.final_run import FinalRun
from tests.support.planted_question import WEIGHTS, planted_law, true_objective, true_optimum
from tests.support.planted_tables import DOMAINS, transfer_truth

PROBLEM = ProblemStatement(domains=DomainSet(names=DOMAINS), weights=WEIGHTS)
law = cache(planted_law)


def mixture(r):
    return Mixture.from_array(DOMAINS, np.asarray(r) / np.sum(r))


def test_without_a_change_the_answer_is_the_recommended_mixture():
    recommended = mixture(true_optimum())
    found = what_if(law(), PROBLEM, recommended)
    assert true_objective(found.mixture.as_array()) < 1.001 * true_objective(true_optimum())
    assert found.standing.above == 0
    assert found.standing.near_optimal
    assert found.recommended_standing.near_optimal
    assert found.beside.difference.low <= 0.001
    assert found.passes == {}


def test_a_fixed_proportion_gets_the_best_rest_and_its_true_cost():
    bounds = [(0, 1), (0.1, 0.1), (0, 1), (0, 1)]
    best, with_fixed = true_optimum(), true_optimum(bounds=bounds)
    assert best[1] > 0.3  # the fixed proportion is far from the best one
    fixed = ProblemChange(fixed={"code": 0.1}).applied_to(PROBLEM)
    found = what_if(law(), PROBLEM, mixture(best), fixed=fixed)
    taken = found.mixture.as_array()
    assert taken[1] == pytest.approx(0.1, abs=1e-9)
    assert true_objective(taken) < 1.001 * true_objective(with_fixed)
    cost = true_objective(with_fixed) / true_objective(best) - 1
    assert found.beside.difference.value == pytest.approx(cost, abs=0.003)
    assert found.standing.above == pytest.approx(cost, abs=0.003)
    assert not found.standing.near_optimal
    assert found.recommended_standing.near_optimal
    assert found.regret.upper95 >= found.regret.expected


def test_a_given_mixture_is_predicted_target_by_target():
    best, asked = true_optimum(), np.array([0.55, 0.15, 0.2, 0.1])
    found = what_if(law(), PROBLEM, mixture(best), mixture=mixture(asked))
    true, reference = (np.exp(transfer_truth(r, 1000.0)) for r in (asked, best))
    for i, target in enumerate(DOMAINS):
        one = found.beside.targets[target]
        assert one.loss == pytest.approx(true[i], rel=0.003)
        assert 0 < one.low < one.loss < one.high
        assert one.difference.value == pytest.approx(true[i] / reference[i] - 1, abs=0.004)
        assert one.difference.low <= one.difference.value <= one.difference.high
    assert found.beside.objective == pytest.approx(true_objective(asked), rel=0.003)
    assert found.regret is None


def test_other_weights_move_the_optimum_and_both_mixtures_stand_in_the_new_problem():
    weights = {"web": 0.0, "code": 0.0, "books": 0.0, "math": 1.0}
    problem = replace(PROBLEM, weights=weights)
    old, new = true_optimum(), true_optimum(weights)
    found = what_if(law(), problem, mixture(old))
    assert true_objective(found.mixture.as_array(), weights) < 1.002 * true_objective(new, weights)
    fall = true_objective(new, weights) / true_objective(old, weights) - 1
    assert found.beside.difference.value == pytest.approx(fall, abs=0.005)
    assert found.beside.difference.high < 0
    assert not found.recommended_standing.near_optimal


def test_a_mixture_beyond_a_cap_breaks_it_and_passes_are_tokens_over_available_ones():
    domains = DomainSet(names=DOMAINS, tokens=(1e12, 1e10, np.inf, 1e12))
    problem = replace(PROBLEM, domains=domains, final=FinalRun(tokens=1e11, max_epochs=2))
    asked = mixture([0.4, 0.3, 0.2, 0.1])
    found = what_if(law(), problem, mixture([0.7, 0.1, 0.1, 0.1]), mixture=asked)
    assert found.standing.broken == ("code",)
    assert not found.standing.near_optimal
    assert found.passes == pytest.approx(
        {"web": 0.04, "code": 3.0, "books": None, "math": 0.01}, nan_ok=True
    )
    assert found.recommended_standing.broken == ()


def test_text_that_the_final_run_repeats_is_worth_less_than_new_text():
    scarce = DomainSet(names=DOMAINS, tokens=(1e12, 1e10, 1e12, 1e12))
    plenty = DomainSet(names=DOMAINS, tokens=(1e12, 1e12, 1e12, 1e12))
    final = FinalRun(tokens=1e11, max_epochs=16)
    asked, other = mixture([0.2, 0.6, 0.1, 0.1]), mixture([0.6, 0.05, 0.25, 0.1])
    repeated, new = (
        what_if(law(), replace(PROBLEM, domains=domains, final=final), other, mixture=asked)
        for domains in (scarce, plenty)
    )
    assert repeated.passes["code"] == pytest.approx(6)
    for target in DOMAINS:
        assert repeated.beside.targets[target].loss > new.beside.targets[target].loss
    assert repeated.beside.difference.value > new.beside.difference.value
