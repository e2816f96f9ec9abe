"""Trainers that are commands, without Ray: what they are given, what is taken from them, how they
end.
"""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from bimix_sweep.errors import ConfigError, DivergedError, TrainingError, TryAgainError
from bimix_sweep.sweep.trainers import command
from bimix_sweep.sweep.workspace.trial_log import MAX_LINE
from tests.support.attempt import POINT, Attempt, gone


def test_a_command_is_given_the_trial_and_its_points_are_taken(program):
    attempt = program(
        f"json.dump(job, open('seen.json', 'w'))\nprint('hello')\nprint('{{not json')\n"
        f"print('{{\"step\": 3}}')\nprint({POINT!r})",
        final={"tokens": 8e12},
        proxy={"steps": 8, "context": 100, "batch": 10},
        tokenizer="own.json",
    )
    assert attempt.train() == {8: {"web": 2.0, "code": 3.0}}
    seen = json.loads((attempt.folder / "seen.json").read_text())
    assert seen["mixture"] == {"web": 0.25, "code": 0.75}
    assert (seen["steps"], seen["seed"], seen["size"], seen["trial"]) == (8, 7, 2e5, "t0000")
    assert seen["eval_steps"][-1] == 8
    assert seen["domains"]["code"] == {"path": None, "tokens": 1e9, "subsample": 1}
    assert seen["targets"] == {
        name: {"domain": name, "path": None, "unit": "nats_per_token"} for name in ("web", "code")
    }
    assert seen["proxy"] == {"context": 100, "batch": 10}
    assert seen["tokenizer"] == {"path": str(attempt.folder / "own.json"), "end_of_text": None}
    assert seen["checkpoint_dir"] == str(attempt.folder / "checkpoint")
    assert attempt.log == 'hello\n{not json\n{"step": 3}\n'


@pytest.mark.parametrize(
    ("point", "error", "message"),
    [
        (
            '{"step": 8, "losses": {"web": NaN, "code": 1}}',
            DivergedError,
            "loss of web is nan at step 8; need a number between 1e-06 and 1e\\+06",
        ),
        (
            '{"step": 8, "losses": {"web": -1, "code": 1}}',
            DivergedError,
            "loss of web is -1 at step 8",
        ),
        (
            '{"step": 8, "losses": {"web": 1e200, "code": 1}}',
            DivergedError,
            "loss of web is 1e\\+200 at step 8; need a number between",
        ),
        ('{"step": 8, "losses": {"web": "2", "code": 1}}', DivergedError, "loss of web is '2'"),
        (
            '{"step": 8, "losses": {"web": 1}}',
            TrainingError,
            "the point at step 8 has no loss of code; need one of each target: web, code",
        ),
        ('{"step": 8, "losses": [1, 2]}', TrainingError, r"the losses at step 8 are \[1, 2\]"),
        (
            '{"step": 0, "losses": {"web": 1, "code": 1}}',
            TrainingError,
            "a point has step 0; need a whole number from 1 to 8",
        ),
        ('{"step": 9, "losses": {"web": 1, "code": 1}}', TrainingError, "a point has step 9"),
        ('{"step": true, "losses": {"web": 1, "code": 1}}', TrainingError, "a point has step True"),
        (
            '{"step": 7, "losses": {"web": 1, "code": 1}}',
            TrainingError,
            "exited with 0, but its last point is at step 7; need one at step 8",
        ),
        ("nothing", TrainingError, "exited with 0, but it reported no point"),
    ],
)
def test_what_is_no_point_fails_the_trial_in_words_and_ends_the_command(
    program, point, error, message
):
    waits = "" if "exited" in message else "\ntime.sleep(600)"
    with pytest.raises(error, match=message):
        program(f"print({point!r}, flush=True){waits}").train()


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (
            "print('one'); sys.exit('two')",
            TrainingError,
            "the command exited with 1; its last lines: .*two",
        ),
        (
            "print('full'); sys.exit(75)",
            TryAgainError,
            r"asked to be tried again \(exit 75\); its last lines: full",
        ),
        (
            "os.kill(os.getpid(), 9)",
            TrainingError,
            r"was ended by SIGKILL \(out of memory\?\); its last lines: none",
        ),
    ],
)
def test_how_a_command_ends_is_told(program, text, error, message):
    with pytest.raises(error, match=message):
        program(text).train()


