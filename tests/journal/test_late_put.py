"""A PUT that a network loses and delivers late, after later ones were acknowledged."""

import pytest

from bimix_sweep import locations
from bimix_sweep.journal.segments import read
from bimix_sweep.journal.writer import Journal
from tests.support.late_requests import losing


def values(place):
    return [event["value"] for event in read(place).events]


@pytest.mark.parametrize("before", [0, 2])
def test_a_put_that_arrives_late_takes_nothing_back_that_was_acknowledged(object_store, before):
    straight = object_store()
    place = locations.join(straight, "journal")
    with losing(straight) as (through, proxy):
        journal, _ = Journal.open(locations.join(through, "journal"))
        for value in range(before):
            journal.write({"kind": "point", "value": value})
        proxy.lose(r"PUT .*\.jsonl")
        for value in range(before, before + 4):
            journal.write({"kind": "point", "value": value})
        assert values(place) == list(range(before + 4))
        assert proxy.deliver() == [200]
        assert values(place) == list(range(before + 4))
        journal.write({"kind": "point", "value": before + 4})
        journal.close()
    heir, events = Journal.open(place)
    heir.close()
    assert [event["value"] for event in events] == list(range(before + 5))
