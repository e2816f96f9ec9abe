import json
import math
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest

from bimix_sweep.design import refit
from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.errors import BimixSweepError, DivergedError, JournalError, SweepError
from bimix_sweep.journal.segments import read
from bimix_sweep.journal.writer import Journal
from bimix_sweep.law.optimum.optimal_mixture import optimum_in
from bimix_sweep.mixture.domains import DomainSet
from bimix_sweep.sweep.coordinator.actor import LawActor
from bimix_sweep.sweep.history.events import SweepEvent
from bimix_sweep.sweep.history.rebuilding import replay
from bimix_sweep.sweep.history.stored_spec import StoredSpec
from bimix_sweep.sweep.views.follower import Follower
from bimix_sweep.sweep.workspace.paths import begun

NAMES = ("web", "code", "books")
STEPS = (100, 200, 400)


def first_event(**changes):
    tokens = changes.pop("tokens", (1e9, 3e9, 2e9))
    domains = DomainSet(names=NAMES, tokens=tokens)
    fields = {
        "domains": domains,
        "targets": NAMES,
        "weights": dict.fromkeys(NAMES, 1 / 3),
        "own": {name: name for name in NAMES},
        "steps": 400,
        "size": 1e5,
        "eval_steps": STEPS,
        "min_step": 100,
        "max_trials": 8,
        "tolerance": 1e-7,
    }
    return SweepEvent(
        name="s",
        config_digest="c",
        data={"store": "d"},
        spec=StoredSpec.of(SweepSpec(**(fields | changes))),
        versions={},
    )


@pytest.fixture
def open_actor(tmp_path):
    actors = []

    def start(first=None):
        if actors:
            actors[-1].close()
        actors.append(LawActor(str(tmp_path), first or first_event(), lock_seconds=0))
        actors[-1].ready()
        return actors[-1]

    yield start
    actors[-1].close()


def losses(proposal, step):
    noise = np.random.default_rng([proposal.seed % 2**31, step]).normal(size=3)
    shares = proposal.mixture.as_array(NAMES)
    values = (
        (shares + 0.03) ** -np.array([0.1, 0.16, 0.13])
        * (8 * step**-0.45 + 2)
        * np.exp(0.002 * noise)
    )
    return dict(zip(NAMES, values.tolist(), strict=True))


def train(actor, proposal):
    actor.start(proposal.trial, "here")
    for step in STEPS:
        actor.record(proposal.trial, step, losses(proposal, step))
    actor.finish(proposal.trial)


def next_training(actor, number):
    return actor.propose(f"t{number:04d}") or actor.final(
        [past.proposal.trial for past in actor.past()]
    )


def run_to_the_end(actor):
    for number in range(100):
        proposal = next_training(actor, number)
        if proposal is None:
            return
        train(actor, proposal)


def test_an_acknowledged_point_is_on_the_disk_and_a_repeated_one_changes_nothing(
    open_actor, tmp_path
):
    actor = open_actor()
    trial = actor.propose("t0000").trial
    assert actor.record(trial, 100, {"web": 3.0, "code": 2.0, "books": 4.0})
    assert [e["step"] for e in read(tmp_path / "journal").events if e["kind"] == "point"] == [100]
    assert not actor.record(trial, 100, {"web": 9.0, "code": 9.0, "books": 9.0})
    assert replay(tmp_path).state.trials[trial].points == {
        100: {"web": 3.0, "code": 2.0, "books": 4.0}
    }


@pytest.mark.parametrize("restart_after", [1, 4, 6, 8, 11])
def test_a_restart_anywhere_changes_neither_proposals_nor_finals(
    open_actor, tmp_path, restart_after
):
    straight = LawActor(str(tmp_path / "straight"), first_event(), lock_seconds=0)
    run_to_the_end(straight)
    straight.close()
    actor = open_actor()
    for number in range(restart_after):
        train(actor, next_training(actor, number))
    run_to_the_end(open_actor())
    expected, found = replay(tmp_path / "straight"), replay(tmp_path)
    assert [*found.proposals.values()] == [*expected.proposals.values()]
    assert {name: record.points for name, record in found.state.trials.items()} == {
        name: record.points for name, record in expected.state.trials.items()
    }
    assert found.decision.reason == expected.decision.reason
    assert found.confirmation.mixtures == expected.confirmation.mixtures
    assert found.confirmation.law == expected.confirmation.law


