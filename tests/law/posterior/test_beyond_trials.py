import pytest

from bimix_sweep.law.posterior.beyond_trials import beyond_trials
from bimix_sweep.mixture.final_run import FinalRun

TRIALS = {"steps": (100.0, 800.0), "sizes": (2e5, 2e5), "tokens_per_step": 1024.0}


def test_a_final_run_of_7e9_parameters_from_trials_of_2e5_lies_35000_times_beyond_them():
    found = beyond_trials(**TRIALS, final=FinalRun(tokens=8.192e12, size=7e9))
    assert found.extrapolation == {"step": 1.0, "size": 35_000.0, "tokens": 1e7}
    assert found.sentences == (
        "All trials had one size, 2e5 parameters: that the order of mixtures holds at 7e9 "
        "parameters (35,000 times as many) is assumed.",
        "The longest trial had 8.19e5 tokens (800 steps of 1024): that the order of mixtures holds "
        "at 8.19e12 tokens (1e7 times as many) is assumed.",
    )


@pytest.mark.parametrize(
    ("final", "said"),
    [
        (
            FinalRun(tokens=8.192e12, size=7e9),
            [
                "All trials had one size, 2e5 parameters (as proxy.sizes says): ",
                "The longest trial had 8.19e5 tokens (800 steps of 1024, as proxy.steps, context "
                "and batch say): ",
            ],
        ),
        (FinalRun(tokens=5e5), ["of 2e5 parameters (as proxy.sizes says) is not known"]),
        (FinalRun(size=2e5), ["(8.19e5 tokens, as proxy.steps, context and batch say) is not"]),
        (None, ["(2e5 parameters, 8.19e5 tokens, as proxy says) is not known"]),
    ],
)
def test_numbers_that_the_configuration_alone_states_are_said_to_come_from_there(final, said):
    found = beyond_trials(**TRIALS, final=final, as_configured=True)
    plain = beyond_trials(**TRIALS, final=final)
    assert found.extrapolation == plain.extrapolation
    assert len(found.sentences) == len(said)
    for sentence, part in zip(found.sentences, said, strict=True):
        assert part in sentence
    assert not any("proxy" in sentence for sentence in plain.sentences)


def test_several_sizes_are_told_and_a_final_run_among_the_trials_assumes_nothing():
    several = TRIALS | {"sizes": (1e5, 4e5)}
    assert beyond_trials(**several, final=FinalRun(tokens=5e5, size=2e5)).sentences == ()
    (said,) = beyond_trials(**several, final=FinalRun(tokens=5e5, size=4e6)).sentences
    assert said.startswith("The trials had 1e5 to 4e5 parameters: ")
    assert "4e6 parameters (10 times as many)" in said


def test_a_final_run_smaller_than_the_trials_lies_beyond_them_too():
    found = beyond_trials(**TRIALS, final=FinalRun(tokens=5e5, size=1e5))
    assert found.extrapolation["size"] == 2
    assert "at 1e5 parameters (2 times less)" in found.sentences[0]


@pytest.mark.parametrize(
    ("changes", "final", "axes", "said"),
    [
        ({}, None, {"step", "size"}, "The final run is not stated"),
        ({}, FinalRun(tokens=1e12), {"step", "size", "tokens"}, "The size of the final run is not"),
        ({}, FinalRun(size=7e9), {"step", "size"}, "The tokens of the final run are not stated"),
        (
            {"sizes": None},
            FinalRun(tokens=1e12, size=7e9),
            {"step", "tokens"},
            "The sizes of the trials are not known",
        ),
        (
            {"tokens_per_step": None},
            FinalRun(tokens=1e12, size=7e9),
            {"step", "size"},
            "The tokens of a step of the trials are not known",
        ),
    ],
)
def test_what_is_not_known_is_said_and_its_axis_is_left_out(changes, final, axes, said):
    found = beyond_trials(**TRIALS | changes, final=final)
    assert set(found.extrapolation) == axes
    assert any(sentence.startswith(said) for sentence in found.sentences)


def test_a_choice_made_beyond_the_trials_counts_even_where_the_final_run_is_not_stated():
    found = beyond_trials(**TRIALS, final=None, step=8000.0, size=2e6)
    assert found.extrapolation == {"step": 10.0, "size": 10.0}
    assert "compared at step 8000, 10 times beyond the trials" in found.sentences[0]
