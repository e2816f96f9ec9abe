"""The choice of the next mixture against what can be known beforehand."""

from functools import cache

import numpy as np
import pytest

from bimix_sweep.design.acquisition import Scales, choose, next_mixture, scores
from bimix_sweep.design.scale import Scale
from bimix_sweep.law.optimum import ask
from bimix_sweep.law.selection import fit_law
from bimix_sweep.law.uncertainty import Posterior
from bimix_sweep.mixture.domains import DomainSet
from bimix_sweep.mixture.table import LossTable

NAMES = ("a", "b", "c")
DOMAINS = DomainSet(names=NAMES)
MIXTURES = np.array(
    [[0.8, 0.1, 0.1], [0.7, 0.2, 0.1], [0.6, 0.1, 0.3], [0.75, 0.15, 0.1], [0.65, 0.2, 0.15], [0.7, 0.1, 0.2], [0.85, 0.1, 0.05]]
)

ONE = Scale(size=1.0, steps=500)


@cache
def law():
    """A law that has seen only mixtures with much of domain a."""
    generator = np.random.default_rng(0)
    losses = 3 * (0.05 + MIXTURES**0.9) ** -np.array([0.2, 0.15, 0.25]) * np.exp(generator.normal(0, 0.002, (len(MIXTURES), 3)))
    missing = np.full(len(MIXTURES), np.nan)
    return fit_law(
        LossTable(
            domains=NAMES, targets=NAMES, trials=tuple(map(str, range(len(MIXTURES)))), steps=np.full(len(MIXTURES), 500.0), sizes=missing,
            seeds=missing, proportions=MIXTURES, losses=losses,
        )
    )  # fmt: skip


def proposed(**changes):
    nothing = np.zeros((0, 3))
    given = {"finished": MIXTURES, "running": nothing, "failed": nothing, **changes}
    scales = Scales(choices=(ONE,), finished=[ONE] * len(given["finished"]), running=[ONE] * len(given["running"]))
    return next_mixture(ask(law(), DOMAINS, step=500), DOMAINS, generator=np.random.default_rng(1), scales=scales, **given)[0].as_array()


def test_it_goes_where_nothing_was_measured():
    assert proposed()[0] < 0.5


def test_a_running_trial_is_not_proposed_again():
    first = proposed()
    second = proposed(running=first[None])
    assert np.abs(first - second).sum() / 2 > 0.1


def test_a_mixture_that_failed_is_not_proposed_again():
    first = proposed()
    assert np.abs(proposed(failed=first[None]) - first).max() > 1e-6


def test_among_copies_of_a_candidate_a_running_one_makes_the_others_worth_less():
    question = ask(law(), DOMAINS)
    candidates = np.array([[0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])
    contenders = np.array([[0.4, 0.3, 0.3], [0.2, 0.5, 0.3], [0.2, 0.3, 0.5]])
    first, _ = choose(question, contenders, candidates, [ONE] * 2, np.zeros((0, 3)), (), np.random.default_rng(0))
    second, _ = choose(question, contenders, candidates, [ONE] * 2, candidates[[first]], [ONE], np.random.default_rng(0))
    assert {first, second} == {0, 1}


@pytest.mark.parametrize("noise", [1e-6, 1e-4])
def test_the_fall_of_regret_of_two_contenders_is_the_textbook_knowledge_gradient(noise):
    """Two independent contenders with known means; measuring the second one: E max(0, N(0, s) - gap), in closed form."""
    gap, variance = 0.01, 4e-4
    mean = np.log(np.array([[3.0], [3.0 * (1 + gap)]]))
    covariance = np.zeros((1, 2, 2))
    covariance[0, 1, 1] = variance
    posterior = Posterior(
        mean=np.vstack([mean, mean[1:]]), covariance=covariance[:, [0, 1, 1]][:, :, [0, 1, 1]], run_noise=np.array([[noise]])
    )
    question = ask(law(), DOMAINS, weights={"a": 1.0})
    question = type(question)(
        law=question.law, weights=np.ones(1), worst=False, step=1.0, size=None, lower=question.lower, upper=question.upper
    )  # fmt: skip
    falls = [float(scores(question, posterior, 2, 1, np.random.default_rng(seed), 1)[0][0]) for seed in range(300)]
    from scipy.stats import norm

    sd = 3.0 * (1 + gap) * variance / np.sqrt(variance + noise)
    expected = (sd * norm.pdf(0.03 / sd) - 0.03 * norm.sf(0.03 / sd)) / 3.0
    assert np.mean(falls) == pytest.approx(expected, rel=0.05)
