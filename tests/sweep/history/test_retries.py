"""Trials that failed: which of them a sweep tries again, what that costs, and that nothing else
changes by it.
"""

import math
import subprocess
import sys
from types import SimpleNamespace

import pyarrow as pa
import pytest
import yaml
from typer.testing import CliRunner

from bimix_sweep.cli import app
from bimix_sweep.errors import SweepError, TableError
from bimix_sweep.export.recipe import Recipe
from bimix_sweep.mixture.columns import write_columns
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.mixture.mixture_file import MixtureFile
from bimix_sweep.sweep.history.budget import bills
from bimix_sweep.sweep.history.events import read_event
from bimix_sweep.sweep.history.rebuilding import replay
from bimix_sweep.sweep.history.retries import left_out, retriable
from bimix_sweep.sweep.history.usage import Hours
from bimix_sweep.sweep.offline import offline
from tests.support.in_process import STEPS, config, losses, open_sweep, run, train, whole

NAMES = ("web", "code", "books")


def start_and_fail(actor, number, cause="outside", reason="ImportError: no module named trainer"):
    """One trial that records its first point and fails."""
    proposal = actor.propose(f"t{number:04d}")
    actor.start(proposal.trial, "here")
    actor.record(proposal.trial, STEPS[0], dict.fromkeys(NAMES, 9.0))
    actor.abandon(proposal.trial, reason, cause)
    return proposal


def states(history, role="sweep"):
    return {n: r.state for n, r in history.state.trials.items() if r.role == role}


def test_a_sweep_whose_trainer_was_mended_trains_its_whole_budget(tmp_path):
    folder = tmp_path / "sweep"
    actor = open_sweep(folder, config(8))
    failed = [start_and_fail(actor, number) for number in range(3)]
    with pytest.raises(SweepError) as stopped:
        actor.propose("t0003")
    assert str(stopped.value) == (
        "the last 3 trials failed, the last with: ImportError: no module named trainer; mend the "
        f"cause and go on with: bimix-sweep resume {folder} (or submit again), which tries 3 "
        "trials (t0000, t0001, t0002) again; --retry-failed 0 goes on without them"
    )
    actor.close()
    actor = open_sweep(folder)
    assert actor.retriable(None) == ["t0000", "t0001", "t0002"]
    assert actor.retry(actor.retriable(None)) == ["t0000", "t0001", "t0002"]
    assert actor.retry(["t0000", "t0001", "t0002"]) == []  # a call that Ray repeats
    run(actor)
    actor.close()
    history = replay(folder)
    assert states(history) == {f"t{number:04d}": "finished" for number in range(8)}
    for proposal in failed:  # the failed attempt's points are gone
        record = history.state.trials[proposal.trial]
        assert record.points == {
            step: pytest.approx(losses(proposal.mixture, proposal.seed, step)) for step in STEPS
        }
    _, straight = whole(tmp_path / "straight", config(8))
    assert [p.mixture for p in history.proposals.values()][:3] == [
        p.mixture for p in straight.proposals.values()
    ][:3]
    assert history.complete


def test_the_end_of_a_sweep_without_a_law_says_what_to_do_and_doing_it_ends_the_sweep(tmp_path):
    folder = tmp_path / "sweep"
    actor = open_sweep(folder, config(4))
    for number in range(4):
        if number == 2:
            train(actor, actor.propose("t0002"))
        else:
            start_and_fail(actor, number)
    with pytest.raises(
        SweepError,
        match=r"^1 of 4 trials finished, too few for a law; mend .* which tries 3 trials \(t0000,",
    ):
        run(actor)
    actor.close()
    actor = open_sweep(folder)
    actor.retry(actor.retriable(None))
    run(actor)
    actor.close()
    history = replay(folder)
    assert set(states(history).values()) == {"finished"}
    assert history.complete


