"""Sweeps as jobs on a real Ray head with its dashboard, its token and its signals."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from bimix_sweep.journal.segments import read

pytestmark = pytest.mark.cluster
BINARIES = Path(sys.executable).parent
PATIENCE = 240
TRAINER = """
import time
import numpy as np

def train(mixture, report, context):
    shares = np.array([mixture["web"], mixture["code"]])
    for step in (10, 20, 30, 40):
        time.sleep({pause})
        report(step, dict(zip(("web", "code"), map(float, (shares + 0.02) ** -np.array([0.1, \
0.2]) * (2 + 8 * step**-0.5)))))
"""
CONFIG = """
name: planted
domains: {web: {}, code: {}}
proxy: {steps: 40}
trainer: "planted_losses:train"
budget: {trials: 5}
resources: {slots: 2}
stop: {tolerance: 1.0e-6}
"""


def ask(url, token=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with urllib.request.urlopen(  # noqa: S310
        urllib.request.Request(url, headers=headers),  # noqa: S310
        timeout=10,
    ) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def head(ray_environment):
    """Address of the dashboard of a real head, on loopback, that asks for a token."""
    ports = [socket.socket() for _ in range(3)]
    for port in ports:
        port.bind(("127.0.0.1", 0))
    gcs, dashboard, agent = (port.getsockname()[1] for port in ports)
    for port in ports:
        port.close()
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir=ray_environment["TMPDIR"]))
    command = [
        str(BINARIES / "ray"),
        "start",
        "--head",
        "--block",
        f"--port={gcs}",
        "--num-cpus=2",
        "--include-dashboard=true",
        "--dashboard-host=127.0.0.1",
        f"--dashboard-port={dashboard}",
        f"--dashboard-agent-listen-port={agent}",
        "--object-store-memory=100000000",
        f"--temp-dir={folder}",
        "--node-ip-address=127.0.0.1",
        "--disable-usage-stats",
    ]
    environment = ray_environment | {"PATH": f"{BINARIES}:{os.environ['PATH']}"}
    with (folder / "head.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{dashboard}"
    deadline = time.monotonic() + PATIENCE
    while True:
        assert process.poll() is None, (folder / "head.log").read_text()[-2000:]
        assert time.monotonic() < deadline, (folder / "head.log").read_text()[-2000:]
        try:
            ask(f"{address}/api/version")
            pytest.fail("the dashboard answers without the token")
        except urllib.error.HTTPError:  # it listens and refuses
            break
        except OSError:
            time.sleep(0.2)
    yield address
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail("Ray did not end in a minute after SIGTERM")


@pytest.fixture
def bimix(ray_environment):
    """Run the command line as users do."""

    def run(*words, code=0, **variables):
        environment = {
            k: v
            for k, v in (ray_environment | variables).items()
            if v is not None and k != "RAY_AUTH_MODE"
        }
        done = subprocess.run(
            [str(BINARIES / "bimix-sweep"), *map(str, words)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout if code == 0 else done.stderr

    return run


@pytest.fixture
def code(tmp_path):
    """A folder with a trainer and its configuration."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "planted_losses.py").write_text(TRAINER.replace("{pause}", "0.02"))
    (folder / "sweep.yaml").write_text(CONFIG)
    return folder


def until(found, what):
    deadline = time.monotonic() + PATIENCE
    while not (answer := found()):
        assert time.monotonic() < deadline, f"no {what} in {PATIENCE} s"
        time.sleep(0.2)
    return answer


def starts(folder):
    return [event["trial"] for event in read(folder / "journal").events if event["kind"] == "start"]


def test_nobody_submits_without_the_token_and_nothing_is_left_behind(tmp_path, bimix, code, head):
    out = tmp_path / "sweep"
    words = ("submit", code / "sweep.yaml", "--address", head, "--out", out)
    without = bimix(*words, code=1, RAY_AUTH_TOKEN_PATH=None, HOME=str(tmp_path))
    assert without.startswith(
        f"error: {head} asks for a token and none was found here; put the cluster's token into "
        "RAY_AUTH_TOKEN"
    )
    wrong = bimix(*words, code=1, RAY_AUTH_TOKEN=secrets.token_hex(32))
    assert wrong.startswith(f"error: {head} refuses the token found here")
    assert without.count("\n") == wrong.count("\n") == 1
    assert not out.exists()


def test_other_addresses_are_told_from_a_dashboard(tmp_path, bimix, code):
    words = ("submit", code / "sweep.yaml", "--out", tmp_path / "sweep", "--address")
    assert "is not of a dashboard; need one such as http://HEAD:8265" in bimix(
        *words, "ray://127.0.0.1:10001", code=1
    )
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        assert "nothing answers at http://127.0.0.1:" in bimix(
            *words, f"127.0.0.1:{other.getsockname()[1]}", code=1
        )
        assert not (tmp_path / "sweep").exists()


