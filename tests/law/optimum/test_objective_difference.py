"""`objective_difference` on laws of planted losses, whose true differences are known."""

from functools import cache

import numpy as np
import pytest

from bimix_sweep.errors import LawError, MixtureError, OptimumError
from bimix_sweep.law.fitting.fit_law import fit_law
from bimix_sweep.law.optimum.decision_problem import DecisionProblem
from bimix_sweep.law.optimum.objective_difference import CHUNK, objective_difference
from bimix_sweep.law.optimum.optimal_mixture import optimal_mixture
from bimix_sweep.mixture.domains import DomainSet, Mixture
from tests.support.planted_tables import (
    DOMAINS,
    mixtures_of,
    shifted_truth,
    table_of,
    transfer_truth,
)

ALL = DomainSet(names=DOMAINS)
WEIGHTS = {"web": 1.0, "code": 2.0, "books": 0.5, "math": 0.0}
WAVES = np.array([3.0, 5.0, 4.0, 6.0])


def rough_truth(r, s, size=np.nan):
    """A law with waves of 1 % that it cannot follow."""
    return transfer_truth(r, s) + 0.01 * np.sin(WAVES * (r @ np.array([1.0, 2.0, -1.0, 0.5])))


@cache
def planted_law(sizes=(np.nan,)):
    truth = transfer_truth if len(sizes) == 1 else shifted_truth
    return fit_law(table_of(truth, mixtures_of(16), sizes=sizes))


def true_objective(truth, rows, weights):
    total = sum(weights.values())
    shares = np.array([weights[name] / total for name in DOMAINS])
    return np.array([np.exp(truth(r, 1000.0)) @ shares for r in rows])


def test_the_interval_holds_the_true_difference_in_about_95_of_100_cases():
    inside, widths, errors = [], [], []
    for seed in range(16):
        table = table_of(
            rough_truth,
            mixtures_of(20, seed=100 + seed),
            np.array([1000.0]),
            offset=0.003,
            point=0.0,
            seed=seed,
        )
        law = fit_law(table)
        best = optimal_mixture(law, ALL, weights=WEIGHTS).mixture
        generator = np.random.default_rng(seed)
        centre = best.as_array(DOMAINS)
        rows = np.concatenate(
            [generator.dirichlet(30 * centre + 0.5, 15), generator.dirichlet(np.ones(4), 15)]
        )
        found = objective_difference(law, rows, best, weights=WEIGHTS)
        reference = true_objective(rough_truth, centre[None], WEIGHTS)
        true = true_objective(rough_truth, rows, WEIGHTS) / reference - 1
        inside.append((true >= found.low) & (true <= found.high))
        widths.append(found.high - found.low)
        errors.append(found.difference - true)
    assert 0.92 <= np.mean(inside) <= 0.995
    assert np.mean(widths) < 6 * np.sqrt(np.mean(np.square(errors)))


@pytest.mark.parametrize("objective", ["mean", "worst"])
def test_the_interval_is_that_of_joint_draws_of_the_two_mixtures(objective):
    law = planted_law()
    reference = Mixture.from_array(DOMAINS, np.array([0.3, 0.3, 0.2, 0.2]))
    rows = mixtures_of(6, seed=5)
    found = objective_difference(law, rows, reference, weights=WEIGHTS, objective=objective)
    problem = DecisionProblem.of(law, ALL, weights=WEIGHTS, objective=objective)
    for i, row in enumerate(rows):
        belief = problem.posterior(np.stack([reference.as_array(DOMAINS), row]))
        drawn = problem.objective(np.exp(belief.draws(np.random.default_rng(7), 20_000)))
        ratio = drawn[:, 1] / drawn[:, 0] - 1
        low, high = np.quantile(ratio, [0.025, 0.975])
        assert found.low[i] == pytest.approx(low, abs=0.12 * (high - low))
        assert found.high[i] == pytest.approx(high, abs=0.12 * (high - low))
        assert low < found.difference[i] < high


