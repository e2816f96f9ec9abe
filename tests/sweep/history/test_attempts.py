"""How long trials may be silent or last, on a planted clock; a step of the wall clock ends none."""

import time

import pytest

from bimix_sweep.errors import TrainingError
from bimix_sweep.sweep.coordinator.actor import LawActor
from bimix_sweep.sweep.history.attempts import AttemptLimits
from bimix_sweep.sweep.history.rebuilding import replay
from tests.support.in_process import STEPS, Planted, config, first, losses

POINT_SECONDS = 90.0


@pytest.fixture
def clock(monkeypatch):
    class PlantedClock:
        now = 1_700_000_000.0

    monkeypatch.setattr("bimix_sweep.journal.clock.Clock.now", lambda self: PlantedClock.now)
    return PlantedClock


@pytest.fixture
def open_actor(tmp_path):
    opened = []

    def start(given=None, **limits):
        if opened:
            opened[-1].close()
        given = given or config(8)
        opened.append(
            LawActor(
                str(tmp_path),
                first(given, Planted()),
                lock_seconds=0,
                limits=AttemptLimits(**limits),
            )
        )
        opened[-1].ready()
        return opened[-1]

    yield start
    opened[-1].close()


def begin(actor, number):
    proposal = actor.propose(f"t{number:04d}")
    actor.start(proposal.trial, "here")
    return proposal


def report(actor, proposal, step):
    actor.record(proposal.trial, step, losses(proposal.mixture, proposal.seed, step))


def run(actor, number, clock, seconds=POINT_SECONDS):
    """A whole trial with so long between its signs of life."""
    proposal = begin(actor, number)
    for step in STEPS:
        clock.now += seconds
        report(actor, proposal, step)
    actor.finish(proposal.trial)


def state_of(folder, trial):
    record = replay(folder).state.trials[trial]
    return record.state, record.failure


def test_a_silent_trial_is_killed_and_after_three_attempts_in_a_row_it_has_failed(
    open_actor, clock, tmp_path
):
    actor = open_actor(max_silence=60.0)
    hung, lively = begin(actor, 0), begin(actor, 1)
    names = [hung.trial, lively.trial]
    assert actor.overdue(names) == []
    for attempt in (1, 2, 3):
        clock.now += 45
        report(actor, lively, attempt)
        assert actor.overdue(names) == []
        clock.now += 17
        assert actor.overdue(names) == [hung.trial]
        assert actor.overdue(names) == []  # an attempt is named once
        if attempt < 3:
            assert actor.alive(hung.trial)
            actor.start(hung.trial, "there")
    assert not actor.alive(hung.trial)
    assert actor.alive(lively.trial)
    reason = "3 attempts in a row reported nothing for 60 s (resources.max_silence)"
    assert state_of(tmp_path, hung.trial) == ("failed", reason)
    assert actor.start(hung.trial, "there")["result"] == {"step": 0, "failed": reason}
    said = actor.snapshot().lines
    assert any(
        "t0000 reported nothing for 60 s (resources.max_silence); its worker is killed and it is "
        "tried again" in line
        for line in said
    )


def test_a_point_between_two_silences_lets_the_count_begin_again(open_actor, clock):
    actor = open_actor(max_silence=60.0)
    trial = begin(actor, 0)
    for step in (10, 20, 30, 40):
        clock.now += 61
        assert actor.overdue([trial.trial]) == [trial.trial]
        actor.start(trial.trial, "there")
        report(actor, trial, step)
    assert actor.alive(trial.trial)


def test_points_that_an_attempt_repeats_are_signs_of_life_but_no_progress(open_actor, clock):
    actor = open_actor(max_silence=60.0)
    trial = begin(actor, 0)
    for step in (1, 2, 3):
        clock.now += 50
        report(actor, trial, step)
    for attempt in (1, 2, 3):  # each hangs behind the points that it repeats
        for step in (1, 2, 3) if attempt > 1 else ():
            clock.now += 50
            report(actor, trial, step)
            assert actor.overdue([trial.trial]) == []
        clock.now += 61
        assert actor.overdue([trial.trial]) == [trial.trial]
        if attempt < 3:
            actor.start(trial.trial, "there")
    assert not actor.alive(trial.trial)


def test_an_attempt_that_waits_before_it_begins_is_not_silent_meanwhile(open_actor, clock):
    actor = open_actor(max_silence=10.0)
    trial = begin(actor, 0)
    for _ in range(8):  # lost workers: the ninth attempt waits for a minute
        actor.start(trial.trial, "there")
    clock.now += 69
    assert actor.overdue([trial.trial]) == []
    clock.now += 2
    assert actor.overdue([trial.trial]) == [trial.trial]


def test_a_worker_that_never_says_that_it_begins_is_killed_too(open_actor, clock):
    actor = open_actor(max_silence=60.0)
    trial = actor.propose("t0000").trial
    assert actor.overdue([trial]) == []
    clock.now += 61
    assert actor.overdue([trial]) == [trial]


def test_auto_is_ten_times_the_longest_silence_of_a_trial_that_finished(open_actor, clock):
    actor = open_actor(max_silence="auto")
    waiting = begin(actor, 0)
    clock.now += 10**6  # nothing is known yet
    assert actor.overdue([waiting.trial]) == []
    report(actor, waiting, 100)
    run(actor, 1, clock)
    report(actor, waiting, 200)
    clock.now += 10 * POINT_SECONDS - 1
    assert actor.overdue([waiting.trial]) == []
    clock.now += 2
    assert actor.overdue([waiting.trial]) == [waiting.trial]
    again = open_actor(max_silence="auto")  # another driver: the journal tells it
    assert again.overdue([waiting.trial]) == []
    clock.now += 10 * POINT_SECONDS + 1
    assert again.overdue([waiting.trial]) == [waiting.trial]


