"""Weights of relative improvement: divided by the losses of references."""

import pytest

from bimix_sweep.errors import OptimumError
from bimix_sweep.mixture.goals import Goal
from bimix_sweep.mixture.objective import over_references, weighted_loss

GOALS = {"arc": Goal(direction="max", range=(0, 100))}


def test_each_target_at_its_reference_counts_the_same():
    references = {"web": 3.0, "arc": 71.0}  # losses 3 and 0.3
    weights = over_references(None, references, GOALS)
    assert weights == pytest.approx({"web": 1 / 3, "arc": 1 / 0.3})
    base = weighted_loss(references, weights, "mean", GOALS)
    web = weighted_loss({"web": 2.97, "arc": 71.0}, weights, "mean", GOALS)
    arc = weighted_loss({"web": 3.0, "arc": 71.3}, weights, "mean", GOALS)
    assert web / base == pytest.approx(0.995)  # 1 % less of one loss in two
    assert arc / base == pytest.approx(0.995)


def test_weights_of_the_relative_losses_are_kept():
    weights = over_references({"web": 2, "arc": 0}, {"web": 4.0}, GOALS)
    assert weights == {"web": 0.5, "arc": 0.0}


@pytest.mark.parametrize(
    ("weights", "references", "words"),
    [
        ({"web": 1, "arc": 1}, {"web": 3.0}, "arc has a weight and no reference"),
        (None, {"arc": 101.0}, "reference of arc is 101; need a number in its range, 0 to 100"),
        (None, {"web": float("nan")}, "reference of web is nan; need a number between"),
    ],
)
def test_references_that_cannot_be_used_are_refused(weights, references, words):
    with pytest.raises(OptimumError, match=words):
        over_references(weights, references, GOALS)
