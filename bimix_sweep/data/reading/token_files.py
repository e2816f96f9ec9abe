"""Reads files of ready-made tokens: the whole file or some of its blocks."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bimix_sweep.data.finding.stored_file import StoredFile
from bimix_sweep.data.reading.blocks import BLOCK, Portion
from bimix_sweep.data.reading.token_layout import opened_tokens, token_layout
from bimix_sweep.errors import DataError

Tokens = npt.NDArray[np.unsignedinteger[Any]]
"""(tokens,) uint16 or uint32."""

CHUNK = 2048
"""Tokens per document where a file does not mark the ends of its documents."""
LARGEST_DOCUMENT = 16_000_000
"""Maximum tokens of one document."""
ERRORS = (OSError, ValueError, pa.ArrowException)
"""Errors of reading a file of tokens that is damaged or cannot be reached."""
DTYPES = ("uint16", "uint32", "int32", "int64")
"""Number formats that may be stated of files that do not state their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFormat:
    """Meaning of the numbers in a domain's token files."""

    vocabulary: int
    """Vocabulary size: every token id is below this number."""
    end_of_text: int | None
    """Token id that ends a document in files whose format does not list the documents; None: such a
    file is cut every CHUNK tokens."""
    dtype: str | None
    """Number format, little-endian, of files that do not state their own; None: uint16, or uint32
    for a vocabulary of more than 65,536."""

    @property
    def raw_dtype(self) -> str:
        """Number format of files that do not state their own."""
        return self.dtype or token_dtype(self.vocabulary).__name__


def token_dtype(vocabulary: int) -> type[np.uint16] | type[np.uint32]:
    """The smallest number format for the tokens of a vocabulary."""
    return np.uint16 if vocabulary <= 2**16 else np.uint32


def count_tokens(file: StoredFile, form: TokenFormat) -> int:
    """Number of tokens in a file, from its size and its header.

    Raises:
        DataError: the file holds no tokens.
    """
    try:
        with opened_tokens(file) as stream:
            return token_layout(stream, file, form.raw_dtype).count
    except ERRORS as error:
        raise _unreadable(file.path, error) from error


def read_tokens(file: StoredFile, portion: Portion, form: TokenFormat) -> Iterator[Tokens]:
    """Documents of a file or of some of its blocks, as uint16 or uint32.

    A local file is mapped into memory, and where its number format is that of the tokens, the
    documents are views of it. Where the file marks a document by `end_of_text`, the document
    includes it.

    Raises:
        DataError: the file holds no tokens, a token is not below the vocabulary, or a document is
            too long.
    """
    try:
        with opened_tokens(file) as stream:
            numbers = _Numbers(stream, file, form)
            for block in range(portion.num_blocks) if portion.blocks is None else portion.blocks:
                if numbers.ends is not None:
                    yield from _listed_documents(numbers, block, numbers.ends)
                else:
                    yield from _documents(numbers, block, form)
    except ERRORS as error:
        raise _unreadable(file.path, error) from error


def _unreadable(path: str, error: Exception) -> DataError:
    return DataError(f"{path} holds no readable tokens: {str(error).splitlines()[0]}")


