"""Splits the documents of a source into held-out rows and training documents.

The splits depend only on the keys of the documents. The documents with the smallest keys of a
domain become its validation split. A row is what a trial predicts at once, context + 1 tokens.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bimix_sweep.data.reading.token_files import Tokens
from bimix_sweep.data.sampling.sample import DocumentSample
from bimix_sweep.data.tokenizing import Content, Document, Encoder
from bimix_sweep.errors import DataError

MIN_DOCUMENTS = 12
"""Minimum number of documents of a domain; with fewer, a validation set would hold one or two
documents."""
MIN_TARGET_TOKENS = 1024
"""Minimum tokens of a target; the loss on a shorter text has too much noise."""
VALIDATION_SHARE = 1 / 3
"""Maximum proportion of a domain's documents that its validation split may take."""
VOICES = 32
"""Number of documents, or of places in long documents, that a held-out set is made of where
there are enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutRows:
    """The held-out rows of one source."""

    rows: list[Tokens]
    """Rows, each (context + 1,)."""
    documents: list[tuple[int, Content]]
    """(key, content) of the documents that the rows come from."""


def validation_rows(
    name: str, sample: DocumentSample, encode: Encoder, *, rows: int, length: int
) -> HeldOutRows:
    """Splits the validation rows of a domain off.

    A document gives at most a limited number of rows, so that one long text cannot be the whole
    split. They come from the middle of the document, because beginnings are licences and imports,
    which are much the same in every file of a project. Documents that are shorter than a row, and
    rests of others, are joined until they fill one.

    Args:
        name: name of the domain, for messages.
        sample: the documents of the domain.
        encode: the encoder.
        rows: number of rows.
        length: tokens of a row.

    Raises:
        DataError: the domain has too few documents or tokens.
    """
    if sample.count < MIN_DOCUMENTS:
        total = sum(len(document.tokens) for document in encode(sample.in_order()))
        raise DataError(
            f"domain {name} has {sample.count} different documents ({total} tokens); need at least "
            f"{MIN_DOCUMENTS} so that validation can be split off by document: give more, or cut "
            "long ones (one document a line of .jsonl, or a file each)"
        )
    most = -(-rows // max(4, min(VOICES, sample.count // 4)))
    filled = _Rows(rows, length)
    for document, content in _with_contents(sample, encode):
        if not filled.left or len(filled.documents) == int(sample.count * VALIDATION_SHARE):
            break
        filled.add(document, content, most)
    if filled.left:
        raise DataError(
            f"domain {name} has {sample.count} different documents; its validation split of {rows} "
            f"rows of {length} tokens may take a third of them, and {rows - filled.left} rows were "
            "found there: give it more text, or lower data.validation_tokens or proxy.context"
        )
    return HeldOutRows(rows=filled.rows, documents=filled.documents)


def target_rows(
    name: str, sample: DocumentSample, encode: Encoder, *, rows: int, length: int
) -> HeldOutRows:
    """Chooses rows of a target's documents: `rows` of them, or all if there are fewer.

    If the target has more, the rows come from VOICES documents, or from as many places in fewer
    documents.

    Raises:
        DataError: the target has too few tokens.
    """
    most = -(-rows // min(VOICES, sample.count))
    while True:
        filled, longest = _Rows(rows, length), 0
        for document, content in _with_contents(sample, encode):
            if not filled.left:
                break
            filled.add(document, content, most)
            longest = max(longest, len(document.tokens))
        if not filled.left or most * length >= longest:
            break
        most *= 2
    least = max(length, min(MIN_TARGET_TOKENS, rows * length))
    if not filled.rows or filled.tokens < least:
        reason = f", one sequence of the context {length - 1}" if least == length else ""
        raise DataError(
            f"target {name} has {filled.tokens} tokens; need at least {least}{reason}: give it "
            "more text or lower proxy.context"
        )
    return HeldOutRows(rows=filled.rows, documents=filled.documents)


class _Rows:
    """Rows while they are filled."""

    def __init__(self, rows: int, length: int) -> None:
        self.rows: list[Tokens] = []
        self.documents: list[tuple[int, Content]] = []
        self.tokens = 0
        """Tokens of all documents."""
        self._wanted, self._length = rows, length
        self._rest: list[Tokens] = []  # tokens that do not fill a row yet

    @property
    def left(self) -> int:
        """Number of rows that are missing."""
        return self._wanted - len(self.rows)

    def add(self, document: Document, content: Content, most: int) -> None:
        """Adds a document, at most `most` rows of it and a rest."""
        self.documents.append((document.key, content))
        self.tokens += len(document.tokens)
        tokens, length = document.tokens, self._length
        if len(tokens) // length > (most := min(most, self.left)):
            self.rows += spread(tokens, most, length)
            return
        whole = len(tokens) // length * length
        self.rows += [tokens[first : first + length] for first in range(0, whole, length)]
        self._rest.append(tokens[whole:])
        if self.left and sum(map(len, self._rest)) >= length:
            joined = np.concatenate(self._rest)
            self.rows.append(joined[:length])
            self._rest = [joined[length:]]


def _with_contents(sample: DocumentSample, encode: Encoder) -> Iterator[tuple[Document, Content]]:
    """The documents of a sample in the order of their keys, and their contents."""
    contents: deque[Content] = deque()

    def watched() -> Iterator[tuple[int, Content]]:
        for key, content in sample.in_order():
            contents.append(content)
            yield key, content

    for document in encode(watched()):
        yield document, contents.popleft()


def spread(document: Tokens, count: int, length: int) -> list[Tokens]:
    """`count` rows of `length` tokens of a document, from evenly spaced places."""
    starts = [int((number + 0.5) * len(document) / count - length / 2) for number in range(count)]
    return [document[start : start + length] for start in starts]
