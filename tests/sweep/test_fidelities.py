"""Trials of two sizes, or of two numbers of steps, from the configuration to the results."""

import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

from bimix_sweep.cli import app
from bimix_sweep.errors import ConfigError, SweepError, TrainingError
from bimix_sweep.export.recipe import Recipe
from bimix_sweep.journal.segments import read
from bimix_sweep.mixture.columns import write_columns
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.mixture.mixture_file import MixtureFile
from bimix_sweep.mixture.table import LossTable
from bimix_sweep.sweep.coordinator.progress_log import done_line
from bimix_sweep.sweep.history.budget import bills
from bimix_sweep.sweep.history.confirmation_trials import confirmation_mixtures
from bimix_sweep.sweep.history.rebuilding import replay
from bimix_sweep.sweep.history.snapshot import snapshot_of
from bimix_sweep.sweep.history.statistics import StatisticsCollector
from bimix_sweep.sweep.preflight.plan import make_plan
from bimix_sweep.sweep.results import write_results
from bimix_sweep.sweep.trainers.base import TrialJob
from bimix_sweep.sweep.trainers.builtin import prepare_builtin
from bimix_sweep.sweep.views.optuna_dashboard import OptunaView
from bimix_sweep.sweep.views.terminal import view as picture
from tests.support.attempt import POINT, Attempt
from tests.support.builtin_texts import config as builtin_config
from tests.support.in_process import Planted, config, measured_at, open_sweep, run, train, whole
from tests.support.in_process import losses as planted_losses
from tests.support.page_text import page_text

NAMES = ("web", "code", "books")
SIZES = (1e5, 4e5)
SHORT, LONG = 200, 400


@dataclass(frozen=True)
class Axis:
    """What trials differ in: the size of the proxy, or the number of steps."""

    field: str
    """Field of a trial and a proposal."""
    key: str
    """Key in the sections `proxy` of the configuration."""
    cheaper: str
    """Key of the cheaper values in the journal's spec."""
    cheap: float
    """Value of the cheap trials."""
    dear: float
    """Value at the target fidelity."""
    trainer: Planted = field(default_factory=Planted)

    def config(self, trials=12, **changes):
        return config(trials, **{f"proxy__{self.key}": [self.cheap, self.dear]}, **changes)


BY_SIZE = Axis("size", "sizes", "smaller", *SIZES, trainer=Planted(size=4e5, smaller=(1e5,)))
BY_STEPS = Axis("steps", "steps", "shorter", SHORT, LONG)


@pytest.fixture(scope="module", params=[BY_SIZE, BY_STEPS], ids=["sizes", "steps"])
def axis(request):
    return request.param


@pytest.fixture(scope="module")
def finished(axis, tmp_path_factory):
    """A sweep of two fidelities that came to its end."""
    folder = tmp_path_factory.mktemp("two") / "sweep"
    _, history = whole(folder, axis.config(), trainer=axis.trainer)
    return folder, history


def test_fidelities_are_in_the_journal_and_read_again(axis, finished):
    folder, history = finished
    events = read(folder / "journal").events
    assert events[0]["spec"][axis.field] == axis.dear
    assert events[0]["spec"][axis.cheaper] == [axis.cheap]
    assert events[0]["config"]["proxy"][axis.key] == [axis.cheap, axis.dear]
    assert (history.spec.sizes if axis is BY_SIZE else history.spec.lengths) == (
        axis.cheap,
        axis.dear,
    )
    proposed = {
        event["trial"]: event.get(axis.field) for event in events if event["kind"] == "proposal"
    }
    values = {name: getattr(record, axis.field) for name, record in history.state.trials.items()}
    assert {name: value for name, value in proposed.items() if value} == {
        name: value for name, value in values.items() if name.startswith("t")
    }
    counts = Counter(value for name, value in values.items() if name.startswith("t"))
    assert counts[axis.cheap] >= 5
    assert {value for name, value in values.items() if name.startswith("confirm")} == {axis.dear}
    assert all(max(record.points) == record.steps for record in history.state.trials.values())


