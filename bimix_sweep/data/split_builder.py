"""Builds the splits of a token store from samples of documents, and the notes about these."""

from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

import numpy as np

from bimix_sweep.data.blend_splits import BlendSample, blend_training, blend_validation
from bimix_sweep.data.reading.tokenizer_file import TextTokenizer
from bimix_sweep.data.sampling.held_out import MAX_RUNS, HeldOut, runs_of
from bimix_sweep.data.sampling.sample import DocumentSample
from bimix_sweep.data.sampling.scan import Keys
from bimix_sweep.data.sampling.training import training_documents
from bimix_sweep.data.splits import HeldOutRows, target_rows, validation_rows
from bimix_sweep.data.store_writing import Split
from bimix_sweep.data.tokenizing import Encoder
from bimix_sweep.errors import DataError


class SplitBuilder:
    """The splits of a store while they are made: first all validation sets, then the training
    splits."""

    def __init__(
        self,
        tokenizer: TextTokenizer | None,
        *,
        rows: int,
        length: int,
        say: Callable[[str], None],
        held_out: HeldOut | None = None,
    ) -> None:
        """Args:
        tokenizer: None where the sources hold tokens and their tokenizer is not known.
        rows: rows of each domain's validation split, and maximum rows of a target.
        length: tokens of a row, context + 1.
        say: called with sentences about the progress.
        held_out: documents that no domain trains on, known beforehand.
        """
        self.validation: dict[str, Split] = {}
        self.held_out = held_out or HeldOut()
        """Documents that no domain trains on."""
        self._tokenizer = tokenizer
        self._rows, self._length, self._say = rows, length, say
        self._keys: dict[str, dict[str, list[int]]] = {"targets": {}, "domains": {}}
        self._runs: dict[str, list[Keys]] = {"targets": [], "domains": []}
        self._read: dict[str, dict[str, dict[str, Any]]] = {"domains": {}, "targets": {}}

    def add_target(self, name: str, sample: DocumentSample) -> None:
        """Holds out the documents of a target."""
        encode = Encoder(self._tokenizer)
        found = target_rows(name, sample, encode, rows=self._rows, length=self._length)
        self._hold_out("targets", name, found, encode)
        self._read["targets"][name] = sample.record()

    def add_domain(self, name: str, sample: DocumentSample | BlendSample) -> None:
        """Holds out the documents of a domain's validation split."""
        encode, size = Encoder(self._tokenizer), {"rows": self._rows, "length": self._length}
        found = (
            blend_validation(name, sample, encode, **size)
            if isinstance(sample, BlendSample)
            else validation_rows(name, sample, encode, **size)
        )
        self._hold_out("domains", name, found, encode)

    def _hold_out(self, kind: str, name: str, found: HeldOutRows, encode: Encoder) -> None:
        """Keeps the rows of a validation set, and holds out their documents."""
        self.validation[name] = Split(documents=found.rows, num_bytes=encode.num_bytes(found.rows))
        self._keys[kind][name] = [key for key, _ in found.documents]
        for key, content in found.documents:
            self._runs[kind].append(runs := runs_of(content, most=MAX_RUNS))
            self.held_out.add(key, runs)

    def train(self, name: str, sample: DocumentSample | BlendSample, cap: int | None) -> Split:
        """Makes the training split of a domain, after all validation sets.

        The split has no copy and no near-duplicate of a document that a validation set holds.

        Args:
            name: name of the domain.
            sample: its documents.
            cap: maximum of its training tokens; None: no maximum.

        Raises:
            DataError: the domain has too few tokens.
        """
        self._say(f"tokenising {name}")
        kept: dict[str, Any] = {"own": {*self._keys["domains"][name]}, "max_tokens": cap}
        made = (
            blend_training(sample, Encoder(self._tokenizer), self.held_out, **kept)
            if isinstance(sample, BlendSample)
            else training_documents(sample, Encoder(self._tokenizer), self.held_out, **kept)
        )
        documents = made.documents.first_tokens(cap)
        need = self._rows * self._length
        least = min(need, cap) if cap else need
        if (count := int(documents.lengths.sum())) < least:
            near = f", without {made.near} documents much like those there" if made.near else ""
            raise DataError(
                f"domain {name} has {count} tokens beside its validation split of {need}{near}; "
                f"need at least {least} to train on, so give it more text or lower "
                "data.validation_tokens"
            )
        lengths = made.documents.lengths
        self._read["domains"][name] = sample.record() | {
            "held_out_elsewhere": made.copies,
            "near_duplicates": made.near,
            "tokens_kept": count,
            # mean over whole documents: the last document that is kept may be cut at the cap
            "tokens_per_document": round(float(lengths.sum()) / len(lengths), 2),
            "tokens_available": round(made.available),
            "tokens_counted": made.counted,
        }
        return Split(documents=documents)

    def held_out_runs(self) -> list[Keys]:
        """Runs of the held-out documents of each stage that `notes` lists under `held_out`."""
        return [
            np.unique(np.concatenate(runs)) for kind, runs in self._runs.items() if self._keys[kind]
        ]

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
                {name: [f"{key:016x}" for key in sorted(keys)] for name, keys in stage.items()}
                for stage in self._keys.values()
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
    names, keys = [*samples], {name: sample.keys for name, sample in samples.items()}
    for place, name in enumerate(names):
        for other in names[place + 1 :]:
            if count := len(np.intersect1d(keys[name], keys[other], assume_unique=True)):
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
        if not record["tokens_counted"]:
            text += f", of about {record['tokens_available']:.3g} (estimated from what was read)"
    if record["repeated_documents"]:
        text += f"; {record['repeated_documents']:,} copies of documents left out"
    if record.get("held_out_elsewhere"):
        text += (
            f"; {record['held_out_elsewhere']:,} documents left out that other splits validate on"
        )
    if record.get("near_duplicates"):
        text += (
            f"; {record['near_duplicates']:,} documents left out that are nearly the same as one "
            "that is validated on"
        )
    if record.get("bad_documents"):
        text += f"; {record['bad_documents']:,} broken documents or files left out"
        text += f", the first: {record['bad'][0]}" if record.get("bad") else ""
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
