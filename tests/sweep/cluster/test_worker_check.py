"""Where a trainer of the user's is loaded: workers that can, that cannot, and that are not
asked.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from bimix_sweep.sweep.history.rebuilding import replay
from tests.support import faults

pytestmark = pytest.mark.cluster
PATIENCE = 240
"""Seconds for what takes twenty on two quiet cores."""
TRAINER = """
from bimix_sweep.sweep.history.trainer_facts import TrainerFacts
class Mine:
    facts = TrainerFacts(steps=64, eval_steps=(16, 32, 64), sizes=(1e5,), data={"mine": 1})
    def precision(self, num_trials):
        return {}
    def train(self, job, report):
        for step in self.facts.eval_steps:
            shares = zip(job.mixture.as_dict().items(), (.1, .16))
            report(step, {name: (share + .03) ** -need * (8 * step ** -.45 + 2) for (name, share), \
need in shares})
"""
SWEEP = """
import sys
from bimix_sweep.config import SweepConfig
from bimix_sweep.errors import SweepError
from bimix_sweep.sweep.api import run_sweep
def sweep(trainer, out, address=None):
    domains = {"web": {"path": "none"}, "code": {"path": "none"}}
    config = SweepConfig.parse({"domains": domains, "proxy": {"steps": 64}, \
"budget": {"trials": 5}, "resources": {"slots": 2}})
    try:
        run_sweep(config, out=out, address=address, prepare=lambda config, folder, say: trainer)
    except SweepError as error:
        sys.exit(f"error: {error}")
"""
MADE_HERE = f"""
import sys, types
module = sys.modules["made_here"] = types.ModuleType("made_here")
exec({TRAINER!r}, module.__dict__)
if sys.argv[2:] == ["whole"]:
    import ray
    ray.cloudpickle.register_pickle_by_value(module)
from launching import sweep
sweep(module.Mine(), sys.argv[1])
"""
LOADED = """
import contextlib, io
from bimix_sweep.config import ResourcesConfig
from bimix_sweep.sweep.cluster.connection import cluster
from bimix_sweep.sweep.cluster.worker_check import check_loadable
from trainers.mine import Mine
def made_by(level):
    class Nested(Mine):
        loss = staticmethod(lambda step: level / step)
    return Nested()
class Fussy(Mine):
    def __setstate__(self, state):
        raise RuntimeError("no GPU here")
fussy = Fussy()
fussy.loss = 1
said = []
with cluster(None, ResourcesConfig(slots=1)):
    for trainer in (Mine(), made_by(3), fussy):
        check_loadable(trainer, ResourcesConfig(), said.append)
print(*said, sep="\\n")
"""


def run(*words, env, cwd, text=None):
    return subprocess.run(
        [sys.executable, *map(str, words)],
        env=env,
        cwd=cwd,
        input=text,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_a_module_that_no_worker_has_is_said_before_anything_is_begun_and_what_is_advised_helps(
    tmp_path, ray_environment
):
    (tmp_path / "launching.py").write_text(SWEEP)
    (tmp_path / "made.py").write_text(MADE_HERE)
    begun = time.monotonic()
    refused = run("made.py", "out", env=ray_environment, cwd=tmp_path)
    assert refused.returncode == 1
    assert (
        "error: the trainer made_here.Mine cannot be loaded by a worker on node " in refused.stderr
    )
    assert (
        "(ModuleNotFoundError: No module named 'made_here'); workers import its modules by name, "
        "so install them" in refused.stderr
    )
    assert "ray.cloudpickle.register_pickle_by_value(MODULE)" in refused.stderr
    assert time.monotonic() - begun < 100  # embedded Ray starts in five
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["config.yaml"]
    whole = run("made.py", "out", "whole", env=ray_environment, cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    assert replay(str(tmp_path / "out")).complete


@pytest.mark.parametrize("how", ["script", "module", "interactive"])
def test_embedded_ray_loads_what_the_driver_does_from_wherever_that_imports(
    tmp_path, ray_environment, how
):
    folder = tmp_path / "project" / "trainers"
    folder.mkdir(parents=True)
    (folder / "mine.py").write_text(TRAINER)
    (tmp_path / "project" / "begin.py").write_text(LOADED)
    (folder / "begin.py").write_text(LOADED)
    words = {"script": ["begin.py"], "module": ["-m", "trainers.begin"], "interactive": ["-"]}[how]
    done = run(
        *words,
        env=ray_environment,
        cwd=tmp_path / "project",
        text=LOADED if how == "interactive" else None,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(
        "warning: the trainer __main__.Fussy could not be loaded by a worker on node "
    )
    assert lines[0].endswith("(RuntimeError: no GPU here)")


def test_on_a_cluster_the_nodes_that_can_train_are_asked_and_the_one_that_lacks_the_module_is_named(
    tmp_path, monkeypatch
):
    (tmp_path / "launching.py").write_text(SWEEP)
    (tmp_path / "installed").mkdir()
    (tmp_path / "installed" / "of_some_nodes.py").write_text(TRAINER)
    (tmp_path / "begin.py").write_text(
        "import sys; sys.path.append(sys.argv.pop(1))\nfrom of_some_nodes import Mine\nfrom "
        "launching import sweep\nsweep(Mine(), *sys.argv[1:])\n"
    )
    with (
        tempfile.TemporaryDirectory(
            prefix="loading-", dir="/tmp", ignore_cleanup_errors=True
        ) as folder,  # sockets' paths must be short
        faults.nodes(Path(folder), num_workers=0, cpus=1) as nodes,
    ):
        env = faults.environment(Path(folder))
        with monkeypatch.context() as patch:
            patch.setenv("PYTHONPATH", str(tmp_path / "installed"), prepend=":")
            nodes.start_worker(0)
        done = run("begin.py", "installed", "one", nodes.address, env=env, cwd=tmp_path)
        assert done.returncode == 0, done.stderr  # the head lacks it, and has no CPU
        assert replay(str(tmp_path / "one")).complete
        nodes.start_worker(1)
        refused = run("begin.py", "installed", "two", nodes.address, env=env, cwd=tmp_path)
    assert refused.returncode == 1
    assert (
        "the trainer of_some_nodes.Mine cannot be loaded by a worker on node 127.0.0.3 "
        "(ModuleNotFoundError: No module" in refused.stderr
    )
    assert [path.name for path in (tmp_path / "two").iterdir()] == ["config.yaml"]
