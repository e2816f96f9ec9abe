"""A sweep's folder: who drives it, and whether a sweep was begun in it.

Begun means that the journal holds an event. Before that nothing happened that could be lost: `run` may begin anew there.
"""

import contextlib
import fcntl
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from bimix_sweep.errors import SweepError

CONFIG = "config.yaml"
"""In a sweep's folder from when its data are prepared."""
STORE, NEXT_STORE = "store", "store.next"
"""The tokens of the built-in trainer; those of a change whose event is not written yet."""
ELSEWHERE = {"trainings": "elsewhere"}
"""Identity of the data of a sweep whose trainings are not run by this program; trainings run by both do not mix in a sweep."""
LOCK = "driver.lock"
"""In a sweep's folder while a driver works there."""
ATTEMPTS = 10
"""At a folder or lock that others remove at the same time."""


def begun(folder: Path) -> bool:
    """The journal holds an event, or what may once have been one; a header without its events does not count."""
    for path in (folder / "journal").glob("*.jsonl"):
        with path.open("rb") as stream:
            stream.readline()
            if stream.readline().endswith(b"\n"):
                return True
    return False


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Be the only driver in `folder`, made here where it is missing; the kernel lets go of it however this process ends.

    A folder made here disappears again with an exception, unless configuration or journal were written by then.

    Raises:
        SweepError: another driver is there, or the folder cannot be made or written.
    """
    parents = [parent for parent in folder.parents if not parent.exists()]
    try:
        lock_file, made = _lock(folder)
    except OSError as error:
        raise SweepError(f"{folder} cannot be used ({error.strerror or error}); need a folder to write to") from error
    try:
        yield
    except BaseException:
        if made and not (folder / CONFIG).exists() and not (folder / "journal").exists():
            shutil.rmtree(folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                for parent in parents:
                    parent.rmdir()
        raise
    finally:
        with contextlib.suppress(OSError):
            (folder / LOCK).unlink(missing_ok=True)
        os.close(lock_file)


def _lock(folder: Path) -> tuple[int, bool]:
    """The lock's file, and whether the folder was made for it."""
    made = False
    for _ in range(ATTEMPTS):
        with contextlib.suppress(FileExistsError):
            folder.mkdir(parents=True)
            made = True
        try:
            lock_file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except FileNotFoundError:  # another driver gave up and removed the folder that it had made
            continue
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(lock_file), (folder / LOCK).stat()):
                os.ftruncate(lock_file, 0)
                os.pwrite(lock_file, f"pid {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
                return lock_file, made
        except FileNotFoundError:  # it ended and removed its lock between the opening and the locking
            pass
        except BlockingIOError:
            holder = os.read(lock_file, 200).decode(errors="replace").strip() or "just starting"
            os.close(lock_file)
            raise SweepError(f"{folder} is used by another driver ({holder}); stop that one first, or take another folder") from None
        except BaseException:
            os.close(lock_file)
            raise
        os.close(lock_file)
    raise SweepError(f"{folder} cannot be locked: it comes and goes; see who else removes it, or take another folder")
