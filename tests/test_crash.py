"""Crashes at every storage call: nothing acknowledged is lost or doubled, and the work goes on.

A share of the states; `make bench NAME=crash` tries all.
"""

import pytest

from tests.support.crash.scenarios import scenarios
from tests.support.crash.tally import tallying
from tests.support.crash.text_sweep import complete_sweep

SHARES = {
    "journal, one writer after another": (0.2, 400),
    "journal, long lives": (1.0, 10),
    "journal, two writers on a disk": (0.1, 150),
    "journal, two writers in a bucket": (0.2, 120),
    "journal, three writers on a disk": (1.0, 80),
    "journal, three writers and power cuts": (1.0, 200),
    "journal, three writers in a bucket": (1.0, 80),
    "journal, requests to a bucket": (0.4, 200),
    "beginning of a sweep on a disk": (0.03, 15),
    "change of the configuration on a disk": (0.05, 20),
    "change of the configuration in a bucket": (0.05, 5),
    "token store": (0.5, 1000),
    "token store, two processes": (1.0, 8),
    "results": (1.0, 150),
    "checkpoint on a disk": (1.0, 100),
    "checkpoint in a bucket": (1.0, 40),
}
"""{scenario: (share of its states, states that are tried at least)}."""


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A sweep that ran to its end, and the folder of its texts."""
    return complete_sweep(tmp_path_factory.mktemp("crash"))


@pytest.mark.parametrize("name", SHARES)
def test_a_crash_loses_nothing_doubles_nothing_and_the_work_goes_on(name, sweep):
    share, least = SHARES[name]
    with tallying(share) as tally:
        scenarios(*sweep, seeds=80, again=1, most=1)[name](tally)
    assert tally.failures == {}, f"of {tally.num_states} states"
    assert tally.num_states >= least


def test_every_scenario_is_tried(sweep):
    assert [*scenarios(*sweep, seeds=0, again=0, most=0)] == [*SHARES]
