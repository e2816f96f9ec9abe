import pytest

from bimix_sweep.design.stopping import Decision, StoppingRule
from bimix_sweep.errors import SweepError

RULE = StoppingRule(tolerance=0.002, patience=3, min_trials=5, max_trials=40)


def judged(bounds, *, finished=10, counts=None):
    """The decisions after refits with these upper bounds, one training more each time."""
    decision, all_of_them = None, []
    for turn, bound in enumerate(bounds):
        decision = RULE.judge(
            decision,
            num_finished=finished + turn,
            num_over=finished + turn,
            counts=True if counts is None else counts[turn],
            movement_tv=0.01,
            regret_expected=bound,
            regret_upper95=3 * bound,
        )
        all_of_them.append(decision)
    return all_of_them


def test_it_stops_after_patience_refits_in_a_row_within_the_tolerance():
    assert [decision.stop for decision in judged([0.01, 0.002, 0.001, 0.0015])] == [
        False,
        False,
        False,
        True,
    ]


def test_one_refit_beyond_the_tolerance_starts_the_count_again():
    assert [decision.streak for decision in judged([0.001, 0.001, 0.01, 0.001])] == [1, 2, 0, 1]


def test_refits_without_a_newly_finished_training_do_not_count():
    assert [d.streak for d in judged([0.001] * 4, counts=[True, False, False, True])] == [
        1,
        1,
        1,
        2,
    ]


def test_nothing_is_settled_before_the_trainings_that_determine_the_law():
    decisions = judged([0.0001] * 4, finished=3)
    assert [decision.streak for decision in decisions] == [0, 0, 1, 2]
    assert "5 are needed" in decisions[0].reason


def test_a_spent_budget_stops_and_says_so_with_the_regret_left():
    decision = RULE.judge(
        None, num_finished=38, num_over=40, counts=True, regret_expected=0.01, regret_upper95=0.03
    )
    assert decision.stop
    assert "budget of 40" in decision.reason
    assert "3.000%" in decision.reason


def test_without_a_law_it_goes_on():
    assert RULE.judge(None, num_finished=1, num_over=1, counts=True) == Decision(
        stop=False, reason="1 finished trials; no law yet"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"tolerance": 0.0}, "tolerance is 0"), ({"patience": 0}, "patience is 0")],
)
def test_a_rule_that_could_never_or_always_hold_is_refused(changes, message):
    with pytest.raises(SweepError, match=message):
        StoppingRule(
            **{"tolerance": 0.002, "patience": 3, "min_trials": 5, "max_trials": 40, **changes}
        )