def test_a_sweep_of_one_fidelity_has_the_journal_that_it_always_had(tmp_path):
    actor = open_sweep(tmp_path / "one", config(6))
    train(actor, actor.propose("t0000"))
    actor.close()
    events = read(tmp_path / "one" / "journal").events
    proposals = [event for event in events if event["kind"] == "proposal"]
    assert not {"smaller", "shorter"} & events[0]["spec"].keys()
    assert events[0]["config"]["proxy"]["steps"] == LONG
    assert all(not {"size", "steps"} & event.keys() for event in proposals)
    record = replay(tmp_path / "one").state.trials["t0000"]
    assert (record.size, record.steps) == (1e5, LONG)


def test_after_a_restart_in_the_middle_it_proposes_the_same(axis, finished, tmp_path):
    _, straight = finished
    folder = tmp_path / "sweep"
    for most in (6, 3, 1000):
        actor = open_sweep(folder, axis.config(), trainer=axis.trainer)
        run(actor, most)
        actor.close()
    assert replay(folder).proposals == straight.proposals


def test_results_are_for_the_target_fidelity_and_tell_the_others(axis, finished):
    folder, _ = finished
    recipe = write_results(str(folder), axis.config(out=str(folder)))
    table = LossTable.read(folder / "runs.csv")
    html = page_text((folder / "report.html").read_text())
    stored = Recipe.read(folder / "RECIPE.json")
    if axis is BY_SIZE:
        assert (recipe.size, recipe.extrapolation["size"]) == (4e5, 1)
        assert recipe.law["sizes"] == list(SIZES)
        assert {*table.sizes.tolist()} == {*SIZES}
        assert "sizes 100k, 400k" in html
        assert "Validation loss of every trial of the largest size" in html
        assert stored.size == 4e5
    else:
        assert (recipe.step, recipe.extrapolation["step"]) == (LONG, 1)
        assert {table.steps[row] for row in table.last_rows()} == {SHORT, LONG}
        assert "200, 400 steps" in html
        assert stored.step == LONG


def test_people_see_fidelities_beside_losses(axis, finished):
    folder, history = finished
    snapshot = snapshot_of(
        history, elapsed_seconds=1.0, training_seconds=1.0, lines=(), num_lines=0, epoch=1
    )
    assert {getattr(row, axis.field) for row in snapshot.trials} == {axis.cheap, axis.dear}
    with (console := Console(width=120)).capture() as seen:
        console.print(picture(snapshot))
    assert ("4e+05" if axis is BY_SIZE else "steps") in seen.get()
    view = OptunaView(str(folder))
    view.refresh()
    (study,) = view.storage.get_all_studies()
    trials = view.storage.get_all_trials(study._study_id)
    assert {trial.user_attrs[axis.field] for trial in trials} == {axis.cheap, axis.dear}
    if axis is BY_STEPS:
        short = next(p for p in history.proposals.values() if p.steps == SHORT)
        assert done_line(short, 3.0, 2.5).startswith("t0000 (200 steps) done in 3 s: loss 2.5000, ")


def test_a_sweep_keeps_its_fidelities(axis, finished):
    folder, _ = finished
    others, message = (
        (
            ([1e5, 4e5, 8e5],),
            r"proxy\.sizes was .* and is now .*; a sweep keeps the sizes of its proxies",
        )
        if axis is BY_SIZE
        else (
            ([100, LONG], LONG),
            r"proxy\.steps was \[200, 400\] and is now .*; a sweep keeps the numbers of steps",
        )
    )
    for other in others:
        with pytest.raises(SweepError, match=message):
            open_sweep(folder, config(14, **{f"proxy__{axis.key}": other}), trainer=axis.trainer)


