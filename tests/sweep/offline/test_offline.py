"""Trainings that run elsewhere: the test plays the team that trains what `propose` writes and gives
the losses to `record`.
"""

import json
import math
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
import yaml
from typer.testing import CliRunner

from bimix_sweep.cli import app
from bimix_sweep.errors import SweepError, TableError
from bimix_sweep.export.recipe import Recipe
from bimix_sweep.journal.segments import read
from bimix_sweep.mixture.columns import write_columns
from bimix_sweep.mixture.domains import DomainSet, Mixture
from bimix_sweep.mixture.mixture_file import MixtureFile
from bimix_sweep.mixture.table import LossTable
from bimix_sweep.sweep.api import resume_sweep
from bimix_sweep.sweep.history.rebuilding import replay
from bimix_sweep.sweep.offline import offline
from tests.support.in_process import STEPS, Planted, losses, whole
from tests.support.in_process import config as planted_config

NAMES = ("web", "code", "books")


@pytest.fixture
def sweep_yaml(tmp_path):
    """A configuration whose domains have no text anywhere."""
    path = tmp_path / "sweep.yaml"
    content = {
        "domains": {name: {} for name in NAMES},
        "trainer": {"command": ["srun", "train", "{job}"]},
        "proxy": {"steps": 400},
        "budget": {"trials": 7},
        "stop": {"tolerance": 1e-7},
        "out": str(tmp_path / "sweep"),
    }
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def call(*words, code=0):
    done = CliRunner().invoke(app, [*map(str, words)])
    assert done.exit_code == code, done.output
    return done.output


def train(mixtures, table, *, steps=STEPS, only=None, **changes):
    """Train what a mixture file asks for; `changes` are made to columns of the loss table."""
    asked = MixtureFile.read(mixtures)
    trials, seeds = (asked.columns[name].to_pylist() for name in ("trial", "seed"))
    rows = [
        (
            str(trial),
            step,
            Mixture.from_array(asked.domains, shares),
            losses(Mixture.from_array(asked.domains, shares), int(seed), step),
        )
        for trial, seed, shares in zip(trials, seeds, asked.proportions, strict=True)
        for step in steps
        if only is None or trial in only
    ]
    columns = {"trial": [row[0] for row in rows], "step": [row[1] for row in rows]}
    columns |= {f"r_{name}": [row[2].as_dict()[name] for row in rows] for name in asked.domains}
    columns |= {f"loss_{name}": [row[3][name] for row in rows] for name in NAMES}
    for name, change in changes.items():
        columns[name] = [change(value) for value in columns.get(name, [None] * len(rows))]
    write_columns(table, {name: pa.array(values) for name, values in columns.items()})
    return table


def test_the_loop_without_ray_proposes_what_a_sweep_in_one_process_does_and_ends_in_its_recipe(
    tmp_path, sweep_yaml
):
    folder, mixtures, table = tmp_path / "sweep", tmp_path / "m.csv", tmp_path / "l.parquet"
    call("propose", sweep_yaml, "--count", 1, "-o", mixtures)
    for _ in range(30):
        train(mixtures, table)
        said = json.loads(call("record", folder, table, "--json"))
        if said["recipe"]:
            break
        call("propose", folder, "--count", 1, "-o", mixtures)
    history = replay(folder)
    assert history.complete
    _, expected = whole(tmp_path / "straight", planted_config(7), trainer=Planted(size=2e5))
    assert [*history.proposals] == [*expected.proposals]
    for name, proposal in history.proposals.items():
        assert proposal.mixture.as_array(NAMES) == pytest.approx(
            expected.proposals[name].mixture.as_array(NAMES), abs=1e-9
        )
        assert proposal.seed == expected.proposals[name].seed
    recipe = Recipe.read(folder / "RECIPE.json")
    assert recipe.comparison is not None
    assert (folder / "report.html").stat().st_size > 10_000
    assert set(LossTable.read(folder / "runs.csv").trials) == set(history.proposals)
    best = min(
        (
            Mixture.from_array(NAMES, shares)
            for shares in DomainSet(names=NAMES).lower_array
            + np.random.default_rng(0).dirichlet([2, 2, 2], 4000)
        ),
        key=lambda mixture: sum(losses(mixture, 0, 400, noise=0).values()),
    )
    found = sum(losses(Mixture.from_mapping(recipe.proportions), 0, 400, noise=0).values())
    assert found < sum(losses(best, 0, 400, noise=0).values()) * 1.003
    assert "the sweep is complete" in call("propose", folder, "--count", 3, "-o", mixtures)


