"""Small domains are left out or raised, and the file says so."""

import json
from decimal import Decimal

import pytest

from bimix_sweep.errors import ExportError
from bimix_sweep.export.min_proportion import with_minimum
from bimix_sweep.export.recipe import Recipe
from bimix_sweep.export.registry import export_recipe

MIXTURE = {"web": 0.8, "code": 0.19, "math": 0.009, "rare": 0.001, "legal": 0.0}


def total(proportions):
    return sum(Decimal(repr(x)) for x in proportions.values())


def test_domains_below_the_minimum_are_left_out_and_the_others_keep_their_ratios():
    found, (said,) = with_minimum(MIXTURE, 0.01, floor=False)
    assert [found["math"], found["rare"], found["legal"]] == [0, 0, 0]
    assert found["web"] / found["code"] == pytest.approx(0.8 / 0.19, rel=1e-5)
    assert total(found) == 1
    assert "left out: math (0.009), rare (0.001)." in said
    assert "multiplied by 1.0101," in said  # 1 / 0.99


def test_domains_below_the_minimum_are_raised_to_it_and_a_zero_stays():
    found, (said,) = with_minimum(MIXTURE, 0.01, floor=True)
    assert [found["math"], found["rare"], found["legal"]] == [0.01, 0.01, 0]
    assert found["web"] / found["code"] == pytest.approx(0.8 / 0.19, rel=1e-5)
    assert total(found) == 1
    assert "raised to 0.01: math (0.009), rare (0.001)." in said


def test_a_domain_that_the_raised_ones_push_below_the_minimum_is_raised_too():
    found, _ = with_minimum({"a": 0.749, "b": 0.1005, "c": 0.1005, "d": 0.05}, 0.1, floor=True)
    assert found == pytest.approx({"a": 0.7, "b": 0.1, "c": 0.1, "d": 0.1})


def test_a_mixture_without_small_domains_stays_as_it_is():
    assert with_minimum(MIXTURE, 0.001, floor=False) == (MIXTURE, [])


@pytest.mark.parametrize(
    ("minimum", "floor", "message"),
    [
        (0.9, False, r"would leave out every domain; the largest has 0\.8"),
        (0.3, True, r"needs 4 x 0\.3 of all tokens; need at most 0\.25"),
        (0.0, False, r"--min-proportion is 0; need a proportion above 0"),
        (float("nan"), False, r"--min-proportion is nan"),
    ],
)
def test_a_minimum_that_no_mixture_has_is_refused(minimum, floor, message):
    with pytest.raises(ExportError, match=message):
        with_minimum(MIXTURE, minimum, floor=floor)


def test_the_file_holds_the_changed_mixture_and_says_what_was_changed(tmp_path):
    out = tmp_path / "mix.json"
    done = export_recipe(Recipe(proportions=MIXTURE), "json", out, min_proportion=0.01)
    content = json.loads(out.read_text())
    assert content["domains"]["rare"]["proportion"] == 0
    assert content["domains"]["web"]["proportion"] == pytest.approx(0.8 / 0.99, abs=1e-6)
    assert done.warnings[0].startswith("--min-proportion 0.01: left out: math")
    assert done.warnings[0] in content["notes"]
    with pytest.raises(ExportError, match="--floor says what --min-proportion does"):
        export_recipe(Recipe(proportions=MIXTURE), "json", out, floor=True)
