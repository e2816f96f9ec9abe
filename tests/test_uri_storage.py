"""Storage behind a URI that fails now and then: what is tried again, and what is said at once."""

import errno
import re
import time

import pytest

from bimix_sweep import files, locations, uri_storage
from bimix_sweep.journal.lease import Lease
from bimix_sweep.journal.segments import read
from bimix_sweep.journal.writer import Journal

FLUSH = (
    "When reading information for key 'lease' in bucket 'b': AWS Error INTERNAL_FAILURE during "
    "GetObject operation: Failed to flush response stream (eof: 0, bad: 1)"
)
DENIED = "When listing objects: AWS Error ACCESS_DENIED during ListObjectsV2 operation: denied"


class Failing:
    """A filesystem whose every operation on an object fails `times` times before it works.

    The objects that hold one segment count as one.
    """

    def __init__(self, filesystem, times, message):
        self._filesystem, self._times, self._message = filesystem, times, message
        self.failed = {}

    def __getattr__(self, name):
        found = getattr(self._filesystem, name)
        if not callable(found):
            return found

        def call(*args, **options):
            place = str(getattr(args[0], "base_dir", args[0]))
            key = (name, re.sub(r"-\d{6}\.jsonl", "", place))
            self.failed[key] = self.failed.get(key, 0) + 1
            if self.failed[key] <= self._times:
                raise OSError(self._message)
            return found(*args, **options)

        return call


@pytest.fixture
def failing(monkeypatch):
    """Makes the storage of URIs fail; returns the failures by operation and object."""

    def fail(times, message):
        original, made = uri_storage._filesystem, []

        def filesystem(folder, **options):
            found, inner = original(folder, **options)
            if not made:
                made.append(Failing(found, times, message))
            return made[0], inner

        monkeypatch.setattr(uri_storage, "_filesystem", filesystem)
        return made

    return fail


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


def test_a_journal_in_a_bucket_opens_and_is_read_although_each_request_fails_twice(
    object_store, failing, quick
):
    place = locations.join(object_store(), "journal")
    first, _ = Journal.open(place)
    first.write({"kind": "point", "value": 1})
    first.close()
    made = failing(2, FLUSH)
    journal, events = Journal.open(place)
    journal.write({"kind": "point", "value": 2})
    journal.close()
    assert [event["value"] for event in events] == [1]
    assert [event["value"] for event in read(place).events] == [1, 2]
    assert {name for name, _ in made[0].failed} >= {"open_input_stream", "get_file_info"}


def test_a_lease_outlives_failures_of_its_bucket(object_store, failing, quick):
    lease = Lease(locations.join(object_store(), "lease"), "the sweep")
    failing(2, FLUSH)
    lease.take("ours", 1.0)
    lease.release()


def test_what_repeating_does_not_mend_is_said_at_once(object_store, failing):
    place = object_store()
    made = failing(100, DENIED)
    with pytest.raises(OSError, match="ACCESS_DENIED"):
        files.names(place)
    assert list(made[0].failed.values()) == [1]


def test_a_file_stays_as_it_was_when_its_store_refuses_new_content(object_store, failing, quick):
    place = locations.join(object_store(), "config.yaml")
    files.write_text(place, "name: a")
    made = failing(1, DENIED)
    with pytest.raises(OSError, match="ACCESS_DENIED"):
        files.exists(place)
    made[0].failed[("delete_file", place.partition("?")[0].removeprefix("s3://"))] = 1
    with pytest.raises(OSError, match="ACCESS_DENIED"):
        files.write_text(place, "name: b")
    with pytest.raises(OSError, match="ACCESS_DENIED"):
        files.read_text(place)
    assert files.read_text(place) == "name: a"


def test_a_missing_file_is_said_at_once():
    calls = []

    def look():
        calls.append(1)
        raise FileNotFoundError(errno.ENOENT, "was not found")

    with pytest.raises(FileNotFoundError):
        uri_storage.patiently(look, 60.0)
    assert len(calls) == 1


def test_a_failure_that_lasts_is_raised_after_the_time(quick):
    with pytest.raises(OSError, match="no answer"):
        uri_storage.patiently(lambda: (_ for _ in ()).throw(OSError(errno.EIO, "no answer")), 0.2)
