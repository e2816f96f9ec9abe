"""Reads files of ready-made tokens, `.npy` and `.bin`: the whole file or some of its blocks."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bimix_sweep.data.finding.stored_file import StoredFile
from bimix_sweep.data.reading.blocks import BLOCK, Portion
from bimix_sweep.errors import DataError

Tokens = npt.NDArray[np.unsignedinteger[Any]]
"""(tokens,) uint16 or uint32."""

CHUNK = 2048
"""Tokens per document where a file does not mark the ends of its documents."""
LARGEST_DOCUMENT = 16_000_000
"""Maximum tokens of one document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFormat:
    """Meaning of the numbers in a domain's token files."""

    vocabulary: int
    """Vocabulary size: every token id is below this number."""
    end_of_text: int | None
    """Token id that ends a document; None: a file is cut every CHUNK tokens."""
    dtype: str
    """Number format of `.bin` files, little-endian."""


def read_tokens(file: StoredFile, portion: Portion, form: TokenFormat) -> Iterator[Tokens]:
    """Documents of a file or of some of its blocks, as uint16 or uint32.

    Each document includes its `end_of_text`, if there is one.

    Raises:
        DataError: the file holds no tokens, a token is not below the vocabulary, or a document is
            too long.
    """
    path = portion.path
    try:
        with file.filesystem.open_input_file(path) as stream:
            numbers = _Numbers(stream, path, form)
            for block in range(portion.num_blocks) if portion.blocks is None else portion.blocks:
                yield from _documents(numbers, block, form)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} holds no readable tokens: {str(error).splitlines()[0]}") from error


class _Numbers:
    """The numbers of one file, read in pieces."""

    def __init__(self, stream: Any, path: str, form: TokenFormat) -> None:
        self._stream, self.path, self._form = stream, path, form
        kind, shape = np.dtype(form.dtype).newbyteorder("<"), None
        if path.endswith(".npy"):
            version = np.lib.format.read_magic(stream)
            header = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, _, kind = header(stream)
        self._start = stream.tell()
        if (shape is not None and len(shape) != 1) or not np.issubdtype(kind, np.integer):
            raise DataError(
                f"{path} holds a {kind} array of shape {shape}; need one row of whole numbers"
            )
        self._kind = kind
        stored, odd = divmod(stream.size() - self._start, kind.itemsize)
        if odd or (shape is not None and stored != shape[0]):
            raise DataError(
                f"{path} has {stream.size() - self._start} bytes of numbers of {kind.itemsize} "
                "bytes each; it is cut off or of another dtype"
            )
        self.count = stored
        self.block = BLOCK // kind.itemsize
        """Numbers per block, a multiple of CHUNK."""

    def read(self, first: int, count: int) -> Tokens:
        """(count,) tokens from number `first` on, fewer at the end of the file; checks every id."""
        count = max(0, min(count, self.count - first))
        self._stream.seek(self._start + first * self._kind.itemsize)
        tokens = np.frombuffer(self._stream.read(count * self._kind.itemsize), dtype=self._kind)
        vocabulary = self._form.vocabulary
        if tokens.size and not 0 <= tokens.min() <= tokens.max() < vocabulary:
            wrong = tokens.max() if tokens.max() >= vocabulary else tokens.min()
            raise DataError(
                f"{self.path} holds token {wrong}; need ids from 0 to {vocabulary - 1} "
                f"(is the vocabulary or the dtype {self._form.dtype} another?)"
            )
        return tokens.astype(np.uint16 if vocabulary <= 2**16 else np.uint32)


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