def test_asking_again_for_a_trial_gives_the_same_proposal_once(open_actor, tmp_path):
    actor = open_actor()
    proposal = actor.propose("t0000")
    assert actor.propose("t0000") == proposal
    assert open_actor().propose("t0000") == proposal
    assert sum(event["kind"] == "proposal" for event in read(tmp_path / "journal").events) == 1


def test_final_mixtures_are_paired_in_seed_and_trained_once_where_equal(open_actor):
    actor = open_actor(first_event(tokens=(2e9, 2e9, 2e9)))
    run_to_the_end(actor)
    confirmations = [past for past in actor.past() if past.role == "confirmation"]
    assert actor.over()
    names = [past.proposal.reason for past in confirmations]
    both = ("confirmation: uniform, natural", "confirmation: uniform, natural, measured")
    assert sum(names.count(name) for name in both) == 2
    by_mixture = {}
    for past in confirmations:
        by_mixture.setdefault(past.proposal.mixture, set()).add(past.proposal.seed)
    assert len(set(map(frozenset, by_mixture.values()))) == 1
    assert all(len(seeds) == 2 for seeds in by_mixture.values())


def test_reference_finals_fill_a_slot_that_waits_for_the_last_training(open_actor):
    actor = open_actor(first_event(slots=2))
    proposals = [actor.propose(f"t{number:04d}") for number in range(8)]
    for proposal in proposals[:-1]:
        train(actor, proposal)
    assert actor.propose("t0008") is None
    waiting = [actor.final([past.proposal.trial for past in actor.past()]) for _ in range(5)]
    assert [proposal and proposal.trial for proposal in waiting] == [
        "confirm-uniform-1",
        "confirm-natural-1",
        "confirm-uniform-2",
        "confirm-natural-2",
        None,
    ]
    assert not actor.over()
    train(actor, proposals[-1])
    started = [past.proposal.trial for past in actor.past()]
    assert actor.final(started) == actor.final(started)  # an answer that was lost is given again
    assert actor.final(started).trial == "confirm-predicted-1"


def test_bad_points_are_refused_and_leave_no_trace(open_actor, tmp_path):
    actor = open_actor()
    actor.propose("t0000")
    before = read(tmp_path / "journal").events
    with pytest.raises(DivergedError, match="loss of code is nan at step 100"):
        actor.record("t0000", 100, {"web": 3.0, "code": float("nan"), "books": 4.0})
    with pytest.raises(SweepError, match="trial t0099 is not known"):
        actor.record("t0099", 100, {"web": 3.0, "code": 2.0, "books": 4.0})
    with pytest.raises(SweepError, match="losses of web; need web, code, books"):
        actor.record("t0000", 100, {"web": 3.0})
    assert read(tmp_path / "journal").events == before


@pytest.mark.parametrize("loss", [1e200, 1e100, 5e-324])
def test_a_trial_with_an_extreme_loss_has_failed_also_in_a_journal_that_took_it_and_the_sweep_goes_on(
    open_actor, tmp_path, loss
):
    actor = open_actor()
    diverged, proposals = {**losses(actor.propose("t0000"), 400), "code": loss}, []
    with pytest.raises(
        DivergedError,
        match=r"trial t0000: loss of code is .* at step 400; need a number between 1e-06 and "
        r"1e\+06",
    ):
        actor.record("t0000", 400, diverged)
    actor.close()
    journal, _ = Journal.open(tmp_path / "journal")
    journal.write({"kind": "point", "trial": "t0000", "step": 400, "losses": diverged})
    journal.write({"kind": "end", "trial": "t0000", "state": "finished", "reason": ""})
    journal.close()
    actor = open_actor()
    while (proposal := actor.propose(f"t{len(proposals) + 1:04d}")) is not None:
        train(actor, proposal)
        proposals.append(proposal)
    record = replay(tmp_path).state.trials["t0000"]
    assert (record.state, record.points, len(proposals)) == ("failed", {}, 7)
    assert f"loss of code is {loss}" in record.failure
    follower = Follower(str(tmp_path))
    assert follower.poll().counts["sweep"]["failed"] == 1


