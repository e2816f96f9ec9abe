"""Makes a token store from text or ready-made tokens.

One tokenizer serves all domains, and the splits share no document.

The key of a document is a hash of its text (`sample`). A repeated document is kept once. The
documents with the smallest keys of a domain become its validation split. No training split keeps a
document that any validation set holds. So no copy of a document is in two splits. The splits and
the tokenizer depend neither on the files that the documents lie in nor on the number of training
tokens.
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
    """Tokenise every domain and target into a store at `out`.

    If `out` holds a store that was made of the same inputs, that store is opened instead.

    Args:
        domains: the sweep's domains.
        targets: held-out texts that are not the domains' own validation splits; no target has the
            name of a domain.
        out: folder of the store.
        vocabulary: size of the byte-level BPE that is trained on a balanced sample of the domains;
            not used for ready-made tokens, which state their own vocabulary.
        max_tokens: maximum training tokens kept of a domain, by name or for all: the number that a
            sweep can use, not the number available.
        validation_tokens: size of each domain's validation split, and maximum size of a target.
        progress: called with sentences that say what is being done and what was read.

    Raises:
        DataError: a source cannot be read, or a domain has too few documents or tokens; no store is
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
    """The splits of a store while they are made: first targets, then domains, then training
    splits."""

    def __init__(
        self,
        tokenizer: Tokenizer | None,
        validation_tokens: int,
        say: Callable[[str], None],
        held_out: set[bytes] | None = None,
    ) -> None:
        """Args:
        tokenizer: None where the sources hold tokens.
        validation_tokens: size of each domain's validation split, and maximum size of a target.
        say: called with sentences about the progress.
        held_out: keys of documents that no domain trains on, known beforehand.
        """
        self.validation: dict[str, Split] = {}
        self.held_out = held_out if held_out is not None else set()
        """Keys of documents that no domain trains on."""
        self._encode = Encoder(tokenizer)
        self._width = token_bytes(tokenizer) if tokenizer is not None else None
        self._need, self._say = validation_tokens, say
        self._domains: dict[str, DomainDocuments] = {}
        self._targets: dict[str, list[bytes]] = {}  # keys of the documents of each target
        self._read: dict[str, dict[str, dict[str, Any]]] = {"domains": {}, "targets": {}}

    def add_target(self, name: str, sample: DocumentSample) -> None:
        """Tokenises a target and marks its documents as held out."""
        self._say(f"tokenising target {name}")
        pieces, keys = target_pieces(name, sample, self._encode, validation_tokens=self._need)
        self.validation[name] = Split(documents=pieces, num_bytes=num_bytes(pieces, self._width))
        self._targets[name] = keys
        self.held_out.update(keys)
        self._read["targets"][name] = sample.record()

    def add_domain(self, name: str, sample: DocumentSample, cap: int | None) -> None:
        """Splits a domain; `cap` is the maximum of its training tokens, None for no maximum."""
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
        """Training split of each domain, without the documents that any validation set holds.

        Raises:
            DataError: a domain has too few tokens.
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
                # mean over whole documents: the last document that is kept may be cut at the cap
                "tokens_per_document": round(sum(map(len, fresh)) / len(fresh), 2),
            }
        return found

    def notes(self, samples: Mapping[str, DocumentSample]) -> dict[str, Any]:
        """Notes for the manifest about the text that was read.

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
    """Write a store at `out` that holds the splits of `store` unchanged and further domains.

    The further domains use the tokenizer of `store`. No training split of a further domain keeps a
    document that a validation split of `store` holds.

    Args:
        store: the store that is extended; its folder is not changed.
        domains: the further domains.
        out: folder of the new store.
        renamed: {domain of `store`: its name in the new store}.
        again: domain of `store` whose text the further domains are read from. Then only documents
            that were held out when that domain was made are left out, not documents held out by
            domains that were added later.
        max_tokens, progress: as for `prepare`.

    Raises:
        DataError: a source cannot be read or has too few tokens, a name is taken, or a source does
            not hold the kind of data that `store` was made of (text, or tokens of the same
            vocabulary); no store is written then.
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
    """Keys of the documents that are held out from a domain of a store, as two sets.

    The first set holds the keys held out before the domain was made. The second set holds the keys
    held out by the domains made together with that domain. If the name is None, the first set
    holds all keys.
    """
    before: set[bytes] = set()
    for stage in store.manifest["notes"].get("held_out", []):
        keys = {bytes.fromhex(key) for held in stage.values() for key in held}
        if name in stage:
            return before, keys
        before |= keys
    return before, set()


def _stored(store: TokenStore, name: str, split: str) -> list[Tokens]:
    """The documents of one split of a store, each (tokens,)."""
    tokens = store.train(name) if split == "train" else store.validation(name)
    return np.split(tokens, store.documents(name, split)[1:-1])
