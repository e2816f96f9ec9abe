"""Sweeps whose targets are accuracies: the best mixture of the planted truth is known beforehand.
No Ray.
"""

import json

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from bimix_sweep.cli import app
from bimix_sweep.config import SweepConfig
from bimix_sweep.design import simulation
from bimix_sweep.errors import BimixSweepError, ConfigError, DivergedError, SweepError
from bimix_sweep.export.recipe import Recipe
from bimix_sweep.mixture.goals import Goal
from bimix_sweep.mixture.mixture_file import MixtureFile
from bimix_sweep.mixture.table import LossTable
from bimix_sweep.sweep.history.rebuilding import replay
from bimix_sweep.sweep.history.spec import sweep_spec
from bimix_sweep.sweep.trainers.base import TrialJob
from bimix_sweep.sweep.trainers.user_trainer import Points, UserTrainer, configured_fields
from tests.support.in_process import Planted, open_sweep
from tests.support.page_text import page_text

NAMES = ("web", "code", "books")
BEST = np.array([0.69, 0.21, 0.10])
PART = (BEST + 0.02) ** 1.5
ACCURACY = {"goal": "max", "range": [0, 1]}


def accuracy(shares, seed=None):
    """0.62 at BEST, where the sum below is least on the simplex, and 0.25, chance, far from it."""
    far = (PART * (shares + 0.02) ** -0.5).sum() / (PART * (BEST + 0.02) ** -0.5).sum() - 1
    noise = 0 if seed is None else np.random.default_rng(seed).normal(0, 0.002)
    return float(0.25 + 0.37 * np.exp(-0.8 * far) + noise)


def content(tmp_path, **target):
    return {
        "domains": {name: {} for name in NAMES},
        "targets": {"exam": target},
        "trainer": {"command": ["train", "{job}"]},
        "proxy": {"steps": 400},
        "budget": {"trials": 14},
        "stop": {"tolerance": 1e-7},
        "out": str(tmp_path / "sweep"),
    }


def call(*words, code=0):
    done = CliRunner().invoke(app, [*map(str, words)])
    assert done.exit_code == code, done.output
    return done.output


def train(mixtures, table):
    """What a team reports of the mixtures asked for."""
    asked = MixtureFile.read(mixtures)
    assert asked.domains == NAMES
    rows = [f"trial,step,{','.join(f'r_{name}' for name in asked.domains)},loss_exam"]
    for trial, seed, shares in zip(
        *(asked.columns[name].to_pylist() for name in ("trial", "seed")),
        asked.proportions,
        strict=True,
    ):
        rows.append(
            f"{trial},400,{','.join(map(repr, shares.tolist()))},{accuracy(shares, int(seed))!r}"
        )
    table.write_text("\n".join(rows) + "\n")
    return table


def to_the_end(source, folder, tmp_path):
    """Everything that `record` said."""
    mixtures, said = tmp_path / "m.csv", []
    call("propose", source, "--count", 3, "-o", mixtures)
    for _ in range(30):
        said.append(
            json.loads(call("record", folder, train(mixtures, tmp_path / "l.csv"), "--json"))
        )
        if said[-1]["recipe"]:
            return said
        call("propose", folder, "--count", 3, "-o", mixtures)
    raise AssertionError("the sweep does not end")


def test_a_sweep_on_an_accuracy_recommends_the_mixture_where_it_is_highest(tmp_path):
    config, folder = tmp_path / "sweep.yaml", tmp_path / "sweep"
    config.write_text(yaml.safe_dump(content(tmp_path, **ACCURACY), sort_keys=False))
    said = to_the_end(config, folder, tmp_path)
    assert not any(entry["notes"] for entry in said)
    recipe = Recipe.read(folder / "RECIPE.json")
    found = np.array([recipe.proportions[name] for name in NAMES])
    assert np.abs(found - BEST).max() < 0.1
    assert accuracy(found) > accuracy(BEST) - 0.006
    assert recipe.predicted_losses["exam"] == pytest.approx(0.62, abs=0.02)
    assert recipe.goals["exam"].words == "maximised in 0 to 1"
    measured = LossTable.read(folder / "runs.csv", {"exam": Goal(direction="max", range=(0, 1))})
    assert measured.losses.max() == pytest.approx(0.62, abs=0.02), (
        "measured values stay as they are"
    )
    compared = recipe.comparison["mixtures"]
    assert compared[0]["losses"]["exam"] == max(one["losses"]["exam"] for one in compared)
    assert all(0.2 < one["losses"]["exam"] < 0.65 for one in compared)
    page = page_text((folder / "report.html").read_text())
    assert "exam, maximised in 0 to 1" in page
    assert "in its own unit" in page


