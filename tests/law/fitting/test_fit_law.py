"""Planted laws are found again; what cannot be fitted is refused or answered sanely, and said."""

import json

import numpy as np
import pytest
from scipy.stats import spearmanr

from bimix_sweep.errors import LawError, MixtureError
from bimix_sweep.law.fitting import discrepancy_fit
from bimix_sweep.law.fitting.fit_law import FittedLaw, fit_law
from bimix_sweep.law.fitting.warm_start import WarmStart
from bimix_sweep.law.model import transfer as tl
from bimix_sweep.law.model.priors import Problems
from bimix_sweep.law.posterior import bimix
from bimix_sweep.mixture.table import LossTable
from tests.support.parametric import parametric_losses

DOMAINS = ("web", "code", "books", "math")
STEPS = np.array([200.0, 400.0, 700.0, 1000.0])
NAN = float("nan")


def table_of(
    truth,
    mixtures,
    steps=STEPS,
    *,
    targets=DOMAINS,
    offset=0.002,
    point=0.001,
    seed=0,
    sizes=(NAN,),
):
    """A table of log losses truth(r, s, N) -> (targets,) with trial offsets and point noise."""
    generator = np.random.default_rng(seed)
    rows = []
    for number, r in enumerate(mixtures):
        for size in sizes:
            shift = offset * generator.standard_normal(len(targets))
            for s in steps:
                rows.append(
                    (
                        f"t{number}",
                        s,
                        size,
                        r,
                        truth(r, s, size) + shift + point * generator.standard_normal(len(targets)),
                    )
                )
    return LossTable(
        domains=DOMAINS[: len(mixtures[0])],
        targets=targets,
        trials=tuple(row[0] for row in rows),
        steps=np.array([row[1] for row in rows]),
        sizes=np.array([row[2] for row in rows]),
        seeds=np.full(len(rows), np.nan),
        proportions=np.array([row[3] for row in rows]),
        losses=np.exp(np.array([row[4] for row in rows])),
    )


def mixtures_of(count, seed=1, concentration=1.0):
    return np.random.default_rng(seed).dirichlet(np.full(4, concentration), count)


HELP = np.array(
    [[3.0, 0.4, 0.8, 0.2], [0.3, 3.0, 0.1, 0.5], [1.0, 0.1, 3.0, 0.1], [0.3, 1.2, 0.1, 3.0]]
)


def transfer_truth(r, s, size=NAN):
    v = HELP @ r**0.8 + 0.02
    return (
        np.log([3.2, 2.4, 3.6, 2.9])
        - np.array([0.12, 0.2, 0.1, 0.15]) * np.log(v)
        + np.log1p(0.2 * (s / 500) ** -0.6)
    )


def bimix_truth(r, s, size=NAN):
    alpha, b, c = (
        np.array([0.05, 0.1, 0.07, 0.12]),
        np.array([9.0, 12.0, 10.0, 8.0]),
        np.array([2.5, 1.5, 2.8, 2.0]),
    )
    return -alpha * np.log(r) + np.log(b * s**-0.5 + c)


def test_bimix_coefficients_are_found_again():
    table = table_of(
        bimix_truth,
        mixtures_of(12, concentration=3.0),
        np.geomspace(100, 4000, 10),
        offset=1e-5,
        point=1e-5,
    )
    law = fit_law(table, law="bimix")
    found = [bimix.coefficients(law, name) for name in DOMAINS]
    assert [f.alpha for f in found] == pytest.approx([0.05, 0.1, 0.07, 0.12], rel=0.01)
    assert [f.beta for f in found] == pytest.approx([0.5] * 4, rel=0.02)
    assert [f.b for f in found] == pytest.approx([9, 12, 10, 8], rel=0.1)
    assert [f.c for f in found] == pytest.approx([2.5, 1.5, 2.8, 2.0], rel=0.01)
    r = mixtures_of(3, seed=9, concentration=3.0)
    own = bimix.predict(found[1], r[:, 1], np.full(3, 1500.0))
    assert own == pytest.approx(parametric_losses(law, r, np.full(3, 1500.0))[:, 1], rel=1e-12)


def test_bimix_is_infinite_at_zero_and_says_so():
    with pytest.raises(MixtureError, match="mixture 1 gives the own domain proportion 0; need > 0"):
        bimix.predict(
            bimix.Coefficients(b=1, c=1, alpha=0.1, beta=0.5),
            np.array([0.5, 0.0]),
            np.array([10.0, 10.0]),
        )


