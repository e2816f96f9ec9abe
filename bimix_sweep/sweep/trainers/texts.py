"""Text of a sweep with the built-in trainer: makes the token store, and checks the text on resume.

`DIR/texts.json` keeps a fingerprint of the files of each domain and target (names, sizes,
modification times). Files with the same fingerprint hold the same text. Where the fingerprint
differs, the content decides: the text of a domain is tokenised again with the sweep's own tokenizer
and must give the tokens of the store, so the same documents in other files are no change. A lost
store is made again from the text, and is used only if its digest equals the digest in the journal.
"""

import fnmatch
import hashlib
import json
import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bimix_sweep import files, locations
from bimix_sweep.config import SweepConfig
from bimix_sweep.data.blend import Blend
from bimix_sweep.data.extend import extend, stored_tokenizer
from bimix_sweep.data.prepare import prepare
from bimix_sweep.data.reading.tokenizer_file import TextTokenizer
from bimix_sweep.data.sources import Source
from bimix_sweep.data.store import TokenStore
from bimix_sweep.data.store_writing import share_store
from bimix_sweep.errors import DataError, SweepError
from bimix_sweep.journal.segments import read
from bimix_sweep.parsing import parse_json
from bimix_sweep.sweep.history.history import SweepHistory
from bimix_sweep.sweep.text_sources import TextSources, given_tokenizer
from bimix_sweep.sweep.workspace.paths import STORE, local_part
from bimix_sweep.text import shown

TEXTS = "texts.json"
"""File in a sweep's folder with the fingerprints of the text, taken when the text was read."""
NEXT_TEXTS = "texts.next.{}.json"
"""File like `TEXTS` that adds the domains of a change whose event may not be written yet; the name
holds the digest of the change's configuration.
"""
CHECKED = "store.check"
"""Folder beside the store, for a store that is compared before it is used or removed."""

Say = Callable[[str], None]


def make_store(config: SweepConfig, out: Path, say: Say) -> TokenStore:
    """Tokenises the text of a configuration into a store at `out`.

    A store of the same text that is at `out` already is opened. With `data.store` the tokens are
    those of the store there, which is made where it is missing.

    Raises:
        DataError: the text is missing or too short.
    """
    tokenizer = given_tokenizer(config)
    if tokenizer is not None:
        say(
            f"the tokenizer has {tokenizer.vocabulary} tokens; {shown(tokenizer.end_of_text)} ends "
            "a document"
        )
    sources = TextSources.of(config, tokenizer)
    if tokenizer is None and any(source.holds_tokens() for source in sources.all()):
        say("the files hold tokens; losses are in nats per token, their bytes are not known")
    shared = config.data.store
    store = prepare(
        sources.domains,
        sources.targets,
        out=shared or out,
        larger=shared is not None,
        vocabulary=config.proxy.vocabulary,
        tokenizer=tokenizer,
        validation_tokens=config.data.validation_tokens,
        context=config.proxy.context,
        progress=say,
        max_tokens=max_tokens(config, sources.domains),
    )
    if shared is None:
        return store
    say(f"the tokens are those of the store at {shared}")
    return share_store(store, out)


def max_tokens(config: SweepConfig, sources: Mapping[str, Source | Blend]) -> dict[str, int]:
    """Returns {domain: training tokens to keep}.

    The tokens of a trial on this domain alone are enough. The upper bound `max` of the domain does
    not count, because it may be raised later.
    """
    return dict.fromkeys(sources, config.proxy.tokens)


def remember_texts(folder: str, config: SweepConfig) -> None:
    """Records the fingerprints of the text that was just read."""
    known = _known(folder)
    sources = TextSources.of(config, given_tokenizer(config))
    for name, source in sources.domains.items():
        if (fingerprint := _fingerprint(source)) is not None:
            known["domains"][name] = fingerprint
    for name, target in sources.targets.items():
        if (fingerprint := _fingerprint(target)) is not None:
            known["targets"][name] = [fingerprint, _content(target)]
    _keep(folder, known)


def stage_texts(folder: str, added: Mapping[str, Source | Blend], config_digest: str) -> None:
    """Records the fingerprints of domains that a change adds, in the file `NEXT_TEXTS`."""
    known = _known(folder)
    taken = {name: _fingerprint(source) for name, source in added.items()}
    known["domains"] |= {name: value for name, value in taken.items() if value is not None}
    _keep(folder, known, NEXT_TEXTS.format(config_digest))


def settle_texts(folder: str, config_digest: str) -> None:
    """Accepts the fingerprints of a change that took effect; deletes those of other changes."""
    for name in fnmatch.filter(files.names(folder), NEXT_TEXTS.format("*")):
        if name == NEXT_TEXTS.format(config_digest):
            _keep(folder, _known(folder, name))
        files.delete(locations.join(folder, name))


