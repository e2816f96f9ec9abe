"""What W&B's own client wrote, read back from its offline folder."""

import shutil

import pytest
from typer.testing import CliRunner

from bimix_sweep.cli import app
from bimix_sweep.config import WandbConfig
from bimix_sweep.sweep.history.rebuilding import replay
from bimix_sweep.sweep.views.tracking.logging_sweep import SweepLogger
from tests.support.in_process import STEPS, config, losses, open_sweep, train
from tests.support.wandb_folder import offline_runs

pytest.importorskip("wandb", reason="needs wandb (bimix-sweep[tracking])")
KEY = "0123456789abcdef" * 3


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.delenv("WANDB_DIR", raising=False)


def log(folder):
    done = CliRunner().invoke(app, ["log", str(folder), "--to", "wandb", "--project", "mixtures"])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_finished_sweep_is_in_the_offline_folder_whole_and_once(finished):
    history = replay(finished)
    assert log(finished) == f"{len(history.state.trials) + 1} runs sent to wandb\n"
    found = offline_runs(finished)
    assert set(found) == {"sweep", *history.state.trials}
    assert {run.project for run in found.values()} == {"mixtures"}
    assert len({run.group for run in found.values()}) == 1
    for name, record in history.state.trials.items():
        run = found[name]
        assert (run.kind, run.exit_code, run.summary["state"]) == ("trial", 0, "finished")
        assert run.config["reason"] == history.proposals[name].reason
        for domain, proportion in record.mixture.as_dict().items():
            assert run.config[f"proportion/{domain}"] == proportion
        assert {row["_step"]: row["loss/web"] for row in run.rows} == {
            step: point["web"] for step, point in record.points.items()
        }
    sweep = found["sweep"]
    refits = [refit for refit in history.refits if refit.optimum is not None]
    for row, refit in zip(sweep.rows, refits, strict=True):
        assert row["optimum/web"] == refit.optimum.mixture["web"]
        assert row["law_error/web"] == refit.law.error["web"]
    assert [*sweep.files.values()] == [["RECIPE.json", "report.html"]]
    assert log(finished) == "wandb holds the sweep already\n"
    assert offline_runs(finished) == found
    # A copy without the note of what was sent: all runs are written again, in place of the first.
    shutil.rmtree(finished / "tracking")
    log(finished)
    again = offline_runs(finished)
    assert {name: (run.id, len(run.rows)) for name, run in again.items()} == {
        name: (run.id, len(run.rows)) for name, run in found.items()
    }
    for path in finished.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


def test_a_trial_that_goes_on_under_another_process_has_its_whole_curve(tmp_path):
    actor = open_sweep(tmp_path, config())
    first = actor.propose("t0000")
    actor.start("t0000", "here")
    actor.record("t0000", STEPS[0], losses(first.mixture, first.seed, STEPS[0]))
    for _ in range(2):
        logger = SweepLogger(str(tmp_path), "wandb", WandbConfig(project="mixtures"))
        logger.send()
        logger.close()
    assert [row["_step"] for row in offline_runs(tmp_path)["t0000"].rows] == [STEPS[0]]
    logger = SweepLogger(str(tmp_path), "wandb", WandbConfig(project="mixtures"))
    logger.send()  # the run stays open
    train(actor, first)
    second = actor.propose("t0001")
    actor.abandon("t0001", "the loss of web is nan")
    actor.close()
    logger.send()
    logger.close()
    found = offline_runs(tmp_path)
    assert [row["_step"] for row in found["t0000"].rows] == [*STEPS]
    assert found["t0001"].exit_code == 1
    assert found["t0001"].summary["failure"] == "the loss of web is nan"
    assert found["t0001"].config["seed"] == str(second.seed)