def test_a_planted_transfer_law_predicts_unseen_mixtures_within_its_noise():
    law = fit_law(table_of(transfer_truth, mixtures_of(24)), law="transfer")
    unseen = mixtures_of(40, seed=7)
    truth = np.exp([transfer_truth(r, 1000.0) for r in unseen])
    error = np.abs(law.predict(unseen, np.full(40, 1000.0)) / truth - 1)
    assert error.mean() < 0.002
    assert not law.notes


def test_cross_validation_picks_transfer_where_domains_help_each_other():
    law = fit_law(table_of(transfer_truth, mixtures_of(20)))
    assert set(law.choice.values()) == {"transfer"}
    errors = law.cross_validation["by_target"]["math"]
    assert errors["transfer"]["mean_relative_error"] < 0.5 * errors["bimix"]["mean_relative_error"]
    assert "left out" in law.cross_validation["reason"]["math"]


def test_with_few_mixtures_of_a_bimix_truth_the_error_is_that_of_bimix():
    table = table_of(bimix_truth, mixtures_of(4, concentration=3.0))
    unseen = mixtures_of(40, seed=7, concentration=3.0)
    truth = np.exp([bimix_truth(r, 1000.0) for r in unseen])
    errors = [
        np.abs(fit_law(table, law=name).predict(unseen, np.full(40, 1000.0)) / truth - 1).mean()
        for name in ("auto", "bimix")
    ]
    assert errors[1] < 0.01
    assert errors[0] < 2 * errors[1]


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


def test_a_planted_size_axis_predicts_a_larger_size_inside_its_interval():
    def truth(r, s, size):
        scaled = 0.25 * (s / 500) ** -0.5 + 0.4 * (size / 3e7) ** -0.3
        return np.log(2.0) - 0.12 * np.log(HELP @ r**0.8 + 0.02) + np.log1p(scaled)

    law = fit_law(table_of(truth, mixtures_of(12), sizes=(1e7, 3e7, 9e7)), law="transfer")
    assert law.sizes == (1e7, 9e7)
    unseen = mixtures_of(20, seed=8)
    mean, sd = law.predict_with_sd(unseen, np.full(20, 1000.0), np.full(20, 2.7e8))
    expected = np.exp([truth(r, 1000.0, 2.7e8) for r in unseen])
    assert np.abs(mean / expected - 1).max() < 0.03
    assert (np.abs(mean - expected) < 3 * sd).mean() > 0.9
    two = fit_law(table_of(truth, mixtures_of(12), sizes=(1e7, 3e7)), law="transfer")
    assert any("two sizes" in note for note in two.notes)


GROWS = np.array([0.0, 0.08, -0.06, 0.0])


def shifted_truth(r, s, size):
    """Code helps every target more, books less, the larger the model."""
    v = HELP @ ((size / 1e7) ** GROWS * r**0.8) + 0.02
    scaled = 0.2 * (s / 500) ** -0.6 + 0.4 * (size / 3e7) ** -0.3
    return (
        np.log([3.2, 2.4, 3.6, 2.9])
        - np.array([0.12, 0.2, 0.1, 0.15]) * np.log(v)
        + np.log1p(scaled)
    )


def test_a_domain_that_helps_more_the_larger_the_model_is_found_and_carried_to_a_larger_one():
    law = fit_law(
        table_of(shifted_truth, mixtures_of(40), sizes=(1e6, 1e7), offset=1e-4, point=1e-4),
        law="transfer",
    )
    shift = law.params[:, tl.NUM_SHARED + 4 :]
    expected = np.tile(
        GROWS - GROWS.mean(), (4, 1)
    )  # a part that all domains share is in the size term
    assert shift - shift.mean(axis=1, keepdims=True) == pytest.approx(expected, abs=0.02)
    unseen, steps, size = mixtures_of(20, seed=8), np.full(20, 1000.0), np.full(20, 1e8)
    mean, sd = law.predict_with_sd(unseen, steps, size)
    expected = np.exp([shifted_truth(r, 1000.0, 1e8) for r in unseen])
    assert (np.abs(mean - expected) < 2 * sd).mean() > 0.9
    order = [spearmanr(a, b)[0] for a, b in zip(mean.T, expected.T, strict=True)]
    assert min(order) > 0.99


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
    assert warm.params.shape == (4, tl.NUM_SHARED + 8)
    cold = fit_law(table, law="transfer")
    assert warm.predict(table.proportions, table.steps, table.sizes) == pytest.approx(
        cold.predict(table.proportions, table.steps, table.sizes), rel=3e-3
    )


