"""Trainers that users bring, on a Ray of two nodes: two cores each, the second with two GPUs that
are only counted.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from bimix_sweep.errors import JournalError
from bimix_sweep.journal.segments import read
from bimix_sweep.mixture.table import LossTable
from bimix_sweep.sweep.history.rebuilding import replay

pytestmark = pytest.mark.cluster
PATIENCE = 240
SECRET = "hidden-value-0123456789"  # noqa: S105
FUNCTION = """
import os
def train(mixture, report, context):
    if context.trial == "t0001":
        raise ValueError("refused with " + os.environ["STORE_API_KEY"])
    if context.trial == "t0002" and not (context.checkpoint_dir / "tried").exists():
        (context.checkpoint_dir / "tried").touch()
        raise OSError("no answer with " + os.environ["STORE_API_KEY"])
    for step in context.eval_steps:
        report(step, {name: (share + .03) ** -need * (8 * step ** -.45 + 2) for (name, share), \
need in zip(mixture.items(), (.1, .16))})
def named(mixture, report, context):
    for step in context.eval_steps:
        report(step, {target: (share + .03) ** -.15 * (8 * step ** -.45 + 2) for target, share in \
zip(sorted(context.targets), mixture.values())})
def sized(mixture, report, context):
    for step in context.eval_steps:
        level = 8 * step ** -.45 + 2 * (context.size / 4e5) ** -.3
        report(step, {name: (mixture[name] + .03) ** -need * level for name, need in (("web", .1), \
("code", .16))})
"""
FULL = """
import errno, os
from pathlib import Path
def train(mixture, report, context):
    if context.trial > "t0000" and not Path(__file__).with_name("room").exists():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    for step in context.eval_steps:
        report(step, {name: (share + .03) ** -need * (8 * step ** -.45 + 2) for (name, share), \
need in zip(mixture.items(), (.1, .16))})
"""
BROKEN = """
from pathlib import Path
def train(mixture, report, context):
    if not Path(__file__).with_name("mended").exists():
        import a_library_that_this_node_lacks
    for step in context.eval_steps:
        report(step, {name: (share + .03) ** -need * (8 * step ** -.45 + 2) for (name, share), \
need in zip(mixture.items(), (.1, .16))})
"""
PROGRAM = """
import json, os, signal, subprocess, sys, time
from pathlib import Path
path, rank, nodes, master, port = sys.argv[1:]
job = json.loads(Path(path).read_text())
here = Path(job["checkpoint_dir"])
def said(text):
    with open(Path(__file__).with_name("said.log"), "a") as log:
        log.write(f"{job['trial']} rank {rank} of {nodes} at {master}: {text}\\n")
def stop(*_):
    said("told to stop")
    (here / "saved").touch()
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("key", os.environ["STORE_API_KEY"])
if rank != "0":
    said("begins")
    (here / "added").touch()
    sys.exit(0)
while nodes != "1" and not (here / "added").exists():
    time.sleep(.05)
said("goes on" if (here / "saved").exists() else "begins")
if job["trial"] == "t0000" and not (here / "saved").exists():
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    said(f"pids {os.getppid()} {os.getpid()} {child.pid}")
    time.sleep(600)
for step in job["eval_steps"]:
    losses = {name: (share + .03) ** -need * (8 * step ** -.45 + 2) for (name, share), \
need in zip(job["mixture"].items(), (.1, .16))}
    print(json.dumps({"step": step, "losses": losses}), flush=True)
