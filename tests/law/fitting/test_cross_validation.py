"""Scores of what was left out."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from bimix_sweep.law.fitting.cross_validation import rank_correlations


def test_rank_correlations_are_spearmans_over_what_was_measured_and_zero_where_there_is_no_order():
    generator = np.random.default_rng(0)
    first, second = np.round(generator.standard_normal((2, 6, 12)), 1)  # rounded: ties
    counted = np.ones((6, 12), dtype=bool)
    counted[1, :5] = counted[2, :5] = False
    counted[3, 2:] = False  # two trainings have no order
    first[4] = 1.0
    found = rank_correlations(first, second, counted)
    for row in (0, 1, 2, 5):
        assert found[row] == pytest.approx(
            spearmanr(first[row, counted[row]], second[row, counted[row]])[0], abs=1e-12
        )
    assert found[3] == found[4] == 0