def test_a_regret_that_overflowed_is_not_known_and_its_refit_can_be_written(
    open_actor, monkeypatch
):
    actor = open_actor()
    monkeypatch.setattr(
        refit,
        "optimum_in",
        lambda *args, **options: _overflowed(optimum_in(*args, **options)),
    )
    for number in range(8):
        train(actor, actor.propose(f"t{number:04d}"))
    assert actor.decide().regret_expected is None
    assert actor.propose("t0008") is None


def _overflowed(optimum):
    return replace(optimum, regret=replace(optimum.regret, expected=math.inf, upper95=math.nan))


@pytest.mark.parametrize("changes", [{"patience": 10**23}, {"weights": {"nobody": 1.0}}])
def test_a_sweep_whose_journal_could_not_be_read_again_does_not_begin(tmp_path, changes):
    first = first_event()
    first = first.model_copy(update={"spec": first.spec.model_copy(update=changes)})
    with pytest.raises(BimixSweepError):
        LawActor(str(tmp_path), first, lock_seconds=0).ready()
    assert not begun(tmp_path)


def test_failures_in_a_row_end_the_proposals_until_somebody_resumes(open_actor):
    actor = open_actor()
    for number in range(3):
        actor.abandon(actor.propose(f"t{number:04d}").trial, f"exploded {number}")
    with pytest.raises(SweepError, match="the last 3 trials failed, the last with: exploded 2"):
        actor.propose("t0003")
    assert open_actor().propose("t0003") is not None


def test_a_failure_between_successes_does_not_end_the_sweep(open_actor):
    actor = open_actor()
    for number in range(6):
        proposal = actor.propose(f"t{number:04d}")
        if number % 2:
            actor.abandon(proposal.trial, "exploded")
        else:
            train(actor, proposal)
    assert actor.propose("t0006") is not None


def test_a_second_writer_other_data_or_another_configuration_is_refused(open_actor, tmp_path):
    open_actor()
    with pytest.raises(JournalError, match="is being written by process"):
        LawActor(str(tmp_path), first_event(), lock_seconds=0).ready()
    for change in ({"config_digest": "other"}, {"data": {"store": "other"}}):
        with pytest.raises(SweepError, match="is not what this sweep began with"):
            open_actor(first_event().model_copy(update=change))
    open_actor()


def test_an_actor_that_could_not_begin_tells_every_call_why(open_actor, tmp_path):
    open_actor().propose("t0000")
    for folder in (tmp_path, "/proc/no/such/place"):  # another writer lives; nothing can be written
        late = LawActor(str(folder), first_event(), lock_seconds=0)
        calls = (
            late.ready,
            late.past,
            late.complete,
            lambda late=late: late.propose("t0001"),
            lambda late=late: late.start("t0000", "here"),
        )
        for call in (
            *calls,
            lambda late=late: late.record("t0000", 100, {"web": 1.0, "code": 1.0, "books": 1.0}),
        ):
            with pytest.raises(JournalError, match=r"being written by|cannot be used"):
                call()


def test_precision_is_settled_by_the_first_training(open_actor):
    actor = open_actor()
    actor.propose("t0000")
    assert actor.start("t0000", "here")["precision"] is None
    assert actor.settle_precision({"dtype": "bfloat16"}) == {"dtype": "bfloat16"}
    assert actor.settle_precision({"dtype": "float32"}) == {"dtype": "bfloat16"}
    assert open_actor().start("t0000", "there")["precision"] == {"dtype": "bfloat16"}