class _Numbers:
    """The numbers of one file, read in pieces."""

    def __init__(self, stream: pa.NativeFile, file: StoredFile, form: TokenFormat) -> None:
        self._stream, self.path, self._form = stream, file.path, form
        self._layout = token_layout(stream, file, form.raw_dtype)
        self.count, self.ends = self._layout.count, self._layout.ends
        self.block = BLOCK // self._layout.dtype.itemsize
        """Numbers per block, a multiple of CHUNK."""

    def read(self, first: int, count: int) -> Tokens:
        """(count,) tokens from number `first` on, fewer at the end of the file; checks every id."""
        kind = self._layout.dtype
        count = max(0, min(count, self.count - first))
        self._stream.seek(self._layout.start + first * kind.itemsize)
        numbers = np.frombuffer(self._stream.read_buffer(count * kind.itemsize), dtype=kind)
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < self._form.vocabulary:
            raise self._beyond(numbers, first)
        if self._layout.raw and kind.itemsize == 2 and _has_gaps(numbers):
            raise DataError(
                f"{self.path}: every second number from token {first} on is 0, so its numbers have "
                "4 bytes and not 2; state tokens.dtype: uint32"
            )
        return numbers.astype(token_dtype(self._form.vocabulary), copy=False)

    def _beyond(self, numbers: npt.NDArray[Any], first: int) -> DataError:
        """Returns the error for numbers, from number `first` on, that are not all in the
        vocabulary."""
        most, kind = self._form.vocabulary, self._layout.dtype
        place = int(np.flatnonzero((numbers < 0) | (numbers >= most))[0])
        offset = self._layout.start + (first + place) * kind.itemsize
        cause = "give the vocabulary that the tokens were made with"
        if self._layout.raw:
            data = numbers.tobytes()
            fitting = [
                other
                for other in DTYPES
                if other != kind.name
                and len(data) % np.dtype(other).itemsize == 0
                and 0 <= (read := np.frombuffer(data, other)).min() <= read.max() < most
            ]
            cause += (
                f", or the right dtype: nothing in the file states it, and it was read as {kind}"
                + (f"; read as {fitting[0]}, all ids here fit" if fitting else "")
            )
        return DataError(
            f"{self.path} holds token {numbers[place]} (token {first + place}, byte {offset}); "
            f"need ids from 0 to {most - 1}: {cause}"
        )


def _has_gaps(numbers: npt.NDArray[Any]) -> bool:
    """True if every second number is 0, and of the others at most half are."""
    if len(numbers) < CHUNK or numbers[1::2].any():
        return False
    return 4 * int(np.count_nonzero(numbers[::2])) >= len(numbers)


def _listed_documents(
    numbers: _Numbers, block: int, ends: npt.NDArray[np.int64]
) -> Iterator[Tokens]:
    """Documents that begin in a block, in a file whose format lists the ends of its documents."""
    first = np.searchsorted(ends, block * numbers.block, side="left") if block else -1
    last = np.searchsorted(ends, (block + 1) * numbers.block, side="left")
    # document k begins at ends[k - 1], so those after `first` and up to `last` begin in the block
    starts = [0, *ends[:last].tolist()] if first < 0 else ends[first:last].tolist()
    for start, end in zip(starts, ends[first + 1 : last + 1].tolist(), strict=False):
        if end - start > LARGEST_DOCUMENT:
            raise DataError(
                f"{numbers.path} has a document of {end - start:,} tokens at token {start}; need at "
                f"most {LARGEST_DOCUMENT:,}"
            )
        if end - start > 1:
            yield numbers.read(start, end - start)


def _documents(numbers: _Numbers, block: int, form: TokenFormat) -> Iterator[Tokens]:
    """Documents that begin in a block."""
    first, end = block * numbers.block, min((block + 1) * numbers.block, numbers.count)
    if form.end_of_text is None:
        tokens = numbers.read(first, end - first)
        yield from (
            part for part in np.split(tokens, range(CHUNK, len(tokens), CHUNK)) if len(part) > 1
        )
        return
    before = max(0, first - 1)  # includes the token before, so that a document can begin at `first`
    tokens = numbers.read(before, end - before)
    ends = np.flatnonzero(tokens == form.end_of_text) + 1
    starts = ends[ends < len(tokens)] if first else np.concatenate([[0], ends[ends < len(tokens)]])
    if not len(starts) or first >= end:
        return
    place = end
    while not len(ends) or ends[-1] <= starts[-1]:  # the last document ends in a later block
        if not len(more := numbers.read(place, numbers.block)):
            break
        place += len(more)
        ends = np.flatnonzero(more == form.end_of_text)
        if len(ends):
            more = more[: ends[0] + 1]
            ends = np.array([len(tokens) + len(more)])
        tokens = np.concatenate([tokens, more])
        if len(tokens) - starts[-1] > LARGEST_DOCUMENT:
            raise DataError(
                f"{numbers.path} has no end of text {form.end_of_text} in {LARGEST_DOCUMENT:,} "
                f"tokens after token {before + starts[-1]}; need it after every document, or leave "
                "end_of_text out"
            )
    yield from (part for part in np.split(tokens, starts)[1:] if len(part) > 1)