"""


@pytest.fixture(scope="module")
def ray_environment(ray_environment):
    """A credential in the environment of every node, and so of every worker."""
    return ray_environment | {"STORE_API_KEY": SECRET}


@pytest.fixture(scope="module")
def second_node(ray_environment, ray_address):
    """Node id of a second node."""
    command = [
        str(Path(sys.executable).with_name("ray")),
        "start",
        "--block",
        f"--address={ray_address}",
        "--num-cpus=2",
        "--num-gpus=2",
        "--object-store-memory=100000000",
        "--node-ip-address=127.0.0.2",
        "--disable-usage-stats",
    ]
    node = subprocess.Popen(
        command, env=ray_environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    asked = (
        "import ray, sys; ray.init(sys.argv[1], log_to_driver=False); print(*[n['NodeID'] for n in "
        "ray.nodes() if n['Alive'] and n['Resources'].get('GPU')])"
    )
    deadline = time.monotonic() + PATIENCE
    found = ""
    while not found and time.monotonic() < deadline:
        assert node.poll() is None
        found = subprocess.run(
            [sys.executable, "-c", asked, ray_address],
            env=ray_environment,
            capture_output=True,
            text=True,
            check=False,
        ).stdout.strip()
    assert found
    yield found
    node.send_signal(signal.SIGTERM)
    node.wait(timeout=60)


@pytest.fixture
def sweep(tmp_path, ray_environment, ray_address):
    """Starts `bimix-sweep run` on a configuration; what still runs at the end is killed."""
    started = []

    def start(**config):
        content = {
            "domains": {"web": {}, "code": {}},
            "proxy": {"steps": 64},
            "budget": {"trials": 6},
            "out": str(tmp_path / "out"),
        } | config
        (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(content))
        (tmp_path / "trainer_on_ray.py").write_text(FUNCTION)
        (tmp_path / "program.py").write_text(PROGRAM)
        process = subprocess.Popen(
            [
                str(Path(sys.executable).with_name("bimix-sweep")),
                "run",
                str(tmp_path / "sweep.yaml"),
                "--address",
                ray_address,
            ],
            env=ray_environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=tmp_path,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def until(process, what, found):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(JournalError, OSError):
            if answer := found():
                return answer
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.05)
            pytest.fail(
                f"the driver ended with {process.returncode} before {what}: "
                f"{process.communicate()[0][-3000:]}"
            )
    process.kill()
    pytest.fail(f"not in {PATIENCE} s: {what}; it said {process.communicate()[0][-3000:]}")


def ended(folder):
    return {
        event["trial"]: event for event in read(folder / "journal").events if event["kind"] == "end"
    }


def holds_no_secret(folder):
    return [
        str(path)
        for path in folder.rglob("*")
        if path.is_file() and SECRET.encode() in path.read_bytes()
    ] == []


def test_a_function_trains_a_whole_sweep_and_its_credentials_stay_out(tmp_path, sweep):
    process = sweep(trainer="trainer_on_ray:train")
    said = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 0, said
    history = replay(str(tmp_path / "out"))
    assert history.complete
    assert {
        name: record.failure
        for name, record in history.state.trials.items()
        if record.state == "failed"
    } == {"t0001": "ValueError: refused with ***"}
    assert len(history.starts["t0002"]) == 2  # OSError: tried again
    assert "refused with ***" in (tmp_path / "out" / "logs" / "t0001.log").read_text()
    assert holds_no_secret(tmp_path / "out")
    assert SECRET not in said


def test_any_printable_name_goes_through_tune_optuna_journal_page_and_tables(tmp_path, sweep):
    domains = sorted(
        ["dolma/books", "Dolma/books", "../up", '<b>"q", a</b>', "c:\\d=[e] é", "1e3"]
    )  # as the configuration's writer sorts them
    targets = sorted(["eval/paloma/c4", "Eval/paloma/c4", "x,y;z", ".hidden", "'", "step"])
    process = sweep(
        domains={name: {} for name in domains},
        targets={name: {} for name in targets},
        budget={"trials": 8},
        trainer="trainer_on_ray:named",
    )
    said = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 0, said
    out = tmp_path / "out"
    history = replay(str(out))
    assert history.complete
    assert {record.state for record in history.state.trials.values()} == {"finished"}
    assert [*json.loads((out / "RECIPE.json").read_text())["proportions"]] == domains
    table = LossTable.read(out / "runs.csv")
    assert (table.domains, table.targets) == (tuple(domains), tuple(targets))
    last = table.last_rows()
    level = 8 * table.steps[last] ** -0.45 + 2
    expected = (table.proportions[last] + 0.03) ** -0.15 * level[:, None]
    np.testing.assert_allclose(table.losses[last], expected)
    made = {part for path in tmp_path.rglob("*") for part in path.parts}
    assert not made & {"up", "dolma", "Dolma", "books", "eval", "paloma", "c4"}  # names, no paths
    page = (out / "report.html").read_text()
    assert "&lt;b&gt;&quot;q&quot;, a&lt;/b&gt;" in page
    assert '<b>"q", a</b>' not in page


def test_a_full_disk_fails_no_trial_and_the_sweep_goes_on_when_there_is_room(
    tmp_path, sweep, ray_environment, ray_address
):
    (tmp_path / "on_a_full_disk.py").write_text(FULL)
    process = sweep(trainer="on_a_full_disk:train")
    said = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 1
    assert re.search(
        r"error: t000\d cannot be trained on .* No space left on device\); make room, .* "
        r"bimix-sweep resume",
        said.splitlines()[-1],
    )
    assert [*ended(tmp_path / "out")] == ["t0000"]
    (tmp_path / "room").touch()
    command = [
        str(Path(sys.executable).with_name("bimix-sweep")),
        "resume",
        str(tmp_path / "out"),
        "--address",
        ray_address,
    ]
    subprocess.run(
        command,
        env=ray_environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
        cwd=tmp_path,
    )
    assert {end["state"] for end in ended(tmp_path / "out").values()} == {"finished"}
    assert replay(str(tmp_path / "out")).complete


def test_a_sweep_whose_trainer_was_broken_trains_all_of_its_budget_once_that_is_mended(
    tmp_path, sweep, ray_environment, ray_address
):
    (tmp_path / "broken_trainer.py").write_text(BROKEN)
    process = sweep(trainer="broken_trainer:train")
    said = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 1
    failed = [name for name, end in ended(tmp_path / "out").items() if end["state"] == "failed"]
    assert len(failed) >= 3
    error = " ".join(said[said.index("error: ") :].split())
    assert f"mend the cause and go on with: bimix-sweep resume {tmp_path / 'out'}" in error
    (tmp_path / "mended").touch()
    command = [
        str(Path(sys.executable).with_name("bimix-sweep")),
        "resume",
        str(tmp_path / "out"),
        "--address",
        ray_address,
    ]
    resumed = subprocess.run(
        command,
        env=ray_environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=PATIENCE,
        cwd=tmp_path,
    )
    assert resumed.returncode == 0, resumed.stdout
    assert f"tried again from their beginning: {', '.join(sorted(failed))}" in resumed.stdout
    history = replay(str(tmp_path / "out"))
    assert history.complete
    trials = history.state.trials.values()
    assert [record.state for record in trials if record.role == "sweep"] == ["finished"] * 6
    assert {record.state for record in trials} == {"finished"}


def test_proxies_of_two_sizes_are_trained_each_at_its_own_and_compared_at_the_largest(
    tmp_path, sweep
):
    process = sweep(
        trainer="trainer_on_ray:sized",
        proxy={"steps": 64, "sizes": [1e5, 4e5]},
        budget={"trials": 11},
    )
    said = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 0, said
    history = replay(str(tmp_path / "out"))
    assert history.complete
    assert {record.size for record in history.state.trials.values() if record.role == "sweep"} == {
        1e5,
        4e5,
    }
    assert {
        record.size for record in history.state.trials.values() if record.role == "confirmation"
    } == {4e5}
    for record in history.state.trials.values():
        level = 8 * 64**-0.45 + 2 * (record.size / 4e5) ** -0.3
        expected = [
            (record.mixture.as_dict()[name] + 0.03) ** -need * level
            for name, need in (("web", 0.1), ("code", 0.16))
        ]
        assert [record.points[64][name] for name in ("web", "code")] == pytest.approx(expected)
    assert json.loads((tmp_path / "out" / "RECIPE.json").read_text())["size"] == 4e5


def test_a_command_on_two_nodes_loses_its_worker_leaves_nothing_and_goes_on(
    tmp_path, sweep, second_node, ray_environment, ray_address
):
    words = [sys.executable, "program.py", "{job}", "{rank}", "{nodes}", "{master}", "{port}"]
    process = sweep(trainer={"command": words}, resources={"nodes": 2, "slots": 1})
    log = tmp_path / "said.log"
    pids = until(
        process,
        "the first trial",
        lambda: [line for line in log.read_text().splitlines() if "pids" in line],
    )
    supervisor, program, child = map(int, pids[0].split()[-3:])
    place = next(
        event["where"]
        for event in read(tmp_path / "out" / "journal").events
        if event["kind"] == "start"
    )
    os.kill(int(place.rpartition(":")[2]), signal.SIGKILL)  # the Ray worker
    for pid in (supervisor, program, child):
        until(
            process,
            f"the end of {pid}",
            lambda pid=pid: (
                not Path(f"/proc/{pid}").exists()
                or "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
            ),
        )
    until(process, "further trials", lambda: len(ended(tmp_path / "out")) >= 2)
    said = log.read_text()
    assert re.search(r"t0000 rank 0 of 2 at [\d.]+: told to stop", said)
    assert re.search(r"t0000 rank 0 of 2 at [\d.]+: goes on", said)
    assert re.search(r"t000\d rank 1 of 2 at [\d.]+: begins", said)
    assert ended(tmp_path / "out")["t0000"]["state"] == "finished"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)
    assert "key ***" in (tmp_path / "out" / "logs" / "t0000.rank1.log").read_text()
    assert holds_no_secret(tmp_path / "out")


def test_a_gpu_that_is_only_counted_is_said_by_the_builtin_trainer(tmp_path, sweep, second_node):
    domains = {}
    for name, words in (("web", "one two three four "), ("code", "for x in range ")):
        (tmp_path / f"{name}.jsonl").write_text(
            "".join(json.dumps({"text": f"{words}{number} " * 20}) + "\n" for number in range(400))
        )
        domains[name] = {"path": f"{name}.jsonl"}
    proxy = {"sizes": [2e4], "steps": 8, "context": 16, "batch": 2, "vocabulary": 300}
    said = sweep(
        trainer="builtin", domains=domains, proxy=proxy, resources={"gpu": 0.5}
    ).communicate(timeout=PATIENCE)[0]
    assert re.search(
        r"trials failed, the last with: resources\.gpu asks for a GPU and torch \S+ sees no CUDA "
        r"device on",
        said,
    ), said


def test_a_drained_node_tells_its_trial(tmp_path, sweep, second_node, ray_environment, ray_address):
    words = [sys.executable, "program.py", "{job}", "{rank}", "{nodes}", "{master}", "{port}"]
    process = sweep(trainer={"command": words}, resources={"gpu": 1, "slots": 1})
    log = tmp_path / "said.log"
    until(process, "the first trial", lambda: "pids" in log.read_text())
    subprocess.run(
        [
            str(Path(sys.executable).with_name("ray")),
            "drain-node",
            f"--address={ray_address}",
            f"--node-id={second_node}",
            "--reason=DRAIN_NODE_REASON_PREEMPTION",
            "--reason-message=test",
            "--deadline-remaining-seconds=120",
        ],
        env=ray_environment,
        check=True,
        capture_output=True,
    )
    until(
        process,
        "the notice",
        lambda: "t0000 rank 0 of 1 at 127.0.0.1: told to stop" in log.read_text(),
    )
    assert ended(tmp_path / "out") == {}  # it has not failed, it waits for another node