def test_open_mixtures_are_listed_again_and_a_table_recorded_twice_changes_nothing(
    tmp_path, sweep_yaml
):
    folder, mixtures, table = tmp_path / "sweep", tmp_path / "m.csv", tmp_path / "l.csv"
    call("propose", sweep_yaml, "--count", 3, "-o", mixtures)
    first = MixtureFile.read(mixtures).proportions
    train(mixtures, table, only=["t0001"])
    assert "3 new points; newly finished trials: 1" in call("record", folder, table)
    before = [
        event for event in read(folder / "journal").events if event["kind"] in ("point", "end")
    ]
    assert "0 new points; newly finished trials: 0" in call("record", folder, table)
    assert [
        event for event in read(folder / "journal").events if event["kind"] in ("point", "end")
    ] == before
    asked = json.loads(call("propose", folder, "--count", 2, "-o", mixtures, "--json"))
    assert [entry["trial"] for entry in asked["open"]] == ["t0000", "t0002"]
    assert [entry["trial"] for entry in asked["new"]] == ["t0003", "t0004"]
    again = MixtureFile.read(mixtures)
    assert again.columns["trial"].to_pylist() == ["t0000", "t0002", "t0003", "t0004"]
    assert np.array_equal(again.proportions[:2], first[[0, 2]])
    call("propose", folder, "--count", 0, "-o", mixtures)
    assert MixtureFile.read(mixtures).columns["trial"].to_pylist() == [
        "t0000",
        "t0002",
        "t0003",
        "t0004",
    ]


@pytest.mark.parametrize("loss", [1e200, 1e100, 5e-324])
def test_a_table_with_an_extreme_loss_is_refused_and_the_sweep_goes_on(tmp_path, sweep_yaml, loss):
    folder, mixtures, table = tmp_path / "sweep", tmp_path / "m.csv", tmp_path / "l.csv"
    call("propose", sweep_yaml, "--count", 1, "-o", mixtures)
    said = call("record", folder, train(mixtures, table, loss_code=lambda _: loss), code=1)
    assert (
        f"row 1, trial t0000, has loss_code = {loss:g}; need a number between 1e-06 and 1e+06"
        in said
    )
    for _ in range(8):
        call("record", folder, train(mixtures, table))
        call("propose", folder, "--count", 1, "-o", mixtures)


def test_a_curve_may_come_in_parts_and_nan_is_a_trial_that_failed(tmp_path, sweep_yaml):
    folder, mixtures, table = tmp_path / "sweep", tmp_path / "m.csv", tmp_path / "l.csv"
    call("propose", sweep_yaml, "--count", 3, "-o", mixtures)
    call("record", folder, train(mixtures, table, steps=STEPS[:2], only=["t0000"]))
    assert replay(folder).running() == ["t0000", "t0001", "t0002"]
    call("record", folder, train(mixtures, table, only=["t0000"]))
    said = call(
        "record", folder, train(mixtures, table, only=["t0001"], loss_code=lambda _: math.nan)
    )
    assert "t0001 is recorded as failed" in said
    history = replay(folder)
    assert history.state.trials["t0000"].state == "finished"
    assert history.state.trials["t0001"].failure == "l.csv gives its loss as nan"
    assert history.running() == ["t0002"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"trial": lambda name: name.replace("t", "x")},
            r"row 1 is trial x0000, which this sweep has not proposed; open are t0000, t0001",
        ),
        ({"loss_code": lambda _: None}, r"row 1 has no loss_code; need all of web, code, books"),
        ({"seed": lambda _: 5}, r"row 1 has seed 5, trial t0000 was proposed with \d+"),
        ({"step": lambda step: step * 2}, r"row 3 has step 800; need a whole number up to 400"),
        ({"step": lambda step: step + 0.5}, r"row 1 has step 100\.5; need a whole number"),
        (
            {"r_web": lambda share: share + 0.01, "r_code": lambda share: share - 0.01},
            r"row 1 has r_web = .*, trial t0000 was proposed with",
        ),
    ],
)
def test_a_row_that_does_not_fit_is_named_and_nothing_of_its_table_is_recorded(
    tmp_path, sweep_yaml, changes, message
):
    folder, mixtures = tmp_path / "sweep", tmp_path / "m.csv"
    call("propose", sweep_yaml, "--count", 2, "-o", mixtures)
    table = train(mixtures, tmp_path / "l.parquet", **changes)
    with pytest.raises(TableError, match=message):
        offline.record(str(folder), table)
    assert not any(event["kind"] == "point" for event in read(folder / "journal").events)


