import re
import subprocess
import sys

import pytest

from bimix_sweep.errors import SweepError
from bimix_sweep.sweep.cluster.connection import check_address
from bimix_sweep.sweep.cluster.embedded_ray import own_folder


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:9", "nothing listens at 127.0.0.1:9"),
        ("ray://127.0.0.1:9", "nothing listens at ray://127.0.0.1:9"),
        ("nowhere", "address 'nowhere' is not host:port"),
        ("127.0.0.1:99999999", "nothing listens at"),
    ],
)
def test_an_address_without_ray_is_said_at_once(address, said):
    with pytest.raises(SweepError, match=said):
        check_address(address)


def test_the_folder_of_a_killed_driver_is_removed_by_the_next_and_that_of_a_live_one_is_not(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("bimix_sweep.sweep.cluster.embedded_ray.MAX_PLACE", 1000)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "bimix-of-the-user").mkdir()
    (tmp_path / "bimix-of-the-user" / "driver.lock").write_text(
        "a sweep's, whose driver was killed"
    )
    (tmp_path / "bimix-ray-and-bounds").mkdir()
    (tmp_path / "bimix-ray-and-bounds" / "driver.lock").touch()
    script = (
        "import os, signal\nfrom bimix_sweep.sweep.cluster import embedded_ray as e\n"
        "e.MAX_PLACE = 1000\n"
        "with e.own_folder(): os.kill(os.getpid(), signal.SIGKILL)"
    )
    with own_folder() as mine:
        for _ in range(2):
            subprocess.run(
                [sys.executable, "-c", script], env={"TMPDIR": str(tmp_path)}, check=False
            )
        assert (
            len(list(tmp_path.glob("bimix-*/embedded-ray.lock"))) == 2
        )  # mine, and the second killed one's
        with own_folder() as other:
            assert {path.parent for path in tmp_path.glob("bimix-*/embedded-ray.lock")} == {
                mine,
                other,
            }
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "bimix-of-the-user",
        "bimix-ray-and-bounds",
    ]
    assert (tmp_path / "bimix-of-the-user" / "driver.lock").exists()


START = """
import sys
from bimix_sweep.config import ResourcesConfig
from bimix_sweep.errors import SweepError
from bimix_sweep.sweep.cluster import embedded_ray
from bimix_sweep.sweep.cluster.connection import cluster
if len(sys.argv) > 1:
    embedded_ray.MAX_PLACE = int(sys.argv[1])
try:
    with cluster(None, ResourcesConfig(slots=1)) as connected:
        slots = connected.slots()
    print(f"{slots} slot")
except SweepError as error:
    print(error)
"""


def test_neither_a_trainer_named_like_a_module_of_python_nor_a_long_tmpdir_keeps_ray_from_starting(
    tmp_path, ray_environment
):
    deep = tmp_path / ("d" * 90)
    deep.mkdir()
    for name in ("cmd", "code", "token"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a trainer, not a module')\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "start.py").write_text(
        START
    )  # as a console script, whose own folder is the one that is imported from
    done = subprocess.run(
        [sys.executable, tmp_path / "bin" / "start.py"],
        cwd=tmp_path,
        env=ray_environment | {"TMPDIR": str(deep)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "1 slot\n", done.stderr


def test_ray_that_cannot_be_started_is_told_in_one_line(tmp_path, ray_environment):
    deep = tmp_path / (
        "d" * 90
    )  # Ray's sockets lie in the temporary folder, and a socket's path has at most 107 bytes
    deep.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", START, "1000"],
        env=ray_environment | {"TMPDIR": str(deep)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert re.fullmatch(
        r"Ray could not be started on this machine \(.*107 bytes.*\); see: bimix-sweep doctor "
        r"CONFIG\n",
        done.stdout,
    )
