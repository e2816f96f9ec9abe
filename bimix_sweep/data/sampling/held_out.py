"""Keeps documents out of training that a validation set holds, copies and near-duplicates.

A run is WORDS words that follow each other; white space does not count. Of ready-made tokens, a
word is a token. The runs of a held-out document begin at each of its words. Of a training document,
only the runs that begin at every STRIDE-th word are looked at. It is a near-duplicate if held-out
documents have at least MIN_SHARED of them.
"""

import hashlib
from collections.abc import Iterable

import numpy as np

from bimix_sweep.data.sampling.scan import Keys
from bimix_sweep.data.tokenizing import Content

WORDS = 13
"""Words of a run; shorter runs are common phrases. Source: Brown et al., arXiv:2005.14165,
appendix C, filters with runs of 13 words."""
STRIDE = 32
"""Distance between the beginnings of the runs of a training document that are looked at, in
words."""
MIN_SHARED = 0.5
"""Minimum proportion of these runs that a near-duplicate shares with held-out documents."""
MAX_RUNS = 50_000
"""Maximum number of runs kept of one held-out document, from its beginning; it limits the
memory."""


class HeldOut:
    """The documents that no domain trains on."""

    def __init__(self, keys: Iterable[int] = (), runs: Iterable[Keys] = ()) -> None:
        """Args:
        keys: keys of documents that are known beforehand.
        runs: runs of these documents, as `runs_of` gives them.
        """
        self.keys = set(keys)
        """Keys of the documents."""
        self._runs: list[Keys] = [*runs]

    def add(self, key: int, runs: Keys) -> None:
        """Adds a document with its runs."""
        self.keys.add(key)
        self._runs.append(np.unique(runs))  # `is_near` searches rising hashes

    def is_near(self, content: Content) -> bool:
        """True for a near-duplicate of a held-out document."""
        if len(self._runs) > 1:
            self._runs = [np.unique(np.concatenate(self._runs))]
        if not self._runs or not len(known := self._runs[0]):
            return False
        found = runs_of(content, STRIDE)
        places = np.minimum(np.searchsorted(known, found), len(known) - 1)
        return bool(len(found)) and bool((known[places] == found).mean() >= MIN_SHARED)


def runs_of(content: Content, stride: int = 1, most: int | None = None) -> Keys:
    """(runs,) hashes of the runs of WORDS words that begin at every `stride`-th word, at most
    `most`."""
    if isinstance(content, str):
        words = content.split()
        starts = range(0, len(words) - WORDS + 1, stride)[:most]
        runs = [" ".join(words[start : start + WORDS]).encode() for start in starts]
    else:
        wide = content.astype("<u4")
        starts = range(0, len(wide) - WORDS + 1, stride)[:most]
        runs = [wide[start : start + WORDS].tobytes() for start in starts]
    hashes = b"".join([hashlib.blake2b(run, digest_size=8).digest() for run in runs])
    return np.frombuffer(hashes, dtype="<u8")
