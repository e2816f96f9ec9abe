"""The process beside the driver: whatever becomes of it, the sweep reaches its end."""

import os
import sys
import time

import pytest

from bimix_sweep.config import TrackingConfig
from bimix_sweep.errors import SweepError
from bimix_sweep.sweep.views.tracking import beside
from bimix_sweep.sweep.views.tracking.beside import check_trackers, logged
from tests.support.in_process import config, open_sweep
from tests.support.trackers import complete

TRACKING = TrackingConfig(mlflow={"uri": "http://nowhere", "experiment": "mixtures"})
HIDDEN = "correct-horse"


@pytest.fixture
def client(tmp_path, monkeypatch):
    """Puts a package in the place of MLflow's, whose import does something else."""
    place = tmp_path / "packages" / "mlflow"
    place.mkdir(parents=True)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(place.parent), *sys.path]))
    monkeypatch.setenv("A_KEY", HIDDEN)
    monkeypatch.setenv("STARTED", str(place / "started"))
    monkeypatch.setattr(beside, "STOP_SECONDS", 0.2)

    def write(code):
        begin = "import os, pathlib, time\npathlib.Path(os.environ['STARTED']).touch()"
        (place / "__init__.py").write_text(f"{begin}\n{code}\n")
        return place / "started"

    return write


def wait(condition):
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def left_over(folder):
    return (
        f"mlflow does not hold all of the sweep ({folder}/logs/tracking-mlflow.log); send the rest "
        f"with: bimix-sweep log '{folder}' --to mlflow"
    )


def test_a_sweep_with_a_tracker_that_hangs_ends_as_without(tmp_path, client, monkeypatch):
    monkeypatch.setattr(beside, "LAST_SECONDS", 0.2)
    started, folder, said = client("time.sleep(600)"), tmp_path / "a b", []
    with logged(str(folder), TRACKING, said.append):
        complete(folder)
        wait(started.exists)
    assert (folder / "RECIPE.json").exists()
    assert said == ["waiting until mlflow has the results, 0 s at most", left_over(folder)]


def test_a_tracker_that_fails_is_told_once_without_credentials(finished, client):
    client("raise OSError('no route to http://me:correct-horse@host, ' + os.environ['A_KEY'])")
    folder, said = finished.rename(finished.with_name("a b")), []
    with logged(str(folder), TRACKING, said.append):
        wait(lambda: said)
    assert said == [
        "logging to mlflow fails (OSError: no route to http://me:***@host, ***); it is tried again",
        left_over(folder),
    ]
    log = (folder / "logs" / "tracking-mlflow.log").read_text()
    assert "mlflow fails (OSError: no route to http://me:***@host, ***)" in log
    for path in folder.rglob("*"):
        assert not path.is_file() or HIDDEN.encode() not in path.read_bytes(), path


def test_the_process_ends_with_the_driver_that_is_stopped(tmp_path, client, monkeypatch):
    client("")
    open_sweep(tmp_path / "sweep", config()).close()
    started = []
    popen = beside.subprocess.Popen
    monkeypatch.setattr(
        beside.subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[0]
    )
    said = []
    with (
        pytest.raises(KeyboardInterrupt),
        logged(str(tmp_path / "sweep"), TRACKING, said.append),
    ):
        raise KeyboardInterrupt
    assert started[0].poll() is not None
    assert said == []


def test_a_missing_client_is_told_before_the_sweep_begins(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SweepError, match=r"mlflow is not installed here; install it with: pip "):
        check_trackers(TRACKING)


def test_a_tracker_without_an_address_is_refused(monkeypatch, tmp_path, client):
    client("")
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(SweepError, match=r"tracking\.mlflow has no uri, and MLFLOW_TRACKING_URI"):
        check_trackers(TrackingConfig(mlflow={}))


def test_without_trackers_no_process_is_started(monkeypatch, tmp_path):
    monkeypatch.setattr(beside.subprocess, "Popen", None)
    check_trackers(None)
    with logged(str(tmp_path), TrackingConfig(), print):
        pass
