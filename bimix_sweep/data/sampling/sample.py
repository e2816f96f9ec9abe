"""Samples the documents of a source in the order of their keys.

Only the documents that are asked for are tokenised.

The key of a document is a hash of its normalised text, so all copies have the same key. The
documents with the smallest keys of a source are a fair sample of the source. This sample does not
depend on the number or the order of the files, and a larger sample begins with a smaller one.

A source of more than SCAN_BYTES of text is not read whole. Its sample comes from blocks that are
spread evenly over all files (`blocks`). The first blocks, SCAN_BYTES of text, are scanned for every
request: these are the base blocks.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from bimix_sweep.data.reading.bad_input import MAX_NAMED
from bimix_sweep.data.reading.blocks import Portion
from bimix_sweep.data.sampling.identity import ALL_KEYS, identify
from bimix_sweep.data.sampling.scan import Keys, Scan, write_scan
from bimix_sweep.data.sampling.work_folder import WorkFolder
from bimix_sweep.data.sources import Source
from bimix_sweep.data.tokenizing import Content
from bimix_sweep.errors import DataError

SCAN_BYTES = 128_000_000
"""Bytes of text that are read of a source first, if it has so many (docs/evidence.md)."""


class DocumentSample:
    """The documents of one source. The constructor scans the source, or SCAN_BYTES of it."""

    def __init__(
        self, name: str, source: Source, work: WorkFolder, label: str, *, piece_characters: int = 0
    ) -> None:
        """Scans the source, or the first SCAN_BYTES of its blocks.

        Args:
            name: name of the domain or target.
            source: the source to read.
            work: folder of the finished parts.
            label: first part of the names of this source's parts.
            piece_characters: total characters of text that `pieces` gives.

        Raises:
            DataError: the source cannot be read or is empty.
        """
        self.name, self.work, self.label = name, work, label
        self._source, self._tokens = source, source.holds_tokens()
        self._files = None if source.path is None else source.open()
        self.bad: list[str] = [] if self._files is None else self._files.bad.messages
        """Messages about what was left out because it is broken."""
        self._base = 0 if self._files is None else self._files.blocks.count(SCAN_BYTES)
        self.read = self._base
        """Number of blocks that have been read."""
        part = f"{label}.scan"
        if work.finished(part) is None:
            what, total = f"reading {name}", min(SCAN_BYTES, self.stored_bytes)
            contents = self.contents(self.base(), what, total)
            work.keep(part, lambda path: write_scan(path, contents, piece_characters, self.bad))
        self.scan = Scan(work.path / part)
        """What the scan of the base blocks found."""
        self.bad[:] = self.scan.bad
        self.num_bytes, self.repeated = self.scan.num_bytes, self.scan.repeated
        self.further: Keys = np.zeros(0, np.uint64)
        """Keys of the different documents outside of the base blocks that were read, rising."""
        if not len(self.scan.keys):
            reasons = f" ({len(self.bad)} are broken: {self.bad[0]})" if self.bad else ""
            raise DataError(
                f"{name} is empty: no text in {source.place}{reasons}; give it documents"
            )

    @property
    def count(self) -> int:
        """Number of different documents in the base blocks."""
        return len(self.scan.keys)

    @property
    def keys(self) -> Keys:
        """Keys of all different documents that were read."""
        return np.concatenate([self.scan.keys, self.further])

    @property
    def whole(self) -> bool:
        """True if the whole source has been read."""
        return self._files is None or self.read == self._files.blocks.total

    @property
    def stored_bytes(self) -> float:
        """Approximate bytes of text in the source, from the sizes of its files; 0: not known."""
        return 0.0 if self._files is None else self._files.blocks.num_bytes

    def pieces(self) -> list[str]:
        """Pieces of text for training the tokenizer, in the order of the documents' keys."""
        return self.scan.pieces()

    def in_order(self) -> Iterator[tuple[int, Content]]:
        """(key, content) of the documents of the base blocks, in the order of their keys."""
        yield from self.scan.pool()
        low = self.scan.pool_bound
        while low is not None:
            high = 2 * low if 2 * low < ALL_KEYS else None  # doubles the range of keys
            yield from sorted(self._between(low, high), key=lambda pair: pair[0])
            low = high

    def base(self) -> list[Portion] | None:
        """The base blocks; None for a source without files."""
        return None if self._files is None else self._files.blocks.portions(0, self._base)

    def next_blocks(self, num_bytes: float | None) -> list[Portion]:
        """The next blocks, about `num_bytes` of text; None: the whole source, from its beginning."""
        if self._files is None:
            return []
        blocks, first = self._files.blocks, self.read
        if num_bytes is None:
            self.read = blocks.total
            return blocks.portions(0, blocks.total)
        self.read = min(first + max(1, blocks.count(num_bytes)), blocks.total)
        return blocks.portions(first, self.read - first)

    def parted(self, portions: list[Portion] | None, size: float) -> list[list[Portion] | None]:
        """Portions in parts of about `size` bytes of text."""
        if portions is None or self._files is None:
            return [None]
        return [*self._files.blocks.parted(portions, size)]

    def contents(
        self, portions: list[Portion] | None, what: str = "", total: float = 0.0
    ) -> Iterator[Content]:
        """Contents of portions; None: of a source without files.

        Args:
            portions: the portions.
            what: what is done with the contents, for messages about the progress.
            total: approximate bytes of text in the portions.
        """
        contents: Iterator[Content]
        if self._files is None or portions is None:
            contents = self._source.texts()
        elif self._tokens:
            contents = self._files.token_documents(portions)
        else:
            contents = self._files.texts(portions)
        done = 0
        for content in contents:
            done += len(content) if isinstance(content, str) else content.nbytes
            self.work.progress(what, done, total)
            yield content

    def count_further(self, keys: Keys, num_bytes: int, repeated: int) -> None:
        """Counts documents outside of the base blocks that were read.

        Args:
            keys: keys of new documents.
            num_bytes: bytes of all documents that were read.
            repeated: number of documents that have the key of another.
        """
        self.further = np.union1d(self.further, keys)
        self.num_bytes += num_bytes
        self.repeated += repeated

    def record(self) -> dict[str, Any]:
        """JSON-able: how much of the source was read, and how much there is."""
        blocks = self._files.blocks if self._files is not None else None
        portions = [] if blocks is None else blocks.portions(0, self.read)
        reached = [p.reach for p in portions if p.reach is not None and p.size > p.reach]
        named = self.bad[:MAX_NAMED]
        return {
            "files_read": len(portions),
            "files": 0 if blocks is None else len(blocks.files),
            "bytes_read": self.num_bytes,
            "bytes": round(self.total_bytes()),
            "documents": self.count + len(self.further),
            "repeated_documents": self.repeated,
            **({"bad_documents": len(self.bad), "bad": named} if self.bad else {}),
            **({"tokens": self._source.num_tokens()} if self._tokens else {}),
            **({"reach_bytes": min(reached)} if reached else {}),
        }

    def total_bytes(self) -> float:
        """Approximate bytes of the whole source, from the bytes that were read."""
        if self._files is None:
            return self.num_bytes
        blocks = self._files.blocks
        there = self.num_bytes * blocks.total / self.read
        moved = any(p.reach is not None and p.size > p.reach for p in blocks.portions(0, self.read))
        return max(there, blocks.num_bytes) if moved else there  # moved blocks are no sample

    def _between(self, low: int, high: int | None) -> Iterator[tuple[int, Content]]:
        """(key, content) of the base blocks whose keys are in [low, high), read again; None: no
        upper end."""
        first, last = np.searchsorted(
            self.scan.keys, np.array([low, ALL_KEYS - 1 if high is None else high], np.uint64)
        ).tolist()
        last = len(self.scan.keys) if high is None else last
        wanted = dict(
            zip(
                self.scan.keys[first:last].tolist(),
                self.scan.variants[first:last].tolist(),
                strict=True,
            )
        )
        for content in self.contents(self.base()):
            found = identify(content)
            if wanted.get(found.key) == found.variant:
                del wanted[found.key]
                yield found.key, content