def test_a_recorded_point_stays_and_a_missing_target_is_named(tmp_path, sweep_yaml):
    folder, mixtures, table = str(tmp_path / "sweep"), tmp_path / "m.csv", tmp_path / "l.csv"
    call("propose", sweep_yaml, "--count", 1, "-o", mixtures)
    offline.record(folder, train(mixtures, table))
    with pytest.raises(
        TableError,
        match=r"row 1 has loss_web = .* at step 100, recorded is .*; a recorded point stays as it "
        r"is",
    ):
        offline.record(folder, train(mixtures, table, loss_web=lambda loss: loss * 1.01))
    lines = (line.rpartition(",")[0] for line in table.read_text().splitlines())
    table.write_text("\n".join(lines) + "\n")
    with pytest.raises(
        TableError, match=r"no column loss_books; the sweep's targets are web, code, books"
    ):
        offline.record(folder, table)


def test_a_sweep_that_trains_elsewhere_and_one_on_ray_do_not_mix(tmp_path, sweep_yaml):
    folder = tmp_path / "sweep"
    call("propose", sweep_yaml, "--count", 1, "-o", tmp_path / "m.csv")
    with pytest.raises(
        SweepError, match="this sweep's trials run elsewhere; go on with: bimix-sweep propose"
    ):
        resume_sweep(folder)
    assert f"its trials run elsewhere; mixtures to run: bimix-sweep propose {folder}" in call(
        "status", folder
    )
    assert "holds a sweep already; go on with: bimix-sweep propose" in call(
        "propose", sweep_yaml, "--count", 1, "-o", tmp_path / "m.csv", code=1
    )
    whole(tmp_path / "ray", planted_config(5))
    with pytest.raises(
        SweepError, match="this sweep's trials run on Ray; go on with: bimix-sweep resume"
    ):
        offline.propose(str(tmp_path / "ray"), 1)
    with pytest.raises(SweepError, match="holds no sweep that has begun"):
        offline.record(str(tmp_path / "nothing"), train(tmp_path / "m.csv", tmp_path / "l.csv"))


def test_a_larger_budget_in_the_folder_s_configuration_goes_on_after_the_results(
    tmp_path, sweep_yaml
):
    folder, mixtures, table = tmp_path / "sweep", tmp_path / "m.csv", tmp_path / "l.csv"
    call("propose", sweep_yaml, "--count", 100, "-o", mixtures)
    for _ in range(3):
        if json.loads(call("record", folder, train(mixtures, table), "--json"))["recipe"]:
            break
        call("propose", folder, "--count", 100, "-o", mixtures)
    edited = yaml.safe_load((folder / "config.yaml").read_text())
    edited["budget"]["trials"] = 9
    (folder / "config.yaml").write_text(yaml.safe_dump(edited))
    said = call("propose", folder, "--count", 100, "-o", mixtures)
    assert "changed: budget.trials 7 -> 9" in said
    assert "2 new trials" in said


def test_propose_says_that_the_confirmation_trials_are_handed_out_and_only_then_that_the_sweep_is_over(
    tmp_path, sweep_yaml
):
    folder, mixtures, table = tmp_path / "sweep", tmp_path / "m.csv", tmp_path / "l.csv"
    said = call("propose", sweep_yaml, "--count", 100, "-o", mixtures)
    assert "there are no more trials until these are recorded" in said
    assert "the sweep is complete" not in said
    call("record", folder, train(mixtures, table))
    said = call("propose", folder, "--count", 100, "-o", mixtures)
    assert "these are the confirmation trials; record them to get RECIPE.json" in said
    assert "the sweep is complete" not in said
    assert "these are the confirmation trials" in call(
        "propose", folder, "--count", 0, "-o", mixtures
    )
    assert json.loads(call("record", folder, train(mixtures, table), "--json"))["recipe"]
    said = call("propose", folder, "--count", 1, "-o", mixtures)
    assert "the sweep is complete; its results are written" in said
    assert "these are the confirmation trials" not in said


