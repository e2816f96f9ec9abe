import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from bimix_sweep.errors import JournalError
from bimix_sweep.export.recipe import Recipe
from bimix_sweep.journal.segments import read
from bimix_sweep.mixture.table import LossTable
from bimix_sweep.sweep.history.rebuilding import replay

pytestmark = pytest.mark.cluster
SCRIPT = Path(__file__).resolve().parents[2] / "support" / "planted_sweep.py"
PATIENCE = 240
"""Seconds for what takes ten on two quiet cores."""
STEPS = [100, 150, 200, 300, 400]


@pytest.fixture
def driver(ray_environment):
    """Starts planted_sweep.py; whatever still runs at the end of the test is killed."""
    started = []

    def start(*words):
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), *map(str, words)],
            env=ray_environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def end(process, code=0):
    """What a driver says, which ends with this code; None for any but 0."""
    try:
        said = process.communicate(timeout=PATIENCE)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(
            f"the driver did not end in {PATIENCE} s; it said: {process.communicate()[1][-2000:]}"
        )
    assert process.returncode == code or (code is None and process.returncode), said
    return said


def until(folder, process, found):
    """Wait until `found(events)` of a running sweep's journal holds."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(JournalError):  # its first segment is being made
            if (folder / "journal").exists() and (answer := found(read(folder / "journal").events)):
                return answer
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.02)
            pytest.fail(
                f"the driver ended with {process.returncode} before that: "
                f"{process.communicate()[1][-2000:]}"
            )
    process.kill()
    pytest.fail(
        f"the sweep did not get there in {PATIENCE} s; it said: {process.communicate()[1][-2000:]}"
    )


def points(events):
    return [(event["trial"], event["step"]) for event in events if event["kind"] == "point"]


def ended(events):
    return {event["trial"] for event in events if event["kind"] == "end"}


def trained(folder):
    """{(trial, step): how often it was computed}."""
    return Counter(
        tuple(line.split()[:2]) for line in (folder / "trained.log").read_text().splitlines()
    )


def check_complete(folder, trials=8):
    """A finished sweep: every trial has every point once, all results are there."""
    events = read(folder / "journal").events
    history = replay(folder)
    assert history.complete
    counts = Counter(points(events))
    assert set(counts.values()) == {1}
    for name, record in history.state.trials.items():
        assert record.state in ("finished", "failed"), name
        if record.state == "finished":
            assert sorted(record.points) == STEPS
    assert sum(record.role == "sweep" for record in history.state.trials.values()) == trials
    table = LossTable.read(folder / "runs.csv")
    assert set(table.trials) == {
        name for name, record in history.state.trials.items() if record.state == "finished"
    }
    recipe = Recipe.read(folder / "RECIPE.json")
    assert (folder / "report.html").stat().st_size > 10_000
    assert not any((folder / "checkpoints").glob("*"))
    return history, recipe


def test_a_sweep_goes_past_a_diverged_trial_and_a_killed_worker_to_its_recipe(
    tmp_path, driver, ray_address
):
    folder = tmp_path / "sweep"
    said = end(
        driver("run", folder, "--address", ray_address, "--diverge", "t0002", "--crash", "t0004")
    )
    history, recipe = check_complete(folder)
    failed = {
        name: record.failure
        for name, record in history.state.trials.items()
        if record.state == "failed"
    }
    assert failed == {"t0002": "the loss of web is nan at step 100; lower the learning rate"}
    assert recipe.excluded == failed
    assert "t0002 failed: the loss of web is nan" in said
    assert len(history.starts["t0004"]) == 2  # its worker was killed once, at step 200
    assert len(history.starts["t0002"]) == 1  # a TrainingError is not tried again
    assert trained(folder)["t0004", "150"] == 1  # it went on from its checkpoint
    assert history.decision.reason.startswith("the budget of 8 trials is spent")
    confirmations = [
        record for record in history.state.trials.values() if record.role == "confirmation"
    ]
    assert len({record.seed for record in confirmations}) == 2
    assert len(confirmations) == 2 * len({record.mixture for record in confirmations})
    assert recipe.comparison is not None
    assert "Traceback" not in said


def test_no_trial_is_lost_where_workers_die_between_two_of_them(tmp_path, driver, ray_address):
    """Tune gives up at once on a trial that it handed the worker of an ended one, where that
    worker is dead.
    """
    folder = tmp_path / "sweep"
    said = end(
        driver("run", folder, "--address", ray_address, "--slots", 1, "--trials", 5, "--fall", 0.03)
    )
    history, _ = check_complete(folder, trials=5)
    assert {record.state for record in history.state.trials.values()} == {"finished"}
    assert (
        len({start.where for starts in history.starts.values() for start in starts}) >= 5
    )  # each worker died
    assert "failed" not in said


def test_one_slot_and_one_seed_give_the_same_proposals_and_losses(tmp_path, driver, ray_address):
    stories = []
    drivers = {
        name: driver("run", tmp_path / name, "--address", ray_address, "--slots", 1)
        for name in ("one", "two")
    }
    for name, process in drivers.items():
        end(process)
        history, recipe = check_complete(tmp_path / name)
        stories.append(
            (
                [
                    (p.trial, p.mixture, p.seed, p.reason, p.num_points, dict(p.fit))
                    for p in history.proposals.values()
                ],
                {name: record.points for name, record in history.state.trials.items()},
                recipe.proportions,
            )
        )
    assert stories[0] == stories[1]


def test_after_kill_9_of_the_driver_resume_loses_nothing_and_repeats_nothing(tmp_path, driver):
    folder = tmp_path / "sweep"
    first = driver("run", folder, "--pause", 0.15)
    acknowledged = until(
        folder,
        first,
        lambda events: len(ended(events)) >= 3 and len(points(events)) % 5 > 1 and events,
    )
    first.kill()
    first.communicate()
    before = read(folder / "journal").events
    assert len(before) >= len(acknowledged)
    computed = trained(folder)
    said = end(driver("resume", folder, "--pause", 0.02))
    history, _ = check_complete(folder)
    after = read(folder / "journal").events
    assert after[: len(before)] == before
    for name in ended(before):
        assert len(history.starts[name]) == 1, f"{name} had ended and was started again"
    for trial, step in points(before):
        assert trained(folder)[trial, str(step)] == computed[trial, str(step)], (
            f"{trial} was trained anew"
        )
    assert max(trained(folder).values()) <= 2  # at most the step in hand was lost
    assert "Traceback" not in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_a_sweep_that_can_go_on_and_says_how(tmp_path, driver, ray_address, number):
    folder = tmp_path / "sweep"
    first = driver("run", folder, "--address", ray_address, "--pause", 0.1)
    until(folder, first, lambda events: len(ended(events)) >= 2)
    first.send_signal(number)
    said = end(first, code=None)
    assert f"stopped; go on with: bimix-sweep resume {folder}" in said
    if number == signal.SIGTERM:
        before = ended(read(folder / "journal").events)
        end(driver("resume", folder, "--address", ray_address))
        history, _ = check_complete(folder)
        assert all(len(history.starts[name]) == 1 for name in before)


def test_a_killed_actor_comes_back_from_the_journal_and_nobody_notices(
    tmp_path, driver, ray_address
):
    folder = tmp_path / "sweep"
    process = driver("run", folder, "--address", ray_address, "--pause", 0.1)
    until(folder, process, lambda events: len(ended(events)) >= 2)
    writer = int((folder / "journal" / "lock").read_text().split()[1])
    os.kill(writer, signal.SIGKILL)
    end(process)
    history, _ = check_complete(folder)
    assert max(trained(folder).values()) == 1
    assert all(len(starts) <= 2 for starts in history.starts.values())
    assert {event["epoch"] for event in read(folder / "journal").events} == {1, 2}


def test_many_failures_in_a_row_end_the_sweep_with_the_reason(tmp_path, driver, ray_address):
    everything = ",".join(f"t{number:04d}" for number in range(10))
    said = end(
        driver("run", tmp_path / "sweep", "--address", ray_address, "--diverge", everything), code=1
    )
    assert "trials failed, the last with: the loss of web is nan at step 100" in said
    assert 3 <= len(ended(read(tmp_path / "sweep" / "journal").events)) <= 5
