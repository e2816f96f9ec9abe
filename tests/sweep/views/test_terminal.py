from collections import Counter
from dataclasses import replace
from io import StringIO

from rich.console import Console

from bimix_sweep.sweep.history.snapshot import Snapshot, TrialRow, describe, duration, percent
from bimix_sweep.sweep.views.terminal import Progress, view


def row(trial, state="finished", step=400, role="sweep"):
    return TrialRow(
        trial=trial,
        role=role,
        reason="initial: uniform",
        state=state,
        step=step,
        steps=400,
        objective=3.5 if step else None,
        mixture={"web": 0.4, "code": 0.6},
    )


def snapshot(**changes):
    trials = changes.setdefault("trials", [row("t0000"), row("t0001", "running", 200)])
    lines = changes.setdefault("lines", ["t0000 done", "refit 1: 1 trial"])
    counts = {}
    for one in trials:
        counts.setdefault(one.role, Counter())[one.state] += 1
    fields = {
        "name": "pile",
        "phase": "sweep",
        "steps": 400,
        "counts": counts,
        "max_trials": 12,
        "num_confirmation_trials": 8,
        "optimum": {"web": 0.41, "code": 0.59},
        "region": {"web": (0.3, 0.5), "code": (0.5, 0.7)},
        "regret_expected": 0.001,
        "regret_upper95": 0.003,
        "movement_tv": 0.01,
        "decision": "regret may be 0.300%",
        "elapsed_seconds": 100.0,
        "training_seconds": 30.0,
        "seconds_to_do": 555.0,
        "slots": 2,
        "num_lines": len(lines),
        "epoch": 1,
        "extrapolation": {"size": 35_000.0},
        "not_tested": ["That the order of mixtures holds at 7e9 parameters is assumed."],
    }
    return Snapshot(**(fields | changes))


def drawn(value):
    console = Console(file=StringIO(), width=140, force_terminal=False)
    console.print(view(value))
    return console.file.getvalue()


def test_time_left_is_what_is_still_to_train_over_the_slots_once_a_trial_ended():
    assert snapshot().seconds_left == 555 / 2
    assert snapshot(training_seconds=0.0).seconds_left is None
    assert snapshot(seconds_to_do=None).seconds_left is None


def test_the_view_shows_trials_optimum_region_and_time_left():
    text = drawn(snapshot())
    for part in (
        "pile: sweep, 1 finished, 1 running",
        "t0001",
        "━━━━",
        "web .40 code .60",
        "0.410",
        "0.30-0.50",
        "●",
        "1 min 40 s so far",
        "left",
    ):
        assert part in text
    assert "predicted optimum" not in drawn(snapshot(optimum=None, region={}))


def test_a_terminal_of_80_columns_and_24_rows_cuts_nothing_that_decides():
    mixture = {f"domain-{n:02d}": 1 / 17 for n in range(17)}
    reason = "replicate, regret -3.6e-05"
    rows = [
        replace(row(f"confirm-predicted-{n}"), reason=reason, mixture=mixture) for n in range(12)
    ]
    optimum = mixture | {"domain-00": 0.04, "domain-16": 2 / 17 - 0.04}
    value = snapshot(trials=rows, optimum=optimum, region={})
    console = Console(file=StringIO(), width=80, height=24, force_terminal=False)
    console.print(view(value, (80, 24)))
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    seen = "\n".join(lines[:23])
    for part in (
        "12 finished",
        "left",
        "regret may be 0.300%",
        "domain-16",
        "11 domains with less",
    ):
        assert part in seen, part
    assert "domain-00  0.040" not in seen
    last = next(line for line in lines if line.startswith("confirm-predicted-11"))
    assert lines.index(last) < 23
    for part in (reason, "done", "3.5000"):
        assert part in last, part


def test_elsewhere_than_on_a_terminal_every_line_is_printed_once_and_whole():
    console = Console(file=StringIO(), width=20, force_terminal=False)
    with Progress(console) as progress:
        progress.show(snapshot())
        progress.show(snapshot())
        progress.show(
            snapshot(
                lines=[
                    "t0000 done",
                    "refit 1: 1 trial",
                    "a line that is longer than the console is wide",
                ]
            )
        )
        progress.show(snapshot(lines=["of which only the end is kept"], num_lines=4))
        progress.show(snapshot(lines=["after a restart"], epoch=2))
    assert console.file.getvalue().splitlines() == [
        "t0000 done",
        "refit 1: 1 trial",
        "a line that is longer than the console is wide",
        "of which only the end is kept",
        "after a restart",
    ]


def test_a_sweep_without_trials_is_starting_and_its_name_is_not_said_twice():
    assert drawn(snapshot(trials=[])).startswith("pile: starting")
    assert drawn(snapshot(name="sweep")).startswith("sweep: 1 finished, 1 running")


def test_words():
    assert [percent(share) for share in (0.0, 4.9e-5, 5.1e-5, 0.0123)] == [
        "<0.01%",
        "<0.01%",
        "0.01%",
        "1.23%",
    ]
    assert describe({"web": 1.0, "code": 0.05}) == "web 1.00 code .05"
    assert [duration(s) for s in (48.4, 200, 18_600)] == ["48 s", "3 min 20 s", "5 h 10 min"]


def test_a_log_says_now_and_then_how_far_the_whole_sweep_is(monkeypatch):
    monkeypatch.setattr("bimix_sweep.sweep.views.terminal.SUMMARY_SECONDS", -1.0)
    console = Console(file=StringIO(), width=200, force_terminal=False)
    with Progress(console) as progress:
        progress.show(snapshot())
    assert (
        "pile: sweep, 1 finished, 1 running; 1 min 40 s so far, at most about 4 min"
        in console.file.getvalue()
    )


def test_the_verdict_says_what_no_trial_tested():
    said = drawn(snapshot())
    assert said.index("regret may be") < said.index("holds at 7e9 parameters is assumed")
    assert "7e9 parameters" not in drawn(snapshot(decision=""))
