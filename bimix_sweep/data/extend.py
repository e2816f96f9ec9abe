"""Extends a token store by further domains; its own splits stay unchanged."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bimix_sweep.data.blend import Blend
from bimix_sweep.data.blend_splits import BlendSample, sample_of
from bimix_sweep.data.prepare import fingerprint_of
from bimix_sweep.data.reading.token_files import Tokens
from bimix_sweep.data.reading.tokenizer_file import TextTokenizer
from bimix_sweep.data.sampling.held_out import HeldOut
from bimix_sweep.data.sampling.sample import DocumentSample
from bimix_sweep.data.sampling.scan import Keys
from bimix_sweep.data.sampling.work_folder import WorkFolder, work_folder
from bimix_sweep.data.sources import Source
from bimix_sweep.data.split_builder import SplitBuilder
from bimix_sweep.data.store import TokenStore
from bimix_sweep.data.store_writing import Split, write_store
from bimix_sweep.errors import DataError


def extend(
    store: TokenStore,
    domains: Mapping[str, Source | Blend],
    *,
    out: str | Path,
    renamed: Mapping[str, str] | None = None,
    max_tokens: Mapping[str, int] | None = None,
    again: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> TokenStore:
    """Writes a store at `out` that holds the splits of `store` unchanged and further domains.

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
    _check_kinds(store, domains)
    tokenizer = stored_tokenizer(store)
    fingerprints = {name: source.fingerprint() for name, source in domains.items()}
    inputs = fingerprint_of([store.manifest["inputs"], renamed, dict(caps), fingerprints])
    with work_folder(Path(out), inputs, say) as work:
        splits, samples = _held_out_of(store, domains, tokenizer, work, again)
        added = {name: splits.train(name, one, caps.get(name)) for name, one in samples.items()}
        old_train, old_validation = _stored_splits(store, there)
        validation = old_validation | splits.validation
        return write_store(
            out,
            train=old_train | added,
            validation={n: validation[n] for n in (*old_train, *added, *old_validation)},
            vocabulary=store.vocabulary,
            tokenizer=tokenizer,
            inputs=inputs,
            held_out=[*_stored_runs(store), *splits.held_out_runs()],
            notes=_joined_notes(store.manifest["notes"], there, splits.notes(samples)),
        )


def _held_out_of(
    store: TokenStore,
    domains: Mapping[str, Source | Blend],
    tokenizer: TextTokenizer | None,
    work: WorkFolder,
    again: str | None,
) -> tuple[SplitBuilder, dict[str, DocumentSample | BlendSample]]:
    """Scans the further domains and holds out their validation splits; arguments as for `extend`.

    Returns:
        The splits so far, and {domain: its documents}.
    """
    ends = store.documents(store.domains[0], "validation")
    splits = SplitBuilder(
        tokenizer,
        rows=len(ends) - 1,
        length=int(ends[1]),
        say=work.say,
        held_out=_held_out(store, again),
    )
    samples = {
        name: sample_of(name, source, work, f"domain-{number}")
        for number, (name, source) in enumerate(domains.items())
    }
    for name, sample in samples.items():
        splits.add_domain(name, sample)
    return splits, samples


def _stored_runs(store: TokenStore) -> list[Keys]:
    """The runs of a store's held-out documents, for each stage."""
    return [store.held_out(n)[1] for n, _ in enumerate(store.manifest["notes"].get("held_out", []))]


def stored_tokenizer(store: TokenStore) -> TextTokenizer | None:
    """The tokenizer of a store; None where it is not known.

    Raises:
        DataError: the tokenizer is damaged or is gone.
    """
    if store.tokenizer is None:
        return None
    stored = TextTokenizer.read(str(store.path), store.tokenizer["end_of_text"])
    if stored.sha256 != store.tokenizer["sha256"]:
        raise DataError(
            f"{store.path}/tokenizer.json is not the one that the store was made with; bring it "
            "back, or prepare the store again"
        )
    stored.given = store.tokenizer["given"]
    return stored


def _check_kinds(store: TokenStore, domains: Mapping[str, Source | Blend]) -> None:
    """Raises DataError where a source does not hold the kind of data that the store can take: text
    if its tokenizer is known, and tokens unless that tokenizer was trained for the store."""
    text = store.tokenizer is not None
    tokens = store.tokenizer is None or store.tokenizer["given"]
    for name, source in domains.items():
        ready = source.holds_tokens()
        fits = (tokens and source.vocabulary == store.vocabulary) if ready else text
        if not fits:
            kinds = ["text"] * text + [f"tokens of a vocabulary of {store.vocabulary}"] * tokens
            raise DataError(
                f"domain {name} holds another kind of data than {store.path}; need "
                f"{' or '.join(kinds)}"
            )


def _stored_splits(
    store: TokenStore, names: Mapping[str, str]
) -> tuple[dict[str, Split], dict[str, Split]]:
    """Returns the training and the validation splits of a store, by new names.

    Args:
        store: the store.
        names: {domain or target of the store: its new name}.
    """
    entries = {**store.manifest["domains"], **store.manifest["targets"]}
    train = {names[name]: Split(documents=_stored(store, name, "train")) for name in store.domains}
    validation = {
        new: Split(
            documents=_stored(store, name, "validation"),
            num_bytes=entries[name]["validation"]["bytes"],
        )
        for name, new in names.items()
    }
    return train, validation


def _joined_notes(
    old: Mapping[str, Any], names: Mapping[str, str], new: Mapping[str, Any]
) -> dict[str, Any]:
    """Joins the notes of the extended store and those of the further domains.

    Args:
        old, new: the notes.
        names: {domain or target of the extended store: its new name}.
    """
    notes = dict(new)
    for kind in ("domains", "targets"):
        notes[kind] = {names[n]: record for n, record in old.get(kind, {}).items()} | new[kind]
    notes["shared_documents"] = {
        names[name]: {names[other]: count for other, count in others.items()}
        for name, others in old.get("shared_documents", {}).items()
    } | new["shared_documents"]
    stages = old.get("held_out", [])
    notes["held_out"] = [
        *({names[n]: keys for n, keys in stage.items()} for stage in stages),
        *new["held_out"],
    ]
    return notes


def _held_out(store: TokenStore, name: str | None) -> HeldOut:
    """Documents that are held out from a domain of a store.

    These were held out when the domain was made, or before. If the name is None, all are returned.
    """
    keys: list[int] = []
    runs: list[Keys] = []
    for number, stage in enumerate(store.manifest["notes"].get("held_out", [])):
        more, more_runs = store.held_out(number)
        keys += more
        runs.append(more_runs)
        if name in stage:
            break
    return HeldOut(keys, runs)


def _stored(store: TokenStore, name: str, split: str) -> Iterator[Tokens]:
    """The documents of one split of a store, each (tokens,)."""
    tokens = store.train(name) if split == "train" else store.validation(name)
    for first, last in itertools.pairwise(store.documents(name, split).tolist()):
        yield tokens[first:last]
