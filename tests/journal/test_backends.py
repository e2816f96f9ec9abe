"""The journal, its fencing and the parcels on a disk, on a filesystem by URI, and on a real S3
server.
"""

import contextlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from bimix_sweep import files, locations, uri_storage
from bimix_sweep.errors import ConfigError, DataError, JournalError, SweepError
from bimix_sweep.journal import backends
from bimix_sweep.journal import lease as leases
from bimix_sweep.journal import writer as journals
from bimix_sweep.journal.segments import read
from bimix_sweep.journal.writer import Journal
from bimix_sweep.sweep.workspace import paths as folders
from bimix_sweep.sweep.workspace.archive import (
    Checkpoint,
    at_hand,
    bring_store,
    fetch,
    keep_store,
    send,
)
from bimix_sweep.sweep.workspace.paths import begun, held, sweep_folder


@pytest.fixture(params=["disk", "file", "s3"])
def place(request, tmp_path):
    """Where a sweep is: a folder, the same by URI, a bucket."""
    if request.param == "s3":
        return request.getfixturevalue("object_store")()
    return str(tmp_path / "sweep") if request.param == "disk" else (tmp_path / "sweep").as_uri()


@pytest.fixture
def unguarded(monkeypatch):
    """Locks and leases that let everybody in, as on a network filesystem without locks and with
    clocks that differ.
    """
    monkeypatch.setattr(journals, "_lock", lambda folder, seconds: os.open(folder, os.O_RDONLY))
    monkeypatch.setattr(leases.Lease, "wait", lambda *args, **kwargs: None)


def point(value):
    return {"kind": "point", "trial": "t0000", "value": value}


def values(place):
    return [event["value"] for event in read(place).events]


def test_what_is_acknowledged_is_read_back_at_once_and_by_the_next_writers(place, monkeypatch):
    monkeypatch.setattr(backends, "OBJECT_BYTES", 500)
    monkeypatch.setattr(backends, "DISK_BYTES", 500)
    for writer in range(3):
        journal, events = Journal.open(place)
        assert [event["value"] for event in events] == list(range(10 * writer))
        for step in range(10):
            journal.write(point(10 * writer + step))
            assert values(place)[-1] == 10 * writer + step
        journal.close()
    reading = read(place)
    assert [event["seq"] for event in reading.events] == list(range(1, 31))
    assert reading.epoch == 3
    assert len(reading.segments) > 6
    assert reading.notes == []
    assert not any("lease" in name for name in files.names(place))


def test_files_that_come_and_go_beside_the_segments_do_not_stop_the_writer(tmp_path):
    """As the lease does when it is renewed: between the look at a folder and at a file in it, the
    file may be gone.
    """
    over = threading.Event()

    def renew(number):
        while not over.is_set():
            files.write_text(tmp_path / f"neighbour{number}", "renewed")

    neighbours = [threading.Thread(target=renew, args=(number,)) for number in range(3)]
    journal, _ = Journal.open(tmp_path)
    for thread in neighbours:
        thread.start()
    try:
        for value in range(400):
            journal.write(point(value))
    finally:
        over.set()
        for thread in neighbours:
            thread.join()
        journal.close()
    assert values(tmp_path) == list(range(400))


def test_an_orphan_that_goes_on_after_a_takeover_is_acknowledged_nothing(place, unguarded):
    orphan, _ = Journal.open(place)
    for value in (1, 2, 3):
        orphan.write(point(value))
    heir, events = Journal.open(place)
    assert [event["value"] for event in events] == [1, 2, 3]
    heir.write(point("heir's"))
    numbers = [orphan.append(point("orphan's")) for _ in range(3)]
    for number in numbers:
        with pytest.raises(
            JournalError,
            match=rf"another driver took this sweep over \(process {os.getpid()} on "
            rf"{socket.gethostname()}\)",
        ):
            orphan.sync(number)
    with pytest.raises(JournalError, match="no longer counts"):
        orphan.append(point("orphan's"))
    orphan.close()
    heir.write(point("heir's"))
    heir.close()
    last, events = Journal.open(place)
    assert [event["value"] for event in events] == [1, 2, 3, "heir's", "heir's"]
    assert "has lines after event 3 that the next writer did not find" in last.notes[0]
    last.close()


