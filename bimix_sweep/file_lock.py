"""Exclusive locks on local files: one process holds a lock until it closes the file or ends.

The kernel releases the lock however the process ends. The supervisor of a command has a lock of its
own (`sweep.trainers.supervisor`), because it imports the standard library alone.
"""

import errno
import fcntl
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

from bimix_sweep import files

POLL_SECONDS = 0.1
"""Seconds between attempts at a lock that another process holds."""


class LockedError(BlockingIOError):
    """Another process holds the lock."""

    def __init__(self, path: Path, holder: str) -> None:
        super().__init__(errno.EWOULDBLOCK, f"is locked by {holder}", str(path))
        self.holder = holder
        """The process that holds the lock, for example `process 4711 on node7`."""


def lock(
    path: Path,
    wait_seconds: float = 0.0,
    *,
    on_wait: Callable[[str], None] = lambda holder: None,
) -> int:
    """Locks a file, which is made where it is missing, and writes into it who holds the lock.

    Args:
        path: the file; a link is refused.
        wait_seconds: how long to wait for another process that holds the lock.
        on_wait: called once, with a description of the other process, when the wait begins.

    Returns:
        The descriptor of the file; closing it releases the lock.

    Raises:
        LockedError: another process still holds the lock after `wait_seconds`.
        FileNotFoundError: the file's folder is missing, or the file was removed in the meantime.
        OSError: the file cannot be opened or written.
    """
    lock_file, until, waiting = files.open_lock(path), time.monotonic() + wait_seconds, False
    try:
        while not _taken(lock_file):
            holder = os.pread(lock_file, 200, 0).decode(errors="replace").strip()
            if time.monotonic() >= until:
                raise LockedError(path, holder or "another process")
            if not waiting:
                on_wait(holder or "another process")
                waiting = True
            time.sleep(POLL_SECONDS)
        if not os.path.samestat(os.fstat(lock_file), path.stat()):
            # The holder removed the file after this process had opened it.
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        os.ftruncate(lock_file, 0)
        os.pwrite(lock_file, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    except BaseException:
        os.close(lock_file)
        raise
    return lock_file


def _taken(lock_file: int) -> bool:
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