def test_long_lines_and_binary_output_go_to_the_log_cut_and_readable(program):
    attempt = program(
        "out = sys.stdout.buffer\nout.write(b'x' * 3_000_000 + b'\\n' + bytes(range(256)) + "
        f"b'\\n')\nout.write({POINT.encode()!r})"
    )
    assert attempt.train() == {8: {"web": 2.0, "code": 3.0}}  # the last line needs no end
    assert "a line of 3000000 bytes was cut; no point is read from it" in attempt.log
    assert max(map(len, attempt.log.splitlines())) < MAX_LINE + 50
    assert "\x1b" not in attempt.log


def test_a_silent_command_is_told_of_a_preemption_and_goes_on_from_what_it_saved(program):
    attempt = program(
        "place = job['checkpoint_dir'] + '/saved'\n"
        "def save(*_):\n    open(place, 'w').write('3')\n    sys.exit(0)\n"
        f"if os.path.exists(place):\n    print({POINT!r})\n    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, save)\nopen('ready', 'w')\ntime.sleep(600)"
    )
    ready = attempt.folder / "ready"
    threading.Thread(
        target=lambda: [None for _ in iter(ready.exists, True)] and attempt.preempted.set(),
        daemon=True,
    ).start()
    with pytest.raises(TryAgainError, match="its node is about to go"):
        attempt.train()
    attempt.preempted.clear()
    assert attempt.train() == {8: {"web": 2.0, "code": 3.0}}


def test_a_command_that_ignores_sigterm_is_killed_after_the_grace_period(program, monkeypatch):
    monkeypatch.setattr(command, "GRACE_SECONDS", 0.3)
    attempt = program(
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nopen('pid', 'w').write(str(os.getpid()))\n"
        "os.rename('pid', 'ready')\ntime.sleep(600)"
    )
    ready = attempt.folder / "ready"
    threading.Thread(
        target=lambda: [None for _ in iter(ready.exists, True)] and attempt.preempted.set(),
        daemon=True,
    ).start()
    with pytest.raises(TryAgainError):
        attempt.train()
    assert gone(int(ready.read_text()))


DETACHED = (
    "import subprocess\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import signal, time; signal.signal(15, "
    "signal.SIG_IGN); time.sleep(600)'],"
    " start_new_session=True)\nopen('part', 'w').write(f'{os.getpid()} {child.pid}')\n"
    "os.rename('part', 'pids')\n"
)


def test_nothing_that_a_command_started_outlives_it_even_in_a_session_of_its_own(program):
    attempt = program(DETACHED + f"print({POINT!r})")
    assert attempt.train() == {8: {"web": 2.0, "code": 3.0}}
    assert all(gone(int(pid)) for pid in (attempt.folder / "pids").read_text().split())


def test_when_the_worker_is_killed_all_of_the_command_ends_and_the_next_attempt_waits_for_it(
    program,
):
    attempt = program(
        "place = job['checkpoint_dir'] + '/saved'\n"
        f"if os.path.exists(place):\n    print({POINT!r}, flush=True)\n    sys.exit(0)\n"
        + DETACHED
        + "def slow(*_):\n    time.sleep(1)\n    open(place, 'w')\n    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, slow)\ntime.sleep(600)"
    )
    worker = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import json, sys\nfrom bimix_sweep.sweep.trainers.command_process import supervise\n"
            "supervise(json.loads(sys.argv[1]), print, print, lambda: False)",
            json.dumps(
                {
                    "command": [sys.executable, "program.py", "{job}"],
                    "folder": str(attempt.folder),
                    "places": {},
                    "grace": 3.0,
                    "job": {"checkpoint_dir": str(attempt.folder / "checkpoint")},
                    "lock": str(attempt.folder / "checkpoint" / command.LOCK),
                }
            ),
        ]
    )
    (attempt.folder / "checkpoint").mkdir()
    pids = attempt.folder / "pids"
    while not pids.exists():
        assert worker.poll() is None
        threading.Event().wait(0.02)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    assert attempt.train() == {
        8: {"web": 2.0, "code": 3.0}
    }  # it saw what the one before saved a second after the kill
    assert all(gone(int(pid)) for pid in pids.read_text().split())


def test_a_program_that_is_not_there_is_said_before_anything_starts(tmp_path):
    with pytest.raises(
        ConfigError, match=r"trainer\.command 'no-such-program' is no program that can be run"
    ):
        Attempt(tmp_path, {"command": ["no-such-program", "{job}"]})
    with pytest.raises(ConfigError, match=r"trainer\.folder .*/away is no folder"):
        Attempt(tmp_path, {"command": [sys.executable, "{job}"], "folder": "away"})
