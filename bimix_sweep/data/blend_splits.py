"""Splits a domain that is a fixed blend: each source by itself, then mixed by tokens.

Both splits hold the sources at the proportions of the blend. The training split holds them so from
its beginning to any place: the next document always comes from the source that is furthest behind.
"""

import math
from collections.abc import Collection, Sequence
from typing import Any

from bimix_sweep.data.blend import Blend
from bimix_sweep.data.sample import DocumentSample
from bimix_sweep.data.sources import Source
from bimix_sweep.data.splits import DomainDocuments, split_domain
from bimix_sweep.data.tokenizing import Document, Encoder


class BlendSample:
    """The documents read from the sources of a blend."""

    def __init__(self, name: str, blend: Blend, *, piece_characters: int = 0) -> None:
        """Reads the sources; arguments and errors as for `DocumentSample`."""
        self.parts = tuple(
            (
                DocumentSample(
                    f"{name} ({source.place})",
                    source,
                    piece_characters=math.ceil(piece_characters * proportion),
                ),
                proportion,
            )
            for source, proportion in blend.parts
        )
        """(sample of a source, its proportion of the domain's tokens)."""
        self.names = tuple(source.place for source, _ in blend.parts)
        """Place of each source."""
        self.lengths: list[float] = []
        """Mean tokens of a document of each source, as far as they were tokenised."""
        self.unused = 0
        """Documents left out because another source was used up, so that the proportions stay."""

    @property
    def variants(self) -> dict[bytes, bytes]:
        """The variants of the documents of all sources, as in `DocumentSample`."""
        merged: dict[bytes, bytes] = {}
        for sample, _ in self.parts:
            merged |= sample.variants
        return merged

    @property
    def count(self) -> int:
        """Number of different documents in the blocks that are read for every request."""
        return sum(sample.count for sample, _ in self.parts)

    def pieces(self) -> list[str]:
        """Pieces of text for training the tokenizer, at the proportions of the blend."""
        return [piece for sample, _ in self.parts for piece in sample.pieces()]

    def record(self) -> dict[str, Any]:
        """The sums over the sources of what `DocumentSample.record` gives, and each source's own
        under `sources`."""
        each = [sample.record() for sample, _ in self.parts]
        total = {
            key: sum(one.get(key, 0) for one in each)
            for key in each[0]
            if key not in ("reach_bytes", "tokens")
        }
        reached = [one["reach_bytes"] for one in each if "reach_bytes" in one]
        own = [
            {"path": name, "proportion": proportion, **one}
            for name, (_, proportion), one in zip(self.names, self.parts, each, strict=True)
        ]
        for one, length in zip(own, self.lengths, strict=False):
            one["tokens_per_document"] = round(length, 2)
        return {
            **total,
            **({"reach_bytes": min(reached)} if reached else {}),
            **({"unused_documents": self.unused} if self.unused else {}),
            "sources": own,
        }


def sample_of(
    name: str, source: Source | Blend, *, piece_characters: int = 0
) -> DocumentSample | BlendSample:
    """Reads a source or a blend; arguments and errors as for `DocumentSample`."""
    if isinstance(source, Blend):
        return BlendSample(name, source, piece_characters=piece_characters)
    return DocumentSample(name, source, piece_characters=piece_characters)


def split_blend(
    name: str,
    sample: BlendSample,
    encode: Encoder,
    *,
    validation_tokens: int,
    max_tokens: int | None,
    left_out: Collection[bytes],
) -> DomainDocuments:
    """Splits each source of a blend, and mixes the splits; arguments and errors as for
    `split_domain`."""
    shares = [proportion for _, proportion in sample.parts]
    ends = [round(validation_tokens * sum(shares[:count])) for count in range(len(shares) + 1)]
    split = [
        split_domain(
            f"{name} ({place})",
            part,
            encode,
            validation_tokens=max(1, ends[number + 1] - ends[number]),
            max_tokens=None if max_tokens is None else math.ceil(max_tokens * proportion),
            left_out=left_out,
        )
        for number, (place, (part, proportion)) in enumerate(
            zip(sample.names, sample.parts, strict=True)
        )
    ]
    sample.lengths = [
        sum(len(d.tokens) for d in one.train) / max(1, len(one.train)) for one in split
    ]
    train = blended([one.train for one in split], shares, left_out)
    if max_tokens is None:
        sample.unused = sum(len(one.train) for one in split) - len(train)
    return DomainDocuments(
        validation=[piece for one in split for piece in one.validation],
        held_out=[key for one in split for key in one.held_out],
        train=train,
    )


def blended(
    documents: Sequence[Sequence[Document]],
    proportions: Sequence[float],
    left_out: Collection[bytes] = (),
) -> list[Document]:
    """Documents of several sources in one order, until a source is used up.

    Args:
        documents: documents of each source, in order.
        proportions: proportion of the tokens of each source.
        left_out: keys of documents that do not count as tokens.

    Returns:
        The documents. The tokens of each source, from the first document to any other, differ from
        its proportion by less than the longest document.
    """
    mixed: list[Document] = []
    taken, places = [0] * len(documents), [0] * len(documents)
    while True:
        behind = min(range(len(documents)), key=lambda i: taken[i] / proportions[i])
        if places[behind] == len(documents[behind]):
            return mixed
        document = documents[behind][places[behind]]
        places[behind] += 1
        mixed.append(document)
        if document.key not in left_out:
            taken[behind] += len(document.tokens)
