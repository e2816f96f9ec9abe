"""Splits the documents of a sample into held-out pieces and training documents.

The splits depend only on the keys of the documents. The documents with the smallest keys of a
domain become its validation split, and the next ones its training split.
"""

from collections.abc import Collection
from dataclasses import dataclass

from bimix_sweep.data.reading.token_files import Tokens
from bimix_sweep.data.sample import DocumentSample
from bimix_sweep.data.tokenizing import Document, Encoder
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
MORE = 1.2
"""Factor on the estimated bytes of text that are still needed."""
MIN_MORE = 4_000_000
"""Minimum bytes of text of one further read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainDocuments:
    """The documents of one domain, after the split."""

    validation: list[Tokens]
    """Validation split: one piece, (tokens,), of each held-out document."""
    held_out: list[bytes]
    """Keys of the documents that the validation pieces come from."""
    train: list[Document]
    """The other documents, sorted by key: as many as are wanted, if there are so many."""


def split_domain(
    name: str,
    sample: DocumentSample,
    encode: Encoder,
    *,
    validation_tokens: int,
    max_tokens: int | None,
    left_out: Collection[bytes],
) -> DomainDocuments:
    """Splits a domain by the keys of its documents.

    A document gives at most a limited number of tokens to the validation split, so that one long
    text cannot be the whole split. These tokens come from the middle of the document, because
    beginnings are licences and imports, which are much the same in every file of a project.

    Args:
        name: name of the domain, for messages.
        sample: the documents of the domain.
        encode: the encoder.
        validation_tokens: size of the validation split.
        max_tokens: training tokens wanted; None: all.
        left_out: keys of documents that do not count as training tokens.

    Raises:
        DataError: the domain has too few documents or tokens.
    """
    if sample.count < MIN_DOCUMENTS:
        total = sum(len(document.tokens) for document in sample.in_order(encode))
        raise DataError(
            f"domain {name} has {sample.count} different documents ({total} tokens); need at least "
            f"{MIN_DOCUMENTS} so that validation can be split off by document: give more, or cut "
            "long ones (one document a line of .jsonl, or a file each)"
        )
    most = -(-validation_tokens // max(4, min(VOICES, sample.count // 4)))
    allowed = int(sample.count * VALIDATION_SHARE)
    pieces: list[Tokens] = []
    held_out: list[bytes] = []
    train: list[Document] = []
    left, tokens, num_train = validation_tokens, 0, 0
    for document in sample.in_order(encode):
        tokens += len(document.tokens)
        if left and len(held_out) < allowed:
            pieces += spread(document.tokens, min(most, left), most)
            held_out.append(document.key)
            left -= len(pieces[-1])
        else:
            train.append(document)
            num_train += 0 if document.key in left_out else len(document.tokens)
            if not left and max_tokens is not None and num_train >= max_tokens:
                break
    if left:
        raise DataError(
            f"domain {name} has {tokens} tokens in {sample.count} documents; its validation split "
            f"of {validation_tokens} tokens may take a third of the documents and found "
            f"{validation_tokens - left} there: give it more text or lower the validation tokens"
        )
    train += _further_documents(sample, encode, tokens, num_train, max_tokens, left_out)
    train.sort(key=lambda document: document.key)
    return DomainDocuments(validation=pieces, held_out=held_out, train=train)


def _further_documents(
    sample: DocumentSample,
    encode: Encoder,
    tokens: int,
    num_train: int,
    max_tokens: int | None,
    left_out: Collection[bytes],
) -> list[Document]:
    """Reads further blocks of a source until `max_tokens` training tokens or its end are reached.

    Args:
        sample, encode, max_tokens, left_out: as for `split_domain`.
        tokens: number of tokens of the documents that were read so far.
        num_train: number of these that are training tokens.
    """
    further: list[Document] = []
    while not sample.whole and (max_tokens is None or num_train < max_tokens):
        each = sample.num_bytes / tokens
        wanted = (
            None if max_tokens is None else max(MIN_MORE, (max_tokens - num_train) * each * MORE)
        )
        more = sample.more(encode, wanted)
        further += more
        tokens += sum(len(document.tokens) for document in more)
        num_train += sum(len(document.tokens) for document in more if document.key not in left_out)
    return further


def target_pieces(
    name: str, sample: DocumentSample, encode: Encoder, *, validation_tokens: int
) -> tuple[list[Tokens], list[bytes]]:
    """Chooses pieces of a target's documents; returns them and the keys of these documents.

    If the target has more than `validation_tokens`, the pieces come from VOICES documents, or from
    as many places in fewer documents.

    Raises:
        DataError: the target has too few tokens.
    """
    most = -(-validation_tokens // min(VOICES, sample.count))
    documents: list[Document] = []
    num_tokens = 0
    for document in sample.in_order(encode):
        documents.append(document)
        num_tokens += min(most, len(document.tokens))
        if num_tokens >= validation_tokens:
            break
    while num_tokens < validation_tokens and most < max(len(d.tokens) for d in documents):
        most *= 2
        num_tokens = sum(min(most, len(d.tokens)) for d in documents)
    if num_tokens < (least := min(MIN_TARGET_TOKENS, validation_tokens)):
        raise DataError(
            f"target {name} has {num_tokens} tokens; need at least {least}, so give it more text"
        )
    pieces: list[Tokens] = []
    keys: list[bytes] = []
    left, shortest = validation_tokens, -(-validation_tokens // VOICES)
    for document in documents:
        if left:
            pieces += (taken := spread(document.tokens, min(most, left), shortest))
            keys.append(document.key)
            left -= sum(map(len, taken))
    return pieces, keys


def spread(document: Tokens, length: int, shortest: int) -> list[Tokens]:
    """`length` tokens of a document, in pieces from evenly spaced places.

    Each piece has at least `shortest` tokens. A document that has no more than `length` tokens is
    returned whole.
    """
    if len(document) <= length:
        return [document]
    count = max(1, length // shortest)
    pieces = []
    for number in range(count):
        size = length * (number + 1) // count - length * number // count
        start = int((number + 0.5) * len(document) / count - size / 2)
        pieces.append(document[start : start + size])
    return pieces


def first_tokens(documents: list[Tokens], most: int | None) -> list[Tokens]:
    """The first documents, with `most` tokens in total, the last one cut; None: all documents."""
    kept: list[Tokens] = []
    left = most
    for document in documents:
        if left == 0:
            break
        kept.append(document[:left])
        left = None if left is None else left - len(kept[-1])
    return kept
