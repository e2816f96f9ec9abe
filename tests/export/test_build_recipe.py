import json
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from bimix_sweep.design.confirmation import compare_confirmation_trials
from bimix_sweep.errors import ExportError
from bimix_sweep.export.build_recipe import build_recipe
from bimix_sweep.export.recipe import Recipe
from bimix_sweep.law.fitting.fit_law import fit_law
from bimix_sweep.law.optimum.optimal_mixture import optimal_mixture
from bimix_sweep.law.posterior.problem_statement import ProblemStatement
from bimix_sweep.mixture.curves import LossCurve
from bimix_sweep.mixture.domains import DomainSet, Mixture
from bimix_sweep.mixture.final_run import FinalRun
from bimix_sweep.mixture.table import LossTable
from bimix_sweep.seeding import rng

NAMES = ("web", "code", "math")
SCALE, POWER = np.array([2.0, 2.5, 3.0]), np.array([0.2, 0.1, 0.15])


@pytest.fixture(scope="module")
def law():
    generator = rng(5, "recipe")
    curves = [
        LossCurve(
            trial=f"t{n}",
            mixture=Mixture.from_array(NAMES, row),
            targets=NAMES,
            steps=np.array([400.0, 800.0]),
            seed=1,
            losses=SCALE
            * row**-POWER
            * np.array([[1.1], [1.0]])
            * np.exp(generator.normal(0, 0.001, (2, 3))),
        )
        for n, row in enumerate(0.9 * generator.dirichlet(np.ones(3), 12) + 0.1 / 3)
    ]
    return fit_law(LossTable.from_curves(curves))


@pytest.fixture(scope="module")
def domains():
    return DomainSet(names=NAMES, tokens=(1e12, 1e11, float("inf")), upper=(1.0, 0.2, 1.0))


@pytest.fixture(scope="module")
def problem(domains):
    return ProblemStatement(domains=domains)


@pytest.fixture(scope="module")
def optimum(law, domains):
    return optimal_mixture(law, domains)


def test_a_recipe_says_everything_about_its_optimum_and_reads_back_alike(
    law, problem, optimum, tmp_path
):
    recipe = build_recipe(
        optimum,
        law,
        replace(problem, final=FinalRun(tokens=4e11)),
        excluded={"t9": "diverged"},
        provenance={"seed": 5},
    )
    recipe.write(tmp_path / "RECIPE.json")
    content = json.loads((tmp_path / "RECIPE.json").read_text(), parse_float=Decimal)
    assert sum(content["proportions"].values()) == 1
    assert all(sum(mixture.values()) == 1 for mixture in content["alternatives"])
    assert Recipe.read(tmp_path / "RECIPE.json") == recipe
    assert recipe.proportions == pytest.approx(optimum.mixture.as_dict(), abs=1e-6)
    assert recipe.tokens == {
        name: proportion * 4e11 for name, proportion in recipe.proportions.items()
    }
    assert recipe.epochs == {
        "web": recipe.tokens["web"] / 1e12,
        "code": recipe.tokens["code"] / 1e11,
        "math": None,
    }
    assert recipe.repetition.r_star == 15
    assert recipe.repetition.source == "prior"
    assert recipe.repetition.interval == law.repetition.interval
    assert [(one.domain, one.bound) for one in recipe.binding] == [("code", "max")]
    assert recipe.certificate.scope == optimum.scope
    there = recipe.predicted_losses, recipe.predicted_sd
    expected = law.predict_with_sd(
        optimum.mixture.as_array(law.domains)[None], np.array([optimum.step])
    )
    for found, values in zip(there, expected, strict=True):
        assert found == pytest.approx(dict(zip(law.targets, values[0], strict=True)))
    assert recipe.law["digest"] == law.digest
    assert recipe.excluded == {"t9": "diverged"}
    assert recipe.comparison is None
    for name, proportion in recipe.proportions.items():
        low, high = recipe.region[name]
        assert low - 1e-6 <= proportion <= high + 1e-6


def test_without_a_budget_there_are_no_tokens(law, problem, optimum):
    recipe = build_recipe(optimum, law, problem)
    assert recipe.tokens == recipe.epochs == {}
    assert recipe.repetition is None


def test_the_mixture_that_was_measured_better_is_the_recommended_one(
    law, domains, problem, optimum
):
    confirmations = {"predicted": optimum.mixture, "uniform": domains.uniform()}
    losses = {
        role: {seed: dict.fromkeys(NAMES, value) for seed in (1, 2)}
        for role, value in (("predicted", 3.1), ("uniform", 3.0))
    }
    comparison = compare_confirmation_trials(
        losses, confirmations, weights=dict.fromkeys(NAMES, 1.0), noise=0.003
    )
    recipe = build_recipe(optimum, law, problem, comparison=comparison)
    assert recipe.proportions == pytest.approx(domains.uniform().as_dict(), abs=1e-6)
    uniform, step = domains.uniform().as_array()[None], np.array([optimum.step])
    expected, sd = law.predict_with_sd(uniform, step)
    assert list(recipe.predicted_losses.values()) == pytest.approx(expected[0])
    assert list(recipe.predicted_sd.values()) == pytest.approx(sd[0])
    assert recipe.comparison["recommended"] == "uniform"
    assert "beyond the noise" in recipe.comparison["sentence"]
    assert [one["role"] for one in recipe.comparison["mixtures"]] == ["uniform", "predicted"]


def test_confirmation_trials_that_do_not_differ_are_said_not_to(law, domains, problem, optimum):
    confirmations = {"predicted": optimum.mixture, "uniform": domains.uniform()}
    losses = {
        role: {1: dict.fromkeys(NAMES, 3.1), 2: dict.fromkeys(NAMES, 3.0)} for role in confirmations
    }
    comparison = compare_confirmation_trials(
        losses, confirmations, weights=dict.fromkeys(NAMES, 1.0), noise=0.01
    )
    recipe = build_recipe(optimum, law, problem, comparison=comparison)
    assert recipe.comparison["differ"] is False
    assert "does not differ" in recipe.comparison["sentence"]


def test_provenance_that_json_cannot_hold_is_refused_by_its_key(law, problem, optimum):
    with pytest.raises(ExportError, match=r"the recipe cannot be written: provenance\.when"):
        build_recipe(optimum, law, problem, provenance={"when": object()})
