"""Scans the documents of a source: their keys and sizes, and the contents with the smallest keys."""

import heapq
import json
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bimix_sweep.data.sampling.identity import identify
from bimix_sweep.data.tokenizing import Content

POOL_BYTES = 16_000_000
"""Characters of text, or tokens, with the smallest keys that stay in memory until the tokenizer
is known; a domain that needs more is read again."""
Keys = npt.NDArray[np.uint64]
"""(documents,) keys."""


class Scan:
    """What a scan found, in a file; the contents are read from it when they are needed."""

    def __init__(self, path: Path) -> None:
        """Reads a file that `write_scan` wrote, but not the contents in it."""
        self._path = path
        with np.load(path, allow_pickle=False) as stored:
            rest: dict[str, Any] = json.loads(stored["rest"].tobytes())
            self.keys: Keys = stored["keys"]
            """(documents,) keys of the different documents, rising."""
            self.variants: Keys = stored["variants"]
            """(documents,) variant of each document that is kept."""
            self.sizes: npt.NDArray[np.int64] = stored["sizes"]
            """(documents,) size of each document, as in `Identity`."""
        self.pool_bound: int | None = rest["bound"]
        """All documents with keys below this number are in the pool; None: all documents are."""
        self.num_bytes: int = rest["bytes"]
        """Bytes that were read: UTF-8 bytes of text, or bytes of tokens."""
        self.repeated: int = rest["repeated"]
        """Number of documents left out because another document has the same key."""
        self.bad: list[str] = rest["bad"]
        """Messages about what was left out because it is broken."""
        self._kind: str | None = rest["kind"]

    def pool(self) -> Iterator[tuple[int, Content]]:
        """(key, content) of the documents with the smallest keys, rising."""
        with np.load(self._path, allow_pickle=False) as stored:
            keys, parts = stored["pool_keys"].tolist(), _split(stored, "pool")
        for key, part in zip(keys, parts, strict=True):
            yield key, np.frombuffer(part, dtype=self._kind) if self._kind else part.decode()

    def pieces(self) -> list[str]:
        """Pieces of text for training the tokenizer, in the order of the documents' keys."""
        with np.load(self._path, allow_pickle=False) as stored:
            return [part.decode() for part in _split(stored, "pieces")]


def write_scan(
    path: Path, contents: Iterable[Content], piece_characters: int, bad: Sequence[str]
) -> None:
    """Scans documents into a file.

    Args:
        path: the file.
        contents: the documents.
        piece_characters: total characters of the pieces. A piece is the middle of a document, at
            most an eighth of this number.
        bad: list of messages that reading the documents fills.
    """
    longest = max(1, piece_characters // 8)
    pool, pieces = _Smallest(POOL_BYTES), _Smallest(piece_characters)
    columns = array("Q"), array("Q"), array("q")
    num_bytes = 0
    for content in contents:
        found = identify(content)
        num_bytes += found.num_bytes
        for column, value in zip(columns, (found.key, found.variant, found.size), strict=True):
            column.append(value)
        pool.offer(found.key, found.variant, content, found.size)
        if piece_characters:
            start = max(0, (len(content) - longest) // 2)
            piece = content[start : start + longest]
            pieces.offer(found.key, found.variant, piece, min(found.size, longest))
    keys, variants = (np.frombuffer(column, dtype=np.uint64) for column in columns[:2])
    order = np.lexsort((variants, keys))
    first = np.ones(len(order), dtype=bool)  # of each key, the smallest variant
    first[1:] = keys[order[1:]] != keys[order[:-1]]
    order = order[first]
    held = pool.in_order()
    kinds = {content.dtype.str for _, content in held if not isinstance(content, str)}
    rest = {
        "bound": pool.bound,
        "bytes": num_bytes,
        "repeated": len(keys) - len(order),
        "bad": [*bad],
        "kind": kinds.pop() if kinds else None,
    }
    stored: dict[str, Any] = {
        "keys": keys[order],
        "variants": variants[order],
        "sizes": np.frombuffer(columns[2], dtype=np.int64)[order],
        "pool_keys": np.array([key for key, _ in held], dtype=np.uint64),
        "rest": np.frombuffer(json.dumps(rest).encode(), dtype=np.uint8),
        **_joined("pool", held),
        **_joined("pieces", pieces.in_order()),
    }
    with path.open("wb") as file:
        np.savez(file, **stored)


def _joined(name: str, held: Sequence[tuple[int, Content]]) -> dict[str, npt.NDArray[Any]]:
    """Contents as two arrays: their bytes, and the number of bytes of each."""
    data = [one.encode() if isinstance(one, str) else one.tobytes() for _, one in held]
    return {
        f"{name}_bytes": np.frombuffer(b"".join(data), dtype=np.uint8),
        f"{name}_lengths": np.array([*map(len, data)], dtype=np.int64),
    }


def _split(stored: Any, name: str) -> list[bytes]:
    """The contents that `_joined` joined, as bytes."""
    data, ends = stored[f"{name}_bytes"].tobytes(), np.cumsum(stored[f"{name}_lengths"]).tolist()
    return [data[first:last] for first, last in zip([0, *ends], ends, strict=False)]


class _Smallest:
    """Holds the contents with the smallest keys, only as many as are needed for `most`
    characters or tokens."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.bound: int | None = None
        """All offered contents with keys below this number are held; None: all offered contents
        are held."""
        self._kept: dict[int, tuple[int, Content, int]] = {}  # {key: (variant, content, size)}
        self._largest: list[int] = []  # heap of negated keys
        self._size = 0

    def offer(self, key: int, variant: int, content: Content, size: int) -> None:
        """Holds a content; of several with one key, which have one size, the smallest variant."""
        if self.bound is not None and key >= self.bound:
            return
        if (before := self._kept.get(key)) is None:
            heapq.heappush(self._largest, -key)
            self._size += size
        elif before[0] <= variant:
            return
        self._kept[key] = (variant, content, size)
        while self._size - (last := self._kept[-self._largest[0]][2]) >= self._most:
            self.bound = -heapq.heappop(self._largest)
            del self._kept[self.bound]
            self._size -= last

    def in_order(self) -> list[tuple[int, Content]]:
        """(key, content) pairs, sorted by key."""
        return [(key, self._kept[key][1]) for key in sorted(self._kept)]