@pytest.fixture
def measured(axis):
    """A history of two fidelities in which the cheap mixture has the lowest loss of all, for no
    good reason.
    """
    if axis is BY_SIZE:
        return measured_at({"size": 1e5}, {"size": 4e5}, steps=400, size=4e5, smaller=(1e5,))
    return measured_at({"steps": 100}, {"steps": LONG}, steps=LONG, shorter=(100,), size=4e5)


def test_best_measured_is_the_best_of_the_target_fidelity(measured):
    assert StatisticsCollector().take(measured).objective_best == 2.0
    mixtures = confirmation_mixtures(measured, Mixture.from_array(NAMES, [0.34, 0.33, 0.33]))
    best = next(entry.mixture for entry in mixtures if "measured" in entry.labels)
    assert best["code"] == 0.6


def test_hours_are_expected_in_proportion_to_size_and_steps(measured):
    (bill,) = bills(measured, now=2000.0)
    # 90 s for a quarter of the size or the steps is the same rate
    assert bill.expected == pytest.approx(360 / 3600)
    assert bill.spent == pytest.approx((90 + 360 + 360) / 3600)


def test_plan_costs_each_size(tmp_path):
    asked, elsewhere = (
        {"slots": 1, "hours": 0.5, "seconds": 0},
        {"trainer": {"command": ["train", "{job}"]}},
    )
    one, two = (
        make_plan(config(20, proxy__sizes=sizes, **elsewhere), **asked)
        for sizes in ([4e5], [*SIZES])
    )
    assert one.core_hours == pytest.approx((20 + 8) * 0.5)
    assert two.core_hours == pytest.approx(
        (5 * 0.25 + 15 + 8) * 0.5
    )  # nothing is known of those after the first
    simulated = make_plan(
        config(20, proxy__sizes=[*SIZES], **elsewhere), slots=4, hours=0.5, seconds=8
    )
    assert 5 * 0.25 + 3 < simulated.cost < 5 * 0.25 + 15
    assert simulated.core_hours == pytest.approx((simulated.cost + 8) * 0.5)


def test_the_builtin_trainer_trains_a_model_of_each_size(text, tmp_path):
    shape = {"steps": 16, "context": 16, "batch": 2, "vocabulary": 300}
    trainer = prepare_builtin(
        builtin_config(text, proxy={"sizes": [2e4, 1e5], **shape}), tmp_path, lambda _: None
    )
    assert trainer.facts.sizes[0] < 5e4 < trainer.facts.sizes[1]
    last, bytes_written = [], []
    for size in (*trainer.facts.sizes, None):
        points, folder = {}, tmp_path / f"trial-{size}"
        job = TrialJob(
            trial="t",
            mixture=Mixture.from_mapping({"latin": 0.7, "digits": 0.3}),
            seed=1,
            checkpoint_dir=folder,
            precision={"dtype": "float32"},
            size=size,
        )
        trainer.train(job, points.__setitem__)
        last.append(points[16])
        bytes_written.append(
            sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        )
    assert last[0] != last[1] == last[2]
    assert bytes_written[1] > 1.5 * bytes_written[0]


def test_sizes_that_come_to_the_same_builtin_model_are_refused(text, tmp_path):
    close = builtin_config(
        text,
        proxy={"sizes": [1e5, 1.01e5], "steps": 16, "context": 16, "batch": 2, "vocabulary": 300},
    )
    with pytest.raises(
        ConfigError,
        match=r"proxy\.sizes has 101000, .* no more than the one before; need sizes further apart",
    ):
        prepare_builtin(close, tmp_path, lambda _: None)


