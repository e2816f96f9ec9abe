import numpy as np
import pytest

from bimix_sweep.design.confirmation import compare_confirmation_trials
from bimix_sweep.errors import SweepError
from bimix_sweep.mixture.domains import Mixture

ROLES = ("predicted", "measured", "uniform", "natural")
MIXTURES = {
    role: Mixture.from_array(("a", "b"), [0.2 + 0.1 * i, 0.8 - 0.1 * i])
    for i, role in enumerate(ROLES)
}
WEIGHTS = {"a": 1.0, "b": 1.0}


def trained(levels, *, noise=0.0, shared=0.0, seeds=(1, 2), seed=0):
    """Losses of each role around planted levels: `shared` is what a seed does to all of them."""
    generator = np.random.default_rng(seed)
    shift = dict(zip(seeds, generator.normal(0, shared, len(seeds)), strict=True))
    return {
        role: {
            s: {t: level + shift[s] + float(generator.normal(0, noise)) for t in WEIGHTS}
            for s in seeds
        }
        for role, level in zip(ROLES, levels, strict=True)
    }


def test_equal_mixtures_are_said_not_to_differ_and_the_predicted_optimum_is_taken():
    found = compare_confirmation_trials(
        trained([3.0] * 4, noise=0.01), MIXTURES, weights=WEIGHTS, noise=0.01
    )
    assert not found.differ
    assert found.recommended == "predicted"
    assert "predicted optimum does not differ from best measured, uniform, natural" in found.reason


def test_a_mixture_measured_better_beyond_the_noise_is_taken_instead():
    found = compare_confirmation_trials(
        trained([3.0, 2.8, 3.2, 3.1], noise=0.005), MIXTURES, weights=WEIGHTS, noise=0.005
    )
    assert found.recommended == "measured"
    assert "measured was 6.6" in found.reason
    assert found.mixtures[0].role == "measured"


def test_the_sentence_says_by_how_much_each_mixture_was_apart_and_what_two_seeds_cannot_tell():
    losses = {
        role: {s: dict.fromkeys(WEIGHTS, level) for s in (1, 2)}
        for role, level in zip(ROLES, (2.0, 1.998, 2.002, 2.2), strict=True)
    }
    found = compare_confirmation_trials(
        losses, MIXTURES, weights=WEIGHTS, noise=0.01, regret=0.0004
    )
    noise = found.mixtures[0].noise95 / 2.0
    assert found.reason == (
        f"predicted optimum is better than natural beyond the noise of ±{noise:.2%} in 2 paired "
        "seeds; it does not differ from best measured, uniform: the loss of best measured 0.10% "
        "lower, of uniform 0.10% higher, of natural 10.00% higher than its own; the expected "
        "regret of 0.04% is below that noise, so 2 paired seeds cannot tell such mixtures apart at "
        "that precision"
    )
    finer = compare_confirmation_trials(losses, MIXTURES, weights=WEIGHTS, noise=0.01, regret=0.05)
    assert "cannot tell" not in finer.reason


def test_one_that_is_better_within_the_noise_is_not():
    found = compare_confirmation_trials(
        trained([3.0, 2.995, 3.2, 3.1], noise=0.01), MIXTURES, weights=WEIGHTS, noise=0.01
    )
    assert found.recommended == "predicted"
    assert [one.role for one in found.mixtures if one.differs] == ["natural", "uniform"]


def test_what_a_seed_does_to_all_mixtures_cancels():
    found = compare_confirmation_trials(
        trained([3.0, 3.0, 3.03, 3.05], noise=0.002, shared=0.3),
        MIXTURES,
        weights=WEIGHTS,
        noise=0.002,
    )
    assert found.noise < 0.01
    assert {one.role for one in found.mixtures if one.differs} == {"uniform", "natural"}


def test_false_alarms_are_as_rare_as_the_95_percent_say():
    alarms = [
        one.differs
        for seed in range(300)
        for one in compare_confirmation_trials(
            trained([3.0] * 4, noise=0.02, seed=seed),
            MIXTURES,
            weights=WEIGHTS,
            noise=0.02 / np.sqrt(2),
        ).mixtures
        if one.role != "predicted"
    ]
    assert np.mean(alarms) == pytest.approx(0.05, abs=0.03)


def test_a_law_that_thought_the_noise_small_is_corrected_by_the_spread_of_the_pairs():
    losses = trained([3.0] * 4, noise=0.1)
    assert compare_confirmation_trials(losses, MIXTURES, weights=WEIGHTS, noise=1e-4).noise > 0.02


def test_the_worst_objective_compares_the_largest_loss():
    losses = {
        role: {1: {"a": 3.0, "b": 1.0 + i}, 2: {"a": 3.0, "b": 1.0 + i}}
        for i, role in enumerate(ROLES)
    }
    found = compare_confirmation_trials(
        losses, MIXTURES, weights=WEIGHTS, objective="worst", noise=0.01
    )
    assert {one.role: one.objective for one in found.mixtures} == {
        "predicted": 3,
        "measured": 3,
        "uniform": 3,
        "natural": 4,
    }


