"""Which documents of a sample are held out, and how much of each, and which are trained on.

Both go by the keys of documents alone: the first keys of a domain become its validation split, the
next ones are trained on.
"""

from collections.abc import Collection
from dataclasses import dataclass

from bimix_sweep.data.sample import Document, DocumentSample, Encoder
from bimix_sweep.data.token_files import Tokens
from bimix_sweep.errors import DataError

MIN_DOCUMENTS = 12
"""Below this a split by document leaves a validation set of one or two voices."""
MIN_TARGET_TOKENS = 1024
"""A held-out text shorter than this measures little."""
VALIDATION_SHARE = 1 / 3
"""Largest share of a domain's documents that its validation split may take."""
VOICES = 32
"""Documents, or places of long documents, of which a held-out set is made where there are so
many."""
MORE = 1.2
"""Text read beyond what should be enough."""
LEAST_MORE = 4_000_000
"""Bytes of text read beyond the first ones at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainDocuments:
    """The documents of one domain, as they are split."""

    validation: list[Tokens]
    """Pieces of them, one of a document."""
    held_out: list[bytes]
    """Keys of the documents that these are of."""
    train: list[Document]
    """The others that may be trained on, by key: as many as are wanted, where there are."""


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

    A document of the validation split gives no more than a share of it, so that one long text is
    not the whole split, and gives its middle: beginnings are licences and imports, much the same in
    every file of a project.

    Args:
        validation_tokens: size of the validation split.
        max_tokens: training tokens wanted; None: all.
        left_out: keys that are not trained on.

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
        wanted = None if max_tokens is None else max(LEAST_MORE, (max_tokens - found) * each * MORE)
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

    They are of VOICES documents, or places in documents, where the target has more than
    `validation_tokens`.

    Raises:
        DataError: it has too few tokens.
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
    """`length` tokens of a document, in pieces of at least `shortest` from evenly spaced places;
    all of it where it has no more."""
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
    """The first documents, `most` tokens together; None: all."""
    kept: list[Tokens] = []
    left = most
    for document in documents:
        if left == 0:
            break
        kept.append(document[:left])
        left = None if left is None else left - len(kept[-1])
    return kept
