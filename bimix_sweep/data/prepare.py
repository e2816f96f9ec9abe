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
from pathlib import Path
from typing import Any

from bimix_sweep.data.blend import Blend
from bimix_sweep.data.blend_splits import BlendSample, sample_of
from bimix_sweep.data.reading.tokenizer_file import TextTokenizer
from bimix_sweep.data.sample import DocumentSample
from bimix_sweep.data.sources import Source
from bimix_sweep.data.split_builder import SplitBuilder
from bimix_sweep.data.store import TokenStore, reusable_store
from bimix_sweep.data.store_writing import write_store
from bimix_sweep.data.tokenizing import (
    check_vocabulary,
    common_vocabulary,
    sample_characters,
    train_tokenizer,
)
from bimix_sweep.errors import DataError


def prepare(
    domains: Mapping[str, Source | Blend],
    targets: Mapping[str, Source] | None = None,
    *,
    out: str | Path,
    vocabulary: int = 2048,
    tokenizer: TextTokenizer | None = None,
    max_tokens: Mapping[str, int] | int | None = None,
    validation_tokens: int = 8_192,
    progress: Callable[[str], None] | None = None,
) -> TokenStore:
    """Tokenises every domain and target into a store at `out`.

    If `out` holds a store that was made of the same inputs, that store is opened instead.

    Args:
        domains: the sweep's domains.
        targets: held-out texts that are not the domains' own validation splits; no target has the
            name of a domain.
        out: folder of the store.
        vocabulary: size of the byte-level BPE that is trained on a balanced sample of the domains;
            not used with a tokenizer, or for ready-made tokens.
        tokenizer: the one of all text and ready-made tokens; None: one is trained where needed.
        max_tokens: maximum training tokens kept of a domain, by name or for all: the number that a
            sweep can use, not the number available.
        validation_tokens: size of each domain's validation split, and maximum size of a target.
        progress: called with sentences that say what is being done and what was read.

    Raises:
        DataError: a source cannot be read, or a domain has too few documents or tokens; no store is
            written then.
    """
    targets = targets or {}
    _check_names(domains, targets)
    caps = {
        name: max_tokens.get(name) if isinstance(max_tokens, Mapping) else max_tokens
        for name in domains
    }
    inputs = fingerprint_of(
        [
            vocabulary if tokenizer is None else [tokenizer.sha256, tokenizer.end_of_text],
            [*domains],
            caps,
            validation_tokens,
            {name: source.fingerprint() for name, source in {**domains, **targets}.items()},
        ]
    )
    if (store := reusable_store(out, inputs)) is not None:
        return store
    return _make_store(
        domains,
        targets,
        out=out,
        vocabulary=vocabulary,
        tokenizer=tokenizer,
        caps=caps,
        validation_tokens=validation_tokens,
        inputs=inputs,
        say=progress or (lambda _: None),
    )


def _make_store(
    domains: Mapping[str, Source | Blend],
    targets: Mapping[str, Source],
    *,
    out: str | Path,
    vocabulary: int,
    tokenizer: TextTokenizer | None,
    caps: Mapping[str, int | None],
    validation_tokens: int,
    inputs: str,
    say: Callable[[str], None],
) -> TokenStore:
    """Makes a store at `out`; arguments and errors as for `prepare`.

    Args:
        caps: {domain: maximum of its training tokens}; None: no maximum.
        inputs: fingerprint of the inputs.
    """
    stated = common_vocabulary({**domains, **targets}, tokenizer)
    if stated is None:
        check_vocabulary(vocabulary)
    samples, held_out = _read_samples(domains, targets, say, sample_tokenizer=stated is None)
    if stated is None:
        say(f"training a tokenizer of {vocabulary} tokens")
        pieces = (piece for name in domains for piece in samples[name].pieces())
        tokenizer = train_tokenizer(pieces, vocabulary)
    splits = SplitBuilder(tokenizer, validation_tokens, say)
    for name, target in held_out.items():
        splits.add_target(name, target)
    for name, sample in samples.items():
        splits.add_domain(name, sample, caps[name])
    train = splits.train(caps)
    notes = splits.notes(samples)
    return write_store(
        out,
        train=train,
        validation={name: splits.validation[name] for name in (*domains, *targets)},
        vocabulary=vocabulary if stated is None else stated,
        tokenizer=tokenizer,
        inputs=inputs,
        notes=notes,
    )


def _check_names(domains: Mapping[str, Source | Blend], targets: Mapping[str, Source]) -> None:
    """Raises DataError where there is no domain, or a target has the name of a domain."""
    if not domains:
        raise DataError("no domains; need at least one")
    if both := [name for name in targets if name in domains]:
        raise DataError(f"target {both[0]} has the name of a domain; rename it")


def _read_samples(
    domains: Mapping[str, Source | Blend],
    targets: Mapping[str, Source],
    say: Callable[[str], None],
    *,
    sample_tokenizer: bool,
) -> tuple[dict[str, DocumentSample | BlendSample], dict[str, DocumentSample]]:
    """Reads the sources: {domain: its documents} and {target: its documents}.

    Args:
        domains, targets: the sources.
        say: called with sentences about the progress.
        sample_tokenizer: whether the domains keep pieces of text to train a tokenizer on.
    """
    characters = sample_characters(len(domains)) if sample_tokenizer else 0
    samples, held_out = {}, {}
    for name, domain in domains.items():
        say(f"reading {name}")
        samples[name] = sample_of(name, domain, piece_characters=characters)
    for name, target in targets.items():
        say(f"reading target {name}")
        held_out[name] = DocumentSample(name, target)
    return samples, held_out


def fingerprint_of(settings: Any) -> str:
    """Returns a hash of JSON-able settings, by which `reusable_store` compares the inputs."""
    return hashlib.blake2b(json.dumps(settings).encode(), digest_size=16).hexdigest()
