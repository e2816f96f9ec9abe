"""What the parametric law misses is found, and used where trials show that it carries over."""

import json

import numpy as np
import pytest

from bimix_sweep.errors import LawError
from bimix_sweep.law.fitting import discrepancy_fit
from bimix_sweep.law.fitting.fit_law import FittedLaw, fit_law
from tests.support.planted_tables import (
    NAN,
    STEPS,
    mixtures_of,
    table_of,
    transfer_truth,
)


def missed(r, wave):
    """What no law of ours tells: a wave over mixtures."""
    return 0.03 * np.array(
        [
            np.sin(6 * r[0] + wave),
            np.cos(5 * r[1] + wave),
            np.sin(7 * r[2] - wave),
            np.cos(4 * r[3] - wave),
        ]
    )


def own_discrepancy(r, s, size):
    return transfer_truth(r, s) + 0.1 * (size / 4e7) ** -0.3 + missed(r, 0.0 if size > 1e7 else 2.0)


def same_discrepancy(r, s, size):
    return transfer_truth(r, s) + 0.1 * (size / 4e7) ** -0.3 + missed(r, 0.0)


def test_what_the_law_misses_is_carried_over_to_another_size_only_where_the_sizes_agree():
    mixtures, sizes = mixtures_of(40), (4e6, 4e7)
    same, own = (
        fit_law(table_of(truth, mixtures, STEPS[2:], sizes=sizes))
        for truth in (same_discrepancy, own_discrepancy)
    )
    assert same.conditioned.kernel.size_lengthscale == np.inf
    assert own.conditioned.kernel.size_lengthscale < 1

    asked = mixtures_of(60, seed=5)
    few = np.array([number < 6 for number in range(40)])
    for truth, small_helps in ((same_discrepancy, True), (own_discrepancy, False)):
        table = table_of(truth, mixtures, STEPS[2:], sizes=sizes)
        kept = np.array(
            [
                few[int(trial[1:])] or size < 1e7
                for trial, size in zip(table.trials, table.sizes, strict=True)
            ]
        )
        law = fit_law(table.select(kept))
        errors = [
            np.abs(
                np.log(law.predict(asked, np.full(60, 1000.0), np.full(60, size)))
                - [truth(r, 1000.0, size) for r in asked]
            ).mean()
            for size in sizes
        ]
        assert errors[0] < 0.01
        assert (errors[1] < 0.01) == small_helps
        if not small_helps:  # and it knows
            sd = law.predict_with_sd(asked, np.full(60, 1000.0), np.full(60, sizes[1]))[1]
            assert (
                sd.mean()
                > 1.5
                * law.predict_with_sd(asked, np.full(60, 1000.0), np.full(60, sizes[0]))[1].mean()
            )


def test_a_law_whose_discrepancy_forgets_over_sizes_is_the_same_from_its_json():
    law = fit_law(table_of(own_discrepancy, mixtures_of(30), STEPS[2:], sizes=(4e6, 4e7)))
    again = FittedLaw.from_json(json.loads(json.dumps(law.to_json())))
    assert again.digest == law.digest
    assert again.conditioned.kernel == law.conditioned.kernel
    data = law.to_json() | {"kernel": {"lengthscale": 0.5, "size_lengthscale": -1.0}}
    with pytest.raises(LawError, match="size_lengthscale of the discrepancy is -1"):
        FittedLaw.from_json(data)


def drifting_discrepancy(r, s, size=NAN):
    """What is missed of a mixture is another wave early than late."""
    late = np.clip(np.log(s / 200) / np.log(5), 0, 1)
    return transfer_truth(r, s) + (1 - late) * missed(r, 2.0) + late * missed(r, 0.0)


def lasting_discrepancy(r, s, size=NAN):
    return transfer_truth(r, s) + missed(r, 0.0)


CURVE = np.geomspace(200, 1000, 8)