@pytest.mark.parametrize("size", [*SIZES, None])
def test_brought_trainers_are_told_the_size_of_the_training(tmp_path, monkeypatch, size):
    (tmp_path / "sized_command.py").write_text(
        "import json, sys\njob = json.load(open(sys.argv[-1]))\njson.dump(job['size'], "
        f"open('seen.json', 'w'))\nprint({POINT!r})"
    )
    (tmp_path / "sized_function.py").write_text(
        "def run(mixture, report, context):\n    report(8, {'web': context.size, 'code': 1.0})\n",
    )
    monkeypatch.setattr(sys, "path", [*sys.path])
    for trainer in (
        {"command": [sys.executable, "sized_command.py", "{job}"]},
        "sized_function:run",
    ):
        attempt = Attempt(tmp_path, trainer, proxy={"steps": 8, "sizes": [*SIZES]})
        job = TrialJob(
            trial="t",
            mixture=Mixture.from_mapping({"web": 0.25, "code": 0.75}),
            seed=7,
            checkpoint_dir=tmp_path / "checkpoint",
            precision={},
            size=size,
        )
        attempt.trainer.train(job, attempt.points.__setitem__)
    assert json.loads((tmp_path / "seen.json").read_text()) == (size or 4e5)
    assert attempt.points[8]["web"] == (size or 4e5)


def call(*words, code=0):
    done = CliRunner().invoke(app, [*map(str, words)])
    assert done.exit_code == code, done.output
    return done.output


def loss_rows(asked, fidelities):
    """Rows of a loss table for proposed mixtures; `fidelities` are the step, and size, of each."""
    return [
        {"trial": str(trial)}
        | fidelity
        | {f"r_{name}": float(value) for name, value in zip(asked.domains, values, strict=True)}
        | {
            f"loss_{name}": loss
            for name, loss in planted_losses(
                Mixture.from_array(asked.domains, values), int(seed), fidelity["step"]
            ).items()
        }
        for trial, seed, fidelity, values in zip(
            asked.columns["trial"].to_pylist(),
            asked.columns["seed"].to_pylist(),
            fidelities,
            asked.proportions,
            strict=True,
        )
    ]


def write_rows(path, rows):
    write_columns(path, {name: pa.array([row[name] for row in rows]) for name in rows[0]})


def test_without_ray_the_mixtures_say_their_size_and_another_one_is_refused(tmp_path):
    folder, mixtures, table = tmp_path / "sweep", tmp_path / "m.csv", tmp_path / "l.csv"
    content = {
        "domains": {name: {} for name in NAMES},
        "trainer": {"command": ["srun", "{job}"]},
        "proxy": {"steps": 400, "sizes": [*SIZES]},
        "budget": {"trials": 12},
        "out": str(folder),
    }
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(content))
    call("propose", tmp_path / "sweep.yaml", "--count", 8, "-o", mixtures)
    asked = MixtureFile.read(mixtures)
    sizes = [float(size) for size in asked.columns["size"].to_pylist()]
    assert Counter(sizes) == {1e5: 5, 4e5: 3}
    rows = loss_rows(asked, [{"step": 400, "size": size} for size in sizes])
    write_rows(table, rows)
    wrong = tmp_path / "wrong.csv"
    write_rows(wrong, [row | {"size": 4e5} for row in rows])
    assert "has size 400000, trial t0000 was proposed with 100000" in call(
        "record", folder, wrong, code=1
    )
    assert len(json.loads(call("record", folder, table, "--json"))["finished"]) == 8
    said = json.loads(call("propose", folder, "--count", 1, "-o", mixtures, "--json"))
    assert said["new"][0]["size"] in SIZES
    assert np.isclose(sum(said["new"][0]["mixture"].values()), 1)


def test_a_running_training_is_so_far_as_its_own_steps_say(tmp_path):
    actor = open_sweep(tmp_path / "sweep", BY_STEPS.config())
    proposal = actor.propose("t0000")
    train(actor, proposal, steps=(100,))
    snapshot = actor.snapshot()
    with (console := Console(width=120)).capture() as seen:
        console.print(picture(snapshot))
    assert "━━━━     100" in seen.get()
    told = json.loads(call("status", tmp_path / "sweep", "--json"))
    assert told["running"] == {"t0000": 100}
    assert told["running_fidelities"] == {"t0000": {"steps": SHORT}}
    train(actor, proposal)
    actor.close()
    assert replay(tmp_path / "sweep").state.trials["t0000"].state == "finished"


