"""Embedded Ray: no memory for a worker, a trial that hangs, a daemon that dies; and its doors."""

import contextlib
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import yaml

from bimix_sweep.sweep.history.rebuilding import replay
from tests.support.faults import free_ports, kill, mentioning

pytestmark = pytest.mark.cluster
PATIENCE = 400
"""Seconds for what takes twenty on two quiet cores."""
ROOM_BYTES, APPETITE_BYTES = 3 << 30, 5 << 30
TRAINER = """
import ctypes, os, time
from pathlib import Path
here = Path(__file__).parent

def once(context, what):
    mark = context.checkpoint_dir / what
    first = not mark.exists()
    mark.touch()
    return first

def train(mixture, report, context):
    if context.trial == "t0001" and (here / "eats").exists() and not once(context, "ate"):
        (here / "eats").unlink()  # this trial was ended for its memory
    elif context.trial == "t0001" and (here / "eats").exists():
        eaten = []
        for _ in range({appetite} >> 26):
            eaten.append(b"x" * (1 << 26))
            time.sleep(.02)
        time.sleep(600)
    for number, step in enumerate(context.eval_steps):
        level = 8 * step ** -.45 + 2
        report(step, {{n: (mixture[n] + .03) ** -need * level for n, need in (("web", .1), \
("code", .16))}})
        while context.trial == "t0000" and (here / "waits").exists():
            time.sleep(.05)
        while context.trial == "t0002" and (here / "eats").exists():
            time.sleep(.05)  # Ray may end this trial instead, as often as it likes
        if number == 2 and context.trial == "t0002" and (here / "hangs").exists() and \
once(context, "hung"):
            (here / "hung.pid").write_text(str(os.getpid()))
            ctypes.PyDLL(None).sleep(10_000)  # no thread of this process can run Python meanwhile
"""


@pytest.fixture
def place(tmp_path, ray_environment):
    """A folder with a configuration and its trainer, and the environment."""
    (tmp_path / "faulty.py").write_text(TRAINER.format(appetite=APPETITE_BYTES))
    config = {
        "domains": {"web": {}, "code": {}},
        "trainer": "faulty:train",
        "budget": {"trials": 4},
        "proxy": {"steps": 100},
        "resources": {"slots": 2, "max_silence": 15},
    }
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(config))
    return tmp_path, ray_environment


@pytest.fixture
def command(place):
    """Starts bimix-sweep; whatever still runs at the end of the test is killed."""
    folder, environment = place
    started = []

    def start(*words, **variables):
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("bimix-sweep")), *map(str, words)],
            cwd=folder,
            env=environment | variables,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stderr.close()


def ended(process, code):
    try:
        said = process.communicate(timeout=PATIENCE)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(f"no end in {PATIENCE} s; it said: {process.communicate()[1][-2000:]}")
    assert process.returncode == code, said
    return said


def until(process, found):
    deadline = time.monotonic() + PATIENCE
    while not (answer := found()):
        assert process.poll() is None, process.communicate()[1][-2000:]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return answer


def recorded_of_first(folder):
    """Something was recorded of a trial."""
    segments = (folder / "journal").glob("*.jsonl")
    return any('"kind":"point","trial":"t0000"' in segment.read_text() for segment in segments)


def family(pid):
    """Ids of all living processes below this one."""
    below = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            below.setdefault(parent, []).append(int(entry.name))
    found, ahead = [], [pid]
    while ahead:
        found += (children := below.get(ahead.pop(), []))
        ahead += children
    return found


