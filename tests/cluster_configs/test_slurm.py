"""The Slurm script run for real, with stand-ins for Slurm's own commands: two nodes that are both
this machine.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bimix_sweep.sweep.history.rebuilding import replay

SCRIPT = Path(__file__).resolve().parents[2] / "cluster_configs" / "slurm.sbatch"
JOB = 100_000 + os.getpid()

SRUN = """#!/usr/bin/env bash
while [[ "$1" == --* ]]; do shift; done
exec "$@"
"""
SCONTROL = """#!/usr/bin/env bash
[ "$1" = show ] && printf 'node-a\\nnode-b\\n'
[ "$1" = requeue ] && echo "requeue $2" >> "$HOME/requeued"
exit 0
"""
DRIVER = """#!/usr/bin/env bash
exec {python} {planted} run "$4" --address "${{@: -1}}" --slots 2 --trials 10 --pause 0.3
"""


@pytest.fixture
def job(tmp_path):
    """Environment of a batch job of two nodes, and its sweep's folder."""
    tools, home = tmp_path / "bin", tmp_path / "home"
    home.mkdir()
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    tools.mkdir()
    planted = Path(__file__).resolve().parents[1] / "support" / "planted_sweep.py"
    for path, text in (
        (tools / "srun", SRUN),
        (tools / "scontrol", SCONTROL),
        (venv / "bin" / "bimix-sweep", DRIVER.format(python=sys.executable, planted=planted)),
    ):
        path.write_text(text)
        path.chmod(0o755)
    (venv / "bin" / "ray").symlink_to(Path(sys.executable).with_name("ray"))
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("RAY_")
    } | {
        "HOME": str(home),
        "VENV": str(venv),
        "PATH": f"{tools}:{os.environ['PATH']}",
        "SLURM_JOB_ID": str(JOB),
        "SLURM_JOB_NODELIST": "node-[a-b]",
        "SLURM_CPUS_PER_TASK": "1",
        "CONFIG": "sweep.yaml",
        "OUT": str(tmp_path / "sweep"),
        "OMP_NUM_THREADS": "1",
    }
    yield environment, tmp_path / "sweep", home
    shutil.rmtree(f"/tmp/bimix-{JOB}", ignore_errors=True)


@pytest.mark.cluster
def test_a_job_told_to_end_leaves_a_resumable_sweep_goes_back_into_the_queue_and_nothing_behind(
    job, tmp_path
):
    environment, folder, home = job
    log = tmp_path / "log"
    with log.open("w") as stream:
        script = subprocess.Popen(
            ["/bin/bash", str(SCRIPT)], env=environment, stdout=stream, stderr=stream, cwd=tmp_path
        )
    trained = folder / "trained.log"
    token = home / ".bimix-sweep" / f"token-{JOB}"
    deadline = time.monotonic() + 600
    while not (trained.exists() and len(trained.read_text().splitlines()) > 8):
        assert script.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
    assert token.stat().st_mode & 0o077 == 0
    script.send_signal(signal.SIGTERM)
    assert script.wait(timeout=120) == 130, log.read_text()
    assert f"resume {folder}" in log.read_text()
    assert (home / "requeued").read_text() == f"requeue {JOB}\n"
    assert replay(folder).state.trial_record.num_points > 0
    assert not token.exists()
    assert not Path(f"/tmp/bimix-{JOB}").exists()


def test_a_head_that_ends_is_said_with_the_ends_of_its_logs(job, tmp_path):
    environment, _, home = job
    logs = Path(f"/tmp/bimix-{JOB}") / "session_latest" / "logs"
    ray = tmp_path / "venv" / "bin" / "ray"
    ray.unlink()
    ray.write_text(
        f"""#!/usr/bin/env bash
[ "$1" = start ] && mkdir -p {logs} && echo "port 20123 is taken" > {logs}/raylet.err
exit 1
"""
    )
    ray.chmod(0o755)
    ended = subprocess.run(
        ["/bin/bash", str(SCRIPT)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 1
    said = "Ray's head on node-a ended; the ends of its logs:\nport 20123 is taken\n"
    assert ended.stderr == said
    assert not list((home / ".bimix-sweep").iterdir())
    assert not logs.exists()


def test_a_job_without_its_settings_says_which_one_is_missing(job, tmp_path):
    environment, _, _ = job
    for name, said in (("CONFIG", "sweep.yaml"), ("OUT", "the folder of the sweep")):
        ended = subprocess.run(
            ["/bin/bash", str(SCRIPT)],
            env={k: v for k, v in environment.items() if k != name},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 1
        assert f"{name}: is not set; need" in ended.stderr
        assert said in ended.stderr
