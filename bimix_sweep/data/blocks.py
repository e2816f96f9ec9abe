"""Which parts of a domain's files are read: all of them, or blocks spread evenly over all files.

A block is about 256 KB of a stored file. A source too large to be read whole is read in blocks, the
k-th of which stands, of the N blocks of all files in the order of their names, about where the
fractional part of k / golden ratio + 0.5 says. Any run of these numbers is spread evenly: every
stretch of files has its part of the blocks to within two or three, and after N numbers each block
came once.

Source: V. T. Sos, On the distribution mod 1 of the sequence n alpha, Ann. Univ. Sci. Budapest 1
(1958) 127-134.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BLOCK = 1 << 18
"""Stored bytes of a block."""
STREAM_BYTES = 4_000_000_000
"""Stored bytes that are read at most on the way to the chosen blocks of files that cannot be
sought."""
MAX_RANKED = 1 << 20
"""Blocks up to which the order is the exact one; that of more is an arithmetic progression modulo
their number."""
GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """What is read of one file."""

    path: str
    size: int
    """Stored bytes of the file."""
    num_blocks: int
    """That the file has."""
    blocks: tuple[int, ...] | None = None
    """Numbers of those that are read, rising; None: the file is read whole."""
    reach: int | None = None
    """Stored bytes read at most on the way to these blocks, where the file cannot be sought; None:
    as many as it takes."""

    def within(self, size: float, reach: float) -> list[int]:
        """The blocks to read, moved evenly to the front where `reach` is less than `size`; rising,
        without repetition."""
        factor = min(1.0, reach / size) if size else 1.0
        return sorted({int(block * factor) for block in self.blocks or ()})


class Blocks:
    """The blocks of several files, in the order in which they are to be read."""

    def __init__(
        self,
        files: Sequence[tuple[str, int]],
        *,
        whole: Sequence[bool],
        sought: Sequence[bool],
        num_bytes: float,
    ) -> None:
        """Lay them out.

        Args:
            files: (path, stored bytes) in an order in which alike ones are neighbours.
            whole: of each file: it can only be read whole, as one block.
            sought: of each file: reading may begin at any place of it.
            num_bytes: about how much text all of it holds.
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
        """Number of blocks."""
        ranked = self.total <= MAX_RANKED
        self._ranks = _ranks(self.total) if ranked else None
        self._stride = 1 if ranked else _stride(self.total)

    def count(self, num_bytes: float) -> int:
        """How many blocks hold about so much text; all of them where there is no more."""
        if num_bytes >= self.num_bytes:
            return self.total
        return math.ceil(self.total * num_bytes / self.num_bytes)

    def portions(self, first: int, count: int) -> list[Portion]:
        """Blocks number `first` to `first + count - 1` of the order, file by file."""
        chosen: Mapping[int, list[int]]
        if first == 0 and count >= self.total:
            return [
                Portion(path=path, size=size, num_blocks=int(self._counts[file]))
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
                path=self.files[file][0],
                size=self.files[file][1],
                num_blocks=int(self._counts[file]),
                blocks=None if len(blocks) == self._counts[file] else tuple(blocks),
                reach=None if self._sought[file] else STREAM_BYTES // len(streamed),
            )
            for file, blocks in chosen.items()
        ]


def _ranks(total: int) -> npt.NDArray[np.int64]:
    """(total,) place of k / golden ratio + 0.5 modulo 1 among those of all k below `total`."""
    return np.asarray(np.argsort(np.argsort((np.arange(total) * GOLDEN + 0.5) % 1)))


def _stride(total: int) -> int:
    """The number nearest to total / golden ratio that has no divisor in common with `total`."""
    near = round(total * GOLDEN)
    return next(
        candidate
        for away in range(total + 1)
        for candidate in (near - away, near + away)
        if candidate >= 1 and math.gcd(candidate, total) == 1
    )
