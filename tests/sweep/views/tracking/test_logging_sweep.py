"""Runs of a sweep are sent once, whatever the tracker does meanwhile."""

import itertools
import json
import os
import time

import pytest

from bimix_sweep.errors import SweepError
from bimix_sweep.export.recipe import Recipe
from bimix_sweep.file_lock import lock
from bimix_sweep.sweep.history.rebuilding import replay
from bimix_sweep.sweep.views.tracking import logging_sweep
from bimix_sweep.sweep.views.tracking.logging_sweep import (
    SweepLogger,
    TrackerError,
    log_once,
    log_while_running,
)
from bimix_sweep.sweep.views.tracking.runs import SweepRuns
from tests.support.in_process import STEPS, config, losses, open_sweep, run, train
from tests.support.trackers import CONFIG, Recorder


@pytest.fixture
def tracker(monkeypatch):
    """A tracker in memory, whatever the configuration says."""
    recorder = Recorder()
    monkeypatch.setattr(logging_sweep, "connect", recorder.connect)
    return recorder


@pytest.fixture
def no_pauses(monkeypatch):
    monkeypatch.setattr(logging_sweep, "_wait", lambda seconds, stopped: None)


def logger(folder):
    return SweepLogger(str(folder), "mlflow", CONFIG)


def log(folder, said=None):
    return log_once(str(folder), "mlflow", CONFIG, (said if said is not None else []).append)


def test_each_trial_is_a_run_with_its_mixture_reason_curve_and_state(tmp_path, tracker):
    actor, logs = open_sweep(tmp_path, config()), logger(tmp_path)
    first = actor.propose("t0000")
    actor.start("t0000", "here")
    actor.record("t0000", 100, losses(first.mixture, first.seed, 100))
    logs.send()
    shown = tracker.named("t0000")
    assert (shown.state, [row.step for row in shown.rows]) == ("running", [100])
    second = actor.propose("t0001")
    actor.abandon("t0001", "the loss of web is nan")
    train(actor, first)
    logs.send()
    shown = tracker.named("t0000")
    assert (shown.state, shown.settings["reason"]) == ("finished", first.reason)
    for name, proportion in first.mixture.as_dict().items():
        assert shown.settings[f"proportion/{name}"] == proportion
    for row, step in zip(shown.rows, STEPS, strict=True):
        measured = losses(first.mixture, first.seed, step)
        assert (row.step, row.values["tokens"]) == (step, step * 128 * 8)
        assert row.values["objective"] == pytest.approx(sum(measured.values()) / 3)
        assert {
            f"loss/{name}": loss for name, loss in measured.items()
        }.items() <= row.values.items()
    failed = tracker.named("t0001")
    assert (failed.state, failed.summary["failure"]) == ("failed", "the loss of web is nan")
    assert failed.settings["seed"] == str(second.seed)
    actor.close()


def test_the_run_of_the_sweep_has_a_row_for_each_refit_and_the_recipe(finished, tracker):
    recipe = Recipe.read(finished / "RECIPE.json")
    assert log(finished) == len(tracker.runs)
    shown, history = tracker.named("sweep"), replay(finished)
    refits = [refit for refit in history.refits if refit.optimum is not None]
    assert refits
    for row, refit in zip(shown.rows, refits, strict=True):
        assert row.values["trials"] == refit.num_trials
        assert row.values["optimum/web"] == refit.optimum.mixture["web"]
        low, high = refit.optimum.interval["web"]
        assert (row.values["interval_low/web"], row.values["interval_high/web"]) == (low, high)
        assert row.values["regret_expected"] == refit.decision.regret_expected
        assert row.values["law_error/web"] == refit.law.error["web"]
    assert shown.summary["recommended/web"] == recipe.proportions["web"]
    assert [path.rpartition("/")[2] for path in shown.files] == ["RECIPE.json", "report.html"]
    assert set(history.state.trials) == {run.name for run in tracker.runs.values()} - {"sweep"}


def test_a_finished_sweep_is_sent_once_and_again_where_the_place_is_another(finished, tracker):
    assert log(finished) > 0
    ids = set(tracker.runs)
    assert (log(finished), len(tracker.calls)) == (0, len(ids))
    tracker.place = "elsewhere"
    assert (log(finished), set(tracker.runs)) == (len(ids), ids)


def test_a_sweep_that_goes_on_goes_on_in_its_runs(tmp_path, tracker):
    actor, said = open_sweep(tmp_path, config(trials=8)), []
    run(actor, 3)
    assert log(tmp_path, said) == 4
    assert "not complete" in said[0]
    run(actor, 2)
    actor.close()
    before = set(tracker.runs)
    assert log(tmp_path) == 3  # the sweep itself and two trials
    assert len(tracker.runs) == len(before) + 2


