"""Proxies of two sizes from the configuration to the results, without Ray."""

import json
import sys
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

from bimix_sweep.cli import app
from bimix_sweep.errors import ConfigError, SweepError
from bimix_sweep.export.recipe import Recipe
from bimix_sweep.journal.segments import read
from bimix_sweep.mixture.columns import write_columns
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.mixture.mixture_file import MixtureFile
from bimix_sweep.mixture.table import LossTable
from bimix_sweep.sweep.history.budget import bills
from bimix_sweep.sweep.history.confirmation_trials import confirmation_mixtures
from bimix_sweep.sweep.history.history import replay
from bimix_sweep.sweep.history.snapshot import snapshot_of
from bimix_sweep.sweep.history.statistics import StatisticsCollector
from bimix_sweep.sweep.preflight.plan import make_plan
from bimix_sweep.sweep.results import page, write_results
from bimix_sweep.sweep.trainers.base import TrialJob
from bimix_sweep.sweep.trainers.builtin import prepare_builtin
from bimix_sweep.sweep.views.optuna_dashboard import OptunaView
from bimix_sweep.sweep.views.terminal import view as picture
from tests.support.in_process import Planted, config, measured_at, open_sweep, run, train, whole
from tests.support.in_process import losses as planted_losses
from tests.sweep.trainers.test_builtin_trainer import config as builtin_config
from tests.sweep.trainers.test_builtin_trainer import text  # noqa: F401 - a fixture
from tests.sweep.trainers.test_user_trainers import POINT, Attempt

NAMES = ("web", "code", "books")
SIZES = (1e5, 4e5)
TWO = Planted(size=4e5, smaller=(1e5,))