def test_proposals_after_a_retry_are_those_of_the_journal_whenever_it_is_read_again(tmp_path):
    """In one process and with a restart before every proposal: the same mixtures."""
    found = {}
    for restarts in (False, True):
        folder = tmp_path / str(restarts)
        actor = open_sweep(folder, config(12))
        for number in range(9):
            if number in (2, 7):
                start_and_fail(actor, number)
            else:
                train(actor, actor.propose(f"t{number:04d}"))
        actor.retry(["t0002", "t0007"])
        for trial in ("t0007", "t0002"):
            past = next(past for past in actor.past() if past.proposal.trial == trial)
            train(actor, past.proposal)
        for number in range(9, 12):
            if restarts:
                actor.close()
                actor = open_sweep(folder)
            train(actor, actor.propose(f"t{number:04d}"))
        run(actor)
        actor.close()
        history = replay(folder)
        decision = history.refits[-1].decision
        told = (history.refits[-1].num_over, decision.regret_expected, decision.streak)
        found[restarts] = [*history.proposals.values()], history.confirmation.law, told
        assert states(history) == {f"t{number:04d}": "finished" for number in range(12)}
    assert found[False] == found[True]


def test_a_diverged_trial_and_one_that_a_change_ended_are_left_alone(tmp_path):
    folder = tmp_path / "sweep"
    actor = open_sweep(folder, config(8))
    for number, cause in enumerate(("outside", "diverged", "changed", "outside", "budget")):
        if number == 2:
            train(actor, actor.propose("t0002"))
            continue
        start_and_fail(actor, number, cause)
        actor._decisions.failures.clear()
    actor.close()
    history = replay(folder)
    assert retriable(history, None) == ["t0000", "t0003", "t0004"]
    assert retriable(history, 1) == ["t0000"]
    assert retriable(history, 0) == []
    assert retriable(history, "all") == ["t0000", "t0001", "t0003", "t0004"]
    outside, diverged = left_out(history, str(folder))
    assert outside.startswith("3 trials (t0000, t0003, t0004) failed and are left out")
    assert "--retry-failed 3 tries them again" in outside
    assert diverged.startswith("1 trial (t0001) diverged and is left out")
    assert "--retry-failed all tries it again" in diverged


def test_a_complete_sweep_takes_failed_trials_up_only_when_told_and_decides_its_end_anew(tmp_path):
    folder = tmp_path / "sweep"
    actor = open_sweep(folder, config(9))
    for number in range(9):
        if number == 4:
            start_and_fail(actor, number)
        else:
            train(actor, actor.propose(f"t{number:04d}"))
    run(actor)
    actor.close()
    before = replay(folder)
    assert before.complete
    assert retriable(before, None) == []
    actor = open_sweep(folder)
    actor.retry(actor.retriable(1))
    assert not actor.over()
    run(actor)
    actor.close()
    history = replay(folder)
    assert history.complete
    assert set(states(history).values()) == {"finished"}
    assert before.confirmation.num_points == 8 * len(STEPS) + 1
    assert history.confirmation.num_points == 9 * len(STEPS)


def test_failed_attempts_are_paid_for_but_are_no_measure_of_what_a_trial_costs(tmp_path):
    """A trial that hung for 10 h and took 1 h after the cause was mended: the next one is expected
    to take 1 h.
    """
    hours = Hours()
    at = 1_000_000.0

    def take(kind, seconds, **fields):
        event = {"kind": kind, "trial": "a", "at": at + seconds, **fields}
        hours.take(read_event(event), at + seconds)

    take("start", 0, where="here", cores=1.0)
    take("point", 36_000, step=100, losses={})
    take("end", 36_000, state="failed", reason="")
    take("retry", 40_000, reopens=True)
    take("start", 50_000, where="here", cores=1.0)
    take("point", 51_800, step=200, losses={})
    take("point", 53_600, step=400, losses={})
    take("end", 53_600, state="finished", reason="")
    history = replay_with_hours(tmp_path, hours)
    (bill,) = bills(history, at + 60_000)
    assert bill.spent == pytest.approx(11.0)
    assert bill.expected == pytest.approx(1.0)


def replay_with_hours(tmp_path, hours):
    """A history with one finished trial named `a`, a budget of 100 core-hours, and these hours."""
    folder = tmp_path / "sweep"
    actor = open_sweep(folder, config(8, budget__core_hours=100.0))
    proposal = actor.propose("a")
    train(actor, proposal)
    actor.close()
    history = replay(folder)
    history.hours = hours
    return history


@pytest.fixture
def begun(tmp_path):
    """A sweep whose trials are trained elsewhere, begun; and what plays the team that trains
    them.
    """
    sweep = tmp_path / "sweep.yaml"
    content = {
        "domains": {name: {} for name in NAMES},
        "trainer": {"command": ["srun", "train", "{job}"]},
        "proxy": {"steps": 400},
        "budget": {"trials": 7},
        "stop": {"tolerance": 1e-7},
        "out": str(tmp_path / "sweep"),
    }
    sweep.write_text(yaml.safe_dump(content, sort_keys=False))
    return SimpleNamespace(sweep=sweep, folder=tmp_path / "sweep", mixtures=tmp_path / "m.csv")


