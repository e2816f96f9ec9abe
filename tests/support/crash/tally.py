"""Counts crash states, and what was found wrong in them."""

import contextlib
import copy
import functools
import itertools
import os
import re
import secrets
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from bimix_sweep.config import yaml_file
from bimix_sweep.journal import lease
from bimix_sweep.parsing import parse_yaml
from tests.support.crash.power import Disk, State

T = TypeVar("T")
NOW = 1767225600.0
"""The wall clock of all modelled processes."""


class Tally:
    """Crash states tried, and the failures among them, with empty folders to lay states out in."""

    def __init__(self, folder: Path, share: float = 1.0) -> None:
        """Begins with no states.

        Args:
            folder: an empty folder, best in memory.
            share: fraction of the states that are tried, spread evenly.
        """
        self.share = share
        self.num_states = 0
        self.lost: Counter[str] = Counter()
        """Acknowledged content that recovery did not find, by reason."""
        self.twice: Counter[str] = Counter()
        """Content that recovery found more than once."""
        self.stuck: Counter[str] = Counter()
        """States with which the work could not be continued."""
        self._folder = folder
        self._depth = 0
        self._offered = 0
        self._seen: set[object] = set()

    def new(self, key: object) -> bool:
        """Whether a state is to be tried: it is new, and belongs to the share."""
        if key in self._seen:
            return False
        self._seen.add(key)
        return self.chosen()

    def chosen(self) -> bool:
        """Whether the next state is to be tried."""
        self._offered += 1
        due = int(self._offered * self.share) > int((self._offered - 1) * self.share)
        self.num_states += due
        return due

    def some(self, items: Sequence[T]) -> Sequence[T]:
        """Every so many of what is slow to follow up: the square root of the share."""
        return items[:: max(1, int(self.share**-0.5))]

    def failed(self, error: BaseException | str) -> None:
        """Counts a state with which the work could not be continued."""
        text = f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else error
        self.stuck[re.sub(r"/\S+/|[0-9a-f]{4,}", "*", text)[:300]] += 1

    @property
    def failures(self) -> dict[str, int]:
        return dict(self.lost + self.twice + self.stuck)

    @contextlib.contextmanager
    def place(self) -> Iterator[Path]:
        """An empty folder for a while, of the same name each time."""
        self._depth += 1
        path = self._folder / f"disk{self._depth}"
        path.mkdir()
        try:
            yield path
        finally:
            shutil.rmtree(path)
            self._depth -= 1

    @contextlib.contextmanager
    def disk(self, begin: State | None = None) -> Iterator[Disk]:
        """A modelled disk on which code runs."""
        with self.place() as root, pytest.MonkeyPatch.context() as patch:
            yield Disk(root, patch, begin)

    @contextlib.contextmanager
    def laid_out(self, state: State) -> Iterator[Path]:
        """A folder in a state, for a while; fsync does nothing there, for speed."""
        with self.place() as root, pytest.MonkeyPatch.context() as patch:
            patch.setattr("os.fsync", lambda file: None)
            state.lay_out(root)
            yield root


@contextlib.contextmanager
def tallying(share: float = 1.0) -> Iterator[Tally]:
    """A tally whose processes have a clock that stands still, names that count up, and no threads
    that renew leases: on a slow machine these would write in the middle.
    """
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # thousands of small files
    tokens = itertools.count()
    with (
        tempfile.TemporaryDirectory(dir=memory) as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(time, "time", lambda: NOW)
        patch.setattr(secrets, "token_hex", lambda n=8: f"{next(tokens):0{2 * n}x}")
        parsed = functools.lru_cache(maxsize=64)(parse_yaml)  # the slowest part of a reading
        patch.setattr(yaml_file, "parse_yaml", lambda text: copy.deepcopy(parsed(text)))
        patch.setattr(lease, "RENEW_SECONDS", 3600.0)
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", folder)
        root = Path(folder, "states")
        root.mkdir()
        yield Tally(root, share)
