"""Changes of a sweep on a real Ray: more trainings, fewer slots, a worse and a better answer
wanted, a limit in hours.
"""

import contextlib
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml

from bimix_sweep.errors import JournalError
from bimix_sweep.export.recipe import Recipe
from bimix_sweep.journal.segments import read
from bimix_sweep.sweep.history.rebuilding import replay

pytestmark = pytest.mark.cluster
SCRIPT = Path(__file__).resolve().parents[1] / "support" / "planted_sweep.py"
PATIENCE = 240
"""Seconds for what takes ten on two quiet cores."""


@pytest.fixture
def driver(ray_environment, ray_address):
    """Starts planted_sweep.py on the tests' Ray; whatever still runs at the end of the test is
    killed.
    """
    started = []

    def start(*words):
        command = [sys.executable, str(SCRIPT), *map(str, words), "--address", ray_address]
        started.append(
            subprocess.Popen(
                command,
                env=ray_environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def end(process):
    said = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 0, said
    return said


def edit(folder, **changes):
    """Change config.yaml as a person does: {section__key: value}."""
    content = yaml.safe_load((folder / "config.yaml").read_text())
    for path, value in changes.items():
        section, key = path.split("__")
        content[section][key] = value
    (folder / "config.yaml").write_text(yaml.safe_dump(content))


def trained(folder):
    """{(trial, step): how often it was computed}."""
    return Counter(
        tuple(line.split()[:2]) for line in (folder / "trained.log").read_text().splitlines()
    )


def names(folder, role="sweep"):
    return [name for name, record in replay(folder).state.trials.items() if record.role == role]


def test_a_finished_sweep_goes_on_with_a_larger_budget_and_other_slots_even_over_a_killed_driver(
    tmp_path, driver
):
    folder = tmp_path / "sweep"
    end(driver("run", folder, "--trials", 6, "--slots", 2))
    before = trained(folder)
    assert len(names(folder)) == 6
    edit(folder, budget__trials=9, resources__slots=1)
    process = driver("resume", folder, "--pause", 0.1)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(JournalError):
            kinds = [event["kind"] for event in read(folder / "journal").events]
            if "change" in kinds and "point" in kinds[kinds.index("change") :]:
                break
        time.sleep(0.02)
    process.kill()
    process.communicate()
    end(driver("resume", folder))
    history = replay(folder)
    assert history.complete
    assert [change.what for change in history.changes] == [["budget.trials 6 -> 9"]]
    assert len(names(folder)) == 9
    after = trained(folder)
    assert {
        key: after[key] for key in before
    } == before  # nothing that was trained is trained again
    points = Counter(
        (event["trial"], event["step"])
        for event in read(folder / "journal").events
        if event["kind"] == "point"
    )
    assert set(points.values()) == {1}
    assert Recipe.read(folder / "RECIPE.json").comparison is not None
    # the tolerance that the sweep has met by now stops it at once: nothing more is trained than
    # final mixtures that are new
    edit(folder, stop__tolerance=0.2, stop__patience=1, budget__trials=30)
    end(driver("resume", folder))
    assert len(names(folder)) == 9
    assert replay(folder).complete
    assert "within 20.000%" in replay(folder).decision.reason


def test_a_limit_in_hours_ends_what_runs_and_the_sweep_still_ends(tmp_path, driver):
    folder = tmp_path / "sweep"
    end(driver("run", folder, "--trials", 6, "--slots", 2))
    used = replay(folder).hours.core_hours
    edit(
        folder, budget__trials=40, budget__core_hours=used + 20 / 3600
    )  # a training takes far longer at this pause
    said = end(driver("resume", folder, "--pause", 8))
    history = replay(folder)
    assert history.complete
    assert history.decision.reason.startswith("the budget of ")
    ended = [
        name
        for name, record in history.state.trials.items()
        if record.failure.startswith("the budget of ")
    ]
    assert any(name.startswith("t") for name in ended)
    assert "core-hours is spent" in said
    assert (
        history.hours.core_hours < used + 60 / 3600
    )  # two trainings of 40 s each were stopped half way
