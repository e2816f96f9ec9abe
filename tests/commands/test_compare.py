"""`compare` on planted laws and on the recipes of two questions."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from bimix_sweep.cli import app
from bimix_sweep.export.recipe import Recipe
from tests.support.planted_question import planted_law, true_objective, write_law
from tests.support.planted_tables import DOMAINS, transfer_truth


def call(*words, code=0):
    done = CliRunner().invoke(app, [*map(str, words)])
    assert done.exit_code == code, done.output
    return done


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Two laws of other trials, the second with another weighting, and a recipe of each."""
    folder = tmp_path_factory.mktemp("places")
    first = write_law(folder / "a.json", planted_law())
    weights = {"web": 0.1, "code": 0.1, "books": 0.7, "math": 0.1}
    second = write_law(folder / "b.json", planted_law(seed=5), weights=weights)
    for law in (first, second):
        call("optimum", law, "-o", law.with_suffix(".recipe"))
    return first, second


def compared(*words):
    return json.loads(call("compare", *words, "--json").stdout)


def test_two_laws_predict_both_mixtures_and_their_true_difference(places):
    found = compared(*places)
    a, b = ([found[name]["mixture"][domain] for domain in DOMAINS] for name in "AB")
    assert found["distance"] == pytest.approx(np.abs(np.subtract(a, b)).sum() / 2)
    assert found["distance"] > 0.1
    assert [one["by"] for one in found["laws"]] == ["A", "B"]
    losses_a, losses_b = (np.exp(transfer_truth(np.array(r), 1000.0)) for r in (a, b))
    for law in found["laws"]:
        for i, target in enumerate(DOMAINS):
            assert law["first"]["targets"][target]["loss"] == pytest.approx(losses_a[i], rel=0.005)
            assert law["second"]["targets"][target]["loss"] == pytest.approx(losses_b[i], rel=0.005)
            true = losses_b[i] / losses_a[i] - 1
            difference = law["second"]["targets"][target]["difference"]
            assert difference["value"] == pytest.approx(true, abs=0.01)
        assert law["first"]["difference"]["high"] == pytest.approx(0, abs=1e-9)
    of_a = found["laws"][0]["second"]["difference"]["value"]
    assert of_a == pytest.approx(true_objective(b) / true_objective(a) - 1, abs=0.005)
    assert of_a > 0 > found["laws"][1]["second"]["difference"]["value"]
    assert "weight of books is 0.7 instead of 0.2" in found["questions"]


def test_a_law_judges_its_own_recipe_as_itself(places):
    law = places[0]
    found = compared(law, law.with_suffix(".recipe"))
    assert found["distance"] < 1e-5
    assert [one["by"] for one in found["laws"]] == ["A"]
    assert found["questions"] == []
    said = call("compare", law, law.with_suffix(".recipe")).stdout
    assert "objective of B" in said
    assert "equal to that of A" in said
    assert "both answer the same question" in said


def test_the_same_law_twice_predicts_once(places):
    assert [one["by"] for one in compared(places[0], places[0])["laws"]] == ["A and B"]


def test_two_recipes_are_compared_by_what_they_state(places, tmp_path):
    paths = [place.with_suffix(".recipe") for place in places]
    found = compared(*paths)
    assert found["laws"] == []
    for name, path in zip("AB", paths, strict=True):
        assert found[name]["predicted_losses"] == Recipe.read(path).predicted_losses
    Recipe(proportions={"web": 0.5, "poems": 0.5}).write(tmp_path / "hand.json")
    found = compared(places[0], tmp_path / "hand.json")
    assert found["laws"] == []
    assert any("the law of A does not predict both mixtures" in note for note in found["notes"])
    assert "B does not state its decision problem" in found["notes"]


def test_a_place_without_an_answer_is_named(tmp_path):
    done = call("compare", tmp_path / "gone.json", tmp_path / "gone.json", code=1)
    assert "gone.json cannot be read" in done.stderr