def given(trials=12, **changes):
    return config(trials, proxy__sizes=list(SIZES), **changes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A sweep of two sizes that came to its end."""
    folder = tmp_path_factory.mktemp("two") / "sweep"
    _, history = whole(folder, given(), trainer=TWO)
    return folder, history


def test_sizes_are_in_the_journal_and_read_again(finished):
    folder, history = finished
    events = read(folder / "journal").events
    assert events[0]["spec"]["smaller"] == [1e5]
    assert history.spec.sizes == SIZES
    proposed = {
        event["trial"]: event.get("size") for event in events if event["kind"] == "proposal"
    }
    sizes = {name: record.size for name, record in history.state.trials.items()}
    assert {name: size for name, size in proposed.items() if size} == {
        name: size for name, size in sizes.items() if name.startswith("t")
    }
    assert Counter(size for name, size in sizes.items() if name.startswith("t"))[1e5] >= 5
    assert {size for name, size in sizes.items() if name.startswith("confirm")} == {4e5}


def test_a_sweep_of_one_size_has_the_journal_that_it_always_had(tmp_path):
    actor = open_sweep(tmp_path / "one", config(6))
    train(actor, actor.propose("t0000"))
    actor.close()
    events = read(tmp_path / "one" / "journal").events
    assert "smaller" not in events[0]["spec"]
    assert all("size" not in event for event in events if event["kind"] == "proposal")
    assert replay(tmp_path / "one").state.trials["t0000"].size == 1e5


def test_after_a_restart_in_the_middle_it_proposes_the_same(finished, tmp_path):
    _, straight = finished
    folder = tmp_path / "sweep"
    for most in (6, 3, 1000):
        actor = open_sweep(folder, given(), trainer=TWO)
        run(actor, most)
        actor.close()
    assert replay(folder).proposals == straight.proposals


def test_results_are_for_the_largest_size_and_tell_the_others(finished):
    folder, history = finished
    recipe = write_results(str(folder), given(out=str(folder)))
    assert (recipe.size, recipe.extrapolation["size"]) == (4e5, 1)
    assert recipe.law["sizes"] == list(SIZES)
    assert {*LossTable.read(folder / "runs.csv").sizes.tolist()} == {*SIZES}
    html = page(history, given(out=str(folder)))
    assert "sizes 100k, 400k" in html
    assert "Validation loss of every training of the largest size" in html
    assert Recipe.read(folder / "RECIPE.json").size == 4e5


def test_people_see_sizes_beside_losses(finished):
    folder, history = finished
    snapshot = snapshot_of(
        history, elapsed_seconds=1.0, training_seconds=1.0, lines=(), num_lines=0, epoch=1
    )
    assert {row.size for row in snapshot.trials} == {*SIZES}
    with (console := Console(width=120)).capture() as seen:
        console.print(picture(snapshot))
    assert "4e+05" in seen.get()
    view = OptunaView(str(folder))
    view.refresh()
    (study,) = view.storage.get_all_studies()
    assert {trial.user_attrs["size"] for trial in view.storage.get_all_trials(study._study_id)} == {
        *SIZES
    }


def test_a_sweep_keeps_its_sizes(finished):
    folder, _ = finished
    with pytest.raises(
        SweepError,
        match=r"proxy\.sizes was .* and is now .*; a sweep keeps the sizes of its proxies",
    ):
        open_sweep(folder, config(14, proxy__sizes=[1e5, 4e5, 8e5]), trainer=TWO)


@pytest.fixture
def measured():
    """A history of two sizes in which the small mixture has the lowest loss of all, for no good
    reason.
    """
    return measured_at({"size": 1e5}, {"size": 4e5}, steps=400, size=4e5, smaller=(1e5,))


def test_best_measured_is_the_best_of_the_largest_size(measured):
    assert StatisticsCollector().take(measured).objective_best == 2.0
    mixtures = confirmation_mixtures(measured, Mixture.from_array(NAMES, [0.34, 0.33, 0.33]))
    best = next(entry["mixture"] for entry in mixtures if "measured" in entry["labels"])
    assert best["code"] == 0.6


def test_hours_are_expected_in_proportion_to_size(measured):
    (bill,) = bills(measured, now=2000.0)
    assert bill.expected == pytest.approx(
        360 / 3600
    )  # 90 s for a quarter of the size is the same rate
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


def test_the_builtin_trainer_trains_a_model_of_each_size(text, tmp_path):  # noqa: F811
    shape = {"steps": 16, "context": 16, "batch": 2, "vocabulary": 300}
    trainer = prepare_builtin(
        builtin_config(text, proxy={"sizes": [2e4, 1e5], **shape}), tmp_path, lambda _: None
    )
    assert trainer.sizes[0] < 5e4 < trainer.sizes[1]
    last, bytes_written = [], []
    for size in (*trainer.sizes, None):
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


def test_sizes_that_come_to_the_same_builtin_model_are_refused(text, tmp_path):  # noqa: F811
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
    rows = [
        {"trial": str(trial), "step": 400, "size": size}
        | {f"r_{name}": float(share) for name, share in zip(asked.domains, shares, strict=True)}
        | {
            f"loss_{name}": loss
            for name, loss in planted_losses(
                Mixture.from_array(asked.domains, shares), int(seed), 400
            ).items()
        }
        for trial, seed, size, shares in zip(
            asked.columns["trial"].to_pylist(),
            asked.columns["seed"].to_pylist(),
            sizes,
            asked.proportions,
            strict=True,
        )
    ]
    write_columns(table, {name: pa.array([row[name] for row in rows]) for name in rows[0]})
    wrong = tmp_path / "wrong.csv"
    write_columns(
        wrong,
        {
            name: pa.array([4e5 if name == "size" else row[name] for row in rows])
            for name in rows[0]
        },
    )
    assert "has size 400000, trial t0000 was proposed with 100000" in call(
        "record", folder, wrong, code=1
    )
    assert len(json.loads(call("record", folder, table, "--json"))["finished"]) == 8
    said = json.loads(call("propose", folder, "--count", 1, "-o", mixtures, "--json"))
    assert said["new"][0]["size"] in SIZES
    assert np.isclose(sum(said["new"][0]["mixture"].values()), 1)