def test_points_from_many_threads_arrive_once_while_proposals_are_computed(open_actor, tmp_path):
    actor = open_actor(first_event(slots=4))
    proposals = [actor.propose(f"t{number:04d}") for number in range(6)]
    threads = [
        threading.Thread(target=train, args=(actor, proposal))
        for proposal in proposals
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    actor.propose("t0006")
    for thread in threads:
        thread.join()
    points = [
        (e["trial"], e["step"]) for e in read(tmp_path / "journal").events if e["kind"] == "point"
    ]
    assert sorted(points) == sorted(
        (proposal.trial, step) for proposal in proposals for step in STEPS
    )


def test_the_actor_imports_neither_torch_nor_ray():
    code = (
        "import sys, bimix_sweep.sweep.coordinator.actor; print([m for m in ('torch', 'ray', "
        "'optuna', 'plotly') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def written(folder, *events):
    journal, _ = Journal.open(folder / "journal")
    for event in events:
        journal.write(event)
    journal.close()


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (
            {"kind": "point", "trial": "t0", "step": 1, "losses": {}},
            r"event 2 \(point\) cannot be used: trial t0 is not known",
        ),
        (
            {"kind": "proposal", "trial": "t0", "role": "sweep"},
            r"event 2 \(proposal\) cannot be used: no mixture; need it",
        ),
        ({"kind": "__class__"}, "a __class__ event is not known"),
        (
            {"kind": "surprise"},
            "a surprise event is not known; this journal is of a newer program, so update "
            "bimix-sweep",
        ),
        (
            {"kind": "decision", "decision": {"stop": True, "reason": "x", "evil": 1}},
            "decision.evil is not a known key",
        ),
        (
            {
                "kind": "proposal",
                "trial": "t0",
                "role": "sweep",
                "mixture": {"web": 1.0},
                "reason": "x",
                "seed": "x",
                "num_points": 0,
                "fit": {},
            },
            r"event 2 \(proposal\) cannot be used: seed is 'x'; input should be a valid integer",
        ),
        *(
            (
                {
                    "kind": "proposal",
                    "trial": name,
                    "role": "sweep",
                    "mixture": {"web": 1.0},
                    "reason": "x",
                    "seed": 1,
                    "num_points": 0,
                    "fit": {},
                },
                r"event 2 \(proposal\) cannot be used: trial is",
            )
            for name in ("../x", "/etc/x", "a/../b", "..", "a\0b", "a\\b", "", "x" * 300)
        ),
        (
            {
                "kind": "proposal",
                "trial": "t0",
                "role": "sweep",
                "mixture": {f"d{number}": 0.0 for number in range(20_000)},
                "reason": "x",
                "seed": 1,
                "num_points": 0,
                "fit": {},
            },
            r"event 2 \(proposal\) cannot be used: mixture",
        ),
        (
            {"kind": "confirmation", "law": {}, "num_points": 1, "mixtures": 3},
            r"event 2 \(confirmation\) cannot be used: mixtures is 3",
        ),
        (
            {
                "kind": "refit",
                "num_points": 1,
                "num_trials": 1,
                "num_over": 0,
                "seconds": 0.1,
                "decision": {"stop": False, "reason": "x"},
                "optimum": 3,
            },
            r"event 2 \(refit\) cannot be used: optimum is 3",
        ),
    ],
)
def test_an_event_that_does_not_fit_is_named(tmp_path, event, reason):
    written(tmp_path, first_event().to_json(), event)
    with pytest.raises(JournalError, match=reason):
        replay(tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [("seed", "x"), ("steps", 0), ("eval_steps", 3), ("weights", [1]), ("objective", "best")],
)
def test_a_spec_of_wrong_kind_is_named(tmp_path, key, value):
    first = first_event().to_json()
    written(tmp_path, first | {"spec": first["spec"] | {key: value}})
    with pytest.raises(JournalError, match=rf"event 1 \(sweep\) cannot be used: spec\.{key} is "):
        replay(tmp_path)


def test_a_journal_of_too_many_domains_or_without_a_beginning_is_refused(tmp_path):
    first = json.loads(json.dumps(first_event().to_json()))
    first["spec"]["domains"] = {
        f"d{i}": {"tokens": None, "min": 0, "max": 1} for i in range(10_001)
    }
    written(tmp_path, first)
    with pytest.raises(JournalError, match="10001 entries; need 1 to 10000"):
        replay(tmp_path)
    with pytest.raises(JournalError, match="holds no events"):
        replay(tmp_path / "nothing")
