"""Folder of a sweep, an absolute local path or a URI: its files, its driver lock, and its start.

A sweep has begun when its journal holds an event. Before the first event nothing can be lost, so
`run` may begin anew in the folder.
"""

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bimix_sweep import files, locations
from bimix_sweep.config import SweepConfig
from bimix_sweep.errors import ConfigError, SweepError
from bimix_sweep.file_lock import LockedError, lock
from bimix_sweep.journal.lease import Lease
from bimix_sweep.journal.segments import holds_events

CONFIG = "config.yaml"
"""Configuration file in a sweep's folder, written when the data of the sweep are prepared."""
STORE, NEXT_STORE = "store", "store.next"
"""Folders with the tokens of the built-in trainer; `NEXT_STORE` holds those of a change whose event
is not written yet.
"""
LOCK = "driver.lock"
"""Lock file in a sweep's local folder while a driver works there."""
LEASE = "driver.lease"
"""Lease object in a sweep's URI while a driver works there."""
DRIVER = re.compile(r"process [1-9][0-9]{0,9} on [\x21-\x7e]{1,255}")
"""Content that `file_lock` writes into the lock file of a driver."""
CHECKPOINTS = "checkpoints"
"""Folder in a sweep's folder for checkpoints of trials that have not ended; a checkpoint is removed
when its trial ends.
"""
ATTEMPTS = 10
"""Maximum attempts at a folder or lock that other processes remove at the same time."""


def sweep_folder(folder: str | Path) -> str:
    """Returns the sweep's folder as the whole package names it: an absolute path or a URI.

    A `file://` URI becomes a path, because files written through such a URI would not be flushed to
    the disk. Any other URI stays unchanged, except for slashes at its end.

    Raises:
        ConfigError: the URI carries a secret.
    """
    if str(folder).startswith(("file:///", "file://localhost/")):
        folder = unquote(urlsplit(str(folder)).path)
    if not locations.is_uri(folder):
        return str(Path(folder).absolute())
    try:
        locations.check_uri(str(folder))
    except ValueError as error:
        raise ConfigError(f"the sweep's folder {error}") from None
    place, mark, options = str(folder).partition("?")
    return place.rstrip("/") + mark + options


def cache_folder() -> Path:
    """Returns this user's cache folder on this machine for copies of objects in URIs.

    The folder is in $TMPDIR, or in the system's folder for temporary files.

    Raises:
        OSError: the folder cannot be made, or belongs to somebody else.
    """
    place = Path(tempfile.gettempdir()) / f"bimix-sweep-{os.getuid()}"
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    if place.is_symlink() or place.stat().st_uid != os.getuid():
        raise OSError(f"{place} belongs to somebody else; set TMPDIR to a folder of your own")
    return place


def local_part(folder: str) -> Path:
    """Returns the folder for files of the driver that must be local.

    This is the sweep's folder itself, or for a URI a scratch folder of this machine.
    """
    if not locations.is_uri(folder):
        return Path(folder)
    place = cache_folder() / "sweeps" / hashlib.blake2b(folder.encode(), digest_size=8).hexdigest()
    place.mkdir(parents=True, exist_ok=True)
    return place


def begun(folder: str | Path) -> bool:
    """True where the journal holds an event, or data that may once have been an event.

    A header without events does not count.
    """
    return holds_events(locations.join(folder, "journal"))


