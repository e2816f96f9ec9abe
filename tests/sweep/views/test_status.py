"""What `status` says of a sweep that stopped: trials to go, the reason, the next command."""

import json
import os
import socket

import pytest
from typer.testing import CliRunner

from bimix_sweep.cli import app
from bimix_sweep.sweep.history.rebuilding import replay
from bimix_sweep.sweep.history.snapshot import trials_to_go
from tests.support.in_process import config, open_sweep, run, whole


def status(folder, *words):
    done = CliRunner().invoke(app, ["status", str(folder), *words])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """5 of 9 trials finished, then one failed."""
    folder = tmp_path_factory.mktemp("sweep") / "s"
    actor = open_sweep(folder, config(9))
    run(actor, most=5)
    actor.propose("t0005")
    actor.start("t0005", "here")
    actor.abandon("t0005", "the loss of web is nan at step 100", "diverged")
    actor.close()
    return folder


def test_a_stopped_sweep_says_what_is_to_go_and_how_to_go_on(stopped):
    said = status(stopped)
    # 3 of the budget, and predicted, measured, uniform and natural with two seeds each
    assert "stopped, at most 11 trials to go (no driver works on it, last event " in said
    assert said.rstrip().endswith(f"go on with: bimix-sweep resume {stopped}")
    assert "last failure: t0005: the loss of web is nan at step 100" in said
    found = json.loads(status(stopped, "--json"))
    assert found["trials_to_go"] == 11
    assert found["state"].startswith("stopped, at most 11 trials to go")


def test_a_killed_driver_is_the_reason_and_a_living_one_is_no_stop(stopped):
    lock, host = stopped / "driver.lock", socket.gethostname()
    lock.write_text(f"process {2**22 + 1} on {host}")
    assert "trials to go (its driver was killed, last event " in status(stopped)
    lock.write_text(f"process {os.getpid()} on {host}")
    assert "stopped" not in status(stopped)
    assert f"driver: process {os.getpid()} on {host}, last event " in status(stopped)
    lock.unlink()


def test_nothing_is_to_go_once_the_sweep_is_complete(tmp_path):
    actor = open_sweep(tmp_path / "s", config(6))
    run(actor, most=8)
    actor.close()
    confirming = replay(tmp_path / "s")
    assert confirming.confirmation is not None
    planned = 2 * len(confirming.confirmation.mixtures)
    assert trials_to_go(confirming) == planned - 2
    whole(tmp_path / "s", config(6))
    assert trials_to_go(replay(tmp_path / "s")) == 0
