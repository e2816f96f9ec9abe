"""From text (or ready-made tokens) to a token store: one tokenizer for all domains, splits that
share no document.

Documents are keyed by a hash of their text (`sample`). A repeated document is kept once; the first
keys of a domain become its validation split, and no training split keeps a document that any
validation set holds. So no copy straddles a split, and neither the splits nor the tokenizer depend
on the files that documents lie in or on how much is trained on.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from bimix_sweep.data.sample import DocumentSample, Encoder, shared_documents, what_was_read
from bimix_sweep.data.sources import Source
from bimix_sweep.data.splits import DomainDocuments, first_tokens, split_domain, target_pieces
from bimix_sweep.data.store import Split, TokenStore, reusable_store, write_store
from bimix_sweep.data.token_files import Tokens
from bimix_sweep.data.tokenizing import (
    check_vocabulary,
    num_bytes,
    sample_characters,
    stated_vocabulary,
    token_bytes,
    train_tokenizer,
)
from bimix_sweep.errors import DataError


def prepare(
    domains: Mapping[str, Source],
    targets: Mapping[str, Source] | None = None,
    *,
    out: str | Path,
    vocabulary: int = 2048,
    max_tokens: Mapping[str, int] | int | None = None,
    validation_tokens: int = 8_192,
    progress: Callable[[str], None] | None = None,
) -> TokenStore:
    """Tokenise every domain and target into a store at `out`; a store there that was made of the
    same inputs is opened instead.

    Args:
        domains: the sweep's domains.
        targets: held-out texts beside the domains' own validation splits; their names are not those
            of domains.
        vocabulary: size of the byte-level BPE trained on a balanced sample of the domains;
            ready-made tokens state their own.
        max_tokens: training tokens to keep of a domain, by name or for all: what a sweep can use,
            not what there is.
        validation_tokens: size of each domain's validation split, and the most kept of a target.
        progress: told what is being done and what was read, in sentences.

    Raises:
        DataError: a source cannot be read, or a domain has too few documents or tokens; nothing is
            written then.
    """
    targets = targets or {}
    say = progress or (lambda _: None)
    if not domains:
        raise DataError("no domains; need at least one")
    if both := [name for name in targets if name in domains]:
        raise DataError(f"target {both[0]} has the name of a domain; rename it")
    caps = {
        name: max_tokens.get(name) if isinstance(max_tokens, Mapping) else max_tokens
        for name in domains
    }
    sources = {**domains, **targets}
    settings = [
        vocabulary,
        [*domains],
        caps,
        validation_tokens,
        {name: source.fingerprint() for name, source in sources.items()},
    ]
    inputs = hashlib.blake2b(json.dumps(settings).encode(), digest_size=16).hexdigest()
    if (store := reusable_store(out, inputs)) is not None:
        return store

    stated = stated_vocabulary(sources)
    if stated is None:
        check_vocabulary(vocabulary)
    characters = sample_characters(len(domains)) if stated is None else 0
    samples = {}
    for name, source in sources.items():
        say(f"reading {'target ' if name in targets else ''}{name}")
        samples[name] = DocumentSample(
            name, source, piece_characters=characters if name in domains else 0
        )
    tokenizer = None
    if stated is None:
        say(f"training a tokenizer of {vocabulary} tokens")
        pieces = (piece for name in domains for piece in samples[name].pieces())
        tokenizer = train_tokenizer(pieces, vocabulary)
    made = _Splits(tokenizer, validation_tokens, say)
    for name in targets:
        made.add_target(name, samples[name])
    for name in domains:
        made.add_domain(name, samples[name], caps[name])
    train = made.train(caps)
    notes = made.notes({name: samples[name] for name in domains})
    return write_store(
        out,
        train=train,
        validation={name: made.validation[name] for name in (*domains, *targets)},
        vocabulary=vocabulary if stated is None else stated,
        tokenizer=tokenizer.to_str() if tokenizer else None,
        inputs=inputs,
        notes=notes,
    )


class _Splits:
    """The splits of a store as they are made: first the targets, then the domains, then what the
    domains train on."""

    def __init__(
        self,
        tokenizer: Tokenizer | None,
        validation_tokens: int,
        say: Callable[[str], None],
        held_out: set[bytes] | None = None,
    ) -> None:
        self.validation: dict[str, Split] = {}
        self.held_out = held_out if held_out is not None else set()
        """Keys of documents that no domain trains on."""
        self._encode = Encoder(tokenizer)
        self._width = token_bytes(tokenizer) if tokenizer is not None else None
        self._need, self._say = validation_tokens, say
        self._domains: dict[str, DomainDocuments] = {}
        self._targets: dict[str, list[bytes]] = {}  # keys of their documents
        self._read: dict[str, dict[str, dict[str, Any]]] = {"domains": {}, "targets": {}}

    def add_target(self, name: str, sample: DocumentSample) -> None:
        self._say(f"tokenising target {name}")
        pieces, keys = target_pieces(name, sample, self._encode, validation_tokens=self._need)
        self.validation[name] = Split(documents=pieces, num_bytes=num_bytes(pieces, self._width))
        self._targets[name] = keys
        self.held_out.update(keys)
        self._read["targets"][name] = sample.record()

    def add_domain(self, name: str, sample: DocumentSample, cap: int | None) -> None:
        self._say(f"tokenising {name}")
        documents = split_domain(
            name,
            sample,
            self._encode,
            validation_tokens=self._need,
            max_tokens=cap,
            left_out=self.held_out,
        )
        pieces = documents.validation
        self.validation[name] = Split(documents=pieces, num_bytes=num_bytes(pieces, self._width))
        self._domains[name] = documents
        self._read["domains"][name] = sample.record()

    def train(self, caps: Mapping[str, int | None]) -> dict[str, Split]:
        """The training split of each domain.

        Raises:
            DataError: one has too few tokens.
        """
        for documents in self._domains.values():
            self.held_out.update(documents.held_out)
        found = {}
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
            found[name] = Split(documents=kept)
            self._read["domains"][name] |= {
                "held_out_elsewhere": len(documents.train) - len(fresh),
                "tokens_kept": count,
                # of whole documents: the last one kept is cut at the cap
                "tokens_per_document": round(sum(map(len, fresh)) / len(fresh), 2),
            }
        return found

    def notes(self, samples: Mapping[str, DocumentSample]) -> dict[str, Any]:
        """What the manifest tells of the text, which is said as well.

        Args:
            samples: of the domains.
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