def test_a_goal_that_was_forgotten_is_asked_about_and_may_be_stated_later(tmp_path):
    config, folder = tmp_path / "sweep.yaml", tmp_path / "sweep"
    config.write_text(yaml.safe_dump(content(tmp_path), sort_keys=False))
    *_, last = to_the_end(config, folder, tmp_path)
    assert "exam is minimised as a loss, and all its values lie between 0 and 1" in last["notes"][0]
    assert last["recipe"]["proportions"]["web"] < 0.3
    kept = (folder / "runs.csv").read_text()
    stated = content(tmp_path, **ACCURACY) | {"budget": {"trials": 18}}
    (tmp_path / "stated.yaml").write_text(yaml.safe_dump(stated, sort_keys=False))
    mixtures = tmp_path / "m.csv"
    call("propose", folder, "--config", tmp_path / "stated.yaml", "--count", 3, "-o", mixtures)
    what = replay(folder).changes[-1].what
    assert "targets.exam.goal absent -> max" in what
    for _ in range(20):
        said = json.loads(call("record", folder, train(mixtures, tmp_path / "l.csv"), "--json"))
        if said["recipe"]:
            break
        call("propose", folder, "--count", 3, "-o", mixtures)
    found = np.array([said["recipe"]["proportions"][name] for name in NAMES])
    assert accuracy(found) > accuracy(BEST) - 0.006
    rows = set(kept.splitlines())
    assert len(rows & {*(folder / "runs.csv").read_text().splitlines()}) > 10, "old points stay"


def test_a_goal_whose_range_excludes_what_was_measured_is_refused_and_nothing_changes(tmp_path):
    start = {"trials": 8, "domains": NAMES}
    raw = content(tmp_path, goal="max", range=[0, 100]) | {"budget": {"trials": start["trials"]}}
    given = SweepConfig.parse(raw)
    folder = tmp_path / "sweep"
    actor = open_sweep(folder, given)
    proposal = actor.propose("t0000")
    actor.start("t0000", "here")
    actor.record("t0000", 400, {"exam": 43.0})
    with pytest.raises(DivergedError, match=r"loss of exam is 143.0 .* in its range, 0 to 100"):
        actor.record("t0000", 200, {"exam": 143.0})
    actor.close()
    events = replay(folder).state.trials["t0000"].points
    assert events == {400: {"exam": 43.0}}
    assert proposal is not None
    raw["targets"]["exam"]["range"] = [0, 1]
    with pytest.raises(
        SweepError, match=r"targets.exam: trial t0000 has 43 at step 400; need a number"
    ):
        open_sweep(folder, SweepConfig.parse(raw), trainer=Planted())
    assert replay(folder).spec.goals["exam"].range == (0, 100)


def test_a_goal_that_is_taken_away_is_refused_where_the_values_are_no_losses(tmp_path):
    raw = content(tmp_path, goal="max", range=[0, 1]) | {"budget": {"trials": 8}}
    folder = tmp_path / "sweep"
    actor = open_sweep(folder, SweepConfig.parse(raw))
    actor.propose("t0000")
    actor.start("t0000", "here")
    actor.record("t0000", 400, {"exam": 0.0})
    actor.close()
    raw["targets"]["exam"] = {}
    with pytest.raises(SweepError, match=r"targets.exam: trial t0000 has 0 at step 400; need a"):
        open_sweep(folder, SweepConfig.parse(raw), trainer=Planted())
    assert replay(folder).spec.goals["exam"].range == (0, 1)


@pytest.mark.parametrize(
    ("target", "trainer", "message"),
    [
        ({"arc": {"goal": "max"}}, "m:f", "goal max needs the range"),
        (
            {"arc": {"range": [0, 1]}},
            "m:f",
            "has a range and no goal; write goal: min or goal: max",
        ),
        ({"arc": {"goal": "max", "range": [1, 0]}}, "m:f", r"range is \[1.0, 0.0\]"),
        ({"arc": {"goal": "up"}}, "m:f", "targets.arc.goal is 'up'"),
        ({"arc_acc": {}}, "m:f", "targets.arc_acc is named like a metric of which more is better"),
        ({"pass@1": {}}, "m:f", "write goal: max and range: "),
        (
            {"web": {"domain": "web", "goal": "max", "range": [0, 1]}},
            "builtin",
            "targets.web.goal is max; the builtin trainer measures losses",
        ),
    ],
)
def test_a_target_whose_direction_is_open_or_impossible_is_refused(target, trainer, message):
    raw = {
        "domains": {name: {"path": f"/text/{name}"} for name in ("web", "code")},
        "targets": target,
        "trainer": trainer,
    }
    with pytest.raises(ConfigError, match=message):
        SweepConfig.parse(raw)


