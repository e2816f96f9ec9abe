"""From text (or ready-made tokens) to a token store: one tokenizer for all domains, splits that share no document.

Documents are keyed by a hash of their content. A repeated document is kept once; the first keys of a domain become its
validation split, and no training split keeps a document that any validation set holds. So no copy straddles a split, and
the splits do not depend on the order of files.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from bimix_sweep.data.sources import Source, Tokens
from bimix_sweep.data.store import Split, TokenStore, reusable_store, write_store
from bimix_sweep.errors import DataError

END_OF_TEXT = "<|endoftext|>"
SAMPLE_BYTES = 8_000_000
"""Text the tokenizer is trained on, the same share from every domain, at most an eighth from each."""
MIN_DOCUMENTS = 12
"""Below this a split by document leaves a validation set of one or two voices."""
MIN_TARGET_TOKENS = 1024
"""A held-out text shorter than this measures little."""
HELD_OUT_DOCUMENTS = 40
"""About how many documents of a domain validation takes when there are plenty: so many more are read than training may keep."""
VALIDATION_SHARE = 1 / 3
"""Largest share of a domain's documents that its validation split may take."""
PIECE = re.compile(r"(?s).{1,500}(?<=\S)(?=\s)|.{1,500}")
"""What the tokenizer's training sample is cut into, between words where it can be: training takes a time that grows with the
square of the longest word, minutes for 1 MB without white space."""
BATCH_CHARACTERS = 1_000_000
"""Characters encoded at once, so that memory stays small."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Document:
    key: bytes
    tokens: Tokens


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
    """Tokenise every domain and target into a store at `out`; a store there that was made of the same inputs is opened instead.

    Args:
        domains: the sweep's domains.
        targets: held-out texts beside the domains' own validation splits; their names are not those of domains.
        vocabulary: size of the byte-level BPE trained on a balanced sample of the domains; ready-made tokens state their own.
        max_tokens: training tokens to keep of a domain, by name or for all: what a sweep can use, not what there is.
        validation_tokens: size of each domain's validation split, and the most kept of a target.
        progress: told what is being done, in a few words.

    Raises:
        DataError: a source cannot be read, or a domain has too few documents or tokens; nothing is written then.
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

    tokenizer, vocabulary = _tokenizer(domains, targets, vocabulary, say)
    width = _token_bytes(tokenizer) if tokenizer is not None else None
    validation: dict[str, Split] = {}
    held_out: set[bytes] = set()
    for name, source in targets.items():
        say(f"tokenising target {name}")
        documents, _ = _collect(name, source, tokenizer, validation_tokens, held_out_tokens=0)
        kept = _prefix(documents, validation_tokens)
        if (count := sum(len(t) for t in kept)) < (
            least := min(MIN_TARGET_TOKENS, validation_tokens)
        ):
            raise DataError(
                f"target {name} has {count} tokens; need at least {least}, so give it more text"
            )
        validation[name] = Split(documents=kept, num_bytes=_bytes(kept, width))
        held_out.update(d.key for d in documents)
    candidates: dict[str, list[_Document]] = {}
    notes: dict[str, dict[str, int]] = {}
    for name, source in domains.items():
        say(f"tokenising {name}")
        cap = caps[name]
        documents, repeated = _collect(
            name, source, tokenizer, cap, held_out_tokens=validation_tokens
        )
        split, used = _validation(name, documents, validation_tokens)
        validation[name] = Split(documents=split, num_bytes=_bytes(split, width))
        held_out.update(d.key for d in documents[:used])
        candidates[name] = documents[used:]
        notes[name] = {"repeated_documents": repeated}
    train: dict[str, Split] = {}
    for name, documents in candidates.items():
        fresh = [d for d in documents if d.key not in held_out]
        kept = _prefix(fresh, caps[name])
        notes[name]["held_out_elsewhere"] = len(documents) - len(fresh)
        least = min(validation_tokens, cap) if (cap := caps[name]) else validation_tokens
        if (count := sum(len(t) for t in kept)) < least:
            raise DataError(
                f"domain {name} has {count} tokens beside its validation split of {validation_tokens}; need at least {least} "
                f"to train on, so give it more text or lower the validation tokens"
            )
        train[name] = Split(documents=kept)
    order = {name: validation[name] for name in (*domains, *targets)}
    return write_store(
        out,
        train=train,
        validation=order,
        vocabulary=vocabulary,
        tokenizer=tokenizer.to_str() if tokenizer else None,
        inputs=inputs,
        notes={
            "domains": notes,
            "held_out": sorted(key.hex() for key in held_out),
            "versions": _versions(),
        },
    )


