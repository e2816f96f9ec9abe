"""A sweep's problem goes with its law: later commands ask for the same weights and caps."""

import csv
import json
import re
import shutil

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from bimix_sweep.cli import app
from bimix_sweep.design.confirmation import compare_confirmation_trials
from bimix_sweep.export.recipe import Recipe
from bimix_sweep.law.optimum.answer import answer
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.sweep.outcome import confirmation_result
from bimix_sweep.sweep.results import write_results
from bimix_sweep.sweep.stored_law import StoredLaw
from tests.support.in_process import config as planted_config
from tests.support.in_process import losses, open_sweep, run, whole

NAMES = ("web", "code", "books")
WEIGHTS = {"web": 1.0, "code": 4.0, "books": 0.5}
CAP = 0.04
"""Of code: 4e10 tokens, once, in a run of 1e12. The optimum without it holds ten times as much."""


def asked(**changes):
    return planted_config(
        9,
        **{
            "targets": {name: {"domain": name, "weight": WEIGHTS[name]} for name in NAMES},
            "domains__code__tokens": 4e10,
            "domains__web__tokens": 2e12,
            "domains__books__tokens": 1e12,
            "final": {"tokens": 1e12, "size": 7e9, "max_epochs": 1},
            **changes,
        },
    )


def call(*words, code=0):
    done = CliRunner().invoke(app, [*map(str, words)])
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A finished sweep whose problem has weights and a cap, and its recipe."""
    folder = tmp_path_factory.mktemp("sweep") / "s"
    config = asked()
    whole(folder, config)
    return folder, write_results(str(folder), config)


def true_loss(proportions):
    """What the sweep minimises, on the planted law without noise."""
    found = losses(Mixture.from_mapping(dict(proportions)), 0, 400, noise=0)
    return sum(WEIGHTS[name] * found[name] for name in NAMES)


def test_the_recipe_is_the_best_mixture_under_weights_and_cap(sweep):
    _, recipe = sweep
    grid = [(w, c, 1 - w - c) for c in np.linspace(0, CAP, 9) for w in np.linspace(0, 1 - c, 200)]
    best = min(true_loss(zip(NAMES, shares, strict=True)) for shares in grid)
    assert recipe.proportions["code"] <= CAP + 1e-6
    assert true_loss(recipe.proportions) < 1.005 * best


@pytest.mark.parametrize("place", ["", "LAW.json"])
def test_the_law_of_a_sweep_answers_the_sweep_s_own_question(sweep, tmp_path, place):
    folder, recipe = sweep
    said = call("optimum", folder / place, "-o", tmp_path / "r.json")
    found = Recipe.read(tmp_path / "r.json")
    assert found.proportions == recipe.proportions
    assert (found.region, found.regret, found.tokens) == (
        recipe.region,
        recipe.regret,
        recipe.tokens,
    )
    assert "another problem" not in said
    assert recipe.comparison["sentence"] in said


def test_the_folder_gives_the_recipe_that_lies_in_it(sweep, tmp_path):
    folder, _ = sweep
    call("optimum", folder, "-o", tmp_path / "r.json")
    assert (tmp_path / "r.json").read_text() == (folder / "RECIPE.json").read_text()


@pytest.mark.parametrize("place", ["", "LAW.json"])
def test_who_asks_another_question_is_told_what_differs_and_the_rest_is_kept(
    sweep, tmp_path, place
):
    folder, recipe = sweep
    words = ("optimum", folder / place, "-o", tmp_path / "r.json", "--max", "web=0.3")
    assert "that of the sweep sweep: max of web is 0.3 instead of 1." in call(*words)
    found = Recipe.read(tmp_path / "r.json")
    assert found.proportions["web"] == pytest.approx(0.3, abs=1e-6)
    assert found.proportions["code"] == pytest.approx(CAP, abs=1e-6)
    assert recipe.proportions["web"] > 0.4
    assert found.comparison is None
    assert "No confirmation trials compare this mixture with others" in " ".join(found.not_tested)


def test_options_that_repeat_the_sweep_s_own_question_ask_no_other(sweep, tmp_path):
    folder, recipe = sweep
    (tmp_path / "w.json").write_text(json.dumps({name: 2 * WEIGHTS[name] for name in NAMES}))
    said = call(
        *("optimum", folder / "LAW.json", "-o", tmp_path / "r.json", "--max", "web=1"),
        *("--weight", tmp_path / "w.json", "--final-tokens", "1e12", "--max-epochs", "1"),
    )
    assert "another problem" not in said
    assert Recipe.read(tmp_path / "r.json").proportions == pytest.approx(
        recipe.proportions, abs=1e-5
    )


@pytest.mark.parametrize("place", ["", "LAW.json"])
def test_the_steps_of_the_trials_are_another_question_where_the_final_run_is_stated(
    sweep, tmp_path, place
):
    folder, recipe = sweep
    said = call("optimum", folder / place, "-o", tmp_path / "r.json", "--step", "400")
    assert "that of the sweep sweep: fidelity of the comparison is that of the trials" in said
    found = Recipe.read(tmp_path / "r.json")
    assert found.proportions == recipe.at_trials.proportions
    assert found.comparison is None
    assert "The confirmation trials of the sweep" not in " ".join(found.not_tested)


def test_a_law_without_its_question_is_the_same_law(sweep):
    folder, _ = sweep
    content = json.loads((folder / "LAW.json").read_text())
    kept, without = FittedLaw.from_json(content), FittedLaw.from_json(content | {"problem": None})
    assert kept.digest == without.digest
    assert kept.problem.final.size == 7e9


def test_predictions_of_the_folder_are_those_of_its_law(sweep, tmp_path):
    folder, _ = sweep
    (tmp_path / "m.csv").write_text("r_web,r_code,r_books\n.6,.04,.36\n")
    rows = []
    for place in (folder, folder / "LAW.json"):
        call("predict", place, tmp_path / "m.csv", "-o", tmp_path / "o.csv")
        with (tmp_path / "o.csv").open() as stream:
            rows.append(list(csv.DictReader(stream)))
    assert rows[0] == rows[1]
    expected = losses(Mixture.from_array(NAMES, [0.6, 0.04, 0.36]), 0, 400, noise=0)
    for name in NAMES:
        assert float(rows[0][0][f"loss_{name}"]) == pytest.approx(expected[name], rel=0.02)


def test_predictions_are_compared_with_the_recipe_by_the_sweep_s_own_weights(sweep, tmp_path):
    folder, recipe = sweep
    lines = [",".join(map(str, recipe.proportions.values())), ".2,.04,.76"]
    (tmp_path / "m.csv").write_text("\n".join(["r_web,r_code,r_books", *lines]) + "\n")
    said = call("predict", folder, tmp_path / "m.csv", "-o", tmp_path / "o.csv")
    assert "weights of the targets: web 0.182, code 0.727, books 0.0909" in said
    with (tmp_path / "o.csv").open() as stream:
        at_recipe, other = (
            {name: float(value) for name, value in row.items()} for row in csv.DictReader(stream)
        )
    assert at_recipe["difference"] == pytest.approx(0, abs=1e-6)
    law = FittedLaw.from_json(json.loads((folder / "LAW.json").read_text()))
    at_trials = law.predict(np.array([[*recipe.proportions.values()]]), np.array([400.0]))[0]
    predicted = sum(WEIGHTS[name] * at_trials[law.targets.index(name)] for name in NAMES)
    assert at_recipe["objective"] == pytest.approx(predicted / sum(WEIGHTS.values()), rel=1e-5)
    true = true_loss({"web": 0.2, "code": 0.04, "books": 0.76}) / true_loss(recipe.proportions) - 1
    assert other["difference_low"] < true < other["difference_high"]
    assert other["difference"] == pytest.approx(true, abs=0.01)


def test_a_mixture_that_the_confirmation_trials_recommend_is_the_one_to_compare_with(sweep):
    folder, _ = sweep
    law = FittedLaw.from_json(json.loads((folder / "LAW.json").read_text()))
    optimum = answer(law, law.problem)
    mixtures = {"predicted": optimum.mixture, "uniform": law.problem.domains.uniform()}
    measured = {
        role: {seed: dict.fromkeys(NAMES, loss) for seed in (1, 2)}
        for role, loss in (("predicted", 3.1), ("uniform", 3.0))
    }
    comparison = compare_confirmation_trials(measured, mixtures, weights=WEIGHTS, noise=0.003)
    assert StoredLaw(law=law).recommended == optimum.mixture
    assert StoredLaw(law=law, comparison=comparison).recommended == mixtures["uniform"]


def test_recipe_page_and_status_say_how_far_the_final_run_lies_beyond_the_trials(sweep, tmp_path):
    folder, recipe = sweep
    trained = 400 * 128 * 8  # steps x context x batch
    assert recipe.extrapolation == {"step": 1.0, "size": 7e9 / 1e5, "tokens": 1e12 / trained}
    sentence = (
        "All trials had one size, 1e5 parameters: that the order of mixtures holds at 7e9 "
        "parameters (70,000 times as many) is assumed."
    )
    assert sentence in recipe.not_tested
    page = (folder / "report.html").read_text()
    assert sentence in page
    assert "70,000 × size" in page
    assert sentence in re.sub(r"\s+", " ", call("status", folder))
    status = json.loads(call("status", folder, "--json"))
    assert sentence in status["not_tested"]
    assert status["extrapolation"]["size"] == 70_000
    assert sentence in call("optimum", folder, "-o", tmp_path / "r.json")


def test_a_sweep_that_still_runs_answers_from_what_its_trials_told_so_far(tmp_path):
    folder = tmp_path / "s"
    actor = open_sweep(folder, asked())
    run(actor, most=1)
    error = call("optimum", folder, "-o", tmp_path / "r.json", code=1)
    assert "the sweep has no law yet (1 trials begun, 1 finished)" in error
    run(actor, most=6)
    said = call("optimum", folder, "-o", tmp_path / "r.json")
    assert "the sweep has not ended (7 trials begun, 7 finished); the law is fitted to the" in said
    recipe = Recipe.read(tmp_path / "r.json")
    assert recipe.proportions["code"] <= CAP + 1e-6
    assert recipe.comparison is None
    assert recipe.law["num_trials"] == 7
    error = call("export", folder, "--to", "json", "-o", tmp_path / "mix.json", code=1)
    assert "the sweep is not finished; finish it, or take what it knows so far" in error
    actor.close()


def test_a_finished_sweep_exports_from_its_folder_until_it_goes_on(sweep, tmp_path):
    folder, _ = sweep
    for place, name in ((folder, "a.json"), (folder / "RECIPE.json", "b.json")):
        call("export", place, "--to", "json", "-o", tmp_path / name)
    assert (tmp_path / "a.json").read_text() == (tmp_path / "b.json").read_text()
    other = shutil.copytree(folder, tmp_path / "s")
    open_sweep(other, asked(budget__trials=12)).close()
    error = call("export", other, "--to", "json", "-o", tmp_path / "c.json", code=1)
    assert "the RECIPE.json there is of before it went on" in error


def test_another_size_of_the_final_run_chooses_again_and_trains_only_that_mixture(sweep, tmp_path):
    finished, recipe = sweep
    folder = shutil.copytree(finished, tmp_path / "s")
    config = asked(final={"tokens": 1e12, "size": 1e9, "max_epochs": 1})
    ran, history = whole(folder, config)
    assert {*ran} <= {"confirm2-predicted-1", "confirm2-predicted-2"}
    assert history.refits
    changed = write_results(str(folder), config)
    assert changed.extrapolation["size"] == 1e4
    assert changed.size == 1e9
    assert changed.at_trials.proportions == recipe.at_trials.proportions


def test_the_law_alone_tells_that_its_sweep_recommends_another_mixture(sweep, tmp_path):
    """The final trials are made up: the uniform mixture is measured 3 % better than the optimum."""
    folder, _ = sweep
    content = json.loads((folder / "LAW.json").read_text())
    law = FittedLaw.from_json(content)
    optimum = answer(law, law.problem)
    mixtures = {"predicted": optimum.mixture, "uniform": law.problem.domains.uniform()}
    measured = {
        role: {seed: dict.fromkeys(NAMES, loss) for seed in (1, 2)}
        for role, loss in (("predicted", 3.1), ("uniform", 3.0))
    }
    comparison = compare_confirmation_trials(measured, mixtures, weights=WEIGHTS, noise=0.003)
    content["problem"]["confirmation_result"] = confirmation_result("s", comparison, optimum)
    (tmp_path / "LAW.json").write_text(json.dumps(content))
    said = call("optimum", tmp_path / "LAW.json", "-o", tmp_path / "r.json")
    assert (
        "The confirmation trials of the sweep s recommend another mixture than this optimum of the law "
        "(web 0.3333, code 0.3333, books 0.3333): " in said
    )


def test_a_configuration_edited_since_is_said_to_ask_something_else(sweep, tmp_path):
    finished, recipe = sweep
    folder = shutil.copytree(finished, tmp_path / "s")
    assert "was changed since" not in call("optimum", folder, "-o", tmp_path / "r.json")
    edited = yaml.safe_load((folder / "config.yaml").read_text())
    edited["targets"]["web"]["weight"] = 9.0
    (folder / "config.yaml").write_text(yaml.safe_dump(edited))
    said = call("optimum", folder, "-o", tmp_path / "r.json")
    assert "config.yaml was changed since the sweep last ran; this answers the problem" in said
    assert Recipe.read(tmp_path / "r.json").proportions == recipe.proportions


def test_a_sweep_in_a_uri_and_one_in_a_folder_answer_alike(sweep, tmp_path):
    folder, recipe = sweep
    call("optimum", f"file://{folder}", "-o", tmp_path / "r.json")
    assert Recipe.read(tmp_path / "r.json").proportions == recipe.proportions
    call("optimum", f"file://{folder}/LAW.json", "-o", tmp_path / "r.json")
    assert Recipe.read(tmp_path / "r.json").proportions == recipe.proportions
    call("export", f"file://{folder}", "--to", "json", "-o", tmp_path / "mix.json")
