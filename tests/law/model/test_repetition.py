"""Effective unique tokens: their values, their slopes, and that the loss stays convex in the mixture."""

from dataclasses import replace

import numpy as np
import pytest

from bimix_sweep.law.fitting.fit_law import fit_law
from bimix_sweep.law.model import transfer as tl
from bimix_sweep.law.model.law_inputs import LawInputs
from bimix_sweep.law.model.repetition import Repetition, marginal_worth, unique_of, worth
from bimix_sweep.law.optimum.decision_problem import DecisionProblem
from bimix_sweep.law.optimum.solver import minimise
from bimix_sweep.mixture.domains import DomainSet
from tests.support.planted_tables import DOMAINS, mixtures_of, table_of, transfer_truth

UNIQUE = np.array([np.inf, 0.03, 0.1, 0.01])


@pytest.fixture(scope="module")
def law():
    """A law of trials that repeat nothing, asked about a run that repeats three domains."""
    return fit_law(table_of(transfer_truth, mixtures_of(16))).for_run(UNIQUE)


def test_tokens_count_as_published_from_the_first_pass_on():
    passes = np.array([0.0, 0.4, 1.0, 4.0, 16.0, 1e6])
    unique = passes[2:] * worth(passes[2:], 15.0)
    assert worth(passes[:3], 15.0).tolist() == [1.0, 1.0, 1.0]
    assert unique == pytest.approx(
        [1, 1 + 15 * (1 - np.exp(-3 / 15)), 1 + 15 * (1 - np.exp(-1)), 16]
    )


def test_the_slope_is_the_derivative_of_the_effective_tokens():
    passes, step = np.array([0.5, 1.5, 4.0, 30.0]), 1e-6
    above, below = ((passes + d) * worth(passes + d, 7.0) for d in (step, -step))
    assert marginal_worth(passes, 7.0) == pytest.approx((above - below) / (2 * step), rel=1e-6)


def test_unique_tokens_follow_from_proportions_and_passes():
    unique = unique_of(np.array([[0.4, 0.6, 0.0]]), np.array([[2.0, 0.0, 3.0]]))
    assert unique.tolist() == [[0.2, np.inf, np.inf]]
    assert unique_of(np.ones((1, 1)), None) is None


def test_losses_of_a_run_that_repeats_are_those_of_its_effective_proportions(law):
    mixture = np.array([[0.3, 0.3, 0.1, 0.3]])
    effective = mixture * worth(mixture / UNIQUE, 15.0)
    inputs = LawInputs(
        log_proportions=np.log(effective),
        mixture=np.zeros(1, dtype=np.int64),
        stage=np.zeros(1, dtype=np.int64),
        log_step=np.log([1000.0 / law.conditioned.reference[0]]),
        log_size=np.zeros(1),
    )
    expected = np.exp(tl.evaluate(law.params, inputs, ()).log_loss.T)
    assert law.law_gradient(mixture, 1000.0)[0] == pytest.approx(expected, rel=1e-12)
    assert (expected > law.for_run(None).law_gradient(mixture, 1000.0)[0]).all()


def test_gradients_agree_with_differences_where_domains_are_repeated(law):
    points = mixtures_of(20, seed=5)
    for gradient in (law.law_gradient, law.gradient):
        slopes = gradient(points, 1000.0)[1]
        for domain in range(4):
            move = np.zeros(4)
            move[domain] = 1e-6
            above, below = (gradient(points + sign * move, 1000.0)[0] for sign in (1, -1))
            assert slopes[:, :, domain] == pytest.approx((above - below) / 2e-6, rel=2e-4, abs=1e-6)


def test_every_loss_of_the_law_is_convex_in_the_mixture(law):
    left, right = mixtures_of(300, seed=6, concentration=0.4), mixtures_of(300, seed=7)
    part = np.random.default_rng(0).random((300, 1))
    between, ends = (
        law.law_gradient(part * left + (1 - part) * right, 1000.0)[0],
        part * law.law_gradient(left, 1000.0)[0] + (1 - part) * law.law_gradient(right, 1000.0)[0],
    )
    assert (between <= ends * (1 + 1e-12)).all()


def test_the_optimum_is_certified_and_no_mixture_is_predicted_better(law):
    best, fresh = (
        minimise(
            DecisionProblem.of(one, DomainSet(names=DOMAINS)).objective_function(parametric=True),
            np.zeros(4),
            np.ones(4),
            np.full(4, 0.25),
        )
        for one in (law, law.for_run(None))
    )
    others = law.law_gradient(mixtures_of(2000, seed=8), 1000.0)[0].mean(axis=1)
    assert best.gap <= 1e-8 * best.value
    assert others.min() >= best.value - best.gap
    assert best.point[3] < fresh.point[3]


def test_intervals_hold_the_uncertainty_of_r_star(law):
    points, steps = np.array([[0.3, 0.3, 0.1, 0.3], [0.9, 0.02, 0.05, 0.03]]), np.full(2, 1000.0)

    def with_r_star(r_star, sd):
        repetition = Repetition(r_star=r_star, sd=sd)
        return replace(law, conditioned=replace(law.conditioned, repetition=repetition))

    mean, sd = law.predict_with_sd(points, steps)
    _, known = with_r_star(15.0, 1e-9).predict_with_sd(points, steps)
    factor = np.exp(law.repetition.sd)
    low, high = (
        np.log(with_r_star(r_star, 0.1).law_gradient(points, 1000.0)[0])
        for r_star in (15 / factor, 15 * factor)
    )
    assert sd**2 - known**2 == pytest.approx((mean * (low - high) / 2) ** 2, rel=1e-6)
    joint = law.posterior(points, 1000.0).covariance
    stated = np.sqrt(joint[:, [0, 1], [0, 1]]).T
    assert stated == pytest.approx(sd / mean, rel=1e-9)


def test_words_tell_what_r_star_rests_on():
    alone = Repetition()
    assert "rests on its prior alone" in alone.words
    assert not alone.rests_on_trials
    assert "rests on the trials" in Repetition(r_star=8.0, sd=0.3, repeated=True).words
    assert "more than on the trials" in Repetition(sd=0.6, repeated=True).words
    assert alone.interval == pytest.approx((3.8, 59), rel=0.01)