def limit_of(actor, trial):
    with actor._replicas.reading() as write_replica:
        return actor._recorder._attempts.max_silence(trial, write_replica)


def test_auto_counts_the_time_after_the_last_point_of_a_trial_that_finished(open_actor, clock):
    actor = open_actor(max_silence="auto")
    trial, waiting = begin(actor, 0), begin(actor, 1)
    for step in STEPS:
        clock.now += POINT_SECONDS
        report(actor, trial, step)
    clock.now += 3 * POINT_SECONDS  # it writes its last checkpoint
    actor.finish(trial.trial)
    assert limit_of(actor, waiting.trial) == 10 * 3 * POINT_SECONDS
    again = open_actor(max_silence="auto")
    assert limit_of(again, waiting.trial) == 10 * 3 * POINT_SECONDS


def test_auto_counts_no_silence_of_an_attempt_that_failed(open_actor, clock):
    actor = open_actor(max_silence="auto")
    trial, waiting = begin(actor, 0), begin(actor, 1)
    clock.now += 10**6
    actor.abandon(trial.trial, "it hung")
    assert actor.retry([trial.trial]) == [trial.trial]
    actor.start(trial.trial, "here")
    for step in STEPS:
        clock.now += POINT_SECONDS
        report(actor, trial, step)
    actor.finish(trial.trial)
    assert limit_of(actor, waiting.trial) == 10 * POINT_SECONDS


def test_auto_gives_at_least_ten_minutes(open_actor, clock):
    actor = open_actor(max_silence="auto")
    run(actor, 0, clock, seconds=0.1)
    trial = begin(actor, 1)
    clock.now += 599
    assert actor.overdue([trial.trial]) == []
    clock.now += 2
    assert actor.overdue([trial.trial]) == [trial.trial]


def test_auto_gives_a_trial_of_more_steps_as_much_longer(open_actor, clock):
    given = config(8, proxy__steps=[200, 400])
    actor = open_actor(given, max_silence="auto")
    limits = {}
    for number in range(8):
        proposal = begin(actor, number)
        for step in (step for step in STEPS if step <= proposal.steps):
            clock.now += POINT_SECONDS
            report(actor, proposal, step)
        if not limits:
            actor.finish(proposal.trial)
            finished = proposal.steps
        with actor._replicas.reading() as write_replica:
            limits[proposal.steps] = actor._recorder._attempts.max_silence(
                proposal.trial, write_replica
            )
    assert finished == 200
    assert limits == {200: 10 * POINT_SECONDS, 400: 20 * POINT_SECONDS}


def test_without_a_limit_nothing_is_overdue(open_actor, clock):
    actor = open_actor()
    run(actor, 0, clock)
    trial = begin(actor, 1)
    clock.now += 10**9
    assert actor.overdue([trial.trial]) == []


def test_max_hours_counts_all_attempts_and_is_not_tried_again(open_actor, clock, tmp_path):
    actor = open_actor(max_hours=2.0)
    trial = begin(actor, 0)
    clock.now += 3600
    report(actor, trial, 100)
    actor.start(trial.trial, "there")
    clock.now += 3590
    assert actor.overdue([trial.trial]) == []
    assert actor.alive(trial.trial)
    clock.now += 20
    actor.overdue([trial.trial])
    assert not actor.alive(trial.trial)
    reason = "it has lasted longer than resources.max_hours, 2"
    assert state_of(tmp_path, trial.trial) == ("failed", reason)
    with pytest.raises(TrainingError, match="has lasted longer than"):
        report(actor, trial, 200)


def test_a_worker_whose_trial_has_ended_gets_a_minute_to_end(open_actor, clock):
    actor = open_actor()
    trial = begin(actor, 0).trial
    actor.abandon(trial, "diverged")
    assert actor.overdue([trial]) == []
    clock.now += 59
    assert actor.overdue([trial]) == []
    clock.now += 2
    assert actor.overdue([trial]) == [trial]


def test_a_step_of_the_wall_clock_changes_no_hours_and_ends_no_trial(
    open_actor, monkeypatch, tmp_path
):
    given = config(8, budget__core_hours=1.0)
    actor = open_actor(given, max_silence=60.0, max_hours=1.0)
    first_trial, second = begin(actor, 0), begin(actor, 1)
    report(actor, first_trial, 100)
    wall = time.time
    for hours in (2, -3):
        # the clock of this round is used before the next round sets another
        monkeypatch.setattr("time.time", lambda: wall() + 3600 * hours)  # noqa: B023
        actor._recorder.enforce()
        assert actor.overdue([first_trial.trial, second.trial]) == []
        report(actor, second, 100 + hours)
        assert actor.alive(first_trial.trial)
        assert actor.alive(second.trial)
    actor.close()
    history = replay(tmp_path)
    assert history.hours.core_hours < 0.1
    assert history.seconds < 360


def test_a_silence_before_any_trial_has_finished_is_told_once_and_kills_nothing(open_actor, clock):
    actor = open_actor(max_silence="auto")
    names = [begin(actor, number).trial for number in range(2)]
    told = []
    for _ in range(4):
        assert actor.overdue(names) == []
        told.append([line for line in actor.snapshot().lines if "reported nothing" in line])
        clock.now += 700
    assert [len(lines) for lines in told] == [0, 0, 0, 1]
    assert "resources.max_silence" in told[-1][0]