def test_a_prediction_at_another_size_than_the_only_one_is_wide():
    law = fit_law(table_of(transfer_truth, mixtures_of(20), sizes=(1e6,)), law="transfer")
    unseen, steps = mixtures_of(10, seed=8), np.full(10, 1000.0)
    _, here = law.predict_with_sd(unseen, steps, np.full(10, 1e6))
    mean, there = law.predict_with_sd(unseen, steps, np.full(10, 1e8))
    assert (here / mean).max() < 0.02
    assert (there / mean).min() > 0.3
    wide = law.posterior(unseen, 1000.0, 1e8).covariance
    assert np.sqrt(np.einsum("tmm->mt", wide)) * mean == pytest.approx(there, rel=1e-6)


def test_missing_targets_unequal_steps_and_zero_proportions_are_fitted():
    mixtures = mixtures_of(20)
    mixtures[::3, 3] = 0
    mixtures /= mixtures.sum(axis=1, keepdims=True)
    table = table_of(transfer_truth, mixtures)
    losses = table.losses.copy()
    losses[5:30, 1] = np.nan
    losses[::4, 2] = np.nan
    ragged = LossTable(
        domains=DOMAINS,
        targets=DOMAINS,
        trials=table.trials,
        steps=table.steps,
        sizes=table.sizes,
        seeds=table.seeds,
        proportions=table.proportions,
        losses=losses,
    ).select(np.arange(len(table)) % 7 != 3)
    law = fit_law(ragged)
    assert any(
        "infinite where a target's own domain is at 0" in note and "math" in note
        for note in law.notes
    )
    truth = np.exp([transfer_truth(r, 1000.0) for r in mixtures])
    assert np.abs(law.predict(mixtures, np.full(20, 1000.0)) / truth - 1).mean() < 0.01
    assert FittedLaw.from_json(json.loads(json.dumps(law.to_json()))).digest == law.digest


def test_one_target_and_one_step_are_enough():
    table = table_of(
        lambda r, s, n: transfer_truth(r, s)[:1],
        mixtures_of(15),
        np.array([1000.0]),
        targets=("web",),
    )
    law = fit_law(table)
    unseen = mixtures_of(20, seed=5)
    truth = np.exp([transfer_truth(r, 1000.0)[0] for r in unseen])
    assert np.abs(law.predict(unseen, np.full(20, 1000.0))[:, 0] / truth - 1).mean() < 0.01


def test_a_domain_never_varied_and_too_few_mixtures_are_said():
    mixtures = mixtures_of(5)
    mixtures[:, 2] = 0.25
    mixtures[:, [0, 1, 3]] *= 0.75 / mixtures[:, [0, 1, 3]].sum(axis=1, keepdims=True)
    notes = " / ".join(fit_law(table_of(transfer_truth, mixtures)).notes)
    assert "never vary books" in notes
    assert "5 mixtures of 4 domains" in notes


def test_rows_before_the_warm_up_are_left_out_and_counted():
    law = fit_law(table_of(transfer_truth, mixtures_of(6)), min_step=400)
    assert law.steps == (400.0, 1000.0)
    assert any(note.startswith("6 of 24 rows are before step 400") for note in law.notes)


def _changed(table, **fields):
    names = ("domains", "targets", "trials", "steps", "sizes", "seeds", "proportions", "losses")
    return LossTable(**{**{name: getattr(table, name) for name in names}, **fields})


