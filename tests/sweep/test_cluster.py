import subprocess
import sys

import pytest

from bimix_sweep.errors import SweepError
from bimix_sweep.sweep.cluster import _own_folder, check_address


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


def test_the_folder_of_a_killed_driver_is_removed_by_the_next_and_that_of_a_live_one_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "bimix-of-the-user").mkdir()
    script = "import os, signal; from bimix_sweep.sweep.cluster import _own_folder as f\nwith f(): os.kill(os.getpid(), signal.SIGKILL)"
    with _own_folder() as mine:
        for _ in range(2):
            subprocess.run([sys.executable, "-c", script], env={"TMPDIR": str(tmp_path)}, check=False)
        assert len(list(tmp_path.glob("bimix-*/driver.lock"))) == 2  # mine, and the second killed one's
        with _own_folder() as other:
            assert {path.parent for path in tmp_path.glob("bimix-*/driver.lock")} == {mine, other}
    assert [path.name for path in tmp_path.iterdir()] == ["bimix-of-the-user"]
