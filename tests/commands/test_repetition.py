"""What `fit`, `optimum` and `predict` say of repetition."""

import json

import pytest
from typer.testing import CliRunner

from bimix_sweep.cli import app
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from tests.support.repeated_trials import repeated_table


def bimix(*words):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.output


def test_what_repeated_text_is_worth_is_said_from_the_fit_to_the_recipe(tmp_path):
    repeated_table(8.0, 12).write(tmp_path / "runs.csv")
    law, have, recipe = (tmp_path / name for name in ("LAW.json", "have.json", "RECIPE.json"))
    said = bimix("fit", tmp_path / "runs.csv", "-o", law)
    fitted = FittedLaw.from_json(json.loads(law.read_text())).repetition
    assert f"repetition: {fitted.words}" in said
    assert "which rests on the trials" in said
    have.write_text('{"code": 5e10, "math": 1e10}')
    given = ("--final-tokens", "1e12", "--domain-tokens", have)
    said = bimix("optimum", law, "-o", recipe, *given)
    content = json.loads(recipe.read_text())
    passes = content["epochs"]
    assert 2 < passes["math"] < 16
    assert f"math {passes['math']:.1f} times" in said
    assert fitted.words in said
    assert content["repetition"]["source"] == "trials"
    assert content["repetition"]["r_star"] == pytest.approx(fitted.r_star)
    one = bimix("optimum", law, "-o", recipe, *given, "--max-epochs", "1")
    assert "passes over" not in one
    (tmp_path / "m.csv").write_text("r_web,r_code,r_books,r_math\n.4,.3,.2,.1\n")
    said = bimix("predict", law, tmp_path / "m.csv", "-o", tmp_path / "p.csv")
    assert "each row is a run that repeats no domain, unlike some of the law's trials" in said