GOOD = table_of(transfer_truth, mixtures_of(6))


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        (
            table_of(transfer_truth, [mixtures_of(1)[0]] * 5),
            {},
            "all 5 trials have the same mixture",
        ),
        (GOOD.select(np.arange(4)), {}, "all 1 trials have the same mixture; need at least 2"),
        (_changed(GOOD, domains=("web",), proportions=np.ones((24, 1))), {}, "1 domain"),
        (_changed(GOOD, losses=np.full((24, 4), np.nan)), {}, "no measured loss"),
        (_changed(GOOD, losses=np.where(GOOD.losses > 3, np.inf, GOOD.losses)), {}, "has loss inf"),
        (_changed(GOOD, losses=-GOOD.losses), {}, "need a number between 1e-06 and"),
        (_changed(GOOD, proportions=-GOOD.proportions), {}, "need numbers >= 0 that sum to 1"),
        (_changed(GOOD, proportions=GOOD.proportions * 0.9), {}, "need numbers >= 0 that sum to 1"),
        (_changed(GOOD, steps=-GOOD.steps), {}, "need optimizer steps"),
        (
            _changed(GOOD, sizes=np.where(np.arange(24) < 9, 1e6, np.nan)),
            {},
            "some rows have a size and some have none",
        ),
        (GOOD, {"min_step": 1e9}, "no measured loss from step 1e\\+09 on"),
        (GOOD, {"law": "cubic"}, "law 'cubic' is not known"),
        (GOOD, {"own": {"web": "poetry"}}, "domain poetry, which the table lacks"),
        (GOOD, {"own": {"poetry": "web"}}, "target poetry, which the table lacks"),
        (GOOD, {"own": {}, "law": "bimix"}, "target web has no own domain"),
    ],
)
def test_what_cannot_be_fitted_is_refused_with_its_reason(table, options, message):
    with pytest.raises(LawError, match=message):
        fit_law(table, **options)


def test_a_target_measured_on_one_mixture_is_left_out_and_said():
    losses = GOOD.losses.copy()
    losses[4:, 1] = np.nan
    law = fit_law(_changed(GOOD, losses=losses))
    assert law.targets == ("web", "books", "math")
    assert any("target code was measured on 1 mixture" in note for note in law.notes)


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


def test_smooth_curves_far_apart_and_wild_losses_give_a_law_that_can_be_read_again_or_a_plain_error():
    wild = np.random.default_rng(0)
    one = table_of(transfer_truth, mixtures_of(5), [100.0])
    tables = [
        table_of(
            transfer_truth, mixtures_of(8), np.geomspace(100, 800, 2000), offset=2.0, point=0.0
        )
    ]
    tables += [_changed(one, losses=np.exp(wild.normal(1, 2.5, (5, 4)))) for _ in range(40)]
    refused = []
    for table in tables:
        try:
            law = fit_law(table)
        except LawError as error:
            refused.append(str(error))
        else:
            assert FittedLaw.from_json(law.to_json()).digest == law.digest
    assert len(refused) < 10
    assert all("look for trials that diverged" in said for said in refused)


def test_a_refit_to_one_of_two_sizes_is_as_sure_at_that_size_as_a_cold_fit():
    both = table_of(transfer_truth, mixtures_of(20), STEPS[2:], sizes=(1e5, 4e5))
    one = both.select(both.sizes == 1e5)
    asked = (mixtures_of(5, seed=5), np.full(5, 1000.0), np.full(5, 1e5))
    cold, warm = (
        fit_law(one, previous=previous).predict_with_sd(*asked)[1]
        for previous in (None, fit_law(both))
    )
    assert warm == pytest.approx(cold, rel=0.5)


def test_few_trials_do_not_overstate_how_much_mixtures_matter(monkeypatch):
    """The mode of slope and log t together is at a steeper slope than the data say; integrated over
    log t it is not.
    """
    steep, fitted = [], []
    for seed in range(8):
        table = table_of(transfer_truth, mixtures_of(9, seed=seed), seed=seed)
        fitted.append(fit_law(table, law="transfer"))
        with monkeypatch.context() as patched:
            patched.setattr(
                Problems, "prior_mean_shift", property(lambda self: 0 * self.determined)
            )
            steep.append(fit_law(table, law="transfer"))
    slopes = [
        np.mean([np.exp(law.params[:, tl.SLOPE]).mean() for law in laws])
        for laws in (fitted, steep)
    ]
    assert slopes[0] < 0.95 * slopes[1]
    asked = mixtures_of(60, seed=99)
    truth = np.array([transfer_truth(r, 1000.0) for r in asked])
    errors = [
        np.mean(
            [np.abs(np.log(law.predict(asked, np.full(60, 1000.0))) - truth).mean() for law in laws]
        )
        for laws in (fitted, steep)
    ]
    assert errors[0] < errors[1]
