"""Tokenises the training documents of a source, part by part, onto the disk.

A part that was finished before a kill is not tokenised again. No training document is a copy or a
near-duplicate of a held-out document.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bimix_sweep.data.reading.blocks import Portion
from bimix_sweep.data.sampling.held_out import HeldOut
from bimix_sweep.data.sampling.identity import Identity, identify
from bimix_sweep.data.sampling.sample import DocumentSample
from bimix_sweep.data.sampling.scan import Keys
from bimix_sweep.data.sampling.spool import Part, SpooledDocuments, finished_part, write_part
from bimix_sweep.data.tokenizing import Content, Encoder

PART_BYTES = 16_000_000
"""Approximate bytes of text of one part; a compressed file is one part, whatever its size."""
MORE = 1.2
"""Factor on the estimated bytes of text that are still needed."""
MIN_MORE = 4_000_000
"""Minimum bytes of text of one further read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingDocuments:
    """The training documents of one source."""

    documents: SpooledDocuments
    """Documents sorted by key: as many as are wanted, if there are so many."""
    copies: int
    """Documents left out because a validation set of another name holds a copy."""
    near: int
    """Documents left out because they are near-duplicates of a held-out document."""
    available: float
    """Tokens of all training documents of the source, read or not."""
    counted: bool
    """True if `available` was counted, False if it is an estimate."""


def training_documents(
    sample: DocumentSample,
    encode: Encoder,
    held_out: HeldOut,
    *,
    own: set[int],
    max_tokens: int | None,
) -> TrainingDocuments:
    """Tokenises the training documents of a source.

    Args:
        sample: the documents of the source.
        encode: the encoder.
        held_out: the documents of all validation sets.
        own: keys of the documents of the source's own validation split.
        max_tokens: training tokens wanted; None: all.
    """
    return _Training(sample, encode, held_out, own).made(max_tokens)