def words_of(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    return [""]


def listening(pids):
    """Addresses on which these processes listen, as /proc/net spells them."""
    sockets = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for file in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    sockets.add(str(file.readlink()))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in sockets:
                found.add(words[1].partition(":")[0])
    return found


def memory_bytes():
    """Of this machine: all, and what a process could still get."""
    said = Path("/proc/meminfo").read_text()
    return [
        int(re.search(rf"{name}: +(\d+)", said)[1]) << 10 for name in ("MemTotal", "MemAvailable")
    ]


def open_to_others(top):
    """What another user could reach and change, or connect to, below a folder."""
    found, ahead = [], [top]
    while ahead:
        for path in ahead.pop().iterdir():
            with contextlib.suppress(FileNotFoundError):
                mode = path.lstat().st_mode
                if stat.S_ISLNK(mode):
                    continue
                if mode & 0o022 or stat.S_ISSOCK(mode):
                    found.append(f"{stat.filemode(mode)} {path}")
                elif stat.S_ISDIR(mode) and mode & 0o011:  # else nobody else can enter it
                    ahead.append(path)
    return found


def test_what_another_user_and_another_machine_can_reach_of_embedded_ray(place, command):
    folder, environment = place
    (folder / "waits").touch()
    top = Path(environment["TMPDIR"])
    others = {str(path) for path in top.iterdir()}  # clusters of other tests, by Ray's own command
    process = command("run", "sweep.yaml", "--out", "sweep")
    until(process, lambda: recorded_of_first(folder / "sweep"))
    (ours,) = (path.parent for path in top.glob("bimix-*/embedded-ray.lock"))
    assert any(path.is_socket() for path in ours.rglob("*"))
    assert stat.S_IMODE(ours.stat().st_mode) == 0o700
    assert [line for line in open_to_others(top) if line.split()[1] not in others] == []
    relatives = [process.pid, *family(process.pid)]
    assert sum("ray::" in words_of(pid)[0] for pid in relatives) >= 2
    loopback = {"0100007F", "0" * 16 + "FFFF0000" + "0100007F"}
    addresses = listening(relatives)
    assert addresses
    assert addresses <= loopback
    process.send_signal(signal.SIGTERM)
    said = ended(process, 130)
    assert "stopped; go on with" in said


def test_a_sweep_goes_past_a_worker_without_memory_and_a_trial_that_hangs(place, command):
    folder, _ = place
    total, available = memory_bytes()
    (folder / "hangs").touch()
    variables = {}
    if available > 2 * APPETITE_BYTES:
        (folder / "eats").touch()
        variables = {
            "RAY_memory_usage_threshold": f"{1 - (available - ROOM_BYTES) / total:.4f}",
            "RAY_memory_monitor_refresh_ms": "100",
        }
    said = ended(command("run", "sweep.yaml", "--out", "sweep", **variables), 0)
    history = replay(folder / "sweep")
    assert history.complete
    assert {record.state for record in history.state.trials.values()} == {"finished"}
    assert len(history.starts["t0002"]) >= 2
    assert "t0002 reported nothing for 15 s (resources.max_silence)" in said
    assert not Path("/proc", (folder / "hung.pid").read_text()).exists()
    assert "Traceback" not in said
    if not variables:
        pytest.skip(f"the memory monitor was left out: it needs {2 * APPETITE_BYTES} bytes free")
    assert len(history.starts["t0001"]) >= 2


@pytest.fixture
def cluster(place):
    """Address of a head that `ray start` left to itself, and a function that kills a daemon."""
    _, environment = place
    folder = Path(tempfile.mkdtemp(prefix="h-", dir=environment["TMPDIR"]))
    (port,) = free_ports(1)
    quick = {  # the head counts a node as dead after two seconds instead of 15
        "RAY_health_check_initial_delay_ms": "500",
        "RAY_health_check_period_ms": "500",
        "RAY_health_check_timeout_ms": "1000",
        "RAY_health_check_failure_threshold": "2",
    }
    words = (
        f"start --head --port={port} --node-ip-address=127.0.0.1 --num-cpus=2 "
        f"--include-dashboard=false --object-store-memory=80000000 --temp-dir={folder} "
        "--disable-usage-stats"
    )
    subprocess.run(
        [Path(sys.executable).with_name("ray"), *words.split()],
        env=environment | quick,
        check=True,
        capture_output=True,
    )

    def strike(name):
        found = [p for p, line in mentioning(str(folder)).items() if f"/{name} " in line]
        kill(found)
        assert len(found) == 1

    yield f"127.0.0.1:{port}", strike
    kill([*mentioning(str(folder))])


def failure(process):
    """The one error line of a driver that ends by itself."""
    said = ended(process, 1)
    assert "Traceback" not in said
    (line,) = (line for line in said.splitlines() if line.startswith("error: "))
    return line


@pytest.mark.parametrize("name", ["gcs_server", "raylet"])
def test_a_dead_daemon_of_ray_ends_the_driver_with_one_line(place, command, name):
    folder, _ = place
    (folder / "waits").touch()
    process = command("run", "sweep.yaml", "--out", "sweep")
    until(process, lambda: recorded_of_first(folder / "sweep"))
    (daemon,) = (pid for pid in family(process.pid) if words_of(pid)[0].endswith(f"/{name}"))
    os.kill(daemon, signal.SIGKILL)
    assert failure(process) == (
        f"error: Ray's process {name} on this machine died; what was acknowledged is in the "
        f"journal, go on with: bimix-sweep resume {folder / 'sweep'}"
    )


def test_a_dead_node_of_a_clusters_driver_ends_it_with_one_line_and_resume_goes_on(
    place, command, cluster
):
    (folder, _), (address, strike) = place, cluster
    (folder / "waits").touch()
    process = command("run", "sweep.yaml", "--out", "sweep", "--address", address)
    until(process, lambda: recorded_of_first(folder / "sweep"))
    strike("raylet")
    assert failure(process) == (
        f"error: the node of this machine in the Ray cluster at {address} died; what was "
        f"acknowledged is in the journal, go on with: bimix-sweep resume {folder / 'sweep'}"
    )
    recorded = {
        trial: dict(record.points)
        for trial, record in replay(folder / "sweep").state.trials.items()
    }
    assert recorded["t0000"]
    (folder / "waits").unlink()
    ended(command("resume", "sweep"), 0)
    history = replay(folder / "sweep")
    assert history.complete
    for trial, points in recorded.items():
        assert points.items() <= history.state.trials[trial].points.items()