def test_targets_of_weight_0_are_shown_but_do_not_count():
    losses = {role: {1: {"a": 3.0, "b": 1.0 + i}} for i, role in enumerate(ROLES)}
    found = compare_confirmation_trials(losses, MIXTURES, weights={"a": 1.0, "b": 0.0}, noise=0.01)
    assert not found.differ
    assert found.mixtures[0].losses["b"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("losses", "noise", "message"),
    [
        (
            {"uniform": {1: {"a": 1.0, "b": 1.0}}},
            0.1,
            "no confirmation trial of the predicted optimum",
        ),
        (
            {"predicted": {1: {"a": 1.0, "b": 1.0}}, "uniform": {2: {"a": 1.0, "b": 1.0}}},
            0.1,
            "share no seed",
        ),
        (
            {"predicted": {1: {"a": 1.0, "b": 1.0}}, "uniform": {1: {"a": 1.0, "b": 1.0}}},
            None,
            "train two seeds",
        ),
        ({"predicted": {1: {"a": 1.0}}, "uniform": {1: {"a": 1.0}}}, 0.1, "has no loss of b"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_words(losses, noise, message):
    with pytest.raises(SweepError, match=message):
        compare_confirmation_trials(losses, MIXTURES, weights=WEIGHTS, noise=noise)


FLAT = Mixture.from_array(("a", "b"), [0.5, 0.5])


def compared(levels, **options):
    """Compares mixtures of planted objectives without noise in the losses; {role: level}."""
    losses = {role: {s: dict.fromkeys(WEIGHTS, v) for s in (1, 2)} for role, v in levels.items()}
    mixtures = MIXTURES | {"today": FLAT}
    return compare_confirmation_trials(losses, mixtures, weights=WEIGHTS, noise=0.01, **options)


def test_the_gain_over_a_baseline_is_the_paired_difference_with_its_interval():
    found = compared({"predicted": 1.9, "uniform": 1.95, "today": 2.0})
    gain = found.gain("today", FLAT)
    half = found.mixtures[0].noise95 or found.mixtures[1].noise95
    assert gain.measured
    assert (gain.value, gain.lower, gain.upper) == pytest.approx(
        (0.05, 0.05 - half / 2, 0.05 + half / 2)
    )
    assert found.gain("today", Mixture.from_array(("a", "b"), [0.9, 0.1])) is None


def test_the_interval_of_the_gain_holds_the_planted_gain_as_often_as_it_says():
    levels, held = [3.0, 3.0, 3.0, 3.06], []
    for seed in range(200):
        losses = trained(levels, noise=0.02, shared=0.5, seed=seed)
        found = compare_confirmation_trials(
            losses, MIXTURES, weights=WEIGHTS, noise=0.02 / np.sqrt(2)
        )
        gain = found.gain("natural", MIXTURES["natural"])
        # the shared effect of the seeds moves the level, and so the fraction, a little
        level = np.mean([losses["natural"][s]["a"] for s in (1, 2)])
        held.append(gain.lower <= 0.06 / level <= gain.upper)
    assert np.mean(held) == pytest.approx(0.95, abs=0.04)


def test_a_baseline_that_is_recommended_itself_gains_nothing():
    found = compared({"predicted": 2.0, "today": 1.8})
    assert found.recommended == "today"
    gain = found.gain("today", FLAT)
    assert (gain.value, gain.lower, gain.upper) == (0, 0, 0)
    assert gain.is_baseline


def test_a_better_mixture_outside_the_bounds_is_named_and_not_recommended():
    found = compared(
        {"predicted": 2.0, "uniform": 1.95, "today": 1.8},
        barred={"today": "breaks the bounds of a (0 to 0.4)"},
    )
    assert found.recommended == "uniform"
    assert found.reason.endswith(
        "; today's mixture has a lower loss, but breaks the bounds of a (0 to 0.4), so it is not "
        "recommended"
    )
    assert found.gain("today", FLAT).value == pytest.approx(-0.15 / 1.8)


def test_the_pull_to_the_prior_counts_in_the_recommendation_and_not_in_the_gain():
    levels = {"predicted": 2.0, "measured": 1.9, "today": 2.1}
    assert compared(levels).recommended == "measured"
    pulled = compared(levels, pulls={"measured": 0.2, "predicted": 0.01, "today": 0.0})
    assert pulled.recommended == "predicted"
    assert "best measured has a lower loss, but not with the pull to the prior" in pulled.reason
    assert pulled.gain("today", FLAT).value == pytest.approx(0.1 / 2.1)
    turned = compared(levels, pulls={"measured": 0.35, "predicted": 0.4})
    assert turned.recommended == "today"
    assert "15.00% better than predicted optimum, the pull to the prior included" in turned.reason
    assert "best measured has a lower loss, but not with the pull to the prior" in turned.reason