class _Training:
    """The parts of a source's training documents, while they are made."""

    def __init__(
        self, sample: DocumentSample, encode: Encoder, held_out: HeldOut, own: set[int]
    ) -> None:
        self._sample, self._encode, self._held_out, self._own = sample, encode, held_out, own
        self._parts: list[Part] = []
        self._left: dict[str, set[int]] = {"copies": set(), "near": set()}
        self._given: npt.NDArray[np.bool_] = np.zeros(sample.count, dtype=bool)
        self._tokens = 0
        self._size = self._sized = 0  # characters, and tokens, of tokenised base documents

    def made(self, max_tokens: int | None) -> TrainingDocuments:
        """Makes the parts and joins them."""
        sample, scan = self._sample, self._sample.scan
        self._pool_part(max_tokens)
        low = scan.pool_bound
        while low is not None and (max_tokens is None or self._tokens < max_tokens):
            if max_tokens is None and not sample.whole:
                break  # the base blocks are read again with all others
            high = self._upper(low, max_tokens)
            self._read(f"keys-{low:016x}", sample.base(), low, high)
            low = high
        while not sample.whole and (max_tokens is None or self._tokens < max_tokens):
            wanted = None
            if max_tokens is not None:
                each = sample.num_bytes / scan.sizes.sum() * self._each()
                wanted = max(MIN_MORE, (max_tokens - self._tokens) * each * MORE)
            number = sample.read
            if wanted is None:
                sample.num_bytes, sample.repeated = 0, -sample.count  # all are counted again
            self._read(f"blocks-{number}", sample.next_blocks(wanted), low or 0, None, fresh=True)
        documents = SpooledDocuments(self._parts)
        counted = sample.whole and (max_tokens is None or self._tokens < max_tokens)
        return TrainingDocuments(
            documents=documents,
            copies=len(self._left["copies"] - self._own),
            near=len(self._left["near"]),
            available=float(documents.lengths.sum()) if counted else self._estimate(),
            counted=counted,
        )

    def _each(self) -> float:
        """Characters of a token (1 of ready-made tokens), as far as documents were tokenised."""
        return self._size / self._sized if self._sized else 1.0

    def _estimate(self) -> float:
        """Tokens of the different documents of the source, from those that were tokenised."""
        sample, scan = self._sample, self._sample.scan
        return float(sample.total_bytes() * scan.sizes.sum() / scan.num_bytes / self._each())

    def _upper(self, low: int, max_tokens: int | None) -> int | None:
        """Upper end of the range of keys from `low` on that probably holds the missing tokens."""
        if max_tokens is None:
            return None
        keys, sizes = self._sample.scan.keys, self._sample.scan.sizes
        first = int(np.searchsorted(keys, np.uint64(low)))
        wanted = (max_tokens - self._tokens) * self._each() * MORE
        last = first + 1 + int(np.searchsorted(np.cumsum(sizes[first:]), wanted))
        return int(keys[last]) if last < len(keys) else None

    def _pool_part(self, max_tokens: int | None) -> None:
        """Makes the part of the documents with the smallest keys."""
        sample, name = self._sample, f"{self._sample.label}.pool"
        if (part := finished_part(sample.work, name)) is None:
            facts = _no_facts()
            kept = (pair for pair in sample.scan.pool() if self._kept(*pair, facts))
            part = write_part(sample.work, name, self._encode(kept), facts, most=max_tokens)
        self._add(part)

    def _read(
        self,
        name: str,
        portions: list[Portion] | None,
        low: int,
        high: int | None,
        *,
        fresh: bool = False,
    ) -> None:
        """Makes the parts of portions: the base documents with keys in [low, high), and with
        `fresh` all others."""
        sample = self._sample
        parts = sample.parted(portions, PART_BYTES)
        for number, part_portions in enumerate(parts):
            label = f"{sample.label}.{name}.{number:05d}"
            if (part := finished_part(sample.work, label)) is None:
                facts, seen = _no_facts(), set[int]()

                def wanted(found: Identity, seen: set[int] = seen) -> bool:
                    return self._wanted(found, low, high, seen, fresh=fresh)

                what = f"tokenising {sample.name}, part {number + 1} of {len(parts)}"
                contents = self._contents(part_portions, wanted, facts, what)
                part = write_part(sample.work, label, self._encode(contents), facts)
            self._add(part)
            if fresh:
                read = part.facts
                keys = [*part.keys.tolist(), *read["copies"], *read["near"]]
                new = np.setdiff1d(np.array(keys, np.uint64), sample.scan.keys)
                sample.count_further(new, read["bytes"], read["documents"] - len(new))
            sample.bad.extend(one for one in part.facts["bad"] if one not in sample.bad)

    def _contents(
        self,
        portions: list[Portion] | None,
        wanted: Callable[[Identity], bool],
        facts: dict[str, Any],
        what: str,
    ) -> Iterator[tuple[int, Content]]:
        """(key, content) of the training documents in portions."""
        before = len(self._sample.bad)
        for content in self._sample.contents(portions, what):
            found = identify(content)
            facts["bytes"] += found.num_bytes
            facts["documents"] += 1
            if wanted(found) and self._kept(found.key, content, facts):
                yield found.key, content
        facts["bad"] += self._sample.bad[before:]

    def _wanted(
        self, found: Identity, low: int, high: int | None, seen: set[int], *, fresh: bool
    ) -> bool:
        """True for a document that was not tokenised before and is to be now."""
        scan, key = self._sample.scan, np.uint64(found.key)
        place = int(np.searchsorted(scan.keys, key))
        if place < len(scan.keys) and scan.keys[place] == key:
            if found.key < low or (high is not None and found.key >= high) or self._given[place]:
                return False
            if scan.variants[place] != np.uint64(found.variant):
                return False
            self._given[place] = True
            return True
        if not fresh or found.key in seen or _holds(self._sample.further, key):
            return False
        seen.add(found.key)
        return True

    def _kept(self, key: int, content: Content, facts: dict[str, Any]) -> bool:
        """False for a document that is held out, or nearly the same as one that is."""
        if key in self._held_out.keys:
            facts["copies"].append(key)
        elif self._held_out.is_near(content):
            facts["near"].append(key)
        else:
            return True
        return False

    def _add(self, part: Part) -> None:
        """Adds a finished part."""
        self._parts.append(part)
        self._tokens += int(part.lengths.sum())
        places, there = self._places(part.keys)
        self._given[places] = True
        self._size += int(self._sample.scan.sizes[places].sum())
        self._sized += int(part.lengths[there].sum())
        left_out = np.array([*part.facts["copies"], *part.facts["near"]], dtype=np.uint64)
        self._given[self._places(left_out)[0]] = True
        for kind, left in self._left.items():
            left.update(part.facts[kind])

    def _places(self, keys: Keys) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        """Places of keys among those of the base documents, and which keys are there."""
        known = self._sample.scan.keys
        places = np.searchsorted(known, keys)
        there = known[np.minimum(places, len(known) - 1)] == keys
        return places[there], there


def _holds(keys: npt.NDArray[np.uint64], key: np.uint64) -> bool:
    """True if rising keys hold a key."""
    place = int(np.searchsorted(keys, key))
    return place < len(keys) and keys[place] == key


def _no_facts() -> dict[str, Any]:
    """The facts about a part of which nothing was read yet."""
    return {"bytes": 0, "documents": 0, "copies": [], "near": [], "bad": []}
