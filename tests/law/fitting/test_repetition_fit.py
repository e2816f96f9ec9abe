"""R* is found where trials repeat domains, and changes nothing where they do not."""

from dataclasses import replace

import numpy as np
import pytest

from bimix_sweep.law.fitting.fit_law import fit_law
from bimix_sweep.law.fitting.warm_start import WarmStart
from bimix_sweep.law.model.repetition import LOG_R_STAR_SD, R_STAR, unique_of
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from tests.support.planted_tables import mixtures_of, table_of, transfer_truth
from tests.support.repeated_trials import SCARCE, repeated_table


@pytest.fixture(scope="module")
def table():
    return repeated_table(6.0, 18)


@pytest.fixture(scope="module")
def law(table):
    return fit_law(table)


def measured_error(law, table):
    """Mean error of the law on the trials of a table, of runs that repeat as they did."""
    seen = law.for_run(unique_of(table.proportions, table.epochs))
    return np.abs(seen.predict(table.proportions, table.steps) / table.losses - 1).mean()


@pytest.mark.parametrize("planted", [5.0, 15.0, 40.0])
def test_r_star_is_found(planted):
    found = fit_law(repeated_table(planted, 14)).repetition
    assert found.rests_on_trials
    assert abs(np.log(found.r_star / planted)) < 0.2
    low, high = found.interval
    assert low < planted < high


def test_unseen_trials_that_repeat_are_predicted_and_without_passes_they_are_not(law, table):
    others = repeated_table(6.0, 12, seed=9)
    blind = fit_law(replace(table, epochs=None))
    assert measured_error(law, others) < 0.003
    assert measured_error(blind, replace(others, epochs=None)) > 0.0045


def test_trials_that_repeat_little_leave_r_star_near_its_prior():
    found = fit_law(repeated_table(5.0, 8, unique=np.full(4, 0.5))).repetition
    assert found.repeated
    assert not found.rests_on_trials
    assert found.sd == pytest.approx(LOG_R_STAR_SD, rel=0.05)


def test_a_table_without_repetition_gives_the_same_law():
    plain = table_of(transfer_truth, mixtures_of(10))
    stated = fit_law(replace(plain, epochs=0.9 * plain.proportions)).to_json()
    without = fit_law(plain).to_json()
    assert stated["trials"].pop("epochs") == (0.9 * plain.proportions).tolist()
    assert stated == without
    assert without["repetition"] == {"r_star": R_STAR, "sd": LOG_R_STAR_SD, "repeated": False}


def test_a_warm_refit_keeps_r_star_and_a_first_repetition_is_looked_at(law, table):
    warm = fit_law(table, previous=WarmStart.from_json(WarmStart.of(law).to_json()))
    assert warm.repetition == law.repetition
    fresh = fit_law(replace(table, epochs=None))
    assert fit_law(table, previous=fresh).repetition.rests_on_trials


def test_a_law_file_holds_r_star_and_the_passes(law, tmp_path):
    law.save(tmp_path / "LAW.json")
    again = FittedLaw.from_json(law.to_json())
    points, steps = mixtures_of(5), np.full(5, 900.0)
    for one, other in zip(
        law.for_run(SCARCE).predict_with_sd(points, steps),
        again.for_run(SCARCE).predict_with_sd(points, steps),
        strict=True,
    ):
        assert one.tolist() == other.tolist()
    assert again.digest == law.digest


@pytest.mark.parametrize("damage", [{"r_star": 0.0}, {"sd": -1.0}, {"r_star": float("nan")}])
def test_a_damaged_r_star_is_refused(law, damage):
    from bimix_sweep.errors import LawError

    content = law.to_json()
    content["repetition"] = content["repetition"] | damage
    with pytest.raises(LawError, match="repetition"):
        FittedLaw.from_json(content)


def test_dense_curves_and_bimix_see_repetition_too():
    dense = fit_law(repeated_table(6.0, 10, steps=np.linspace(20, 1000, 60)))
    assert abs(np.log(dense.repetition.r_star / 6)) < 0.3
    assert fit_law(repeated_table(6.0, 10), law="bimix").repetition.repeated
