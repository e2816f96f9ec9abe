"""Signals at every moment of a driver: it is gone within seconds, and its last words say how to go
on.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.cluster
SCRIPT = Path(__file__).resolve().parents[2] / "support" / "planted_sweep.py"
PATIENCE = 240
STUCK = """
import os, signal, sys, time
from rich.console import Console
from bimix_sweep.sweep.cluster import signals as interrupt
from bimix_sweep.sweep.views.terminal import Progress

interrupt.LATEST_SECONDS = 0.5
progress = Progress(Console(stderr=True, force_terminal=False))
with interrupt.stoppable(progress, lambda: "go on as before") as stop, stop.loop():
    signal.signal(signal.SIGTERM, lambda *_: None)  # another handler took the signal over, \
as Ray's does
    print("ready", flush=True)
    while True:
        time.sleep(0.1)  # and no safe point comes
"""
FAILING = """
import signal, sys, threading, time
from rich.console import Console
from bimix_sweep.errors import SweepError
from bimix_sweep.sweep.cluster import signals as interrupt
from bimix_sweep.sweep.views.terminal import Progress

interrupt.LATEST_SECONDS = 0.5
progress = Progress(Console(stderr=True, force_terminal=False))
try:
    with interrupt.stoppable(progress, lambda: "go on as asked") as stop, stop.loop():
        threading.Thread(target=stop.fail, args=(SweepError("the raylet died; \
go on as before"),)).start()
        while True:
            time.sleep(0.05)
            {waits}
except SweepError as error:
    sys.exit(f"error: {{error}}")
"""
LOSING = """
import os, signal, sys
from rich.console import Console
from bimix_sweep.errors import SweepError
from bimix_sweep.sweep.cluster import signals as interrupt
from bimix_sweep.sweep.views.terminal import Progress

progress = Progress(Console(stderr=True, force_terminal=False))
try:
    with interrupt.stoppable(progress, lambda: "go on as before"):
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            pass  # as an import in C loses it
        raise SweepError("what came of going on")
except KeyboardInterrupt:
    sys.exit(130)
"""
PREPARING = """
import sys, time
from pathlib import Path
from rich.console import Console
from bimix_sweep.config import SweepConfig
from bimix_sweep.sweep.api import run_sweep
from bimix_sweep.sweep.views.terminal import Progress

def prepare(config, folder, say):
    print("ready", flush=True)
    time.sleep(60)

config = SweepConfig.parse({"domains": {"a": {"path": "none"}, "b": {"path": "none"}}})
try:
    run_sweep(config, out=sys.argv[1], prepare=prepare, progress=Progress(Console(stderr=True, \
force_terminal=False)))
except KeyboardInterrupt:
    sys.exit(130)
"""


def started(*words, env=None):
    return subprocess.Popen(
        [sys.executable, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        start_new_session=True,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_while_data_are_prepared(tmp_path, number):
    process = started("-c", PREPARING, tmp_path / "runs" / "sweep")
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    said = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 130
    assert said == "stopped; the sweep had not begun, so start it again as before\n"
    assert not (tmp_path / "runs").exists()


def test_right_after_the_first_line(tmp_path):
    (tmp_path / "long.txt").write_text(
        "".join(f"{number} words to be tokenised for many seconds\n" for number in range(1_000_000))
    )
    (tmp_path / "sweep.yaml").write_text(
        "name: pile\ndomains: {a: {path: long.txt}, b: {path: long.txt}}\n"
    )
    process = started(
        "-c",
        "from bimix_sweep.cli import app; app()",
        "run",
        tmp_path / "sweep.yaml",
        "--out",
        tmp_path / "runs" / "sweep",
    )
    assert process.stderr.readline() == f"pile: starting in {tmp_path}/runs/sweep\n"
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 130
    assert said.endswith("stopped before the sweep began; start it again with the same command\n")
    assert not (tmp_path / "runs").exists()


def test_a_driver_that_reaches_no_safe_point_leaves_all_the_same():
    process = started("-c", STUCK)
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    said = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 130
    assert said == "stopped; go on as before\n"


@pytest.mark.parametrize("safe_point", [True, False])
def test_what_ended_the_work_is_the_last_word_with_a_safe_point_and_without(safe_point):
    """As when a daemon of Ray dies: another thread says so, and the main one may be in a call that
    does not return.
    """
    waits = "stop.check()" if safe_point else "pass"
    process = started("-c", FAILING.format(waits=waits))
    said = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 1
    assert said == "error: the raylet died; go on as before\n"


def wait_for(path, process):
    deadline = time.monotonic() + PATIENCE
    while not any(path.parent.glob(path.name)):
        assert time.monotonic() < deadline
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.05)
            pytest.fail(process.communicate()[1])


@pytest.fixture
def temporary():
    """A place for Ray's sockets, whose paths must be short."""
    folder = Path(tempfile.mkdtemp(prefix="bimix-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("moment", ["Ray starts", "the journal begins"])
def test_while_ray_starts_and_later_a_signal_to_the_whole_group_ends_it_and_leaves_no_process(
    tmp_path, temporary, ray_environment, moment
):
    folder = tmp_path / "sweep"
    process = started(
        SCRIPT, "run", folder, "--pause", "0.2", env=ray_environment | {"TMPDIR": str(temporary)}
    )
    wait_for(
        temporary / "bimix-*" if moment == "Ray starts" else folder / "journal" / "*.jsonl", process
    )
    os.killpg(process.pid, signal.SIGTERM)
    said = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode
    assert said.count(f"stopped; go on with: bimix-sweep resume {folder}") == 1
    deadline = time.monotonic() + 60
    while left := [p for p in Path("/proc").glob("[0-9]*") if _speaks_of(p, str(temporary))]:
        assert time.monotonic() < deadline, left
        time.sleep(0.2)


def _speaks_of(process, place):
    try:
        return place in (process / "cmdline").read_text(errors="replace")
    except OSError:
        return False


def test_a_signal_that_the_code_lost_still_is_what_ended_the_work():
    process = started("-c", LOSING)
    assert process.communicate(timeout=PATIENCE)[1] == "stopped; go on as before\n"
    assert process.returncode == 130
