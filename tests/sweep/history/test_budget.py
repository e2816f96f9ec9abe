"""A budget in hours, on a planted clock."""

import pytest

from bimix_sweep.errors import SweepError, TrainingError
from bimix_sweep.sweep.history.budget import bills
from bimix_sweep.sweep.history.rebuilding import replay
from bimix_sweep.sweep.history.snapshot import snapshot_of
from bimix_sweep.sweep.results import write_results
from tests.support.in_process import STEPS, Planted, config, losses, open_sweep, run


class Clock:
    """Seconds since 1970, as the test says."""

    def __init__(self):
        self.now = 1_700_000_000.0

    def __call__(self):
        return self.now

    def pass_hours(self, hours):
        self.now += 3600 * hours


@pytest.fixture
def clock(monkeypatch):
    planted = Clock()
    monkeypatch.setattr("bimix_sweep.journal.clock.Clock.now", lambda self: planted())
    return planted


LARGE = 3.2e6


def train(actor, proposal, clock, hours=0.5, cores=2.0, gpus=0.0, startup=0.0, points=STEPS):
    """Takes `hours` for its points; where it has a size, in proportion to that after hours of
    start-up.
    """
    actor.start(proposal.trial, "here", cores, gpus)
    clock.pass_hours(startup)
    before = 0
    for step in points:
        clock.pass_hours(
            hours / len(STEPS)
            if proposal.size is None
            else hours * (step - before) / STEPS[-1] * proposal.size / LARGE
        )
        before = step
        actor.record(proposal.trial, step, losses(proposal.mixture, proposal.seed, step))
    actor.finish(proposal.trial)


def to_the_end(actor, clock, **options):
    ran = []
    while True:
        started = [past.proposal.trial for past in actor.past()]
        proposal = actor.propose(f"t{len(started):04d}") or actor.final(started)
        if proposal is None:
            return ran
        train(actor, proposal, clock, **options)
        ran.append(proposal.trial)


@pytest.mark.parametrize(
    ("key", "resources"),
    [("core_hours", {"cores": 2.0}), ("gpu_hours", {"cores": 1.0, "gpus": 2.0})],
)
def test_trials_and_the_final_ones_stay_under_the_limit_and_the_decision_says_so(
    tmp_path, clock, key, resources
):
    given = config(40, **{f"budget__{key}": 16.0})
    actor = open_sweep(tmp_path / "sweep", given)
    ran = to_the_end(actor, clock, **resources)
    assert actor.over()
    actor.close()
    # each costs 1 hour of 2; 8 of the 16 are kept for the final trainings
    assert len([name for name in ran if name.startswith("t")]) == 8
    history = replay(tmp_path / "sweep")
    assert getattr(history.hours, key) == pytest.approx(len(ran), abs=1e-3)
    assert len(ran) <= 16
    unit = {"core_hours": "core", "gpu_hours": "GPU"}[key]
    assert history.decision.reason.startswith(
        f"the budget of 16 {unit}-hours is spent: 8 used, and 9 more of about 1 each do not fit"
    )
    assert write_results(tmp_path / "sweep", given).comparison is not None


def test_the_journal_tells_the_same_hours_as_the_actor_and_a_restart_decides_alike(tmp_path, clock):
    straight, again = (
        open_sweep(tmp_path / name, config(40, budget__core_hours=14.0))
        for name in ("straight", "again")
    )
    expected = to_the_end(straight, clock)
    for number in range(4):
        train(again, again.propose(f"t{number:04d}"), clock)
    live = again._replicas.write_replica.hours.trials
    again.close()
    clock.pass_hours(1000)  # nobody drives
    again = open_sweep(tmp_path / "again")
    for trial, hours in replay(tmp_path / "again").hours.trials.items():
        assert hours == pytest.approx(live[trial], abs=1e-6)
    found = to_the_end(again, clock)
    assert found == expected[4:]
    for actor in (straight, again):
        actor.close()
    assert (
        replay(tmp_path / "again").decision.reason == replay(tmp_path / "straight").decision.reason
    )