@contextlib.contextmanager
def held(
    folder: str | Path,
    say: Callable[[str], None] = lambda line: None,
    *,
    wait_seconds: float = 0.0,
) -> Iterator[None]:
    """Makes this process the only driver in `folder`; releases the folder however the process ends.

    A missing local folder is made. The kernel locks a local folder. In a URI the driver holds a
    lease, which a driver that died keeps for half a minute. A folder made here is removed after an
    exception, unless configuration or
    journal were written by then, or parts of a store are finished.

    Args:
        say: told when another driver is waited for, and which.
        wait_seconds: maximum wait for a driver that is there and lives.

    Raises:
        SweepError: another driver is there, or the folder cannot be made or written.
    """
    if locations.is_uri(folder):
        lease = Lease(locations.join(folder, LEASE), str(folder))
        try:
            lease.take(secrets.token_hex(8), wait_seconds, say=say)
        except OSError as error:
            raise SweepError(
                f"{folder} cannot be used ({error.strerror or error}); need a place to write to"
            ) from error
        try:
            yield
        finally:
            lease.release()
        return
    with _held_here(Path(folder), say, wait_seconds):
        yield


@contextlib.contextmanager
def _held_here(folder: Path, say: Callable[[str], None], wait_seconds: float) -> Iterator[None]:
    for name, harm in (
        (CHECKPOINTS, "what lies there would be removed as trials end"),
        ("journal", "what lies there would be written to"),
    ):
        if (folder / name).is_symlink():
            raise SweepError(f"{folder / name} is a link, and {harm}; need a folder, or nothing")
    parents = [parent for parent in folder.parents if not parent.exists()]
    try:
        lock_file, made = _lock(folder, say, wait_seconds)
    except OSError as error:
        raise SweepError(
            f"{folder} cannot be used ({error.strerror or error}); need a folder to write to"
        ) from error
    try:
        yield
    except BaseException:
        kept = (CONFIG, "journal", f".{STORE}.work")
        if made and not any((folder / name).exists() for name in kept):
            shutil.rmtree(folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                for parent in parents:
                    parent.rmdir()
        raise
    finally:
        with contextlib.suppress(OSError):
            (folder / LOCK).unlink(missing_ok=True)
        os.close(lock_file)


def driver(folder: str) -> str:
    """Returns the description of the driver in a local folder, for example `process 4711 on node7`.

    A lock file with any other content is refused.

    Raises:
        OSError: no driver works there.
    """
    content = files.peek(Path(folder, LOCK), 400).strip()
    if not DRIVER.fullmatch(content):
        raise OSError(errno.EINVAL, "does not describe a driver", str(Path(folder, LOCK)))
    return content


def _lock(folder: Path, say: Callable[[str], None], wait_seconds: float) -> tuple[int, bool]:
    """Locks the folder; returns the lock file's descriptor, and whether the folder is new."""
    made, waiting, until, attempts = False, False, time.monotonic() + wait_seconds, 0

    def on_wait(holder: str) -> None:
        nonlocal waiting
        if not waiting:
            say(f"waiting for another process that uses {folder} ({holder})")
            waiting = True

    while attempts < ATTEMPTS:
        with contextlib.suppress(FileExistsError):
            folder.mkdir(parents=True)
            made = True
        try:
            left = max(0.0, until - time.monotonic())
            return lock(folder / LOCK, left, on_wait=on_wait), made
        except FileNotFoundError:
            # The other driver ended and removed its lock file, or the folder that it had made.
            attempts += not folder.exists() or time.monotonic() > until
        except LockedError as error:
            raise SweepError(
                f"{folder} is used by another driver ({error.holder}); stop that one first, or "
                "take another folder"
            ) from None
    raise SweepError(
        f"{folder} cannot be locked: it comes and goes; see who else removes it, or take another "
        "folder"
    )


def check_foreign(folder: str) -> None:
    """Refuses to overwrite a configuration that was not written for a sweep in this folder.

    A configuration that a driver left before its sweep began may be overwritten; a file of the
    user's may not.

    Raises:
        SweepError: the file there was not written for this folder.
    """
    path = locations.join(folder, CONFIG)
    try:
        ours = not files.exists(path) or SweepConfig.load(path).out == folder
    except ConfigError:
        ours = False
    if not ours:
        raise SweepError(
            f"{path} is not of a sweep in this folder and would be overwritten; take another "
            "folder, or move the file away"
        )