def check_texts(folder: str, config: SweepConfig, added: Collection[str], say: Say) -> None:
    """Refuses changed text of a target, and of a domain whose version is still the same.

    Text that is gone is only reported, because the store has its tokens.

    Args:
        added: added domains, whose text is only read now.
        say: receives messages about what is compared.

    Raises:
        SweepError: the content of a domain or target changed.
    """
    place = local_part(folder)
    store, known = TokenStore.open(place / STORE), _known(folder)
    kept = json.dumps(known)
    _check_tokenizer(folder, config, store, say)
    sources = stored_sources(store, config)
    for name, source in sources.domains.items():
        if name in added or name not in store.domains or config.domains[name].max == 0:
            continue
        if (fingerprint := _fingerprint(source)) is None:
            say(_gone(f"domain {name}", source))
        elif known["domains"].get(name) != fingerprint:
            say(f"the files of domain {name} changed; comparing their text with the store's")
            cap = max_tokens(config, {name: source})[name]
            if not _gives_the_same(store, name, source, cap, place / CHECKED):
                raise SweepError(
                    f"{folder}: the text of domain {name} at {source.place} is not what the store was made "
                    f"of, and its version is the same; give domains.{name} a new version, or bring "
                    "the text back"
                )
            known["domains"][name] = fingerprint
    for name, target in sources.targets.items():
        before = known["targets"].get(name)
        if (fingerprint := _fingerprint(target)) is None:
            say(_gone(f"target {name}", target))
        elif before is not None and before[0] != fingerprint:
            if before[1] != _content(target):
                raise SweepError(
                    f"{folder}: the text of target {name} at {target.place} is not what this sweep began "
                    "with, and losses on another text do not compare; bring the text back, or "
                    "start a new sweep with run --out"
                )
            known["targets"][name] = [fingerprint, before[1]]
    if json.dumps(known) != kept:
        _keep(folder, known)


def restore_store(folder: str, history: SweepHistory, say: Say) -> None:
    """Makes a lost token store again from its text.

    Raises:
        SweepError: the store cannot be made again, or the text gives another store; nothing has
            changed then.
    """
    place, digest = local_part(folder), history.first.data["store"]
    store = place / STORE
    if (store / "manifest.json").exists():
        return
    first = read(locations.join(folder, "journal")).events[0]
    advice = f"bring a copy of {store} back, or start a new sweep with run --out"
    if first["data"] != history.first.data or not first.get("config"):
        raise SweepError(
            f"{folder}: its token store is lost, and text was added or replaced since the sweep "
            f"began, so it cannot be made again; {advice}"
        )
    say("the token store is lost; it is made again from the text")
    config = SweepConfig.parse(first["config"], where="the configuration in the journal")
    again = place / CHECKED
    try:
        made = make_store(config, again, say)
    except DataError as error:
        raise SweepError(
            f"{folder}: its token store is lost and cannot be made again: {error}; bring the text "
            f"back, or {advice}"
        ) from error
    if made.digest != digest:
        shutil.rmtree(again, ignore_errors=True)
        raise SweepError(
            f"{folder}: its token store is lost, and the text gives another one now (digest "
            f"{made.digest}, the sweep began with {digest}): text, or the version of a library, "
            f"changed; {advice}"
        )
    shutil.rmtree(store, ignore_errors=True)
    again.rename(store)


def _gives_the_same(
    store: TokenStore, name: str, source: Source | Blend, cap: int, beside: Path
) -> bool:
    """True where a source gives the tokens that the store has for a domain."""
    probe = f"{name}@now"
    while probe in store.domains or probe in store.targets:
        probe += "'"
    try:
        again = extend(store, {probe: source}, out=beside, max_tokens={probe: cap}, again=name)
        train, before = again.train(probe), store.train(name)
        # The store may keep more tokens than the cap.
        shared = min(len(train), len(before))
        return np.array_equal(again.validation(probe), store.validation(name)) and np.array_equal(
            train[:shared], before[:shared]
        )
    except DataError:  # the text is too short now, or of another kind
        return False
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def stored_sources(store: TokenStore, config: SweepConfig) -> TextSources:
    """Returns the sources of a configuration, whose tokenizer is the one of the store."""
    return TextSources.of(config, stored_tokenizer(store) if config.tokenizer else None)


def _check_tokenizer(folder: str, config: SweepConfig, store: TokenStore, say: Say) -> None:
    """Refuses a tokenizer that changed since the store was made; one that is gone is reported.

    Raises:
        SweepError: the tokenizer changed.
    """
    if config.tokenizer is None or store.tokenizer is None:
        return
    place = config.tokenizer.path
    try:
        now = TextTokenizer.read(place, config.tokenizer.end_of_text)
    except DataError as error:
        say(f"note: {error}; the sweep goes on with the tokenizer in its store")
        return
    if now.sha256 != store.tokenizer["sha256"]:
        raise SweepError(
            f"{folder}: the tokenizer at {place} changed since the store was made (SHA-256 "
            f"{store.tokenizer['sha256'][:12]}... then, {now.sha256[:12]}... now), and losses of "
            "another tokenizer do not compare; bring the file back, or start a new sweep with run "
            "--out"
        )


def _fingerprint(source: Source | Blend) -> str | None:
    """Returns the fingerprint of the files of a source; None where there are none."""
    try:
        return source.fingerprint()
    except (DataError, OSError):
        return None


def _content(source: Source) -> str:
    """Returns a hash of the documents of a target that ignores their order and their files."""
    total = 0
    documents = (
        (tokens.tobytes() for tokens in source.token_documents())
        if source.holds_tokens()
        else (text.encode() for text in source.texts())
    )
    for document in documents:
        total += int.from_bytes(hashlib.blake2b(document, digest_size=16).digest())
    return f"{total % 2**128:032x}"


def _gone(what: str, source: Source | Blend) -> str:
    return (
        f"note: the text of {what} is not at {source.place} any more; the sweep goes on with the tokens in "
        "its store"
    )


def _known(folder: str, name: str = TEXTS) -> dict[str, dict[str, Any]]:
    try:
        known = parse_json(files.read_text(locations.join(folder, name)))
        return {"domains": dict(known["domains"]), "targets": dict(known["targets"])}
    except (OSError, ValueError, LookupError, TypeError):
        return {"domains": {}, "targets": {}}


def _keep(folder: str, known: dict[str, dict[str, Any]], name: str = TEXTS) -> None:
    files.write_text(locations.join(folder, name), json.dumps(known, indent=1) + "\n")
