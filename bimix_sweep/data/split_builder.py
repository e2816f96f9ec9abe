"""Builds the splits of a token store from samples of documents, and the notes about these."""

from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

from bimix_sweep.data.blend_splits import BlendSample, split_blend
from bimix_sweep.data.reading.tokenizer_file import TextTokenizer
from bimix_sweep.data.sample import DocumentSample
from bimix_sweep.data.splits import DomainDocuments, first_tokens, split_domain, target_pieces
from bimix_sweep.data.store_writing import Split
from bimix_sweep.data.tokenizing import Encoder
from bimix_sweep.errors import DataError


class SplitBuilder:
    """The splits of a store while they are made: first targets, then domains, then training
    splits."""

    def __init__(
        self,
        tokenizer: TextTokenizer | None,
        validation_tokens: int,
        say: Callable[[str], None],
        held_out: set[bytes] | None = None,
    ) -> None:
        """Args:
        tokenizer: None where the sources hold tokens and their tokenizer is not known.
        validation_tokens: size of each domain's validation split, and maximum size of a target.
        say: called with sentences about the progress.
        held_out: keys of documents that no domain trains on, known beforehand.
        """
        self.validation: dict[str, Split] = {}
        self.held_out = held_out if held_out is not None else set()
        """Keys of documents that no domain trains on."""
        self._tokenizer = tokenizer
        self._need, self._say = validation_tokens, say
        self._domains: dict[str, DomainDocuments] = {}
        self._targets: dict[str, list[bytes]] = {}  # keys of the documents of each target
        self._read: dict[str, dict[str, dict[str, Any]]] = {"domains": {}, "targets": {}}

    def add_target(self, name: str, sample: DocumentSample) -> None:
        """Tokenises a target and marks its documents as held out."""
        self._say(f"tokenising target {name}")
        encode = Encoder(self._tokenizer)
        pieces, keys = target_pieces(name, sample, encode, validation_tokens=self._need)
        self.validation[name] = Split(documents=pieces, num_bytes=encode.num_bytes(pieces))
        self._targets[name] = keys
        self.held_out.update(keys)
        self._read["targets"][name] = sample.record()

    def add_domain(self, name: str, sample: DocumentSample | BlendSample, cap: int | None) -> None:
        """Splits a domain; `cap` is the maximum of its training tokens, None for no maximum."""
        self._say(f"tokenising {name}")
        encode = Encoder(self._tokenizer)
        kept: dict[str, Any] = {
            "validation_tokens": self._need,
            "max_tokens": cap,
            "left_out": self.held_out,
        }
        documents = (
            split_blend(name, sample, encode, **kept)
            if isinstance(sample, BlendSample)
            else split_domain(name, sample, encode, **kept)
        )
        pieces = documents.validation
        self.validation[name] = Split(documents=pieces, num_bytes=encode.num_bytes(pieces))
        self._domains[name] = documents
        self._read["domains"][name] = sample.record()

    def train(self, caps: Mapping[str, int | None]) -> dict[str, Split]:
        """Makes the training splits of the domains, without documents that a validation set holds.

        Raises:
            DataError: a domain has too few tokens.
        """
        for documents in self._domains.values():
            self.held_out.update(documents.held_out)
        splits = {}
        for name, documents in self._domains.items():
            fresh = [d.tokens for d in documents.train if d.key not in self.held_out]
            kept = first_tokens(fresh, cap := caps.get(name))
            least = min(self._need, cap) if cap else self._need
            if (count := sum(map(len, kept))) < least:
                raise DataError(
                    f"domain {name} has {count} tokens beside its validation split of "
                    f"{self._need}; need at least {least} to train on, so give it more text or "
                    "lower the validation tokens"
                )
            splits[name] = Split(documents=kept)
            self._read["domains"][name] |= {
                "held_out_elsewhere": len(documents.train) - len(fresh),
                "tokens_kept": count,
                # mean over whole documents: the last document that is kept may be cut at the cap
                "tokens_per_document": round(sum(map(len, fresh)) / len(fresh), 2),
            }
        return splits

    def notes(self, samples: Mapping[str, DocumentSample | BlendSample]) -> dict[str, Any]:
        """Makes the notes for the manifest about the text that was read.

        The same facts are also passed to `say`, in sentences.

        Args:
            samples: sample of each domain.
        """
        shared = shared_documents(samples)
        for kind, entries in self._read.items():
            for name, record in entries.items():
                self._say(what_was_read(f"target {name}" if kind == "targets" else name, record))
        for name, others in shared.items():
            for other, count in others.items():
                self._say(
                    f"note: {count} documents are in both {name} and {other}, of "
                    f"{samples[name].count} and {samples[other].count} looked at: trials train on "
                    "the same text under both names, so take it out of one of them"
                )
        return {
            **self._read,
            "shared_documents": shared,
            "held_out": [
                {name: sorted(key.hex() for key in keys) for name, keys in stage.items()}
                for stage in (self._targets, {n: d.held_out for n, d in self._domains.items()})
                if stage
            ],
            "versions": {
                name: version(name) for name in ("bimix-sweep", "tokenizers", "pyarrow", "numpy")
            },
        }


def shared_documents(
    samples: Mapping[str, DocumentSample | BlendSample],
) -> dict[str, dict[str, int]]:
    """Counts documents that two domains hold: {domain: {a later domain: number}}, among the
    documents that were read.

    Pairs of domains without a shared document are left out.
    """
    counts: dict[str, dict[str, int]] = {}
    names = [*samples]
    for place, name in enumerate(names):
        for other in names[place + 1 :]:
            if count := len(samples[name].variants.keys() & samples[other].variants.keys()):
                counts.setdefault(name, {})[other] = count
    return counts


def what_was_read(name: str, record: Mapping[str, Any]) -> str:
    """Writes a sentence about one source, from its `DocumentSample.record`.

    The record may have further entries that say how many documents and tokens were kept.
    """
    read, there = record["bytes_read"], record["bytes"]
    files = (
        "" if not record["files"] else f" in {record['files_read']:,} of {record['files']:,} files"
    )
    text = f"{name}: read {read / 1e6:.3g} MB{files}, {record['documents']:,} documents"
    if read < there:
        text += f", of about {there / 1e6:.3g} MB: blocks spread evenly over all files"
    if "tokens_kept" in record:
        text += f"; {record['tokens_kept']:,} tokens kept to train on"
    if record["repeated_documents"]:
        text += f"; {record['repeated_documents']:,} copies of documents left out"
    if record.get("held_out_elsewhere"):
        text += (
            f"; {record['held_out_elsewhere']:,} documents left out that other splits validate on"
        )
    if record.get("unused_documents"):
        text += (
            f"; {record['unused_documents']:,} documents left out so that the proportions of the "
            "blend stay: another of its sources is used up"
        )
    if "reach_bytes" in record:
        text += (
            "; compressed files and row groups of Parquet cannot be read from the middle, so no "
            f"more than their first {record['reach_bytes'] / 1e6:.3g} MB were read: give it "
            "smaller files where documents lie in an order"
        )
    return text