def call(*words, code=0):
    done = CliRunner().invoke(app, [*map(str, words)])
    assert done.exit_code == code, done.output
    return done.output


def table(begun, path, only, *, steps=STEPS, factor=1.0):
    """The losses of some trials, times a factor, as a table."""
    asked = MixtureFile.read(begun.mixtures)
    columns = {"trial": [], "step": [], **{f"r_{name}": [] for name in NAMES}}
    columns |= {f"loss_{name}": [] for name in NAMES}
    trials, seeds = (asked.columns[name].to_pylist() for name in ("trial", "seed"))
    for trial, seed, shares in zip(trials, seeds, asked.proportions, strict=True):
        mixture = Mixture.from_array(asked.domains, shares)
        for step in steps if trial in only else ():
            columns["trial"].append(trial)
            columns["step"].append(step)
            for name, loss in losses(mixture, int(seed), step).items():
                columns[f"r_{name}"].append(mixture.as_dict()[name])
                columns[f"loss_{name}"].append(loss * factor)
    write_columns(path, {name: pa.array(values) for name, values in columns.items()})
    return path


def test_a_result_replaces_the_nan_that_was_recorded_before_and_points_of_the_failed_attempt(
    begun, tmp_path
):
    call("propose", begun.sweep, "--count", 3, "-o", begun.mixtures)
    part = table(begun, tmp_path / "part.csv", ["t0001"], steps=STEPS[:1], factor=1.5)
    call("record", begun.folder, part)
    lost = table(begun, tmp_path / "lost.csv", ["t0001", "t0002"], factor=math.nan)
    said = call("record", begun.folder, lost)
    assert "t0001 is recorded as failed" in said
    assert states(replay(begun.folder))["t0001"] == "failed"
    good = table(begun, tmp_path / "good.csv", ["t0000", "t0001"])
    said = call("record", begun.folder, good)
    assert "6 new points; newly finished trials: 2" in said
    assert "recorded as failed before, replaced by these losses: t0001" in said
    history = replay(begun.folder)
    assert states(history) == {"t0000": "finished", "t0001": "finished", "t0002": "failed"}
    assert history.state.trials["t0001"].points.keys() == set(STEPS)
    assert "0 new points" in call("record", begun.folder, good)
    call("record", begun.folder, lost, code=1)  # what is finished stays so
    with pytest.raises(TableError, match="nan for trial t0001, which is recorded as finished"):
        offline.record(str(begun.folder), lost)


def test_failed_trials_are_listed_again_on_request_and_the_sweep_ends_with_all_of_its_budget(
    begun, tmp_path
):
    call("propose", begun.sweep, "--count", 7, "-o", begun.mixtures)
    trials = [f"t{number:04d}" for number in range(7)]
    call("record", begun.folder, table(begun, tmp_path / "a.csv", trials[1:], factor=math.nan))
    call("record", begun.folder, table(begun, tmp_path / "b.csv", trials[:1]))
    said = call("propose", begun.folder, "--count", 9, "-o", begun.mixtures, code=1)
    assert "1 of 7 trials finished, too few for a law; train the failed ones again" in said
    assert "--count 0 --retry-failed all" in said
    listing = ("--count", 0, "--retry-failed", "all", "-o", begun.mixtures)
    call("propose", begun.folder, *listing)
    assert MixtureFile.read(begun.mixtures).columns["trial"].to_pylist() == trials[1:]
    for _ in range(3):
        open_trials = MixtureFile.read(begun.mixtures).columns["trial"].to_pylist()
        call("record", begun.folder, table(begun, tmp_path / "c.csv", open_trials))
        if replay(begun.folder).complete:
            break
        call("propose", begun.folder, "--count", 9, "-o", begun.mixtures)
    history = replay(begun.folder)
    assert history.complete
    assert set(states(history).values()) == {"finished"}


