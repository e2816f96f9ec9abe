"""A warm refit starts from an earlier law and agrees with a cold fit."""

import json

import numpy as np
import pytest

from bimix_sweep.law.fitting.fit_law import fit_law
from bimix_sweep.law.fitting.warm_start import WarmStart
from bimix_sweep.law.model import columns as col
from bimix_sweep.mixture.table import LossTable
from tests.support.planted_tables import (
    DOMAINS,
    STEPS,
    mixtures_of,
    shifted_truth,
    table_of,
    transfer_truth,
)


def test_a_warm_refit_agrees_with_a_cold_one():
    table = table_of(transfer_truth, mixtures_of(40))
    before = fit_law(table.select(np.array([t != "t39" for t in table.trials])))
    warm, cold = fit_law(table, previous=before), fit_law(table)
    unseen, steps = mixtures_of(30, seed=3), np.full(30, 1000.0)
    assert warm.predict(unseen, steps) == pytest.approx(cold.predict(unseen, steps), rel=1e-3)


def test_a_refit_from_json_is_the_refit_from_the_law():
    table = table_of(transfer_truth, mixtures_of(10))
    before = fit_law(table)
    again = WarmStart.from_json(json.loads(json.dumps(WarmStart.of(before).to_json())))
    assert fit_law(table, previous=again).digest == fit_law(table, previous=before).digest


def test_a_new_domain_and_a_new_target_join_a_warm_refit():
    table = table_of(transfer_truth, mixtures_of(16))
    three = table.proportions[:, :3] / table.proportions[:, :3].sum(axis=1, keepdims=True)
    old = LossTable(
        domains=DOMAINS[:3],
        targets=DOMAINS[:3],
        trials=table.trials,
        steps=table.steps,
        sizes=table.sizes,
        seeds=table.seeds,
        proportions=three,
        losses=table.losses[:, :3],
    )
    warm = fit_law(table, previous=fit_law(old))
    assert warm.targets == DOMAINS
    assert warm.cross_validation["by_target"]["math"]["transfer"]["mean_relative_error"] < 0.05


def test_a_size_axis_joins_a_warm_refit():
    one = table_of(transfer_truth, mixtures_of(12), sizes=(1e6,))
    two = table_of(
        lambda r, s, n: transfer_truth(r, s) - 0.1 * np.log(n / 1e6),
        mixtures_of(12),
        sizes=(1e6, 3e6),
    )
    warm = fit_law(two, law="transfer", previous=fit_law(one, law="transfer"))
    assert (
        np.abs(warm.predict(two.proportions, two.steps, two.sizes) / two.losses - 1).mean() < 0.005
    )


def test_several_sizes_and_a_new_domain_join_a_warm_refit():
    table = table_of(shifted_truth, mixtures_of(20), sizes=(1e6, 1e7))
    with_math = table.proportions[:, 3] > 0.1
    few = table.select(~with_math)
    three = few.proportions[:, :3] / few.proportions[:, :3].sum(axis=1, keepdims=True)
    old = LossTable(
        domains=DOMAINS[:3],
        targets=DOMAINS,
        trials=few.trials,
        steps=few.steps,
        sizes=few.sizes,
        seeds=few.seeds,
        proportions=three,
        losses=few.losses,
    )
    warm = fit_law(
        table,
        law="transfer",
        previous=WarmStart.from_json(
            json.loads(json.dumps(fit_law(old, law="transfer").to_json()))
        ),
    )
    assert warm.params.shape == (4, col.NUM_SHARED + 8)
    cold = fit_law(table, law="transfer")
    assert warm.predict(table.proportions, table.steps, table.sizes) == pytest.approx(
        cold.predict(table.proportions, table.steps, table.sizes), rel=3e-3
    )


def test_a_refit_to_one_of_two_sizes_is_as_sure_at_that_size_as_a_cold_fit():
    both = table_of(transfer_truth, mixtures_of(20), STEPS[2:], sizes=(1e5, 4e5))
    one = both.select(both.sizes == 1e5)
    asked = (mixtures_of(5, seed=5), np.full(5, 1000.0), np.full(5, 1e5))
    cold, warm = (
        fit_law(one, previous=previous).predict_with_sd(*asked)[1]
        for previous in (None, fit_law(both))
    )
    assert warm == pytest.approx(cold, rel=0.5)
