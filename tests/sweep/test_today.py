"""Today's mixture and the prior in whole sweeps of a planted law, whose true gain is known."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from bimix_sweep.design.simulation import World
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.mixture.stated_mixture import divergence
from bimix_sweep.sweep.history.rebuilding import replay
from bimix_sweep.sweep.history.spec import sweep_spec
from bimix_sweep.sweep.results import write_results
from bimix_sweep.sweep.stored_law import stored_law
from tests.support.in_process import Planted, config, losses, open_sweep, run, whole

NAMES = ("web", "code", "books")
TODAY = {"web": 0.9, "code": 0.04, "books": 0.06}


def true_objective(proportions):
    """Planted mean loss of a mixture at the last step, without noise."""
    mixture = Mixture.from_array(NAMES, proportions)
    return float(np.mean([*losses(mixture, 0, 400, noise=0.0).values()]))


def true_gain(proportions, over):
    return 1 - true_objective([proportions[n] for n in NAMES]) / true_objective(
        [over[n] for n in NAMES]
    )


def confirmed(history):
    """{label: mixture} of the confirmation trials."""
    return {
        label: entry.mixture for entry in history.confirmation.mixtures for label in entry.labels
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished sweep with today's mixture, which its bounds exclude."""
    folder = tmp_path_factory.mktemp("today") / "sweep"
    given = config(8, today=TODAY, domains__web__max=0.8)
    ran, history = whole(folder, given)
    return folder, given, ran, history, write_results(str(folder), given)


def test_todays_mixture_is_trained_as_stated_and_the_gain_over_it_is_measured(finished):
    folder, _, ran, history, recipe = finished
    assert {"confirm-today-1", "confirm-today-2"} <= {*ran}
    assert history.state.trials["confirm-today-1"].mixture.as_dict() == pytest.approx(TODAY)
    assert history.state.trials["confirm-today-1"].seed == (
        history.state.trials["confirm-predicted-1"].seed
    )
    gain, known = recipe.gain, true_gain(recipe.proportions, TODAY)
    assert (gain.baseline, gain.measured) == ("today", True)
    assert gain.proportions == pytest.approx(TODAY)
    assert gain.lower <= known <= gain.upper
    assert gain.value == pytest.approx(known, abs=0.005)
    assert known > 0.05
    assert recipe.proportions["web"] <= 0.8
    content = json.loads((folder / "RECIPE.json").read_text())
    assert content["gain"]["value"] == gain.value
    assert content["provenance"]["problem"]["today"] == TODAY
    page = (folder / "report.html").read_text()
    numbers = page[page.index("Gain, cost, next step") :]
    said = f"Gain over today&#x27;s mixture</dt><dd><strong>{gain.value:.2%} of its loss"
    assert numbers.index(said) < numbers.index("Regret</dt>")


def test_another_baseline_is_asked_for_without_another_problem(finished):
    stored = stored_law(str(finished[0]))
    uniform = Mixture.from_array(NAMES, [1 / 3, 1 / 3, 1 / 3])
    other = Mixture.from_array(NAMES, [0.7, 0.1, 0.2])
    for mixture, measured in ((uniform, True), (other, False)):
        recipe = stored.recipe(replace(stored.problem, today=mixture), 0.005, {})
        known = true_gain(recipe.proportions, mixture.as_dict())
        assert recipe.gain.measured == measured
        assert recipe.comparison is not None
        assert recipe.gain.lower <= known <= recipe.gain.upper
        assert not any("another problem" in sentence for sentence in recipe.not_tested)


def test_a_finished_sweep_trains_only_another_todays_mixture(finished, tmp_path):
    folder = tmp_path / "sweep"
    shutil.copytree(finished[0], folder)
    before = finished[3]
    other = {"web": 1e9, "code": 6e9, "books": 3e9}
    given = config(8, today=other, domains__web__max=0.8)
    ran, history = whole(folder, given)
    assert sorted(ran) == ["confirm2-today-1", "confirm2-today-2"]
    assert history.changes[-1].what == [
        "today web 0.9, code 0.04, books 0.06 -> web 1e+09, code 6e+09, books 3e+09"
    ]
    assert len(history.refits) >= len(before.refits)
    recipe = write_results(str(folder), given)
    assert recipe.gain.proportions == pytest.approx({"web": 0.1, "code": 0.6, "books": 0.3})
    known = true_gain(recipe.proportions, recipe.gain.proportions)
    assert recipe.gain.measured
    assert recipe.gain.lower <= known <= recipe.gain.upper


