"""Folder of the finished parts of a token store that is being made.

The folder lies beside the store, as `.NAME.work`. A part is a file that was written completely and
flushed. After a kill, the next preparation of the same inputs uses the finished parts. The folder
is removed when the store is complete, and after an error.
"""

import contextlib
import math
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bimix_sweep import disk, files
from bimix_sweep.errors import DataError
from bimix_sweep.file_lock import lock

INPUTS, LOCK = "inputs", "lock"
"""Files with the fingerprint of the inputs, and with the process that works in the folder."""
SAY_SECONDS = 5.0
"""Seconds between two messages about the progress of one step."""


class WorkFolder:
    """The finished parts of one preparation."""

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self.path, self.say = path, say
        self._said = time.monotonic()

    def finished(self, name: str) -> Path | None:
        """The file of a part; None if the part is not finished."""
        path = self.path / name
        return path if path.exists() else None

    def keep(self, name: str, write: Callable[[Path], Any]) -> Path:
        """Writes a part: `write(path)` beside the part's place, then a rename.

        Raises:
            OSError: the part cannot be written.
        """
        files.write_local(self.path / name, write)
        return self.path / name

    def progress(self, what: str, done: float, total: float) -> None:
        """Says how much of a step is done, in bytes, SAY_SECONDS after the last such message."""
        if time.monotonic() - self._said > SAY_SECONDS:
            self._said = time.monotonic()
            of = f" of about {max(total, done) / 1e6:,.0f} MB" if total else " MB"
            self.say(f"{what}: {done / 1e6:,.0f}{of}")


@contextlib.contextmanager
def work_folder(
    store: Path, inputs: str, progress: Callable[[str], None] | None
) -> Iterator[WorkFolder]:
    """Opens the work folder of a store, and locks it against other processes.

    Args:
        store: path of the store.
        inputs: fingerprint of the inputs; parts of other inputs are removed.
        progress: called with sentences about the progress.

    Raises:
        DataError: the folder cannot be written; nothing is left behind then.
    """
    path, say = store.with_name(f".{store.name}.work"), progress or (lambda _: None)
    made = [folder for folder in path.parents if not folder.exists()]
    try:
        lock_file = _locked(path, say)
        try:
            _remove_unfinished(store)
            _begin(path, inputs, say)
            yield WorkFolder(path, say)
        except Exception:
            _remove(path, made)
            raise
        else:
            shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(lock_file)
    except OSError as error:
        _remove(path, made)
        raise DataError(
            f"{store} cannot be written ({error.strerror or error}); need a folder with room for "
            "the tokens"
        ) from error


def _locked(path: Path, say: Callable[[str], None]) -> int:
    """Makes and locks the folder; returns the descriptor of the lock file."""
    while True:
        disk.make_folder(path)
        with contextlib.suppress(FileNotFoundError):  # another process has removed the folder
            return lock(
                path / LOCK,
                math.inf,
                on_wait=lambda holder: say(f"waiting for {holder}, which makes the same store"),
            )


def _remove_unfinished(store: Path) -> None:
    """Removes the folders that a killed `write_store` left beside the store."""
    left = re.compile(rf"\.{re.escape(store.name)}\.[0-9a-f]{{8}}\.(part|old)")
    for entry in store.parent.iterdir():
        if left.fullmatch(entry.name):
            shutil.rmtree(entry, ignore_errors=True)


def _begin(path: Path, inputs: str, say: Callable[[str], None]) -> None:
    """Removes what is not a finished part of the same inputs."""
    stated = path / INPUTS
    same = stated.exists() and stated.read_text() == inputs
    for entry in path.iterdir():
        if entry.name not in (INPUTS, LOCK) and not (same and not entry.name.startswith(".")):
            entry.unlink()
    if same:
        count = sum(entry.name not in (INPUTS, LOCK) for entry in path.iterdir())
        say(f"{count} finished parts of an interrupted preparation are used again")
    else:
        disk.sync(path)  # a power cut must not bring parts of other inputs back beside these inputs
        files.write_text(stated, inputs)


def _remove(path: Path, made: list[Path]) -> None:
    """Removes the work folder, and the folders made for it that are empty."""
    shutil.rmtree(path, ignore_errors=True)
    for folder in made:
        with contextlib.suppress(OSError):
            folder.rmdir()