def test_a_sweep_is_submitted_stopped_submitted_again_and_complete(
    tmp_path, bimix, code, head, ray_environment
):
    out = tmp_path / "sweep"
    slow = "0.1 if context.trial in ('t0000', 't0001') else 30"  # no sweep that ends by itself
    (code / "planted_losses.py").write_text(TRAINER.replace("{pause}", slow))
    words = ("submit", code / "sweep.yaml", "--address", head, "--out", out, "--working-dir", code)
    first = json.loads(
        bimix(*words, "--json", RAY_ADDRESS="http://192.0.2.1:1")
    )  # the address given counts, not Ray's variable
    assert (first["state"], first["dir"], first["address"]) == ("RUNNING", str(out), head)
    assert f"is driven by job {first['submission_id']} already (RUNNING at {head})" in bimix(
        *words, code=1
    )
    until(lambda: (out / "journal").exists() and len(starts(out)) >= 3, "running trials")

    status = json.loads(bimix("status", out, "--json"))
    assert status["job"]["state"] == "RUNNING"
    assert status["trials"]["sweep"]["running"] >= 1
    assert not status["complete"]

    said = bimix("stop", out)
    assert f"go on with: bimix-sweep submit {out}/config.yaml --address {head} --out {out}" in said
    stopped = json.loads(bimix("status", out, "--json"))
    assert stopped["job"]["state"] == "STOPPED"
    before = read(out / "journal").events
    ended = {event["trial"] for event in before if event["kind"] == "end"}
    assert ended
    assert "stopped" in bimix("stop", out)  # twice does no harm
    said = ask(
        f"{head}/api/jobs/{first['submission_id']}/logs",
        Path(ray_environment["RAY_AUTH_TOKEN_PATH"]).read_text(),
    )["logs"]
    assert said.splitlines()[-1] == f"stopped; go on with: bimix-sweep resume {out}"

    (code / "planted_losses.py").write_text(TRAINER.replace("{pause}", "0.02"))
    second = json.loads(bimix(*words, "--json"))
    assert second["submission_id"] != first["submission_id"]
    watched = bimix("watch", out, "--seconds", 0.2)
    assert watched == ""  # lines are news, not results: they are on standard error
    done = json.loads(
        until(
            lambda: (text := bimix("status", out, "--json")) and '"SUCCEEDED"' in text and text,
            "end of the job",
        )
    )
    assert done["complete"]
    assert done["trials"]["sweep"] == {"running": 0, "finished": 5, "failed": 0}
    after = read(out / "journal").events
    assert after[: len(before)] == before
    assert all(starts(out).count(trial) == 1 for trial in ended)
    assert "is complete; its results are there" in bimix(*words, code=1)

    token = Path(ray_environment["RAY_AUTH_TOKEN_PATH"]).read_text()
    job = ask(f"{head}/api/jobs/{second['submission_id']}", token)
    assert job["metadata"] | {"config_digest": ""} == {
        "sweep": "planted",
        "dir": str(out),
        "config_digest": "",
    }
    assert token not in json.dumps(job)
    assert token not in "".join(
        path.read_text(errors="replace") for path in out.glob("**/*") if path.is_file()
    )
    log = "".join(
        ask(f"{head}/api/jobs/{job['submission_id']}/logs", token)["logs"]
        for job in (first, second)
    )
    assert any(
        line.startswith("refit ") and "optimum" in line and "regret" in line
        for line in log.splitlines()
    ), log


def test_a_folder_that_the_head_does_not_see_is_said(tmp_path, bimix, code, head, ray_environment):
    """The client sees another filesystem at the place than the head: a mount of its own."""
    place = tmp_path / "mounted"
    place.mkdir()
    client = (
        f"mount -t tmpfs none {place} && {BINARIES}/bimix-sweep submit {code}/sweep.yaml --address "
        f"{head} --out {place}/sweep"
    )
    done = subprocess.run(
        ["/usr/bin/unshare", "-Urm", "sh", "-c", client],
        env=ray_environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    if "unshare failed" in done.stderr or "permission denied" in done.stderr.lower():
        pytest.skip("no user namespaces here")
    assert done.returncode == 1
    assert "the head does not see the folder that the job was submitted with" in done.stderr
    assert not (place / "sweep").exists()  # nor did the head make one


def test_stop_without_a_job_says_so(tmp_path, bimix):
    assert "was not submitted as a job (no job.json); nothing to stop" in bimix(
        "stop", tmp_path, code=1
    )
    assert "holds no sweep and no job" in bimix("status", tmp_path, code=1)
