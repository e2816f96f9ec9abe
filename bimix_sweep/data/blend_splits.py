"""Splits a domain that is a fixed blend: each source by itself, then mixed by tokens.

Both splits hold the sources at the proportions of the blend. The training split holds them so from
its beginning to any place: the next document always comes from the source that is furthest behind.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bimix_sweep.data.blend import Blend
from bimix_sweep.data.sampling.held_out import HeldOut
from bimix_sweep.data.sampling.sample import DocumentSample
from bimix_sweep.data.sampling.scan import Keys
from bimix_sweep.data.sampling.spool import SpooledDocuments
from bimix_sweep.data.sampling.training import TrainingDocuments, training_documents
from bimix_sweep.data.sampling.work_folder import WorkFolder
from bimix_sweep.data.sources import Source
from bimix_sweep.data.splits import HeldOutRows, validation_rows
from bimix_sweep.data.tokenizing import Encoder


class BlendSample:
    """The documents read from the sources of a blend."""

    def __init__(
        self, name: str, blend: Blend, work: WorkFolder, label: str, *, piece_characters: int = 0
    ) -> None:
        """Scans the sources; arguments and errors as for `DocumentSample`."""
        self.parts = tuple(
            (
                DocumentSample(
                    f"{name} ({source.place})",
                    source,
                    work,
                    f"{label}-{number}",
                    piece_characters=math.ceil(piece_characters * proportion),
                ),
                proportion,
            )
            for number, (source, proportion) in enumerate(blend.parts)
        )
        """(sample of a source, its proportion of the domain's tokens)."""
        self.names = tuple(source.place for source, _ in blend.parts)
        """Place of each source."""
        self.lengths: list[float] = []
        """Mean tokens of a document of each source, as far as they were tokenised."""
        self.unused = 0
        """Documents left out because another source was used up, so that the proportions stay."""

    @property
    def keys(self) -> Keys:
        """Keys of all documents that were read."""
        return np.unique(np.concatenate([sample.keys for sample, _ in self.parts]))

    @property
    def count(self) -> int:
        """Number of different documents in the base blocks."""
        return sum(sample.count for sample, _ in self.parts)

    def pieces(self) -> list[str]:
        """Pieces of text for training the tokenizer, at the proportions of the blend."""
        return [piece for sample, _ in self.parts for piece in sample.pieces()]

    def record(self) -> dict[str, Any]:
        """The sums over the sources of what `DocumentSample.record` gives, and each source's own
        under `sources`."""
        each = [sample.record() for sample, _ in self.parts]
        counted = ("files_read", "files", "bytes_read", "bytes", "documents", "repeated_documents")
        total: dict[str, Any] = {key: sum(one[key] for one in each) for key in counted}
        reached = [one["reach_bytes"] for one in each if "reach_bytes" in one]
        bad = sum(one.get("bad_documents", 0) for one in each)
        own = [
            {"path": name, "proportion": proportion, **one}
            for name, (_, proportion), one in zip(self.names, self.parts, each, strict=True)
        ]
        for one, length in zip(own, self.lengths, strict=False):
            one["tokens_per_document"] = round(length, 2)
        return {
            **total,
            **({"bad_documents": bad} if bad else {}),
            **({"reach_bytes": min(reached)} if reached else {}),
            **({"unused_documents": self.unused} if self.unused else {}),
            "sources": own,
        }


def sample_of(
    name: str,
    source: Source | Blend,
    work: WorkFolder,
    label: str,
    *,
    piece_characters: int = 0,
) -> DocumentSample | BlendSample:
    """Scans a source or a blend; arguments and errors as for `DocumentSample`."""
    if isinstance(source, Blend):
        return BlendSample(name, source, work, label, piece_characters=piece_characters)
    return DocumentSample(name, source, work, label, piece_characters=piece_characters)


def blend_validation(
    name: str, sample: BlendSample, encode: Encoder, *, rows: int, length: int
) -> HeldOutRows:
    """Splits the validation rows of each source off; arguments and errors as for
    `validation_rows`."""
    shares = [proportion for _, proportion in sample.parts]
    ends = [round(rows * sum(shares[:count])) for count in range(len(shares) + 1)]
    split = [
        validation_rows(
            f"{name} ({place})",
            part,
            encode,
            rows=max(1, ends[number + 1] - ends[number]),
            length=length,
        )
        for number, (place, (part, _)) in enumerate(zip(sample.names, sample.parts, strict=True))
    ]
    return HeldOutRows(
        rows=[row for one in split for row in one.rows],
        documents=[document for one in split for document in one.documents],
    )


def blend_training(
    sample: BlendSample,
    encode: Encoder,
    held_out: HeldOut,
    *,
    own: set[int],
    max_tokens: int | None,
) -> TrainingDocuments:
    """Tokenises the training documents of each source, and mixes them; arguments as for
    `training_documents`."""
    shares = [proportion for _, proportion in sample.parts]
    made = [
        training_documents(
            part,
            encode,
            held_out,
            own=own,
            max_tokens=None if max_tokens is None else math.ceil(max_tokens * proportion),
        )
        for part, proportion in sample.parts
    ]
    lengths = [one.documents.lengths for one in made]
    sample.lengths = [float(each.sum()) / max(1, len(each)) for each in lengths]
    order = blended(lengths, shares)
    if max_tokens is None:
        sample.unused = sum(map(len, lengths)) - len(order)
    least = min(range(len(made)), key=lambda number: made[number].available / shares[number])
    return TrainingDocuments(
        documents=SpooledDocuments.joined([one.documents for one in made]).selected(order),
        copies=sum(one.copies for one in made),
        near=sum(one.near for one in made),
        available=made[least].available / shares[least],
        counted=made[least].counted,
    )


def blended(
    lengths: Sequence[npt.NDArray[np.int64]], proportions: Sequence[float]
) -> npt.NDArray[np.int64]:
    """Documents of several sources in one order, until a source is used up.

    Args:
        lengths: tokens of the documents of each source, in order.
        proportions: proportion of the tokens of each source.

    Returns:
        (documents,) numbers of documents; those of a source follow those of the source before. The
        tokens of each source, from the first document to any other, differ from its proportion by
        less than the longest document.
    """
    mixed: list[int] = []
    firsts = np.cumsum([0, *map(len, lengths)]).tolist()
    taken, places = [0] * len(lengths), [0] * len(lengths)
    while True:
        behind = min(range(len(lengths)), key=lambda i: taken[i] / proportions[i])
        if places[behind] == len(lengths[behind]):
            return np.array(mixed, dtype=np.int64)
        mixed.append(firsts[behind] + places[behind])
        taken[behind] += int(lengths[behind][places[behind]])
        places[behind] += 1