def extend(
    store: TokenStore,
    domains: Mapping[str, Source],
    *,
    out: str | Path,
    renamed: Mapping[str, str] | None = None,
    max_tokens: Mapping[str, int] | None = None,
    again: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> TokenStore:
    """Write a store with further domains at `out`, in the tokenizer of `store`, whose own splits it
    takes over as they are.

    No training split of a further domain keeps a document that a validation split of `store` holds.

    Args:
        store: what is extended; it stays where it is.
        domains: the further domains.
        out: where the new store goes.
        renamed: {domain of `store`: its name in the new one}.
        again: domain of `store` whose text the further domains are read from: only documents that
            were held out when it was made are left out, not those of domains that joined later.
        max_tokens, progress: as for `prepare`.

    Raises:
        DataError: a source cannot be read or has too few tokens, a name is taken, or the tokens are
            of another kind; nothing is written then.
    """
    renamed, say, caps = renamed or {}, progress or (lambda _: None), max_tokens or {}
    there = {name: renamed.get(name, name) for name in (*store.domains, *store.targets)}
    if taken := [name for name in domains if name in there.values()]:
        raise DataError(f"domain {taken[0]} is in {store.path} already; rename it")
    path = store.path / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(path)) if path.exists() else None
    for name, source in domains.items():
        if source.holds_tokens() != (tokenizer is None) or (
            tokenizer is None and source.vocabulary != store.vocabulary
        ):
            kind = (
                "text" if tokenizer is not None else f"tokens of a vocabulary of {store.vocabulary}"
            )
            raise DataError(
                f"domain {name} holds another kind of data than {store.path}; need {kind}"
            )
    held_out, beside = _held_out(store, again)
    entries = {**store.manifest["domains"], **store.manifest["targets"]}
    train = {there[name]: Split(documents=_stored(store, name, "train")) for name in store.domains}
    validation = {
        new: Split(
            documents=_stored(store, name, "validation"),
            num_bytes=entries[name]["validation"]["bytes"],
        )
        for name, new in there.items()
    }
    made = _Splits(tokenizer, len(store.validation(store.domains[0])), say, held_out)
    samples = {name: DocumentSample(name, source) for name, source in domains.items()}
    for name, sample in samples.items():
        made.add_domain(name, sample, caps.get(name))
    made.held_out |= beside
    train |= made.train(caps)
    validation |= made.validation
    notes, old = made.notes(samples), store.manifest["notes"]
    for kind in ("domains", "targets"):
        notes[kind] = {there[n]: record for n, record in old.get(kind, {}).items()} | notes[kind]
    notes["shared_documents"] = {
        there[name]: {there[other]: count for other, count in others.items()}
        for name, others in old.get("shared_documents", {}).items()
    } | notes["shared_documents"]
    stages = old.get("held_out", [])
    notes["held_out"] = [{there[n]: keys for n, keys in stage.items()} for stage in stages] + notes[
        "held_out"
    ]
    inputs = [
        store.manifest["inputs"],
        renamed,
        dict(caps),
        {name: source.fingerprint() for name, source in domains.items()},
    ]
    return write_store(
        out,
        train=train,
        validation={**{name: validation[name] for name in train}, **validation},
        vocabulary=store.vocabulary,
        tokenizer=None if tokenizer is None else path.read_text(),
        inputs=hashlib.blake2b(json.dumps(inputs).encode(), digest_size=16).hexdigest(),
        notes=notes,
    )


def _held_out(store: TokenStore, name: str | None) -> tuple[set[bytes], set[bytes]]:
    """Keys of documents held out before a domain of a store was made (None: all), and of those held
    out by the domains made together with it."""
    before: set[bytes] = set()
    for stage in store.manifest["notes"].get("held_out", []):
        keys = {bytes.fromhex(key) for held in stage.values() for key in held}
        if name in stage:
            return before, keys
        before |= keys
    return before, set()


def _stored(store: TokenStore, name: str, split: str) -> list[Tokens]:
    """The documents of a split that a store holds."""
    tokens = store.train(name) if split == "train" else store.validation(name)
    return np.split(tokens, store.documents(name, split)[1:-1])