def test_for_one_target_the_interval_is_that_of_the_difference_of_two_normal_numbers():
    law, weights = planted_law(), {"code": 1.0}
    reference = Mixture.from_array(DOMAINS, np.array([0.3, 0.3, 0.2, 0.2]))
    row = np.array([0.32, 0.28, 0.2, 0.2])
    found = objective_difference(law, row, reference, weights=weights)
    problem = DecisionProblem.of(law, ALL, weights=weights)
    belief = problem.posterior(np.stack([reference.as_array(DOMAINS), row]))
    covariance, mean = belief.covariance[1], belief.mean[:, 1]
    sd = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    ends = np.expm1(mean[1] - mean[0] + 1.96 * sd * np.array([-1, 1]))
    assert [found.low[0], found.high[0]] == pytest.approx(ends, abs=0.4 * sd)
    assert found.difference[0] == pytest.approx(np.expm1(mean[1] - mean[0]))
    assert sd < 0.5 * np.sqrt(covariance[0, 0] + covariance[1, 1])  # two separate sds mislead


def test_the_reference_itself_does_not_differ_and_a_row_does_not_depend_on_the_other_rows():
    law = planted_law()
    reference = Mixture.from_array(DOMAINS, np.array([0.4, 0.3, 0.2, 0.1]))
    rows = np.concatenate([mixtures_of(CHUNK + 5, seed=6), reference.as_array(DOMAINS)[None]])
    found = objective_difference(law, rows, reference)
    assert (found.difference[-1], found.low[-1], found.high[-1]) == pytest.approx(
        (0, 0, 0), abs=1e-9
    )
    alone = objective_difference(law, rows[CHUNK + 2], reference)
    assert alone.low == pytest.approx(found.low[CHUNK + 2])
    assert alone.high == pytest.approx(found.high[CHUNK + 2])
    losses = law.losses(rows, np.full(len(rows), 1000.0))
    assert found.objective == pytest.approx(losses.mean(axis=1))


def test_each_row_is_compared_at_its_own_step_and_size():
    law = planted_law((1e7, 1e8))
    reference = Mixture.from_array(DOMAINS, np.array([0.4, 0.3, 0.2, 0.1]))
    rows = np.tile(np.array([0.1, 0.6, 0.1, 0.2]), (4, 1))
    steps, sizes = np.array([200.0, 1000, 1000, 1000]), np.array([1e8, 1e7, 1e8, np.nan])
    found = objective_difference(law, rows, reference, steps=steps, sizes=sizes)
    beside = np.tile(reference.as_array(DOMAINS), (4, 1))
    ratio = law.losses(rows, steps, sizes).mean(axis=1) / law.losses(beside, steps, sizes).mean(1)
    assert found.difference == pytest.approx(ratio - 1)
    assert found.difference[2] == found.difference[3]
    assert len(set(found.difference[:3])) == 3
    true = [
        np.exp(shifted_truth(rows[0], s, n)).mean() / np.exp(shifted_truth(beside[0], s, n)).mean()
        for s, n in zip(steps[:3], sizes[:3], strict=True)
    ]
    assert ((found.low[:3] < np.array(true) - 1) & (np.array(true) - 1 < found.high[:3])).all()


def test_what_cannot_be_compared_is_refused():
    law, rows = planted_law(), np.full((1, 4), 0.25)
    uniform = Mixture.from_array(DOMAINS, rows[0])
    with pytest.raises(MixtureError, match="holds poems; only web, code, books, math are known"):
        objective_difference(law, rows, Mixture.from_mapping({"web": 0.5, "poems": 0.5}))
    with pytest.raises(OptimumError, match="weights name poems"):
        objective_difference(law, rows, uniform, weights={"poems": 1.0})
    with pytest.raises(LawError, match="steps are not 1 numbers > 0"):
        objective_difference(law, rows, uniform, steps=np.array([0.0]))
    with pytest.raises(LawError, match="mixtures have 3 proportions; need 4"):
        objective_difference(law, np.full((1, 3), 1 / 3), uniform)