def test_a_trial_that_begins_anew_is_another_run(tmp_path, tracker):
    actor, logs = open_sweep(tmp_path, config()), logger(tmp_path)
    first = actor.propose("t0000")
    actor.start("t0000", "here")
    actor.record("t0000", 100, losses(first.mixture, first.seed, 100))
    actor.abandon("t0000", "ImportError")
    logs.send()
    actor.retry(["t0000"])
    train(actor, first)
    logs.send()
    actor.close()
    assert (tracker.named("t0000").state, len(tracker.named("t0000").rows)) == ("failed", 1)
    assert tracker.named("t0000 (attempt 2)").state == "finished"


def test_a_tracker_that_fails_gets_the_rest_later_and_credentials_are_not_told(
    finished, tracker, monkeypatch
):
    monkeypatch.setenv("TEAM_TOKEN", "hush-hush")
    tracker.failures = iter([None, None, ValueError("http://me:pass@h is gone, hush-hush\nmore")])
    with pytest.raises(SweepError) as raised:
        log(finished)
    assert str(raised.value) == (
        "mlflow did not take the sweep: ValueError: http://me:***@h is gone, ***"
    )
    assert len(tracker.runs) == 2
    log(finished)
    sent = [run for run in tracker.calls if run.kind == "trial"]
    assert len(sent) == len({run.id for run in sent})
    assert {run.name for run in sent} == set(replay(finished).state.trials)


def test_a_tracker_that_hangs_counts_as_down(tmp_path, tracker, monkeypatch):
    monkeypatch.setattr(logging_sweep, "ANSWER_SECONDS", 0.1)
    open_sweep(tmp_path, config()).close()
    tracker.failures = iter([lambda: time.sleep(60)])
    with pytest.raises(TrackerError, match=r"TimeoutError: no answer in 0\.1 s"):
        logger(tmp_path).send()


def test_an_outage_is_told_once_and_its_end(finished, tracker, no_pauses):
    tracker.failures = itertools.chain([None], [OSError("no route")] * 5)
    said = []
    log_while_running(str(finished), "mlflow", CONFIG, lambda *t: said.append(t), lambda: False)
    assert said == [
        ("logging to mlflow fails (OSError: no route); it is tried again", True),
        ("logging to mlflow works again, and nothing is missing", False),
    ]
    assert {run.name for run in tracker.runs.values()} == {"sweep", *replay(finished).state.trials}
    assert tracker.num_closed == 6


def test_storage_that_fails_is_read_again(finished, tracker, no_pauses, monkeypatch):
    poll, failures, said = SweepRuns.poll, iter([OSError("s3 is away")] * 3), []

    def fail_first(runs):
        for failure in failures:
            raise failure
        poll(runs)

    monkeypatch.setattr(SweepRuns, "poll", fail_first)
    log_while_running(str(finished), "mlflow", CONFIG, lambda *t: said.append(t), lambda: False)
    assert [fails for _, fails in said] == [True, False]
    assert len(tracker.runs) == len(replay(finished).state.trials) + 1


def test_pauses_grow(finished, tracker, monkeypatch):
    waited = []
    monkeypatch.setattr(logging_sweep, "_wait", lambda seconds, stopped: waited.append(seconds))
    tracker.failures = iter([OSError("no route")] * 8)
    log_while_running(str(finished), "mlflow", CONFIG, lambda *told: None, lambda: False)
    assert waited == [5, 10, 20, 40, 80, 160, 300, 300]


def test_one_process_logs_a_sweep_to_a_tracker(tmp_path, tracker):
    open_sweep(tmp_path, config()).close()
    log(tmp_path)
    held = lock(tmp_path / "tracking" / "mlflow.lock")
    with (
        os.fdopen(held, "rb"),
        pytest.raises(SweepError, match=r"logged to mlflow already \(process"),
    ):
        log(tmp_path)
    log(tmp_path)


def test_a_folder_without_a_sweep_is_refused_and_stays_empty(tmp_path, tracker):
    with pytest.raises(SweepError, match="holds no sweep"):
        log(tmp_path / "typo")
    assert not (tmp_path / "typo").exists()


@pytest.mark.parametrize("content", ["", "[]", '{"place": "memory"}', '{"place": 1, "runs": {}}'])
def test_a_damaged_record_only_costs_a_repetition(tmp_path, tracker, content):
    open_sweep(tmp_path, config()).close()
    (tmp_path / "tracking").mkdir()
    (tmp_path / "tracking" / "mlflow.json").write_text(content)
    assert log(tmp_path) == 1


def test_the_record_names_the_runs_that_have_ended(tmp_path, tracker):
    actor = open_sweep(tmp_path, config())
    run(actor, 2)
    actor.propose("t0002")
    actor.close()
    log(tmp_path)
    record = json.loads((tmp_path / "tracking" / "mlflow.json").read_text())
    assert record["place"] == "memory"
    assert set(record["runs"]) == {tracker.named(name).id for name in ("t0000", "t0001")}
