"""Tokenised documents on disk: keys and places stay in memory, the tokens do not."""

import json
import os
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bimix_sweep.data.reading.token_files import Tokens
from bimix_sweep.data.sampling.scan import Keys
from bimix_sweep.data.sampling.work_folder import WorkFolder
from bimix_sweep.data.tokenizing import Document

Ints = npt.NDArray[np.int64]
MAX_OPEN = 64
"""Maximum number of files of tokens that are open at once."""


class Part:
    """The tokenised documents of one part of a source, in a file."""

    def __init__(self, tokens: Path, index: Path) -> None:
        """Reads the index of a finished part."""
        self.tokens = tokens
        """File of the tokens, document after document."""
        with np.load(index, allow_pickle=False) as stored:
            self.keys: Keys = stored["keys"]
            """(documents,) keys, in the order of the file."""
            self.lengths: Ints = stored["lengths"]
            """(documents,) tokens of each document."""
            self.facts: dict[str, Any] = json.loads(stored["facts"].tobytes())
            """What is known of the documents that were read, JSON-able."""
        self.dtype = np.dtype(self.facts["dtype"])
        """Number format of the file."""


def finished_part(work: WorkFolder, name: str) -> Part | None:
    """A part that was written before; None if it is not finished."""
    tokens, index = work.finished(f"{name}.tokens"), work.finished(f"{name}.index")
    return None if tokens is None or index is None else Part(tokens, index)


def write_part(
    work: WorkFolder,
    name: str,
    documents: Iterable[Document],
    facts: dict[str, Any],
    *,
    most: int | None = None,
) -> Part:
    """Writes documents as a part.

    Args:
        work: folder of the parts.
        name: name of the part.
        documents: the documents.
        facts: JSON-able; may be filled while the documents are read.
        most: writing ends after the document with which this number of tokens is reached; None: it
            does not.

    Raises:
        OSError: the part cannot be written.
    """
    keys, lengths, kinds = array("Q"), array("q"), set[str]()

    def write_tokens(path: Path) -> None:
        total = 0
        with path.open("wb") as file:
            for document in documents:
                file.write(document.tokens.tobytes())
                keys.append(document.key)
                lengths.append(len(document.tokens))
                kinds.add(document.tokens.dtype.str)
                total += lengths[-1]
                if most is not None and total >= most:
                    break

    def write_index(path: Path) -> None:
        told = {**facts, "dtype": kinds.pop() if kinds else "<u2"}
        with path.open("wb") as file:
            np.savez(
                file,
                keys=np.frombuffer(keys, dtype=np.uint64),
                lengths=np.frombuffer(lengths, dtype=np.int64),
                facts=np.frombuffer(json.dumps(told).encode(), dtype=np.uint8),
            )

    tokens = work.keep(f"{name}.tokens", write_tokens)
    return Part(tokens, work.keep(f"{name}.index", write_index))


class SpooledDocuments:
    """Documents in the files of several parts, in an order of their own."""

    def __init__(self, parts: Sequence[Part]) -> None:
        """The documents of the parts, sorted by key."""
        self._parts = [*parts]
        lengths = [part.lengths for part in parts]
        self.keys: Keys = np.concatenate([np.zeros(0, np.uint64), *(p.keys for p in parts)])
        """(documents,) keys."""
        self.lengths: Ints = np.concatenate([np.zeros(0, np.int64), *lengths])
        """(documents,) tokens of each document."""
        self._starts: Ints = np.concatenate(
            [np.zeros(0, np.int64), *(np.cumsum(each) - each for each in lengths)]
        )
        self._of = np.repeat(np.arange(len(parts), dtype=np.int32), [*map(len, lengths)])
        self._take(np.argsort(self.keys, kind="stable"))

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Tokens]:
        """The tokens of each document."""
        opened: OrderedDict[int, int] = OrderedDict()
        try:
            for of, start, length in zip(self._of, self._starts, self.lengths, strict=True):
                number, kind = int(of), self._parts[of].dtype
                if number not in opened:
                    if len(opened) == MAX_OPEN:
                        os.close(opened.popitem(last=False)[1])
                    opened[number] = os.open(self._parts[number].tokens, os.O_RDONLY)
                wide = kind.itemsize
                data = os.pread(opened[number], int(length) * wide, int(start) * wide)
                yield np.frombuffer(data, dtype=kind)
        finally:
            for descriptor in opened.values():
                os.close(descriptor)

    @classmethod
    def joined(cls, several: Sequence["SpooledDocuments"]) -> "SpooledDocuments":
        """The documents of several sources, one source after the other."""
        joined = cls([])
        joined._parts = [part for one in several for part in one._parts]
        shifts = np.cumsum([0, *(len(one._parts) for one in several)])
        joined.keys = np.concatenate([one.keys for one in several])
        joined.lengths = np.concatenate([one.lengths for one in several])
        joined._starts = np.concatenate([one._starts for one in several])
        joined._of = np.concatenate(
            [one._of + shift for one, shift in zip(several, shifts, strict=False)]
        )
        return joined

    def selected(self, order: npt.NDArray[Any]) -> "SpooledDocuments":
        """The documents with these numbers, in this order."""
        chosen = SpooledDocuments([])
        chosen._parts = self._parts
        chosen.keys, chosen.lengths = self.keys, self.lengths
        chosen._starts, chosen._of = self._starts, self._of
        chosen._take(order)
        return chosen

    def first_tokens(self, most: int | None) -> "SpooledDocuments":
        """The first documents, with `most` tokens in total, the last one cut; None: all."""
        if most is None or self.lengths.sum() <= most:
            return self
        ends = np.cumsum(self.lengths)
        count = int(np.searchsorted(ends, most)) + 1
        first = self.selected(np.arange(count))
        first.lengths = first.lengths.copy()
        first.lengths[-1] -= ends[count - 1] - most
        return first

    def _take(self, order: npt.NDArray[Any]) -> None:
        """Keeps the documents with these numbers, in this order."""
        self.keys, self.lengths = self.keys[order], self.lengths[order]
        self._starts, self._of = self._starts[order], self._of[order]
