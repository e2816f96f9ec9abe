"""Exclusive locks between real processes."""

import os
import signal
import socket
import subprocess
import sys

import pytest

from bimix_sweep.file_lock import LockedError, lock

HOLD = "import sys, pathlib, time; from bimix_sweep.file_lock import lock; lock(pathlib.Path(sys.argv[1])); print('locked', flush=True); time.sleep(600)"


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock `tmp_path/lock`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_lock_of_another_process_is_refused_with_its_holder(holder, tmp_path):
    waits = []
    with pytest.raises(LockedError) as caught:
        lock(tmp_path / "lock", 0.3, on_wait=waits.append)
    assert caught.value.holder == f"process {holder.pid} on {socket.gethostname()}"
    assert waits == [caught.value.holder]


def test_a_lock_is_free_when_its_holder_is_killed(holder, tmp_path):
    holder.send_signal(signal.SIGKILL)
    lock_file = lock(tmp_path / "lock", 60.0)
    assert (tmp_path / "lock").read_text() == f"process {os.getpid()} on {socket.gethostname()}\n"
    os.close(lock_file)


def test_a_file_that_was_removed_meanwhile_is_no_lock(holder, tmp_path):
    def remove(_: str) -> None:
        (tmp_path / "lock").unlink()
        holder.kill()

    with pytest.raises(FileNotFoundError):
        lock(tmp_path / "lock", 60.0, on_wait=remove)


def test_a_link_is_refused(tmp_path):
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="is a link or no file"):
        lock(tmp_path / "lock")