def test_what_the_law_misses_of_a_curve_is_told_by_the_steps_nearby_where_it_drifts(monkeypatch):
    lasting, drifting = (
        fit_law(table_of(truth, mixtures_of(40), CURVE))
        for truth in (lasting_discrepancy, drifting_discrepancy)
    )
    assert lasting.conditioned.kernel.step_lengthscale == np.inf
    assert drifting.conditioned.kernel.step_lengthscale < np.inf

    asked = mixtures_of(60, seed=5)
    monkeypatch.setattr(discrepancy_fit, "MIN_GAIN", np.inf)
    blind = fit_law(table_of(drifting_discrepancy, mixtures_of(40), CURVE))
    for step in (CURVE[0], CURVE[-1]):
        truth = [drifting_discrepancy(r, step) for r in asked]
        errors = [
            np.abs(np.log(law.predict(asked, np.full(60, step))) - truth).mean()
            for law in (drifting, blind)
        ]
        assert errors[0] < 0.6 * errors[1]

    again = FittedLaw.from_json(json.loads(json.dumps(drifting.to_json())))
    assert again.digest == drifting.digest


def test_beyond_the_last_step_a_discrepancy_stays_and_becomes_less_certain():
    """What the trials measured of the mixtures at their end is all that is known of them later."""
    law = fit_law(table_of(drifting_discrepancy, mixtures_of(40), CURVE))
    assert law.conditioned.kernel.step_lengthscale < np.inf
    asked = mixtures_of(60, seed=5)
    belief = {step: law.posterior(asked, step) for step in (1000.0, 2000.0, 8000.0)}
    parametric = {step: np.log(law.law_gradient(asked, step)[0]) for step in belief}
    at_the_end = belief[1000.0].mean - parametric[1000.0]
    for step in (2000.0, 8000.0):
        np.testing.assert_allclose(belief[step].mean - parametric[step], at_the_end, atol=1e-9)
    truth = np.array([drifting_discrepancy(r, 8000.0) for r in asked])
    errors = [np.abs(mean - truth).mean() for mean in (belief[8000.0].mean, parametric[8000.0])]
    assert errors[0] < 0.9 * errors[1]
    apart = [
        np.sqrt(
            np.diagonal(covariance, axis1=1, axis2=2)
            + covariance[:, :1, 0]
            - 2 * covariance[:, :1, :].squeeze(1)
        )[:, 1:].mean()
        for covariance in (one.covariance for one in belief.values())
    ]
    assert apart[0] < apart[1] < apart[2]


def test_curves_that_end_early_tell_less_of_the_end_where_the_discrepancy_drifts():
    mixtures = mixtures_of(40)
    for truth, drifts in ((drifting_discrepancy, True), (lasting_discrepancy, False)):
        table = table_of(truth, mixtures, CURVE)
        short = np.array([int(trial[1:]) >= 6 for trial in table.trials])
        law = fit_law(table.select(~short | (table.steps < 400)))
        early, end = (
            (
                np.divide(*law.predict_with_sd(np.array(mixtures)[6:], np.full(34, step))[::-1])
            ).mean()
            for step in (CURVE[1], CURVE[-1])
        )
        assert (end > 1.5 * early) == drifts


@pytest.mark.parametrize(("points", "noise"), [(8, 1e-5), (8, 1e-3), (80, 1e-3)])
def test_curves_that_wander_each_for_itself_are_noise_of_the_segments_and_not_of_the_trials(
    points, noise
):
    def wandering(r, s, size=NAN):
        chance = np.random.default_rng(int(1e6 * r[0]))
        return (
            transfer_truth(r, s)
            + 0.004 * chance.standard_normal(4)
            + 0.004 * chance.standard_normal(4) * np.log(s / 450)
        )

    law = fit_law(
        table_of(
            wandering, mixtures_of(30), np.geomspace(200, 1000, points), offset=0.0, point=noise
        )
    )
    assert (np.sqrt(law.conditioned.variances.trial) < 0.008).all()
    asked = mixtures_of(60, seed=5)
    loss, sd = law.predict_with_sd(asked, np.full(60, 1000.0))
    miss = (np.log(loss) - [transfer_truth(r, 1000.0) for r in asked]) / (sd / loss)
    assert 0.3 < (miss**2).mean() < 3
