"""What MLflow's own client reads back from a database and from a folder."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bimix_sweep.cli import app
from bimix_sweep.config import MlflowConfig
from bimix_sweep.sweep.history.rebuilding import replay
from bimix_sweep.sweep.views.tracking.mlflow_tracker import MlflowTracker, metric_name
from tests.support.in_process import STEPS, config, losses, open_sweep, train

pytest.importorskip("mlflow", reason="needs mlflow-skinny (bimix-sweep[tracking])")
pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own use of SQLAlchemy and protobuf


@pytest.fixture
def runs_folder(tmp_path, monkeypatch):
    """URI of a file store; unlike a database, it keeps a metric twice that is logged twice."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return (tmp_path / "mlruns").as_uri()


def log(folder, uri):
    arguments = ["log", str(folder), "--to", "mlflow", "--uri", uri, "--experiment", "mixtures"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def runs_of(uri):
    """{name: run} as MLflow has them; a name that two runs have fails."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    experiment = client.get_experiment_by_name("mixtures").experiment_id
    found = client.search_runs([experiment])
    assert len({run.info.run_name for run in found}) == len(found)
    return client, {run.info.run_name: run for run in found}


def curve(client, run, metric):
    return [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, metric)]


def check_whole(finished, uri):
    """Logs a finished sweep, reads it back, and returns {name: run} as MLflow has them."""
    history = replay(finished)
    log(finished, uri)
    client, found = runs_of(uri)
    assert set(found) == {"sweep", *history.state.trials}
    for name, record in history.state.trials.items():
        run = found[name]
        assert (run.info.status, run.data.tags["bimix_sweep.state"]) == ("FINISHED", "finished")
        assert run.data.params["reason"] == history.proposals[name].reason
        for domain, proportion in record.mixture.as_dict().items():
            assert float(run.data.params[f"proportion/{domain}"]) == proportion
        points = [(step, point["web"]) for step, point in sorted(record.points.items())]
        assert sorted(curve(client, run, "loss/web")) == points
    sweep = found["sweep"]
    refits = [refit for refit in history.refits if refit.optimum is not None]
    assert sorted(curve(client, sweep, "interval_low/web")) == [
        (number, refit.optimum.interval["web"][0]) for number, refit in enumerate(refits, 1)
    ]
    assert sum(sweep.data.metrics[f"recommended/{name}"] for name in ("web", "code", "books")) == (
        pytest.approx(1, abs=1e-5)
    )
    kept = client.list_artifacts(sweep.info.run_id)
    assert sorted(file.path for file in kept) == ["RECIPE.json", "report.html"]
    copied = client.download_artifacts(sweep.info.run_id, "RECIPE.json", str(finished / "tracking"))
    assert Path(copied).read_bytes() == (finished / "RECIPE.json").read_bytes()
    assert log(finished, uri) == "mlflow holds the sweep already\n"
    return found


def test_a_finished_sweep_is_in_a_database_whole(finished, tmp_path):
    check_whole(finished, f"sqlite:///{tmp_path}/mlflow.db")
    assert (tmp_path / "mlartifacts").is_dir()


def test_a_finished_sweep_is_in_a_folder_whole_and_once(finished, runs_folder):
    found = check_whole(finished, runs_folder)
    # A copy without the note of what was sent: MLflow itself tells what it has.
    shutil.rmtree(finished / "tracking")
    log(finished, runs_folder)
    client, again = runs_of(runs_folder)
    assert {name: run.info.run_id for name, run in again.items()} == {
        name: run.info.run_id for name, run in found.items()
    }
    for name in replay(finished).state.trials:
        assert len(curve(client, again[name], "loss/web")) == len(STEPS)


def test_a_trial_that_goes_on_under_another_process_has_its_whole_curve(tmp_path, runs_folder):
    uri = runs_folder
    folder = tmp_path / "sweep"
    actor = open_sweep(folder, config())
    first = actor.propose("t0000")
    actor.start("t0000", "here")
    actor.record("t0000", STEPS[0], losses(first.mixture, first.seed, STEPS[0]))
    log(folder, uri)
    client, found = runs_of(uri)
    assert found["t0000"].info.status == "RUNNING"
    train(actor, first)
    actor.propose("t0001")
    actor.abandon("t0001", "the loss of web is nan")
    actor.close()
    log(folder, uri)
    client, found = runs_of(uri)
    assert [step for step, _ in sorted(curve(client, found["t0000"], "objective"))] == [*STEPS]
    assert found["t0001"].info.status == "FAILED"
    assert found["t0001"].data.tags["bimix_sweep.failure"] == "the loss of web is nan"


def test_a_password_of_the_environment_is_not_written_down(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:correct-horse@host:5000")
    assert MlflowTracker(MlflowConfig()).place == "http://me:***@host:5000"


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("loss/dolma/books v1.6", "loss/dolma/books v1.6"),
        ("loss/a%b=c", "loss/a:25b:3Dc"),
        ("loss/café", "loss/café"),
        ("loss//x", "loss:2F:2Fx"),
        ("loss/../x", "loss:2F:2E:2E:2Fx"),
        ("loss/" + "x" * 300, "loss/" + "x" * 235),
    ],
)
def test_a_name_is_written_as_mlflow_takes_it(name, written):
    from mlflow.utils.validation import _validate_metric_name

    assert metric_name(name) == written
    _validate_metric_name(written)