def test_a_result_that_comes_after_the_end_is_kept_and_the_recipe_written_anew(begun, tmp_path):
    call("propose", begun.sweep, "--count", 7, "-o", begun.mixtures)
    first = begun.mixtures.read_text()
    lost = ["t0003"]
    call("record", begun.folder, table(begun, tmp_path / "a.csv", lost, factor=math.nan))
    others = [f"t{number:04d}" for number in range(7) if number != 3]
    call("record", begun.folder, table(begun, tmp_path / "b.csv", others))
    call("propose", begun.folder, "--count", 99, "-o", begun.mixtures)
    trials = MixtureFile.read(begun.mixtures).columns["trial"].to_pylist()
    call("record", begun.folder, table(begun, tmp_path / "c.csv", trials))
    assert "t0003" in Recipe.read(begun.folder / "RECIPE.json").excluded
    begun.mixtures.write_text(first)
    call("record", begun.folder, table(begun, tmp_path / "d.csv", lost))
    assert "t0003" not in Recipe.read(begun.folder / "RECIPE.json").excluded
    assert replay(begun.folder).complete


def test_losses_recorded_before_the_failure_do_not_replace_it_and_a_complete_sweep_stays_complete(
    begun, tmp_path
):
    call("propose", begun.sweep, "--count", 7, "-o", begun.mixtures)
    part = table(begun, tmp_path / "part.csv", ["t0003"], steps=STEPS[:1])
    call("record", begun.folder, part)
    call("record", begun.folder, table(begun, tmp_path / "a.csv", ["t0003"], factor=math.nan))
    others = [f"t{number:04d}" for number in range(7) if number != 3]
    call("record", begun.folder, table(begun, tmp_path / "b.csv", others))
    call("propose", begun.folder, "--count", 99, "-o", begun.mixtures)
    trials = MixtureFile.read(begun.mixtures).columns["trial"].to_pylist()
    call("record", begun.folder, table(begun, tmp_path / "c.csv", trials))
    assert replay(begun.folder).complete
    assert "replaced" not in call("record", begun.folder, part)
    history = replay(begun.folder)
    assert history.complete
    assert states(history)["t0003"] == "failed"


def test_trials_tried_again_reopen_the_end_and_the_confirmation_trials_it_ends_are_named(tmp_path):
    folder = tmp_path / "sweep"
    actor = open_sweep(folder, config(8))
    for number in range(8):
        if number == 4:
            start_and_fail(actor, number, "diverged")
        else:
            train(actor, actor.propose(f"t{number:04d}"))
    assert actor.propose("t0008") is None
    lost, running = actor.final([]).trial, None
    actor.abandon(lost, "ImportError: no module named trainer")
    running = actor.final([lost]).trial
    wanted = actor.retriable("all")
    assert wanted == ["t0004", lost]
    assert actor.retry([lost, "t0004"]) == ["t0004"]
    assert any(
        f"confirmation trials {running} are ended" in line for line in actor.snapshot().lines
    )
    run(actor)
    actor.close()
    history = replay(folder)
    assert history.complete
    assert set(states(history).values()) == {"finished"}


def record_together(folder, tables, environment=None):
    """`record` in one process for each table, all at once; what each said."""
    code = "import sys; from bimix_sweep.cli import app; app(['record', *sys.argv[1:]])"
    tasks = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(folder), str(path)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for path in tables
    ]
    said = [task.communicate(timeout=500)[0] for task in tasks]
    assert [task.returncode for task in tasks] == [0] * len(tasks), said
    return said


def test_six_tasks_of_an_array_record_at_once_and_all_six_are_recorded(begun, tmp_path):
    call("propose", begun.sweep, "--count", 6, "-o", begun.mixtures)
    trials = [f"t{number:04d}" for number in range(6)]
    tables = [table(begun, tmp_path / f"{trial}.csv", [trial]) for trial in trials]
    said = record_together(begun.folder, tables)
    assert states(replay(begun.folder)) == dict.fromkeys(trials, "finished")
    assert any("waiting for another process that uses" in words for words in said)


def test_tasks_that_record_at_once_in_a_bucket_wait_for_each_other(begun, tmp_path, object_store):
    place = object_store()
    call("propose", begun.sweep, "--count", 3, "-o", begun.mixtures, "--out", place)
    trials = [f"t{number:04d}" for number in range(3)]
    tables = [table(begun, tmp_path / f"{trial}.csv", [trial]) for trial in trials]
    record_together(place, tables)
    assert states(replay(place)) == dict.fromkeys(trials, "finished")