def test_of_writers_that_open_at_once_exactly_one_acknowledges(place, unguarded):
    ready, acknowledged = threading.Barrier(4), []

    def drive(name):
        ready.wait()
        journal = None
        with contextlib.suppress(JournalError):  # a greater one may be there already
            journal, _ = Journal.open(place)
        ready.wait()
        with contextlib.suppress(JournalError):
            for value in range(3) if journal is not None else ():
                journal.write(point([name, value]))
                acknowledged.append([name, value])

    threads = [threading.Thread(target=drive, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({name for name, _ in acknowledged}) == 1
    assert len(acknowledged) == 3
    assert values(place) == acknowledged


def test_whatever_drivers_do_to_each_other_no_acknowledged_event_is_lost(
    place, unguarded, monkeypatch
):
    """Planted: four drivers take one sweep over from each other at any moment, each operation of
    the storage taking its time.
    """
    pace, acknowledged = random.Random(7), []

    def slowly(act):
        def slow(*args):
            time.sleep(pace.random() * 0.004)
            answer = act(*args)
            time.sleep(pace.random() * 0.004)
            return answer

        return slow

    for name in ("write_bytes", "names", "read_bytes"):
        monkeypatch.setattr(files, name, slowly(getattr(files, name)))
    takeovers = []

    def drive(name):
        number = 0
        for _ in range(8):
            time.sleep(pace.random() * 0.4)
            try:
                journal, _ = Journal.open(place)
            except JournalError:
                continue
            try:
                for _ in range(pace.randrange(1, 30)):
                    number += 1
                    journal.write(point([name, number]))
                    acknowledged.append([name, number])
            except JournalError:
                takeovers.append(name)

    threads = [threading.Thread(target=drive, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    monkeypatch.undo()
    found = [tuple(value) for value in values(place)]
    assert set(map(tuple, acknowledged)) <= set(found)
    assert len(found) == len(set(found))
    assert takeovers
    assert len(acknowledged) > 5


def test_slow_storage_holds_up_nobody_who_does_not_wait_and_is_shared_by_those_who_do(
    tmp_path, monkeypatch
):
    journal, _ = Journal.open((tmp_path / "sweep").as_uri())
    write, gate, puts = uri_storage.put_new, threading.Event(), []

    def slow(path, data):
        if path.endswith(".jsonl"):
            puts.append(path)
            assert gate.wait(30)
        write(path, data)

    monkeypatch.setattr(uri_storage, "put_new", slow)
    first = threading.Thread(target=journal.write, args=(point(0),))
    first.start()
    while not puts:
        time.sleep(0.001)
    numbers = [
        journal.append(point(value)) for value in range(1, 20)
    ]  # returns though the storage does not
    waiting = [threading.Thread(target=journal.sync, args=(number,)) for number in numbers]
    for thread in waiting:
        thread.start()
    gate.set()
    for thread in (first, *waiting):
        thread.join()
    assert len(puts) == 2
    journal.close()
    assert values((tmp_path / "sweep").as_uri()) == list(range(20))


@pytest.mark.parametrize("place", ["file", "s3"], indirect=True)
def test_a_put_that_failed_is_repeated_under_another_name_and_no_name_is_put_twice(
    place, monkeypatch
):
    journal, _ = Journal.open(place)
    journal.write(point(1))
    write, left, contents = uri_storage.put_new, [2], {}

    def failing(path, data):
        write(path, data)  # it arrived, and nobody was told
        if ".jsonl" in path:
            contents.setdefault(path, set()).add(data)
            if left[0]:
                left[0] -= 1
                raise OSError("the connection was reset")

    monkeypatch.setattr(uri_storage, "put_new", failing)
    for value in range(2, 60):
        journal.write(point(value))
    assert len(contents) == 58 + 2
    assert all(len(put) == 1 for put in contents.values())
    journal.close()
    assert values(place) == list(range(1, 60))
    assert sorted(name.split("-")[-1] for name in files.names(place)) == [
        "000061.jsonl",
        "last.json",
    ]
    write(min(contents), contents[min(contents)].pop())  # the one that seemed to fail, much later
    assert values(place) == list(range(1, 60))


@pytest.mark.parametrize("place", ["file", "s3"], indirect=True)
def test_a_reader_finds_everything_while_objects_replace_each_other(place, monkeypatch):
    """Planted: after a reader listed the folder, the writer writes on and removes what was
    listed.
    """
    journal, _ = Journal.open(place)
    journal.write(point(0))
    look, written, reader = files.names, [0], threading.current_thread()

    def write_on():
        for _ in range(backends.MAX_SUPERSEDED + 1):
            written[0] += 1
            journal.write(point(written[0]))

    def names(folder):
        found = look(folder)
        if threading.current_thread() is reader and written[0] < 40:
            writer = threading.Thread(target=write_on)
            writer.start()
            writer.join()
        return found

    monkeypatch.setattr(files, "names", names)
    found = values(place)
    assert found == list(range(len(found)))
    assert written[0] >= 40
    journal.close()


def test_storage_that_fails_for_good_ends_the_writer_with_the_reason(tmp_path, monkeypatch):
    journal, _ = Journal.open((tmp_path / "sweep").as_uri())
    monkeypatch.setattr(backends, "RETRY_SECONDS", 0.0)

    def failing(path, data):
        raise OSError(5, "no answer")

    monkeypatch.setattr(uri_storage, "put_new", failing)
    with pytest.raises(JournalError, match=r"cannot be written \(no answer\).* go on with resume"):
        journal.write(point(1))
    journal.close()


def other_host(place, *, age):
    content = {"holder": "x", "host": "elsewhere", "pid": 17, "time": time.time() - age}
    files.write_text(locations.join(place, "lease"), json.dumps(content))


@pytest.mark.parametrize("behind", [0, 2 * 3600, -2 * 3600])
def test_a_living_driver_of_another_host_is_not_disturbed_whatever_its_clock_says(
    place, monkeypatch, behind
):
    over = threading.Event()

    def renew():
        while not over.wait(0.1):
            with contextlib.suppress(OSError):  # as a driver does: the next renewal may succeed
                other_host(place, age=behind)

    other_host(place, age=behind)
    thread = threading.Thread(target=renew)
    thread.start()
    with pytest.raises(
        JournalError,
        match=r"is being written by process 17 on elsewhere, \d+ s ago; .*take over now by "
        r"deleting .*lease",
    ):
        Journal.open(place, wait_seconds=0.5)
    over.set()
    thread.join()
    monkeypatch.setattr(leases, "STALE_SECONDS", 2.0)
    monkeypatch.setattr(leases, "OLD_SECONDS", 2.0)
    journal, _ = Journal.open(place)  # nobody renews it now
    journal.write(point(1))
    journal.close()


def test_the_lease_of_a_process_of_this_host_that_is_gone_or_of_an_old_one_is_no_hindrance(
    place, monkeypatch
):
    monkeypatch.setattr(leases, "OLD_SECONDS", 1.0)
    with subprocess.Popen([sys.executable, "-c", "pass"]) as gone:
        pass
    content = {"holder": "x", "host": socket.gethostname(), "pid": gone.pid, "time": time.time()}
    for text in (
        json.dumps(content),
        json.dumps(content | {"host": "elsewhere", "time": time.time() - 60}),
        json.dumps(content | {"pid": 10**30}),
        "[1",
        '{"holder": 3}',
    ):
        files.write_text(locations.join(place, "lease"), text)
        began = time.monotonic()
        Journal.open(place)[0].close()
        assert time.monotonic() - began < leases.STALE_SECONDS / 2


def test_a_lease_is_renewed_while_it_is_held(place, monkeypatch):
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.05)
    journal, _ = Journal.open(place)
    lease = locations.join(place, "lease")
    first, deadline = files.read_text(lease), time.monotonic() + 30
    while files.read_text(lease) == first and time.monotonic() < deadline:
        time.sleep(0.01)
    assert files.read_text(lease) != first
    journal.close()
    assert not files.exists(lease)


def test_a_sweep_in_a_uri_has_one_driver(object_store):
    place = object_store()
    with (
        held(place),
        pytest.raises(SweepError, match=rf"is being written by process {os.getpid()} on"),
        held(place),
    ):
        pass
    with held(place):
        pass
    assert not begun(place)
    journal, _ = Journal.open(locations.join(place, "journal"))
    assert not begun(place)
    journal.write(point(1))
    assert begun(place)
    journal.close()


@pytest.mark.parametrize("uri", ["s3://AKIA:hush@bucket/x", "s3://bucket/x?access_key=hush"])
def test_a_folder_with_a_secret_in_it_is_refused_and_the_secret_not_said(uri):
    for act in (sweep_folder, Journal.open, files.read_bytes):
        with pytest.raises(
            (ConfigError, JournalError, OSError), match="carries a secret"
        ) as refused:
            act(uri)
        assert "hush" not in str(refused.value)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Makes this process another machine, as far as its cache goes."""

    def become(name):
        monkeypatch.setattr(folders.tempfile, "gettempdir", lambda: str(tmp_path / name))

    become("one")
    return become


def test_a_checkpoint_goes_on_elsewhere_and_goes_with_the_end(object_store, machine):
    checkpoints = locations.join(object_store(), "checkpoints")
    said = []
    first = Checkpoint(checkpoints, "t 1")
    first.fetch(said.append)
    (first.folder / "deep").mkdir(parents=True)
    (first.folder / "deep" / "state").write_bytes(b"\0one" * 100_000)
    first.keep()
    first.close()
    machine("two")
    second = Checkpoint(checkpoints, "t 1")
    second.fetch(said.append)
    assert (second.folder / "deep" / "state").read_bytes() == b"\0one" * 100_000
    (second.folder / "deep" / "state").write_bytes(b"two")
    second.keep(last=True)
    machine("one")
    first.fetch(said.append)
    assert [path.name for path in first.folder.rglob("*") if path.is_file()] == ["state"]
    assert (first.folder / "deep" / "state").read_bytes() == b"two"
    first.drop()
    assert not first.folder.exists()
    assert files.names(checkpoints) == {}
    first.fetch(said.append)
    assert not first.folder.exists()
    assert said == []


def test_a_checkpoint_that_is_cut_off_or_reaches_outside_is_not_used(
    object_store, machine, tmp_path
):
    checkpoints = locations.join(object_store(), "checkpoints")
    outside = tmp_path / "evil"
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        tar.add(__file__, arcname=f"../../../../../../../..{outside}")
        tar.addfile(tarfile.TarInfo(".whole"))
    with tarfile.open(tmp_path / "short.tar", "w") as tar:
        tar.add(__file__, arcname="state")
    (tmp_path / "text.tar").write_text("no tar")
    for name, reason in (("evil", "outside"), ("short", "cut off"), ("text", "cannot be used")):
        said = []
        uri_storage.upload(tmp_path / f"{name}.tar", locations.join(checkpoints, "t1.tar"))
        checkpoint = Checkpoint(checkpoints, "t1")
        checkpoint.fetch(said.append)
        assert reason in said[0]
        assert said[0].endswith("the trial begins anew")
        assert not checkpoint.folder.exists()
    assert not outside.exists()


def test_a_local_checkpoint_stays_where_it_is(tmp_path):
    checkpoint = Checkpoint(str(tmp_path), "t1")
    assert checkpoint.folder == tmp_path / "t1"
    checkpoint.folder.mkdir()
    checkpoint.keep(last=True)
    assert [path.name for path in tmp_path.iterdir()] == ["t1"]
    checkpoint.drop()
    assert not checkpoint.folder.exists()


def test_a_token_store_reaches_workers_and_the_next_driver(object_store, machine):
    from bimix_sweep.data.store import TokenStore
    from bimix_sweep.data.store_writing import Split, write_store

    place, tokens = object_store(), [[1, 2, 3], [4, 5]]
    with pytest.raises(FileNotFoundError):
        bring_store(place, "none")
    mine = folders.local_part(place) / folders.STORE
    split = Split(documents=[np.array(t, dtype=np.uint16) for t in tokens])
    store = write_store(
        mine,
        train={"a": split, "b": split},
        validation={"a": split, "b": split},
        vocabulary=10,
        inputs="x",
    )
    parcel = keep_store(place, mine, store.digest)
    assert at_hand(str(mine)) == mine
    machine("two")
    threads = [threading.Thread(target=at_hand, args=(parcel,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert TokenStore.open(at_hand(parcel)).train("a").tolist() == [1, 2, 3, 4, 5]
    bring_store(place, store.digest)
    assert TokenStore.open(folders.local_part(place) / folders.STORE).digest == store.digest


def test_a_parcel_is_all_or_nothing(object_store, machine, tmp_path):
    uri = locations.join(object_store(), "x.tar")
    (tmp_path / "source" / "empty").mkdir(parents=True)
    (tmp_path / "source" / "a").write_text("a")
    send(tmp_path / "source", uri)
    fetch(uri, tmp_path / "target")
    assert sorted(path.name for path in Path(tmp_path / "target").rglob("*")) == ["a", "empty"]
    files.write_bytes(uri, files.read_bytes(uri)[:700])
    with pytest.raises(DataError):
        fetch(uri, tmp_path / "target")
    assert (tmp_path / "target" / "a").read_text() == "a"


@pytest.mark.parametrize("place", ["file", "s3"], indirect=True)
def test_an_upload_that_is_interrupted_leaves_no_cut_object(place, tmp_path, monkeypatch):
    (tmp_path / "parcel").write_bytes(b"x" * 1000)

    def interrupted(source, target, length):
        target.write(source.read(500))
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "copyfileobj", interrupted)
    with pytest.raises(KeyboardInterrupt):
        uri_storage.upload(tmp_path / "parcel", locations.join(place, "stores", "x.tar"))
    assert files.names(locations.join(place, "stores")) == {}


def test_a_file_uri_is_its_path(tmp_path):
    place = tmp_path / "a b"
    assert sweep_folder(place.as_uri()) == str(place)
    assert sweep_folder("file://localhost/x") == "/x"
    assert sweep_folder("s3://b/x?region=r") == "s3://b/x?region=r"
