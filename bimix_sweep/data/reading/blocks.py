"""Chooses which parts of a domain's files are read: whole files, or blocks spread over all files.

A block is about 256 KB of a stored file. A source that is too large to be read whole is read in
blocks. The blocks of all files are numbered 0 to N - 1, in the order of the files' names. The
reading order is a permutation of these numbers: entry k is the rank of the fractional part of k /
golden ratio + 0.5 among those of all N values of k. Any run of consecutive entries is spread
evenly: every stretch of files gets its proportion of the blocks to within two or three blocks.
After N entries, each block has been read once.

Source: V. T. Sos, On the distribution mod 1 of the sequence n alpha, Ann. Univ. Sci. Budapest 1
(1958) 127-134.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

BLOCK = 1 << 18
"""Stored bytes of one block."""
STREAM_BYTES = 4_000_000_000
"""Maximum stored bytes, over all files without random access, that are read to reach their
chosen blocks."""
MAX_RANKED = 1 << 20
"""Maximum number of blocks for the exact order; with more blocks, the order is an arithmetic
progression modulo their number."""
GOLDEN = (math.sqrt(5) - 1) / 2
"""1 / golden ratio, about 0.618."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """The part of one file that is read."""

    file: int
    """Number of the file in its source."""
    path: str
    """Path of the file."""
    size: int
    """Stored bytes of the file."""
    num_blocks: int
    """Number of blocks in the file."""
    blocks: tuple[int, ...] | None = None
    """Numbers of the blocks that are read, ascending; None: the file is read whole."""
    reach: int | None = None
    """Maximum stored bytes read to reach these blocks, for a file without random access; None:
    no limit."""

    def within(self, size: float, reach: float) -> list[int]:
        """Numbers of the blocks to read, ascending and without repetition.

        Where `reach` is less than `size`, each number is multiplied by reach / size. This moves the
        blocks evenly towards the beginning of the file.
        """
        factor = min(1.0, reach / size) if size else 1.0
        return sorted({int(block * factor) for block in self.blocks or ()})


class Blocks:
    """All blocks of several files, and the order in which they are read."""

    def __init__(
        self,
        files: Sequence[tuple[str, int]],
        *,
        whole: Sequence[bool],
        sought: Sequence[bool],
        num_bytes: float,
    ) -> None:
        """Count the blocks of each file and fix the reading order.

        Args:
            files: (path, stored bytes) of each file, in an order in which similar files are
                neighbours.
            whole: for each file, True if it can only be read whole, as one block.
            sought: for each file, True if reading can begin at any position.
            num_bytes: approximate bytes of text in all files.
        """
        self.files = tuple(files)
        self.num_bytes = num_bytes
        self._sought = tuple(sought)
        self._counts: npt.NDArray[np.int64] = np.array(
            [
                1 if single else max(1, -(-size // BLOCK))
                for (_, size), single in zip(files, whole, strict=True)
            ],
            dtype=np.int64,
        )
        self._ends = np.cumsum(self._counts)
        self.total = int(self._ends[-1])
        """Number of blocks in all files."""
        ranked = self.total <= MAX_RANKED
        self._ranks = _ranks(self.total) if ranked else None
        self._stride = 1 if ranked else _stride(self.total)

    def count(self, num_bytes: float) -> int:
        """Number of blocks that hold about `num_bytes` of text; all blocks if there is no more
        text than that."""
        if num_bytes >= self.num_bytes:
            return self.total
        return math.ceil(self.total * num_bytes / self.num_bytes)

    def portions(self, first: int, count: int) -> list[Portion]:
        """Entries `first` to `first + count - 1` of the reading order, grouped by file."""
        chosen: Mapping[int, list[int]]
        if first == 0 and count >= self.total:
            return [
                Portion(file=file, path=path, size=size, num_blocks=int(self._counts[file]))
                for file, (path, size) in enumerate(self.files)
            ]
        numbers = np.arange(first, min(first + count, self.total), dtype=np.int64)
        numbers = np.sort(
            self._ranks[numbers] if self._ranks is not None else numbers * self._stride % self.total
        )
        of = np.searchsorted(self._ends, numbers, side="right")
        chosen = {}
        for file, block in zip(
            of.tolist(), (numbers - self._ends[of] + self._counts[of]).tolist(), strict=True
        ):
            chosen.setdefault(file, []).append(block)
        streamed = [file for file in chosen if not self._sought[file]]
        return [
            Portion(
                file=file,
                path=self.files[file][0],
                size=self.files[file][1],
                num_blocks=int(self._counts[file]),
                blocks=None if len(blocks) == self._counts[file] else tuple(blocks),
                reach=None if self._sought[file] else STREAM_BYTES // len(streamed),
            )
            for file, blocks in chosen.items()
        ]

    def parted(self, portions: Sequence[Portion], num_bytes: float) -> list[list[Portion]]:
        """Divides portions, in their order, into parts of about `num_bytes` of text.

        Only files in which reading can begin anywhere are divided.
        """
        most = max(1, int(num_bytes * self.total / self.num_bytes))
        parts: list[list[Portion]] = [[]]
        room = most
        for portion in portions:
            pieces = [portion]
            count = portion.num_blocks if portion.blocks is None else len(portion.blocks)
            if self._sought[portion.file] and count > most:
                numbers = portion.blocks or range(count)
                pieces = [
                    replace(portion, blocks=tuple(numbers[first : first + most]))
                    for first in range(0, count, most)
                ]
            for piece in pieces:
                size = piece.num_blocks if piece.blocks is None else len(piece.blocks)
                if size > room and parts[-1]:
                    parts.append([])
                    room = most
                parts[-1].append(piece)
                room -= size
        return parts


def _ranks(total: int) -> npt.NDArray[np.int64]:
    """(total,) rank of the fractional part of k / golden ratio + 0.5 among those of all k below
    `total`."""
    return np.asarray(np.argsort(np.argsort((np.arange(total) * GOLDEN + 0.5) % 1)))


def _stride(total: int) -> int:
    """The integer nearest to total / golden ratio that has no common divisor with `total`."""
    near = round(total * GOLDEN)
    return next(
        candidate
        for away in range(total + 1)
        for candidate in (near - away, near + away)
        if candidate >= 1 and math.gcd(candidate, total) == 1
    )
