"""A whole sweep on a real Ray whose folder is a bucket of an S3 server."""

import contextlib
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from bimix_sweep import files, locations
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


@contextlib.contextmanager
def driver(environment, *words):
    """planted_sweep.py; killed at the end if it still runs."""
    command = [sys.executable, str(SCRIPT), *map(str, words)]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def events_of(place):
    with contextlib.suppress(JournalError):
        return read(locations.join(place, "journal")).events
    return []


def test_a_sweep_in_a_bucket_outlives_kill_9_of_its_driver(tmp_path, ray_environment, object_store):
    place, witness = object_store(), tmp_path / "witness.jsonl"
    environment = ray_environment | dict.fromkeys(
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "testing"
    )
    environment["AWS_EC2_METADATA_DISABLED"] = "true"
    with driver(environment, "run", place, "--pause", 0.15, "--witness", witness) as first:
        deadline = time.monotonic() + PATIENCE
        while sum(event["kind"] == "end" for event in events_of(place)) < 3:
            with contextlib.suppress(subprocess.TimeoutExpired):
                pytest.fail(
                    f"the driver ended with {first.wait(timeout=0.1)}: "
                    f"{first.communicate()[0][-3000:]}"
                )
            if time.monotonic() > deadline:
                first.kill()
                pytest.fail(f"no three trials in {PATIENCE} s: {first.communicate()[0][-3000:]}")
        first.kill()
        first.communicate()
    before = events_of(place)
    testimony = [json.loads(line) for line in witness.read_text().splitlines()]
    acknowledged = {
        (line["trial"], line["step"]) for line in testimony if line["what"] == "acknowledged"
    }
    assert acknowledged <= {
        (event["trial"], event["step"]) for event in before if event["kind"] == "point"
    }
    with driver(environment, "resume", place, "--pause", 0.02, "--witness", witness) as second:
        said = second.communicate(timeout=PATIENCE)[0]
    assert second.returncode == 0, said[-3000:]
    after = events_of(place)
    assert after[: len(before)] == before
    history = replay(place)
    assert history.complete
    assert set(
        Counter(
            (event["trial"], event["step"]) for event in after if event["kind"] == "point"
        ).values()
    ) == {1}
    for event in before:
        if event["kind"] == "end":
            assert len(history.starts[event["trial"]]) == 1, (
                f"{event['trial']} had ended and was started again"
            )
    for record in history.state.trials.values():
        assert sorted(record.points) == STEPS
    table = LossTable.read(locations.join(place, "runs.csv"))
    assert set(table.trials) == set(history.state.trials)
    assert Recipe.read(locations.join(place, "RECIPE.json")).comparison is not None
    assert {
        "LAW.json",
        "RECIPE.json",
        "config.yaml",
        "domains.yaml",
        "report.html",
        "runs.csv",
    } <= set(files.names(place))
    assert files.names(locations.join(place, "checkpoints")) == {}
    assert not any(
        "lease" in name
        for folder in (place, locations.join(place, "journal"))
        for name in files.names(folder)
    )
    assert "Traceback" not in said
