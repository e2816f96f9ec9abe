"""A sweep's files and journal on a GCS server of this process."""

import pytest

from bimix_sweep import files, locations
from bimix_sweep.journal.segments import read
from bimix_sweep.journal.writer import Journal
from bimix_sweep.sweep.workspace.archive import Checkpoint
from bimix_sweep.sweep.workspace.paths import held

emulator = pytest.importorskip("gcp_storage_emulator.server")


@pytest.fixture(scope="module")
def bucket():
    """URI of a folder in a new bucket."""
    server = emulator.create_server("127.0.0.1", 0, in_memory=True, default_bucket="bucket")
    server.start()
    port = server._api._httpd.server_address[1]
    yield f"gs://anonymous@bucket/sweep?endpoint_override=127.0.0.1%3A{port}&scheme=http"
    server.stop()


def test_files_are_written_over_listed_and_deleted_on_gcs(bucket):
    place = locations.join(bucket, "config.yaml")
    for text in ("name: a", "", "name: b"):
        files.write_text(place, text)
        assert files.read_text(place) == text
    assert files.names(bucket) == {"config.yaml": 7}
    files.delete(place)
    assert not files.exists(place)


def test_two_writers_continue_one_journal_on_gcs(bucket):
    place = locations.join(bucket, "journal")
    for first in (1, 4):
        with held(bucket):
            journal, events = Journal.open(place)
            for value in range(first, first + 3):
                journal.write({"kind": "point", "value": value})
            journal.close()
        assert [event["value"] for event in events] == list(range(1, first))
    assert [event["value"] for event in read(place).events] == list(range(1, 7))


def test_a_checkpoint_goes_to_another_machine_through_gcs(bucket, tmp_path, monkeypatch):
    place = locations.join(bucket, "checkpoints")
    for machine, content in (("first", "step 100"), ("second", "step 200")):
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / machine))
        checkpoint = Checkpoint(place, "t0000")
        checkpoint.fetch(lambda line: None)
        if machine == "second":
            assert (checkpoint.folder / "state").read_text() == "step 100"
        checkpoint.folder.mkdir(parents=True, exist_ok=True)
        (checkpoint.folder / "state").write_text(content)
        checkpoint.keep(last=True)
    checkpoint.drop()
    assert files.names(place) == {}