def test_before_anything_finished_the_cost_is_what_the_running_ones_come_to(tmp_path, clock):
    actor = open_sweep(tmp_path / "sweep", config(40, budget__core_hours=30.0))
    first = actor.propose("t0000")
    assert [bill.expected for bill in bills(actor._replicas.write_replica, clock())] == [0]
    actor.start(first.trial, "here", 1.0, 0.0)
    clock.pass_hours(0.5)
    actor.record(first.trial, 100, losses(first.mixture, first.seed, 100))  # a quarter of its steps
    clock.pass_hours(0.25)
    (bill,) = bills(actor._replicas.write_replica, clock())
    assert bill.spent == pytest.approx(0.75)
    assert bill.expected == pytest.approx(3.0)
    assert bill.promised == pytest.approx(2.25)
    assert actor.propose("t0001") is not None  # 0.75 + 2.25 + 9 x 3 = 30
    clock.pass_hours(0.25)
    assert actor.propose("t0002") is None  # expected are 4 by now
    actor.close()


def test_a_trial_that_runs_into_the_limit_is_ended_and_the_sweep_ends_with_what_it_has(
    tmp_path, clock
):
    given = config(40, budget__core_hours=30.0)
    actor = open_sweep(tmp_path / "sweep", given)
    for number in range(7):
        train(actor, actor.propose(f"t{number:04d}"), clock, hours=0.1, cores=1.0)
    stuck = actor.propose("t0007")
    actor.start(stuck.trial, "here", 1.0, 0.0)
    clock.pass_hours(29.2)
    actor._recorder.enforce()
    assert actor.alive(stuck.trial)
    clock.pass_hours(0.2)
    actor._recorder.enforce()
    assert not actor.alive(stuck.trial)
    reason = "the budget of 30 core-hours is spent"
    with pytest.raises(
        TrainingError, match=reason
    ):  # what stops the training, which may not have heard of it
        actor.record(stuck.trial, 100, losses(stuck.mixture, stuck.seed, 100))
    actor.abandon(stuck.trial, "another reason")
    assert actor.start(stuck.trial, "there", 1.0, 0.0)["result"] == {"step": 0, "failed": reason}
    assert actor.propose("t0008") is None
    assert to_the_end(actor, clock) == []
    assert actor.over()
    actor.complete()
    actor.close()
    history = replay(tmp_path / "sweep")
    assert history.state.trials["t0007"].failure == reason
    assert history.decision.reason.startswith(reason)
    assert {
        record.failure for record in history.state.trials.values() if record.role == "confirmation"
    } == {reason}
    recipe = write_results(tmp_path / "sweep", given)
    assert recipe.comparison is None
    assert recipe.excluded["t0007"] == reason
    # with more hours it goes on: finished trainings are kept, and the final ones are made now
    actor = open_sweep(tmp_path / "sweep", config(9, budget__core_hours=100.0))
    assert any(
        name.startswith("confirm2-predicted")
        for name in to_the_end(actor, clock, hours=0.1, cores=1.0)
    )
    actor.close()


@pytest.mark.parametrize("points", [STEPS, STEPS[-1:]])
def test_start_up_of_cheap_trials_is_not_taken_to_grow_with_size(tmp_path, clock, points):
    def confirmations(record):
        return record.role == "confirmation"

    given = config(14, proxy__sizes=[1e5, LARGE], budget__core_hours=24.0)
    actor = open_sweep(tmp_path / "sweep", given, trainer=Planted(size=LARGE, smaller=(1e5,)))
    first = actor.propose("t0000")
    train(actor, first, clock, hours=0.6, cores=1.0, startup=0.4, points=points)
    (bill,) = bills(actor._replicas.write_replica, clock())
    assert not bill.measured
    assert bill.expected_next == pytest.approx(0.4 + 0.6 / 32)
    if len(points) > 1:
        assert bill.expected == pytest.approx(1.0)
    to_the_end(actor, clock, hours=0.6, cores=1.0, startup=0.4, points=points)
    actor.close()
    history = replay(tmp_path / "sweep")
    records = history.state.trials.values()
    assert sum(record.role == "sweep" for record in records) == 14
    assert all(record.state == "finished" for record in records)
    assert "trials" in history.decision.reason
    assert history.hours.core_hours < 24


def test_too_few_hours_for_the_dearest_end_a_search_once_one_of_them_shows_it(tmp_path, clock):
    given = config(14, proxy__sizes=[1e5, LARGE], budget__core_hours=8.0)
    actor = open_sweep(tmp_path / "sweep", given, trainer=Planted(size=LARGE, smaller=(1e5,)))
    for number in range(6):
        train(actor, actor.propose(f"t{number:04d}"), clock, hours=0.6, cores=1.0, startup=0.4)
    (bill,) = bills(actor._replicas.write_replica, clock())
    assert bill.measured
    assert bill.expected == bill.expected_next == pytest.approx(1.0)
    assert actor.propose("t0006") is None
    assert actor._replicas.write_replica.decision.reason.startswith(
        "the budget of 8 core-hours is spent: 3.09 used, and "
    )
    actor.close()


