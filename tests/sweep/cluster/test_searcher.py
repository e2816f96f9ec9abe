"""The searcher between Tune's loop and a planner that takes its time."""

import threading
from dataclasses import replace

import pytest

from bimix_sweep.design.planner import SweepState
from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.errors import SweepError
from bimix_sweep.mixture.domains import DomainSet
from bimix_sweep.sweep.cluster import searcher as searchers
from bimix_sweep.sweep.cluster.searcher import FINISHED, RAMP_UP_TRIALS, SweepSearcher

NAMES = ("web", "code", "books")
DOMAINS = DomainSet(names=NAMES)
SPEC = SweepSpec(
    domains=DOMAINS,
    targets=NAMES,
    weights=dict.fromkeys(NAMES, 1.0),
    own={},
    steps=400,
    size=1e5,
    max_trials=3,
    slots=2,
)


class Slow(SweepState):
    """Proposes when it is told to."""

    def __init__(self, spec=SPEC):
        super().__init__(spec)
        self.num_requests, self.go = 0, threading.Event()

    def propose(self, trial):
        self.num_requests += 1
        assert self.go.wait(60)
        return super().propose(trial)

    def final(self, started):
        return None

    def over(self):
        return all(record.state != "running" for record in self.trials.values())


@pytest.fixture
def planner():
    planner = Slow()
    yield planner
    planner.go.set()


def test_tunes_loop_goes_on_while_a_proposal_is_decided_and_asks_for_it_once(planner):
    searcher = SweepSearcher(planner, NAMES, "s")
    planner.go.set()
    assert searcher.suggest("first")["trial"] == "t0000"  # waited for: nothing else runs
    planner.go.clear()
    assert [searcher.suggest("second") for _ in range(5)] == [None] * 5
    assert planner.num_requests == 2
    searcher.on_trial_complete(trial_id="first", result={"objective": 2.0})  # heard meanwhile
    planner.go.set()
    assert searcher.suggest("second")["trial"] == "t0001"
    assert planner.trials["t0000"].state == "finished"
    assert len(searcher.study.trials) == 2


def test_names_go_on_after_what_was_there_and_the_search_ends_with_the_budget(planner):
    planner.go.set()
    searcher = SweepSearcher(planner, NAMES, "s")
    for number in range(3):
        assert searcher.suggest(f"id{number}")["trial"] == f"t{number:04d}"
        searcher.on_trial_complete(trial_id=f"id{number}", result={"objective": 2.0})
    assert searcher.suggest("more") == FINISHED


def test_what_goes_wrong_while_a_proposal_is_decided_ends_the_search_and_is_kept():
    class Failing(Slow):
        def propose(self, trial):
            raise SweepError("the last 3 trials failed")

    searcher = SweepSearcher(Failing(), NAMES, "s")
    assert searcher.suggest("first") == FINISHED
    assert str(searcher.error) == "the last 3 trials failed"


def test_a_trial_whose_worker_died_before_it_began_is_given_to_tune_again(planner):
    planner.go.set()
    searcher = SweepSearcher(planner, NAMES, "s")
    first = searcher.suggest("a")
    for lost, again in (("a", "b"), ("b", "c")):
        searcher.on_trial_complete(trial_id=lost, error=True)
        assert searcher.suggest(again) == first
        assert planner.trials["t0000"].state == "running"
    assert len(searcher.study.trials) == 1
    searcher.lost("c", "ModuleNotFoundError: No module named 'mine' " + "and more " * 1000)
    searcher.on_trial_complete(trial_id="c", error=True)
    assert planner.trials["t0000"].state == "failed"
    said = (
        "its worker failed too often, the last time with: ModuleNotFoundError: No module named "
        "'mine' and more"
    )
    assert planner.trials["t0000"].failure.startswith(said)
    assert len(planner.trials["t0000"].failure) < 400
    assert searcher.suggest("d")["trial"] == "t0001"


def test_a_trial_that_goes_on_after_each_loss_is_given_to_tune_as_often_as_it_takes(planner):
    planner.go.set()
    searcher = SweepSearcher(planner, NAMES, "s")
    first = searcher.suggest("0")
    for turn in range(10):
        searcher.on_trial_result(trial_id=str(turn), result={"objective": 3.0})
        searcher.on_trial_complete(trial_id=str(turn), error=True)
        assert searcher.suggest(str(turn + 1)) == first
    assert planner.trials["t0000"].state == "running"


def test_the_search_is_not_finished_while_a_trial_may_be_needed_again(planner):
    planner.go.set()
    searcher = SweepSearcher(planner, NAMES, "s")
    orders = [searcher.suggest(f"id{number}") for number in range(3)]
    for number in range(2):
        searcher.on_trial_complete(trial_id=f"id{number}", result={"objective": 2.0})
    assert searcher.suggest("more") is None
    searcher.on_trial_complete(trial_id="id2", error=True)
    assert searcher.suggest("more") == orders[2]
    searcher.on_trial_complete(trial_id="more", result={"objective": 2.0})
    assert searcher.suggest("last") == FINISHED


@pytest.fixture
def wide():
    planner = Slow(replace(SPEC, max_trials=20, slots=20))
    planner.go.set()
    return SweepSearcher(planner, NAMES, "s")


def test_the_first_trials_begin_alone_until_one_has_a_point(wide):
    assert [wide.suggest(str(number)) is not None for number in range(RAMP_UP_TRIALS + 2)] == [
        True
    ] * RAMP_UP_TRIALS + [False] * 2
    wide.on_trial_result(trial_id="1", result={"objective": 3.0})
    assert wide.suggest("more")["trial"] == f"t{RAMP_UP_TRIALS:04d}"


def test_the_others_wait_no_longer_than_so_for_trials_that_take_their_time(wide, monkeypatch):
    monkeypatch.setattr(searchers, "RAMP_UP_SECONDS", 0.0)
    assert all(wide.suggest(str(number)) for number in range(RAMP_UP_TRIALS + 2))
