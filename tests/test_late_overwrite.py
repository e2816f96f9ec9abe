"""A request that a network loses and delivers after the same name got newer content."""

import pytest

from bimix_sweep import files, locations, uri_storage
from bimix_sweep.journal import lease as leases
from bimix_sweep.journal.lease import Lease
from tests.support.faults import wait_for
from tests.support.late_requests import SECONDS, losing

LARGE = 12 << 20
"""Bytes that pyarrow uploads in two parts."""
ENDED = '{"holder": "ended", "host": "elsewhere", "pid": 7, "time": 1767225600.0}'
"""Lease of a driver on another host that renews it no more."""


@pytest.mark.parametrize(
    ("request_line", "size"),
    [
        (r"PUT .*RECIPE\.json", 1),
        (r"PUT .*RECIPE\.json.*partNumber=2", LARGE),
        (r"POST .*RECIPE\.json\?uploads", 1),
        (r"POST .*RECIPE\.json\?uploadId", 1),
    ],
    ids=["part", "last part", "begin", "complete"],
)
def test_a_late_request_replaces_no_newer_content(object_store, request_line, size):
    straight = object_store()
    place = locations.join(straight, "RECIPE.json")
    with losing(straight) as (through, proxy):
        proxy.lose(request_line)
        files.write_bytes(locations.join(through, "RECIPE.json"), b"old" * size)
        assert files.read_bytes(place) == b"old" * size
        files.write_bytes(place, b"new")
        (status,) = proxy.deliver()
    assert files.read_bytes(place) == b"new"
    assert status == 200 or "uploads" not in request_line


def test_a_late_upload_of_a_checkpoint_replaces_no_newer_one(object_store, tmp_path):
    straight = object_store()
    place = locations.join(straight, "t0000.tar")
    with losing(straight) as (through, proxy):
        proxy.lose("PUT ")
        for content in ("step 100", "step 200"):
            (tmp_path / "packed").write_text(content)
            uri_storage.upload(tmp_path / "packed", locations.join(through, "t0000.tar"))
        proxy.deliver()
    assert files.read_text(place) == "step 200"


def test_a_late_request_brings_no_deleted_file_back(object_store):
    straight = object_store()
    place = locations.join(straight, "driver.lease")
    with losing(straight) as (through, proxy):
        proxy.lose("P.* /.*driver.lease.*uploadId")
        files.write_text(locations.join(through, "driver.lease"), "held")
        files.delete(place)
        proxy.deliver()
    assert not files.exists(place)


def test_a_driver_takes_its_lease_back_from_a_late_write_of_an_ended_driver(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.05)
    monkeypatch.setattr(leases, "STALE_SECONDS", 0.2)
    place = tmp_path / "lease"
    lease = Lease(str(place), "the sweep")
    lease.hold("ours")
    files.write_text(place, ENDED)
    wait_for("our lease is back", lambda: "ours" in files.read_text(place), SECONDS)
    lease.release()
    assert not place.exists()


def test_a_driver_leaves_its_lease_to_a_living_driver_that_took_it(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.05)
    monkeypatch.setattr(leases, "STALE_SECONDS", 0.2)
    place = tmp_path / "lease"
    first, second = Lease(str(place), "the sweep"), Lease(str(place), "the sweep")
    first.hold("first")
    second.hold("second")
    first._thread.join(SECONDS)
    assert not first._thread.is_alive()
    first.release()
    assert "second" in files.read_text(place)
    second.release()
