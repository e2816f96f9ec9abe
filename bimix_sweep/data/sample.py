"""Samples the documents of a source in the order of their keys.

Only the documents that are asked for are tokenised.

The key of a document is a hash of its text without the white space around it, so all copies have
the same key. The documents with the smallest keys of a source are a fair sample of the source. This
sample does not depend on the number or the order of the files, and a larger sample begins with a
smaller one.

A source of more than SCAN_BYTES of text is not read whole. Its sample comes from blocks that are
spread evenly over all files (`blocks`). The first blocks, SCAN_BYTES of text, are read for every
request.
"""

import hashlib
import heapq
import unicodedata
from collections.abc import Iterator
from typing import Any

from bimix_sweep.data.sources import Source
from bimix_sweep.data.tokenizing import Content, Document, Encoder
from bimix_sweep.errors import DataError

SCAN_BYTES = 128_000_000
"""Bytes of text that are read of a source first, if it has so many (docs/evidence.md)."""
POOL_BYTES = 16_000_000
"""Characters of text, or tokens, with the smallest keys that stay in memory until the tokenizer
is known; a domain that needs more is read again."""
ALL_KEYS = 1 << 128
"""Number of possible keys: a key has 16 bytes."""


class DocumentSample:
    """The documents read from one source. The constructor reads the source, or SCAN_BYTES of it,
    and computes the keys."""

    def __init__(self, name: str, source: Source, *, piece_characters: int = 0) -> None:
        """Reads the source, or the first SCAN_BYTES of its blocks.

        Args:
            name: name of the domain or target.
            source: the source to read.
            piece_characters: total characters of text that `pieces` gives.

        Raises:
            DataError: the source cannot be read or is empty.
        """
        self._source, self._tokens = source, source.holds_tokens()
        self._files = None if source.path is None else source.open()
        self._read = self._base = 0  # numbers of blocks
        if self._files is not None:
            self._read = self._base = self._files.blocks.count(SCAN_BYTES)
        self.variants: dict[bytes, bytes] = {}
        """{key: variant of the text that is kept for this key}, for all documents that were
        read."""
        self.repeated = 0
        """Number of documents left out because another document has the same key."""
        self.num_bytes = 0
        """Bytes that were read: UTF-8 bytes of text, or bytes of tokens."""
        self._longest_piece = max(1, piece_characters // 8)
        self._pool, self._pieces = _Smallest(POOL_BYTES), _Smallest(piece_characters)
        for content in self._contents(0, self._base):
            self._add(content)
        if not self.variants:
            raise DataError(f"{name} is empty: no text in {source.place}; give it documents")
        self.count = len(self.variants)
        """Number of different documents in the blocks that are read for every request."""

    @property
    def whole(self) -> bool:
        """True if the whole source has been read."""
        return self._files is None or self._read == self._files.blocks.total

    def pieces(self) -> list[str]:
        """Pieces of text for training the tokenizer, in the order of the documents' keys.

        A piece is the middle of a document, at most an eighth of `piece_characters`.
        """
        return [piece for _, piece in self._pieces.in_order() if isinstance(piece, str)]

    def in_order(self, encode: Encoder) -> Iterator[Document]:
        """Documents of the blocks that are read for every request, in the order of their keys."""
        yield from encode(self._pool.in_order())
        low = self._pool.bound
        while low is not None:
            high = 2 * low if 2 * low < ALL_KEYS else None  # doubles the range of keys
            yield from sorted(encode(self._between(low, high)), key=lambda document: document.key)
            low = high

    def more(self, encode: Encoder, num_bytes: float | None) -> list[Document]:
        """Documents of further blocks, in no particular order; an empty list if the whole source
        was read.

        Args:
            encode: the encoder.
            num_bytes: approximate bytes of text to read; None: all remaining text, by reading the
                source again from its beginning.
        """
        if self.whole or self._files is None:
            return []
        first, blocks = self._read, self._files.blocks
        count = blocks.total if num_bytes is None else max(1, blocks.count(num_bytes))
        self._read = min(first + count, blocks.total)
        again: set[bytes] = set()
        if num_bytes is None:
            first, again = 0, {*self.variants}
            self.num_bytes = self.repeated = 0
        return [*encode(self._fresh(first, count, again))]

    def _fresh(self, first: int, count: int, again: set[bytes]) -> Iterator[tuple[bytes, Content]]:
        """(key, content) of documents with new keys.

        A key in `again` was read before; its first occurrence now is not counted as a repetition.
        """
        for content in self._contents(first, count):
            key, variant, _, num_bytes = identify(content)
            self.num_bytes += num_bytes
            if key in again:
                again.remove(key)
            elif key in self.variants:
                self.repeated += 1
            else:
                self.variants[key] = variant
                yield key, content

    def record(self) -> dict[str, Any]:
        """JSON-able: how much of the source was read, and how much there is."""
        blocks = self._files.blocks if self._files is not None else None
        fraction = 1.0 if blocks is None else self._read / blocks.total
        portions = [] if blocks is None else blocks.portions(0, self._read)
        reached = [p.reach for p in portions if p.reach is not None and p.size > p.reach]
        there = self.num_bytes / fraction
        if blocks is not None and reached:  # moved blocks are no sample of the whole file
            there = max(there, blocks.num_bytes)
        return {
            "files_read": len(portions),
            "files": 0 if blocks is None else len(blocks.files),
            "bytes_read": self.num_bytes,
            "bytes": round(there),
            "documents": len(self.variants),
            "repeated_documents": self.repeated,
            **({"tokens": self._source.num_tokens()} if self._tokens else {}),
            **({"reach_bytes": min(reached)} if reached else {}),
        }

    def _contents(self, first: int, count: int) -> Iterator[Content]:
        """Contents of `count` blocks, from block `first` of the reading order on."""
        if self._files is None:
            return self._source.texts()
        portions = self._files.blocks.portions(first, count)
        if self._tokens:
            return self._files.token_documents(portions)
        return self._files.texts(portions)

    def _add(self, content: Content) -> None:
        """Counts a content and keeps it if its key is among the smallest."""
        key, variant, size, num_bytes = identify(content)
        self.num_bytes += num_bytes
        if (before := self.variants.get(key)) is not None:
            self.repeated += 1
            if before <= variant:
                return
        self.variants[key] = variant
        self._pool.offer(key, content, size)
        if self._pieces.most:
            start = max(0, (len(content) - self._longest_piece) // 2)
            piece = content[start : start + self._longest_piece]
            self._pieces.offer(key, piece, min(size, self._longest_piece))

    def _between(self, low: int, high: int | None) -> Iterator[tuple[bytes, Content]]:
        """(key, content) of the always read blocks whose keys are in [low, high), read again;
        None: no upper end."""
        given = set()
        for content in self._contents(0, self._base):
            key, variant, _, _ = identify(content)
            number = int.from_bytes(key)
            taken = number >= low and (high is None or number < high)
            if taken and key not in given and self.variants.get(key) == variant:
                given.add(key)
                yield key, content


class _Smallest:
    """Holds the contents with the smallest keys, only as many as are needed for `most`
    characters or tokens."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.bound: int | None = None
        """All offered contents with keys below this number are held; None: all offered contents
        are held."""
        self._kept: dict[int, tuple[bytes, Content, int]] = {}
        self._largest: list[int] = []  # heap of negated keys
        self._size = 0

    def offer(self, key: bytes, content: Content, size: int) -> None:
        """Holds a content; it replaces a held content with the same key, which has the same
        size."""
        number = int.from_bytes(key)
        if self.bound is not None and number >= self.bound:
            return
        if number not in self._kept:
            heapq.heappush(self._largest, -number)
            self._size += size
        self._kept[number] = (key, content, size)
        while self._size - (last := self._kept[-self._largest[0]][2]) >= self.most:
            self.bound = -heapq.heappop(self._largest)
            del self._kept[self.bound]
            self._size -= last

    def in_order(self) -> Iterator[tuple[bytes, Content]]:
        """(key, content) pairs, sorted by key."""
        return (self._kept[number][:2] for number in sorted(self._kept))


def identify(content: Content) -> tuple[bytes, bytes, int, int]:
    """Computes key, variant, size and bytes of a document.

    Copies that differ only in the white space around them, in the kind of line ends or in the
    composition of accents have the same key and the same size. Of these copies, the one with the
    smallest variant is kept.

    Returns:
        key: 16 bytes. variant: empty for normalised text, otherwise a hash of the exact text. size:
        characters of the normalised text, or tokens. bytes: UTF-8 bytes of the text, or bytes of
        the tokens.
    """
    if not isinstance(content, str):
        return _hash(content.astype("<u4").tobytes(), 16), b"", len(content), content.nbytes
    data = content.encode()
    normal = content.strip().replace("\r\n", "\n")
    if not normal.isascii():
        normal = unicodedata.normalize("NFC", normal)
    if normal == content:
        return _hash(data, 16), b"", len(content), len(data)
    return _hash(normal.encode(), 16), _hash(data, 8), len(normal), len(data)


def _hash(data: bytes, size: int) -> bytes:
    """BLAKE2b hash of `size` bytes."""
    return hashlib.blake2b(data, digest_size=size).digest()
