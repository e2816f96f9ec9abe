"""Makes a token store from text or ready-made tokens.

One tokenizer serves all domains, and the splits share no document.

The key of a document is a hash of its text (`sampling.identity`). A repeated document is kept once.
The documents with the smallest keys of a domain become its validation split. No training split
keeps a document that any validation set holds, or a near-duplicate of one. The splits and the
tokenizer depend neither on the files that the documents lie in nor on the number of training
tokens.

The memory does not grow with the text: tokens are written to the disk part by part, and keys and
places stay in memory. Finished parts are used again after a kill (`sampling.work_folder`).
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bimix_sweep.data.blend import Blend
from bimix_sweep.data.blend_splits import BlendSample, sample_of
from bimix_sweep.data.reading.tokenizer_file import TextTokenizer
from bimix_sweep.data.sampling.sample import DocumentSample
from bimix_sweep.data.sampling.work_folder import WorkFolder, work_folder
from bimix_sweep.data.sources import Source
from bimix_sweep.data.split_builder import SplitBuilder
from bimix_sweep.data.store import TokenStore, reusable_store
from bimix_sweep.data.store_writing import check_place, write_store
from bimix_sweep.data.tokenizing import (
    END_OF_TEXT,
    check_vocabulary,
    common_vocabulary,
    sample_characters,
    train_tokenizer,
)
from bimix_sweep.errors import DataError

TOKENIZER = "tokenizer.json"
"""Part of a preparation that holds the tokenizer."""


def prepare(
    domains: Mapping[str, Source | Blend],
    targets: Mapping[str, Source] | None = None,
    *,
    out: str | Path,
    vocabulary: int = 2048,
    tokenizer: TextTokenizer | None = None,
    max_tokens: Mapping[str, int] | int | None = None,
    validation_tokens: int = 8_192,
    context: int = 128,
    larger: bool = False,
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
        validation_tokens: predicted tokens of each domain's validation split, and maximum of a
            target, rounded down to whole rows of `context` + 1 tokens.
        context: predicted tokens of one sequence of a trial.
        larger: whether a store at `out` may be opened that keeps more training tokens than asked.
        progress: called with sentences that say what is being done and what was read.

    Raises:
        DataError: a source cannot be read or has too little text; no store is written then.
    """
    targets = targets or {}
    _check_names(domains, targets)
    given = max_tokens if isinstance(max_tokens, Mapping) else dict.fromkeys(domains, max_tokens)
    caps = {name: given.get(name) for name in domains}
    fingerprints = {name: one.fingerprint() for name, one in {**domains, **targets}.items()}
    kind = vocabulary if tokenizer is None else [tokenizer.sha256, tokenizer.end_of_text]
    inputs = fingerprint_of([kind, [*domains], validation_tokens, context, fingerprints])
    if (store := reusable_store(out, inputs, caps, larger=larger)) is not None:
        return store
    check_place(out)
    with work_folder(Path(out), fingerprint_of([inputs, caps]), progress) as work:
        if (store := reusable_store(out, inputs, caps, larger=larger)) is not None:
            return store
        return _make_store(
            domains,
            targets,
            out=out,
            work=work,
            vocabulary=vocabulary,
            tokenizer=tokenizer,
            caps=caps,
            shape=(max(1, validation_tokens // context), context + 1),
            inputs=inputs,
        )


def _make_store(
    domains: Mapping[str, Source | Blend],
    targets: Mapping[str, Source],
    *,
    out: str | Path,
    work: WorkFolder,
    vocabulary: int,
    tokenizer: TextTokenizer | None,
    caps: Mapping[str, int | None],
    shape: tuple[int, int],
    inputs: str,
) -> TokenStore:
    """Makes a store at `out`; arguments and errors as for `prepare`.

    Args:
        work: folder of the finished parts.
        caps: {domain: maximum of its training tokens}; None: no maximum.
        shape: rows of a validation set, and tokens of a row.
        inputs: fingerprint of the inputs without the caps.
    """
    stated = common_vocabulary({**domains, **targets}, tokenizer)
    if stated is None:
        check_vocabulary(vocabulary)
    samples, held_out = _read_samples(domains, targets, work, sample_tokenizer=stated is None)
    if stated is None:
        tokenizer = _tokenizer(samples, vocabulary, work)
    splits = SplitBuilder(tokenizer, rows=shape[0], length=shape[1], say=work.say)
    for name, target in held_out.items():
        splits.add_target(name, target)
    for name, sample in samples.items():
        splits.add_domain(name, sample)
    train = {name: splits.train(name, sample, caps[name]) for name, sample in samples.items()}
    return write_store(
        out,
        train=train,
        validation={name: splits.validation[name] for name in (*domains, *targets)},
        vocabulary=vocabulary if stated is None else stated,
        tokenizer=tokenizer,
        inputs=inputs,
        held_out=splits.held_out_runs(),
        notes=splits.notes(samples) | {"max_tokens": dict(caps)},
    )


def _tokenizer(
    samples: Mapping[str, DocumentSample | BlendSample], vocabulary: int, work: WorkFolder
) -> TextTokenizer:
    """Trains the tokenizer, or reads the one that was finished before a kill."""
    if (path := work.finished(TOKENIZER)) is None:
        work.say(f"training a tokenizer of {vocabulary} tokens")
        pieces = (piece for sample in samples.values() for piece in sample.pieces())
        trained = train_tokenizer(pieces, vocabulary)
        path = work.keep(TOKENIZER, lambda beside: beside.write_text(trained.content))
    return TextTokenizer(path.read_text(), end_of_text=END_OF_TEXT, given=False)


def _check_names(domains: Mapping[str, Source | Blend], targets: Mapping[str, Source]) -> None:
    """Raises DataError where there is no domain, or a target has the name of a domain."""
    if not domains:
        raise DataError("no domains; need at least one")
    if both := [name for name in targets if name in domains]:
        raise DataError(f"target {both[0]} has the name of a domain; rename it")


def _read_samples(
    domains: Mapping[str, Source | Blend],
    targets: Mapping[str, Source],
    work: WorkFolder,
    *,
    sample_tokenizer: bool,
) -> tuple[dict[str, DocumentSample | BlendSample], dict[str, DocumentSample]]:
    """Scans the sources: {domain: its documents} and {target: its documents}.

    Args:
        domains, targets: the sources.
        work: folder of the finished parts.
        sample_tokenizer: whether the domains keep pieces of text to train a tokenizer on.
    """
    characters = sample_characters(len(domains)) if sample_tokenizer else 0
    samples, held_out = {}, {}
    for number, (name, domain) in enumerate(domains.items()):
        work.say(f"reading {name}")
        samples[name] = sample_of(
            name, domain, work, f"domain-{number}", piece_characters=characters
        )
    for number, (name, target) in enumerate(targets.items()):
        work.say(f"reading target {name}")
        held_out[name] = DocumentSample(name, target, work, f"target-{number}")
    return samples, held_out


def fingerprint_of(settings: Any) -> str:
    """Returns a hash of JSON-able settings, by which `reusable_store` compares the inputs."""
    return hashlib.blake2b(json.dumps(settings).encode(), digest_size=16).hexdigest()