def test_plan_costs_each_number_of_steps():
    asked, elsewhere = (
        {"slots": 1, "hours": 0.5, "seconds": 0},
        {"trainer": {"command": ["train", "{job}"]}},
    )
    one, two = (
        make_plan(config(20, proxy__steps=steps, **elsewhere), **asked)
        for steps in (LONG, [100, LONG])
    )
    assert one.core_hours == pytest.approx((20 + 8) * 0.5)
    assert two.core_hours == pytest.approx(
        (5 * 0.25 + 15 + 8) * 0.5
    )  # nothing is known of those after the first
    assert (one.steps, one.shorter, two.steps, two.shorter) == (LONG, (), LONG, (100,))
    assert one.tokens == two.tokens == LONG * 128 * 8
    both = make_plan(
        config(20, proxy__steps=[100, LONG], proxy__sizes=[1e5, 4e5], **elsewhere), **asked
    )
    assert both.cost == pytest.approx(5 / 16 + 3 + 2 * 0.25 + 10)


def test_plan_says_what_is_trained(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(BY_STEPS.config(trainer={"command": ["train", "{job}"]}).to_yaml())
    said = call("plan", path, "--hours", 0.5, "--seconds", 0, "--slots", 1)
    assert "each trial: 200 or 400 steps" in said
    assert "one trial for the most steps takes 30 min 0 s (as --hours says)" in said
    assert (
        "the 12 trials cost as much as 9.5 for the most steps, if all trials after the first mixtures "
        "are of that kind" in said
    )


def test_the_builtin_trainer_trains_for_each_number_of_steps_and_a_short_training_is_the_beginning_of_a_long_one(
    text,
    tmp_path,
):
    proxy = {"sizes": [2e4], "steps": [16, 64], "context": 16, "batch": 2, "vocabulary": 300}
    trainer = prepare_builtin(builtin_config(text, proxy=proxy), tmp_path, lambda _: None)
    assert trainer.facts.steps == 64
    points = {}
    for steps in (16, 64, None):
        points[steps] = {}
        job = TrialJob(
            trial="t",
            mixture=Mixture.from_mapping({"latin": 0.7, "digits": 0.3}),
            seed=1,
            checkpoint_dir=tmp_path / f"trial-{steps}",
            precision={"dtype": "float32"},
            steps=steps,
        )
        trainer.train(job, points[steps].__setitem__)
    assert (min(points[16]), max(points[16])) == (4, 16)
    assert tuple(points[64]) == trainer.facts.eval_steps
    assert points[None] == points[64]
    assert points[16][16] == points[64][16]


@pytest.mark.parametrize("steps", [8, 32, None])
def test_brought_trainers_are_told_the_steps_of_the_training_and_held_to_them(
    tmp_path, monkeypatch, steps
):
    asked = steps or 32
    (tmp_path / "stepped_command.py").write_text(
        "import json, sys\njob = json.load(open(sys.argv[-1]))\njson.dump(job, open('seen.json', "
        "'w'))\n"
        "for step in job['eval_steps']:\n    print(json.dumps({'step': step, 'losses': {'web': "
        "job['steps'], 'code': 1.0}}))"
    )
    (tmp_path / "stepped_function.py").write_text(
        "def run(mixture, report, context):\n    for step in context.eval_steps:\n        "
        "report(step, {'web': context.steps, 'code': 1.0})\n"
        "def beyond(mixture, report, context):\n    report(context.steps + 1, {'web': 1.0, 'code': "
        "1.0})\n"
        "def before(mixture, report, context):\n    report(context.steps - 1, {'web': 1.0, 'code': "
        "1.0})\n"
    )
    monkeypatch.setattr(sys, "path", [*sys.path])

    def attempt(trainer):
        one = Attempt(tmp_path, trainer, proxy={"steps": [8, 32]})
        mixture = Mixture.from_mapping({"web": 0.25, "code": 0.75})
        job = TrialJob(
            trial="t",
            mixture=mixture,
            seed=7,
            checkpoint_dir=tmp_path / "checkpoint",
            precision={},
            steps=steps,
        )
        one.trainer.train(job, one.points.__setitem__)
        return one.points

    for trainer in (
        {"command": [sys.executable, "stepped_command.py", "{job}"]},
        "stepped_function:run",
    ):
        points = attempt(trainer)
        assert (min(points), max(points), points[asked]["web"]) == (asked // 4, asked, asked)
    assert json.loads((tmp_path / "seen.json").read_text())["steps"] == asked
    of_this = r"the steps of this trial \(`steps` in its job, context.steps\)"
    with pytest.raises(TrainingError, match=f"need a whole number from 1 to {asked}, {of_this}"):
        attempt("stepped_function:beyond")
    with pytest.raises(
        TrainingError,
        match=f"its last point is at step {asked - 1}; need one at step {asked}, where mixtures "
        f"are compared: {of_this}",
    ):
        attempt("stepped_function:before")


def test_without_ray_each_row_has_its_own_steps_and_a_training_ends_at_them(tmp_path):
    folder, mixtures, table = tmp_path / "sweep", tmp_path / "m.csv", tmp_path / "l.csv"
    content = {
        "domains": {name: {} for name in NAMES},
        "trainer": {"command": ["srun", "{job}"]},
        "proxy": {"steps": [SHORT, LONG]},
        "budget": {"trials": 12},
        "out": str(folder),
    }
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(content))
    call("propose", tmp_path / "sweep.yaml", "--count", 8, "-o", mixtures)
    asked = MixtureFile.read(mixtures)
    steps = [int(number) for number in asked.columns["steps"].to_pylist()]
    assert Counter(steps) == {SHORT: 5, LONG: 3}
    rows = loss_rows(asked, [{"step": number} for number in steps])
    write_rows(table, rows)
    wrong = tmp_path / "wrong.csv"
    write_rows(wrong, [row | {"step": LONG} for row in rows])
    assert "has step 400; need a whole number up to 200, the steps of trial t0000" in call(
        "record", folder, wrong, code=1
    )
    assert len(json.loads(call("record", folder, table, "--json"))["finished"]) == 8
    said = json.loads(call("propose", folder, "--count", 1, "-o", mixtures, "--json"))
    assert said["new"][0]["steps"] in (SHORT, LONG)


@pytest.mark.cluster
def test_the_builtin_trainer_on_ray_trains_short_and_long_and_ends_in_a_recipe_for_the_long(
    text,
    tmp_path,
    ray_environment,
    ray_address,
):
    proxy = {"sizes": [2e4], "steps": [16, 64], "context": 16, "batch": 2, "vocabulary": 300}
    (tmp_path / "sweep.yaml").write_text(
        builtin_config(
            text, proxy=proxy, budget={"trials": 11}, out=str(tmp_path / "out")
        ).to_yaml()
    )
    command = [
        str(Path(sys.executable).with_name("bimix-sweep")),
        "run",
        str(tmp_path / "sweep.yaml"),
        "--address",
        ray_address,
    ]
    done = subprocess.run(
        command, env=ray_environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    history = replay(str(tmp_path / "out"))
    assert history.complete
    records = history.state.trials.values()
    assert {record.steps for record in records if record.role == "sweep"} == {16, 64}
    assert {record.steps for record in records if record.role == "confirmation"} == {64}
    assert all(
        (min(record.points), max(record.points)) == (record.steps // 4, record.steps)
        for record in records
    )
    assert Recipe.read(tmp_path / "out" / "RECIPE.json").step == 64