def test_the_time_left_is_that_of_the_trials_to_come_and_of_the_rest_of_those_that_run(
    tmp_path, clock
):
    actor = open_sweep(tmp_path / "sweep", config(6))
    for number in range(2):
        train(actor, actor.propose(f"t{number:04d}"), clock)
    actor.abandon(actor.propose("t0002").trial, "exploded")
    running = actor.propose("t0003")
    actor.record(running.trial, 100, losses(running.mixture, running.seed, 100))

    def left(**given):
        return snapshot_of(
            actor._replicas.write_replica,
            elapsed_seconds=0.0,
            lines=[],
            num_lines=0,
            epoch=1,
            **given,
        ).seconds_to_do

    assert left(training_seconds=0.0) is None
    assert left(training_seconds=30.0) == (2 + 8 + 0.75) * 30
    actor.record(
        running.trial, 1200, losses(running.mixture, running.seed, 400)
    )  # a trainer may go on beyond its steps
    assert left(training_seconds=30.0) == (2 + 8) * 30
    run(actor)
    assert left(training_seconds=30.0) == 0
    actor.close()


def test_the_time_left_is_that_of_the_scales_to_come(tmp_path, clock):
    def left():
        return actor.snapshot().seconds_to_do / 3600

    actor = open_sweep(
        tmp_path / "sweep",
        config(14, proxy__sizes=[1e5, LARGE]),
        trainer=Planted(size=LARGE, smaller=(1e5,)),
    )
    cheap = 0.4 + 0.6 / 32
    assert actor.snapshot().seconds_to_do is None
    train(actor, actor.propose("t0000"), clock, hours=0.6, startup=0.4)
    assert left() == pytest.approx(
        4 * cheap + (3 + 6 + 8) * 1.0
    )  # first ones, those that the law chooses, final ones
    for number in range(1, 5):
        train(actor, actor.propose(f"t{number:04d}"), clock, hours=0.6, startup=0.4)
    dear = actor.propose("t0005")
    actor.start(dear.trial, "here")
    clock.pass_hours(0.4 + 0.15)
    actor.record(dear.trial, 100, losses(dear.mixture, dear.seed, 100))
    assert left() == pytest.approx(0.75 + 2 + 6 + 8)
    actor.close()


def test_a_running_trial_goes_on_as_between_its_points_whatever_its_start_up(tmp_path, clock):
    actor = open_sweep(tmp_path / "sweep", config(40, budget__core_hours=30.0))
    first = actor.propose("t0000")
    actor.start(first.trial, "here", 1.0, 0.0)
    clock.pass_hours(0.5)
    for step in (100, 200):
        actor.record(first.trial, step, losses(first.mixture, first.seed, step))
        clock.pass_hours(0.1)
    (bill,) = bills(actor._replicas.write_replica, clock())
    assert bill.expected == pytest.approx(0.4 + 4 * 0.1)
    assert bill.promised == pytest.approx(0.1)
    actor.close()


def test_time_in_which_nobody_drove_is_not_spent(tmp_path, clock):
    actor = open_sweep(tmp_path / "sweep", config(8, budget__core_hours=5.0))
    proposal = actor.propose("t0000")
    actor.start(proposal.trial, "here", 1.0, 0.0)
    clock.pass_hours(1)
    actor.record(proposal.trial, 100, losses(proposal.mixture, proposal.seed, 100))
    actor.close()
    clock.pass_hours(50)
    actor = open_sweep(tmp_path / "sweep")
    actor._recorder.enforce()
    assert actor.alive(proposal.trial)
    assert [bill.spent for bill in bills(actor._replicas.write_replica, clock())] == [
        pytest.approx(1.0, abs=1e-3)
    ]
    run(actor, most=1)
    assert replay(tmp_path / "sweep").state.trials["t0000"].state == "finished"
    actor.close()


def test_too_few_hours_for_a_law_are_said(tmp_path, clock):
    actor = open_sweep(tmp_path / "sweep", config(8, budget__core_hours=1.0))
    train(actor, actor.propose("t0000"), clock, hours=0.4)
    assert actor.propose("t0001") is None
    with pytest.raises(
        SweepError, match="1 of 1 trials finished, too few for a law; raise the hours of budget in"
    ):
        actor.final(["t0000"])
    actor.close()
