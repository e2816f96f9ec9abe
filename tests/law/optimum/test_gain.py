"""The predicted gain of an optimum over a baseline, in worlds whose true gain is known."""

from functools import cache

import numpy as np
import pytest

from bimix_sweep.errors import MixtureError
from bimix_sweep.law.fitting.fit_law import fit_law
from bimix_sweep.law.optimum.gain import predicted_gain
from bimix_sweep.law.optimum.optimal_mixture import optimal_mixture
from bimix_sweep.mixture.domains import DomainSet, Mixture
from bimix_sweep.mixture.table import LossTable

NAMES = ("books", "code", "web")
DOMAINS = DomainSet(names=NAMES)
NOISE = 0.004


def truth(proportions, seed):
    """(n, 3) planted losses; each world has its own slopes and its own help between domains."""
    generator = np.random.default_rng(seed)
    power, help_ = generator.uniform(0.08, 0.25, 3), generator.uniform(0, 0.4, (3, 3))
    useful = 0.03 + np.asarray(proportions) @ np.maximum(help_, np.eye(3)).T
    return 3 * useful**-power


@cache
def fitted(seed, noise=NOISE, runs=16):
    generator = np.random.default_rng([seed, runs])
    rows = generator.dirichlet(np.ones(3), runs)
    losses = truth(rows, seed) * np.exp(noise * generator.standard_normal((runs, 3)))
    return fit_law(
        LossTable.from_numpy(
            domains=NAMES,
            targets=NAMES,
            proportions=rows,
            losses=losses,
            steps=np.full(runs, 400.0),
        )
    )


def true_gain(mixture, over, seed, weights=(1 / 3, 1 / 3, 1 / 3)):
    values = truth([mixture.as_array(NAMES), over.as_array(NAMES)], seed) @ np.array(weights)
    return 1 - values[0] / values[1]


def test_exact_losses_give_the_true_gain_and_a_narrow_interval():
    over = Mixture.from_array(NAMES, [0.05, 0.15, 0.8])
    law = fitted(1, 1e-5, 24)
    best = optimal_mixture(law, DOMAINS).mixture
    gain, known = predicted_gain(law, best, over), true_gain(best, over, 1)
    assert known > 0.02
    assert gain.value == pytest.approx(known, abs=5e-4)
    assert gain.upper - gain.lower < 2e-3
    heavy = {"books": 1.0, "code": 6.0}
    gain = predicted_gain(law, best, over, weights=heavy)
    known = true_gain(best, over, 1, (1 / 7, 6 / 7, 0))
    assert gain.value == pytest.approx(known, abs=5e-4)


def test_the_interval_holds_the_true_gain_about_as_often_as_it_says():
    held, far = [], []
    for seed in range(12):
        best = optimal_mixture(fitted(seed), DOMAINS).mixture
        for row in np.random.default_rng([9, seed]).dirichlet(np.ones(3), 4):
            over = Mixture.from_array(NAMES, row)
            gain, known = predicted_gain(fitted(seed), best, over), true_gain(best, over, seed)
            held.append(gain.lower <= known <= gain.upper)
            far.append(abs(known) > gain.upper - gain.lower)
    assert 0.85 <= np.mean(held) <= 1.0
    assert np.mean(far) > 0.5  # the intervals are not so wide that any gain would be held


def test_the_interval_is_that_of_the_difference_and_not_of_two_losses():
    law = fitted(1)
    one = Mixture.from_array(NAMES, [0.30, 0.30, 0.40])
    other = Mixture.from_array(NAMES, [0.31, 0.30, 0.39])
    gain = predicted_gain(law, one, other)
    mean, sd = law.predict_with_sd(one.as_array()[None], np.array([400.0]))
    apart = 2 * 1.96 * float(np.sqrt(2) * (sd / mean).mean() / np.sqrt(3))
    assert gain.upper - gain.lower < 0.3 * apart
    same = predicted_gain(law, one, one)
    assert (same.value, same.upper - same.lower) == pytest.approx((0, 0), abs=1e-5)


def test_a_baseline_that_holds_an_unknown_domain_is_refused():
    over = Mixture.from_mapping({"web": 0.5, "poems": 0.5})
    with pytest.raises(MixtureError, match="poems"):
        predicted_gain(fitted(1), Mixture.from_array(NAMES, [0.3, 0.3, 0.4]), over)
