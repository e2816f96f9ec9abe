"""Splits the documents of a sample into held-out pieces and training documents.

The splits depend only on the keys of the documents. The documents with the smallest keys of a
domain become its validation split, and the next ones its training split.
"""

from collections.abc import Collection
from dataclasses import dataclass

from bimix_sweep.data.sample import Document, DocumentSample, Encoder
from bimix_sweep.data.token_files import Tokens
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
    """Split a domain by the keys of its documents.

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
    left, tokens, found = validation_tokens, 0, 0
    for document in sample.in_order(encode):
        tokens += len(document.tokens)
        if left and len(held_out) < allowed:
            pieces += spread(document.tokens, min(most, left), most)
            held_out.append(document.key)
            left -= len(pieces[-1])
        else:
            train.append(document)
            found += 0 if document.key in left_out else len(document.tokens)
            if not left and max_tokens is not None and found >= max_tokens:
                break
    if left:
        raise DataError(
            f"domain {name} has {tokens} tokens in {sample.count} documents; its validation split "
            f"of {validation_tokens} tokens may take a third of the documents and found "
            f"{validation_tokens - left} there: give it more text or lower the validation tokens"
        )
    while not sample.whole and (max_tokens is None or found < max_tokens):
        each = sample.num_bytes / tokens
        wanted = None if max_tokens is None else max(MIN_MORE, (max_tokens - found) * each * MORE)
        more = sample.more(encode, wanted)
        train += more
        tokens += sum(len(document.tokens) for document in more)
        found += sum(len(document.tokens) for document in more if document.key not in left_out)
    train.sort(key=lambda document: document.key)
    return DomainDocuments(validation=pieces, held_out=held_out, train=train)


def target_pieces(
    name: str, sample: DocumentSample, encode: Encoder, *, validation_tokens: int
) -> tuple[list[Tokens], list[bytes]]:
    """Pieces of a target's documents, and the keys of these documents.

    If the target has more than `validation_tokens`, the pieces come from VOICES documents, or from
    as many places in fewer documents.

    Raises:
        DataError: the target has too few tokens.
    """
    most = -(-validation_tokens // min(VOICES, sample.count))
    documents: list[Document] = []
    found = 0
    for document in sample.in_order(encode):
        documents.append(document)
        found += min(most, len(document.tokens))
        if found >= validation_tokens:
            break
    while found < validation_tokens and most < max(len(d.tokens) for d in documents):
        most *= 2
        found = sum(min(most, len(d.tokens)) for d in documents)
    if found < (least := min(MIN_TARGET_TOKENS, validation_tokens)):
        raise DataError(
            f"target {name} has {found} tokens; need at least {least}, so give it more text"
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
