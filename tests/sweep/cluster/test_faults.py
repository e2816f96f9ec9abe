"""The short version of `make bench NAME=faults`: every kind of death once, on a real Ray of two
nodes.
"""

import tempfile
from pathlib import Path

import pytest

from tests.support import faults
from tests.support.evidence import events, investigate

pytestmark = pytest.mark.cluster


@pytest.fixture
def two_nodes():
    with (
        tempfile.TemporaryDirectory(
            prefix="faults-", dir="/tmp", ignore_cleanup_errors=True
        ) as folder,  # sockets' paths must be short
        faults.nodes(Path(folder), num_workers=1, cpus=1, head_cpus=2) as found,
    ):
        yield found


def test_a_sweep_outlives_worker_node_actor_and_driver_and_half_a_written_line(two_nodes, tmp_path):
    sweep = faults.Supervised(
        folder=tmp_path / "sweep",
        ray=two_nodes,
        options={"slots": 3, "trials": 8, "pause": 0.15},
        temporary=tmp_path,
    )
    more = iter((4, 12, 20, 28))

    def struck(strike):
        """Strike once that many points are in the journal."""
        count = next(more)
        enough = lambda: (  # noqa: E731
            sweep.see_to()
            or sum(event["kind"] == "point" for event in events(sweep.folder)) >= count
        )
        faults.wait_for(f"{count} points", enough)
        faults.wait_for(f"{strike.__name__} strikes", lambda: sweep.see_to() or strike())
        assert not sweep.complete()

    def kill_training():
        return sweep.kill_training(0.5)

    def kill_node():
        two_nodes.kill_worker(0)
        return True

    for strike in (kill_training, kill_node, sweep.kill_actor, sweep.kill_in_write):
        struck(strike)
    sweep.finish()
    findings = investigate(sweep.folder, sweep.witness, faults.STEPS)
    failures = [
        f"{event['trial']}: {event['reason']}"
        for event in events(sweep.folder)
        if event["kind"] == "end" and event["reason"]
    ]
    assert findings.faults == {}, "\n".join(failures)
    assert findings.trainings >= 8
    assert findings.points == findings.trainings * len(faults.STEPS)
    assert any(
        not path.read_bytes().endswith(b"\n") for path in (sweep.folder / "journal").glob("*.jsonl")
    )  # the torn line is passed over