def test_an_optimum_that_was_trained_before_it_was_known_to_be_one_ends_the_sweep_with_its_results(
    tmp_path,
):
    """Two domains that are alike: the uniform and natural mixtures, final trainings before the end
    is decided, are the optimum.
    """
    config, mixtures, table, folder = (
        tmp_path / "sweep.yaml",
        tmp_path / "m.csv",
        tmp_path / "l.csv",
        tmp_path / "sweep",
    )
    content = {
        "domains": {"web": {}, "code": {}},
        "trainer": {"command": ["train", "{job}"]},
        "proxy": {"steps": 8},
        "budget": {"trials": 6},
        "out": str(folder),
    }
    config.write_text(yaml.safe_dump(content))
    asked = json.loads(call("propose", config, "--count", 4, "-o", mixtures, "--json"))
    for _ in range(10):
        rows = [
            (job["trial"], *(job["mixture"].get(name, 0.0) for name in ("web", "code")))
            for job in [*asked["new"], *asked["open"]]
        ]
        if not rows:
            break
        lines = [
            f"{trial},8,{web},{code},{3 * (web + 0.01) ** -0.1},{3 * (code + 0.01) ** -0.1}"
            for trial, web, code in rows
        ]
        table.write_text("\n".join(["trial,step,r_web,r_code,loss_web,loss_code", *lines, ""]))
        call("record", folder, table)
        asked = json.loads(call("propose", folder, "--count", 4, "-o", mixtures, "--json"))
    assert asked["complete"]
    assert Recipe.read(folder / "RECIPE.json").proportions == pytest.approx(
        {"web": 0.5, "code": 0.5}, abs=0.02
    )


def test_two_rows_of_one_trial_at_one_step_are_refused_whatever_their_size_or_seed(
    tmp_path, sweep_yaml
):
    folder, mixtures, table = tmp_path / "sweep", tmp_path / "m.csv", tmp_path / "l.csv"
    call("propose", sweep_yaml, "--count", 1, "-o", mixtures)
    lines = train(mixtures, table).read_text().splitlines()
    table.write_text("\n".join([f"{lines[0]},size", f"{lines[1]},2e5", f"{lines[1]},", ""]))
    with pytest.raises(
        TableError, match=r"row 2 is trial t0000 at step 100, as row 1 is; need one of them"
    ):
        offline.record(str(folder), table)


def test_finished_runs_of_no_sweep_are_answered_inside_the_bounds_and_nothing_is_kept(tmp_path):
    _, history = whole(tmp_path / "sweep", planted_config(8))
    history.state.trial_record.table().write(tmp_path / "runs.csv")
    before = sorted(tmp_path.iterdir())
    out = tmp_path / "m.csv"
    call(
        "propose",
        tmp_path / "runs.csv",
        "--count",
        4,
        "-o",
        out,
        "--max",
        "code=0.3",
        "--min",
        "web=0.2",
    )
    asked = MixtureFile.read(out)
    shares = dict(zip(asked.domains, asked.proportions.T, strict=True))
    assert (shares["code"] <= 0.3 + 1e-9).all()
    assert (shares["web"] >= 0.2 - 1e-9).all()
    assert len(np.unique(asked.proportions.round(6), axis=0)) >= 3
    assert asked.columns["trial"].to_pylist() == ["p0000", "p0001", "p0002", "p0003"]
    first = out.read_text()
    call(
        "propose",
        tmp_path / "runs.csv",
        "--count",
        4,
        "-o",
        out,
        "--max",
        "code=0.3",
        "--min",
        "web=0.2",
    )
    assert out.read_text() == first
    assert sorted(tmp_path.iterdir()) == sorted([*before, out])
    assert "has no domain wbe" in call(
        "propose", tmp_path / "runs.csv", "--count", 1, "-o", out, "--max", "wbe=1", code=1
    )
    assert "--config does not go with" in call(
        "propose", tmp_path / "runs.csv", "--count", 1, "-o", out, "--config", "x", code=1
    )
    assert "need .csv, .tsv or .parquet" in call(
        "propose", tmp_path / "runs.csv", "--count", 1, "-o", tmp_path / "m.json", code=1
    )


def test_proposing_and_recording_load_neither_ray_nor_torch(tmp_path, sweep_yaml):
    mixtures, table, folder = tmp_path / "m.csv", tmp_path / "l.csv", tmp_path / "sweep"
    for words in (["propose", sweep_yaml, "--count", 5, "-o", mixtures], ["record", folder, table]):
        if words[0] == "record":
            train(mixtures, table)
        code = (
            "import sys; from typer.testing import CliRunner; from bimix_sweep.cli import app\n"
            f"done = CliRunner().invoke(app, {[*map(str, words)]!r}); assert done.exit_code == 0, "
            "done.output\nprint([name for name in ('ray', 'torch', 'optuna', 'tokenizers') if name "
            "in sys.modules])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == "[]"