def test_names_of_accuracies_are_taken_where_a_goal_or_a_domain_tells_what_they_are():
    raw = {
        "domains": {"f1": {}, "em": {}},
        "targets": {"f1": {}, "acc": {"goal": "min"}, "mc1": ACCURACY},
        "trainer": "m:f",
    }
    goals = SweepConfig.parse(raw).goals()
    assert goals == {"acc": Goal(), "mc1": Goal(direction="max", range=(0.0, 1.0))}
    config = SweepConfig.parse(raw)
    assert SweepConfig.parse(yaml.safe_load(config.to_yaml())) == config


def test_a_trainer_is_told_the_goal_and_reports_values_in_the_targets_own_unit(tmp_path):
    raw = content(tmp_path, **ACCURACY)
    raw["targets"]["text"] = {}
    trainer = UserTrainer(**configured_fields(SweepConfig.parse(raw), {}))
    assert trainer.targets["exam"] | ACCURACY == trainer.targets["exam"]
    assert "goal" not in trainer.targets["text"]
    taken = {}
    job = TrialJob(
        trial="t", mixture=None, seed=0, checkpoint_dir=tmp_path, precision={}, recorded=()
    )
    points = Points(trainer, job, lambda step, losses: taken.update({step: losses}))
    points.take(100, {"exam": 0.0, "text": 3.0})
    points.take(400, {"exam": 1, "text": 2.0})
    assert taken == {100: {"exam": 0.0, "text": 3.0}, 400: {"exam": 1.0, "text": 2.0}}
    for bad, message in (
        (
            {"exam": 43.0, "text": 2.0},
            "loss of exam is 43.0 at step 200; need a number in its range",
        ),
        ({"exam": 0.5, "text": -2.0}, "loss of text is -2.0 .*state its goal and range"),
        ({"exam": float("nan"), "text": 2.0}, "loss of exam is nan"),
    ):
        with pytest.raises(BimixSweepError, match=message):
            points.take(200, bad)


def test_columns_that_are_no_targets_are_named_and_fail_no_training(tmp_path):
    config, folder = tmp_path / "sweep.yaml", tmp_path / "sweep"
    config.write_text(yaml.safe_dump(content(tmp_path, **ACCURACY), sort_keys=False))
    mixtures, table = tmp_path / "m.csv", tmp_path / "l.csv"
    call("propose", config, "--count", 1, "-o", mixtures)
    head, row = train(mixtures, table).read_text().splitlines()
    table.write_text(f"{head},loss_other,seconds\n{row},nan,12\n")
    said = call("record", folder, table)
    assert "not used, no targets of the sweep: loss_other" in said
    assert "not used: seconds" in said
    assert "1 new points; newly finished trials: 1" in said
    assert "failed" not in said


def test_a_sweep_asks_about_values_between_zero_and_one_once_after_three_trials(tmp_path):
    actor = open_sweep(tmp_path / "sweep", SweepConfig.parse(content(tmp_path)))
    for n in range(4):
        asked = [line for line in actor.snapshot().lines if "exam is minimised as a loss" in line]
        assert len(asked) == (n == 3)
        proposal = actor.propose(f"t{n:04d}")
        actor.start(proposal.trial, "here")
        actor.record(proposal.trial, 400, {"exam": accuracy(proposal.mixture.as_array(NAMES))})
        actor.finish(proposal.trial)
    actor.close()


def test_a_plan_is_made_for_a_sweep_on_accuracies_too(tmp_path, monkeypatch):
    raw = content(tmp_path, **ACCURACY) | {"budget": {"trials": 8}}
    raw["targets"]["arc_acc"] = {"goal": "max", "range": [0, 100]}
    monkeypatch.setattr(simulation, "MAX_SIMULATED", 1)
    found = simulation.simulate(
        sweep_spec(SweepConfig.parse(raw), Planted()), noise=0.01, seconds=600
    )
    assert found[-1].trials == 8
    assert 0 < found[-1].mean < 0.5
