"""`ask` on a planted law; the recommended mixture and the differences are found by scipy."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from bimix_sweep.cli import app
from tests.support.planted_question import (
    CAP,
    WEIGHTS,
    planted_law,
    true_objective,
    true_optimum,
    write_law,
)
from tests.support.planted_tables import DOMAINS


@pytest.fixture(scope="module")
def law(tmp_path_factory):
    return write_law(tmp_path_factory.mktemp("law") / "LAW.json", planted_law())


def ask(*words):
    done = CliRunner().invoke(app, ["ask", *map(str, words)])
    assert done.exit_code == 0, done.output
    return done


def asked(*words):
    return json.loads(ask(*words, "--json").stdout)


def test_without_options_the_recommended_mixture_is_shown(law):
    found = asked(law)
    best = true_optimum(WEIGHTS, [(0, 1), (0, CAP), (0, 1), (0, 1)])
    taken = np.array([found["mixture"][name] for name in DOMAINS])
    assert true_objective(taken, WEIGHTS) < 1.001 * true_objective(best, WEIGHTS)
    assert found["mixture"] == found["recommended"]
    assert found["changes"] == []
    assert [*found["difference"].values()] == pytest.approx([0, 0, 0], abs=1e-9)
    assert found["passes"]["code"] == pytest.approx(2.5 * found["mixture"]["code"])
    said = ask(law).stdout
    assert "equal to that of the recommended mixture" in said
    assert "the recommended one" not in said


def test_numbers_with_units_ask_the_same_question_as_plain_ones(law):
    words = (
        "--set",
        "code=20%",
        "--max",
        "web=30%",
        "--final-tokens",
        "300B",
        "--final-size",
        "7B",
    )
    plain = ("--set", "code=.2", "--max", "web=.3", "--final-tokens", "3e11", "--final-size", "7e9")
    assert asked(law, *words) == asked(law, *plain)


def test_a_cap_that_binds_less_in_a_shorter_run_lowers_the_objective(law):
    free = true_optimum(WEIGHTS, [(0, 1)] * 4)
    capped = true_optimum(WEIGHTS, [(0, 1), (0, CAP), (0, 1), (0, 1)])
    fall = true_objective(free, WEIGHTS) / true_objective(capped, WEIGHTS) - 1
    assert fall < -0.001
    found = asked(law, "--final-tokens", "100B")
    assert found["difference"]["value"] == pytest.approx(fall, abs=0.001)
    assert found["changes"] == ["tokens of the final run is 1e+11 instead of 1e+12"]


def test_a_fixed_proportion_is_said_and_costs_what_the_truth_says(law):
    bounds = [(0, 1), (0.2, 0.2), (0, 1), (0, 1)]
    fixed, best = (
        true_objective(true_optimum(WEIGHTS, b), WEIGHTS)
        for b in (bounds, [(0, 1), (0, CAP), (0, 1), (0, 1)])
    )
    found = asked(law, "--set", "code=.2")
    assert found["mixture"]["code"] == pytest.approx(0.2, abs=1e-9)
    assert found["difference"]["value"] == pytest.approx(fixed / best - 1, abs=0.002)
    assert found["difference"]["low"] < fixed / best - 1 < found["difference"]["high"]
    said = ask(law, "--set", "code=.2").stdout
    assert "the best mixture with code=.2 fixed" in said
    assert "this mixture lies outside the near-optimal region" in said
    assert "the recommended one lies in the near-optimal region" in said


def test_a_weight_is_a_fraction_of_the_objective_and_the_rest_keeps_its_ratios(law):
    found = asked(law, "--weight", "math=.4")
    assert found["changes"] == [
        "weight of web is 0.1333 instead of 0.2",
        "weight of code is 0.3333 instead of 0.5",
        "weight of books is 0.1333 instead of 0.2",
        "weight of math is 0.4 instead of 0.1",
    ]
    weights = {"web": 0.4 / 3, "code": 1 / 3, "books": 0.4 / 3, "math": 0.4}
    best = true_optimum(weights, [(0, 1), (0, CAP), (0, 1), (0, 1)])
    taken = np.array([found["mixture"][name] for name in DOMAINS])
    assert true_objective(taken, weights) < 1.001 * true_objective(best, weights)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("today",), [0.7, 0.1, 0.1, 0.1]),
        (("uniform",), [0.25] * 4),
        (("natural",), [10 / 30.4, 0.4 / 30.4, 10 / 30.4, 10 / 30.4]),
        (("m.json",), [0.25, 0.25, 0.5, 0]),
    ],
)
def test_a_given_mixture_stands_beside_the_recommended_one(
    law, words, expected, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.json").write_text('{"web": "1B", "code": 1e9, "books": 2e9}')
    found = asked(law, "--mixture", *words)
    assert [found["mixture"][name] for name in DOMAINS] == pytest.approx(expected)
    recommended = [found["recommended"][name] for name in DOMAINS]
    true = true_objective(expected, WEIGHTS) / true_objective(recommended, WEIGHTS) - 1
    assert found["difference"]["value"] == pytest.approx(true, abs=0.01)
    assert found["regret"] is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--set", "code=.2", "--mixture", "uniform"), "give one of them"),
        (("--set", "code=.2", "--max", "code=.3"), "--set and a bound are given for code"),
        (("--set", "cod=.2"), "cod is not a domain of the law; it knows web, code, books, math"),
        (("--set", "code=half"), "--set code is 'half'; need a number, such as 0.2, 20%"),
        (("--set", "code"), "'code' is not NAME=VALUE"),
        (("--weight", "poems=.2"), "--weight names poems; the law's targets are web, code"),
        (("--weight", "code=2"), "the weights given sum to 2, and web, books, math are not named"),
        (("--weight", "code=-1"), "--weight of code is -1; need a number from 0"),
        (("--mixture", "gone.json"), "gone.json cannot be read"),
        (("--prior", "natural"), "--prior and --kl go together"),
    ],
)
def test_a_question_that_cannot_be_asked_ends_in_one_line(law, words, message):
    done = CliRunner().invoke(app, ["ask", str(law), *words])
    assert done.exit_code == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