def extend(
    store: TokenStore,
    domains: Mapping[str, Source],
    *,
    out: str | Path,
    renamed: Mapping[str, str] | None = None,
    max_tokens: Mapping[str, int] | None = None,
    progress: Callable[[str], None] | None = None,
) -> TokenStore:
    """Write a store with further domains at `out`, in the tokenizer of `store`, whose own splits it takes over as they are.

    No training split of a further domain keeps a document that a validation split of `store` holds.

    Args:
        store: what is extended; it stays where it is.
        domains: the further domains.
        out: where the new store goes.
        renamed: {domain of `store`: its name in the new one}.
        max_tokens, progress: as for `prepare`.

    Raises:
        DataError: a source cannot be read or has too few tokens, a name is taken, or the tokens are of another kind; nothing is written then.
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
    width = _token_bytes(tokenizer) if tokenizer is not None else None
    held_out = {bytes.fromhex(key) for key in store.manifest["notes"].get("held_out", [])}
    entries = {**store.manifest["domains"], **store.manifest["targets"]}
    train = {there[name]: Split(documents=_stored(store, name, "train")) for name in store.domains}
    validation = {
        new: Split(
            documents=_stored(store, name, "validation"),
            num_bytes=entries[name]["validation"]["bytes"],
        )
        for name, new in there.items()
    }
    need = len(store.validation(store.domains[0]))
    for name, source in domains.items():
        say(f"tokenising {name}")
        documents, _ = _collect(name, source, tokenizer, caps.get(name), held_out_tokens=need)
        split, used = _validation(name, documents, need)
        validation[name] = Split(documents=split, num_bytes=_bytes(split, width))
        kept = _prefix([d for d in documents[used:] if d.key not in held_out], caps.get(name))
        if (count := sum(map(len, kept))) < (least := min(need, caps.get(name, need))):
            raise DataError(
                f"domain {name} has {count} tokens beside validation splits; need at least {least} to train on, so give it more text"
            )
        train[name] = Split(documents=kept)
        held_out.update(d.key for d in documents[:used])
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
        notes={
            **store.manifest["notes"],
            "held_out": sorted(key.hex() for key in held_out),
            "versions": _versions(),
        },
    )


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("bimix-sweep", "tokenizers", "pyarrow", "numpy")}


def _stored(store: TokenStore, name: str, split: str) -> list[Tokens]:
    """The documents of a split that a store holds."""
    tokens = store.train(name) if split == "train" else store.validation(name)
    return np.split(tokens, store.documents(name, split)[1:-1])


def _tokenizer(
    domains: Mapping[str, Source],
    targets: Mapping[str, Source],
    vocabulary: int,
    say: Callable[[str], None],
) -> tuple[Tokenizer | None, int]:
    """A byte-level BPE trained on a balanced sample; None where every source holds tokens of one vocabulary."""
    ready = {name: source.holds_tokens() for name, source in {**domains, **targets}.items()}
    if any(ready.values()):
        if not all(ready.values()):
            token, text = (
                next(n for n, r in ready.items() if r),
                next(n for n, r in ready.items() if not r),
            )
            raise DataError(
                f"{token} holds tokens and {text} holds text; need one tokenizer for all, so give all as text or all as tokens"
            )
        stated = {source.vocabulary for source in (*domains.values(), *targets.values())}
        if None in stated or len(stated) > 1:
            raise DataError(
                f"the vocabularies of the token files are {sorted(map(str, stated))}; need one, stated for each"
            )
        return None, int(stated.pop() or 0)
    if not 257 <= vocabulary <= 2**20:
        raise DataError(
            f"vocabulary is {vocabulary}; need at least 257 (every byte and an end of text)"
        )
    say(f"training a tokenizer of {vocabulary} tokens")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    share = min(SAMPLE_BYTES // len(domains), SAMPLE_BYTES // 8)
    tokenizer.train_from_iterator(
        (text for source in domains.values() for text in _sample(source.texts(), share)), trainer
    )
    return tokenizer, vocabulary


def _sample(texts: Iterable[str], num_characters: int) -> Iterator[str]:
    for text in texts:
        yield from PIECE.findall(text[:num_characters])
        if (num_characters := num_characters - len(text)) <= 0:
            return


def _collect(
    name: str,
    source: Source,
    tokenizer: Tokenizer | None,
    need: int | None,
    *,
    held_out_tokens: int,
) -> tuple[list[_Document], int]:
    """Distinct documents in the order of their keys, and how many were repeated.

    Reading ends when validation can be filled and `need` tokens are left beside it; with no `need` all is read.
    """
    found: dict[bytes, Tokens] = {}
    total = repeated = next_look = 0
    encoded = (
        _encode(source.texts(), tokenizer)
        if tokenizer is not None
        else _keyed(source.token_documents())
    )
    for key, tokens in encoded:
        if key in found:
            repeated += 1
            continue
        found[key] = tokens
        total += len(tokens)
        if (
            need is not None
            and len(found) >= next_look
            and total * (1 - HELD_OUT_DOCUMENTS / len(found)) >= need
        ):
            documents = _in_order(found)
            held_out = _held_out(documents, held_out_tokens)
            if (
                sum(map(len, held_out)) == held_out_tokens
                and sum(len(d.tokens) for d in documents[len(held_out) :]) >= need
            ):
                break
            next_look = len(found) * 11 // 10  # each look sorts all
    if not found:
        raise DataError(f"{name} is empty: no text in {source.path}; give it documents")
    return _in_order(found), repeated


def _in_order(found: Mapping[bytes, Tokens]) -> list[_Document]:
    return [_Document(key=key, tokens=found[key]) for key in sorted(found)]


def _encode(texts: Iterable[str], tokenizer: Tokenizer) -> Iterator[tuple[bytes, Tokens]]:
    end = tokenizer.token_to_id(END_OF_TEXT)
    kind = np.uint16 if tokenizer.get_vocab_size() <= 2**16 else np.uint32
    for batch in _batches(texts):
        for text, encoding in zip(
            batch, tokenizer.encode_batch_fast(batch, add_special_tokens=False), strict=True
        ):
            yield _key(text.encode()), np.array([*encoding.ids, end], dtype=kind)


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _keyed(documents: Iterable[Tokens]) -> Iterator[tuple[bytes, Tokens]]:
    for tokens in documents:
        yield _key(tokens.astype("<u4").tobytes()), tokens


def _key(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _validation(name: str, documents: list[_Document], need: int) -> tuple[list[Tokens], int]:
    """The pieces of the validation split, and how many of the first documents they are of."""
    total = sum(len(d.tokens) for d in documents)
    if len(documents) < MIN_DOCUMENTS:
        raise DataError(
            f"domain {name} has {len(documents)} different documents ({total} tokens); need at least {MIN_DOCUMENTS} so that validation "
            f"can be split off by document: give more, or cut long ones (one document a line of .jsonl, or a file each)"
        )
    kept = _held_out(documents, need)
    if (count := sum(map(len, kept))) == need:
        return kept, len(kept)
    raise DataError(
        f"domain {name} has {total} tokens in {len(documents)} documents; its validation split of {need} tokens may take a third of the "
        f"documents and found {count} there: give it more text or lower the validation tokens"
    )


def _held_out(documents: list[_Document], need: int) -> list[Tokens]:
    """From the first documents no more than a share each, so that one long text is not the whole split, up to `need` tokens.

    A longer document gives its middle: beginnings are licences and imports, much the same in every file of a project.
    """
    most = -(-need // max(4, min(32, len(documents) // 4)))
    kept: list[Tokens] = []
    left = need
    for document in documents[: int(len(documents) * VALIDATION_SHARE)]:
        if left == 0:
            break
        length = min(most, left, len(document.tokens))
        start = (len(document.tokens) - length) // 2
        kept.append(document.tokens[start : start + length])
        left -= length
    return kept


def _prefix(documents: list[_Document], need: int | None) -> list[Tokens]:
    kept: list[Tokens] = []
    left = need
    for document in documents:
        if left == 0:
            break
        kept.append(document.tokens[:left])
        left = None if left is None else left - len(kept[-1])
    return kept


def _token_bytes(tokenizer: Tokenizer) -> np.ndarray:
    """(vocabulary,) bytes each token stands for: byte-level BPE writes one character a byte; the end of text stands for none."""
    width = np.zeros(tokenizer.get_vocab_size(), dtype=np.int64)
    for token, index in tokenizer.get_vocab().items():
        width[index] = 0 if token == END_OF_TEXT else len(token)
    return width


def _bytes(documents: list[Tokens], width: np.ndarray | None) -> int | None:
    return None if width is None else int(sum(int(width[tokens].sum()) for tokens in documents))