def test_todays_mixture_may_change_during_the_search_without_any_effect_on_it(finished, tmp_path):
    folder = tmp_path / "sweep"
    first = config(8, domains__web__max=0.8)
    actor = open_sweep(folder, first)
    run(actor, 6)
    actor.close()
    early = stored_law(str(folder))
    recipe = early.recipe(early.problem, 0.005, {})
    assert (recipe.gain.baseline, recipe.gain.measured) == ("uniform", False)
    known = true_gain(recipe.proportions, recipe.gain.proportions)
    assert recipe.gain.lower <= known <= recipe.gain.upper
    whole(folder, finished[1])
    history, straight = replay(folder), finished[3]
    assert {n: p.mixture for n, p in history.proposals.items()} == {
        n: p.mixture for n, p in straight.proposals.items()
    }


def test_a_prior_is_part_of_the_objective_of_the_whole_sweep(tmp_path):
    prior = {"web": 0.6, "code": 0.1, "books": 0.3}
    given = config(10, tolerance=0.01, prior={"mixture": prior, "kl": 0.3})
    _, history = whole(tmp_path / "sweep", given)
    assert (history.spec.prior.as_dict(), history.spec.kl) == (prior, 0.3)
    grid = [
        np.array([a, b, 1 - a - b])
        for a in np.arange(0.02, 0.97, 0.02)
        for b in np.arange(0.02, 0.97 - a, 0.02)
    ]

    def pulled(row):
        return true_objective(row) + 0.3 * divergence(row, np.array([*prior.values()]))

    recipe = write_results(str(tmp_path / "sweep"), given)
    chosen = np.array([recipe.proportions[name] for name in NAMES])
    best, free = min(grid, key=pulled), min(grid, key=true_objective)
    assert pulled(chosen) <= pulled(best) * 1.002
    assert np.abs(chosen - free).sum() > 3 * np.abs(chosen - best).sum()
    assert (recipe.prior.proportions, recipe.prior.kl) == (prior, 0.3)
    cost = 1 - true_objective(free) / true_objective(chosen)
    assert recipe.prior.cost == pytest.approx(cost, abs=0.005)
    # the regret of the objective with the pull falls below the tolerance: what the prior costs is
    # no regret
    assert recipe.regret["expected"] < 0.01 < cost
    labels = confirmed(history)
    law = stored_law(str(tmp_path / "sweep")).law
    assert law.problem.prior.as_dict() == prior
    assert pulled(np.array([labels["measured"][name] for name in NAMES])) == min(
        pulled(record.mixture.as_array(NAMES))
        for record in history.state.trials.values()
        if record.role == "sweep"
    )


def test_todays_mixture_that_is_uniform_takes_no_trials_of_its_own(tmp_path):
    given = config(6, today={"web": 1, "code": 1, "books": 1}, final={"tokens": 1e9})
    ran, history = whole(tmp_path / "sweep", given)
    assert any(entry.labels[:2] == ["today", "uniform"] for entry in history.confirmation.mixtures)
    assert not any("confirm-uniform" in name for name in ran)


def test_a_prior_added_to_a_finished_sweep_moves_the_optimum_without_another_search(
    finished, tmp_path
):
    folder = tmp_path / "sweep"
    shutil.copytree(finished[0], folder)
    prior = {"web": 0.2, "code": 0.2, "books": 0.6}
    given = config(8, today=TODAY, domains__web__max=0.8, prior={"mixture": prior, "kl": 3.0})
    ran, history = whole(folder, given)
    assert ran
    assert all(name.startswith("confirm") for name in ran)
    assert history.changes[-1].what[:2] == [
        "prior.mixture absent -> web 0.2, code 0.2, books 0.6",
        "prior.kl absent -> 3",
    ]
    recipe = write_results(str(folder), given)
    apart = [recipe.proportions[name] - prior[name] for name in NAMES]
    assert np.abs(apart).sum() < 0.1
    assert np.abs([finished[4].proportions[name] - prior[name] for name in NAMES]).sum() > 0.2


def test_a_planned_sweep_is_judged_by_the_objective_with_the_pull():
    prior = Mixture.from_array(NAMES, [0.5, 0.5, 0.0])
    spec = replace(sweep_spec(config(8), Planted()), prior=prior, kl=2.0)
    world = World.draw(spec, 0.003, np.random.default_rng(0))
    rows = np.array([[a, 1 - a, 0.0] for a in np.linspace(0.001, 0.999, 999)])
    pulls = [2.0 * divergence(row, prior.as_array()) for row in rows]
    least = float((world.objective(rows) + pulls).min())
    assert world.best(spec, np.random.default_rng(1)) == pytest.approx(least, rel=1e-4)
    assert world.best(replace(spec, kl=0.0), np.random.default_rng(1)) < least
