"""Applies a change of a sweep completely or not at all.

First, `DIR/texts.next.DIGEST.json`, `DIR/store.next` and `DIR/config.next.DIGEST.yaml` are written,
where DIGEST is that of the new configuration. Then the `change` event is written. Then the new
files replace `texts.json`, `store` and `config.yaml`. After a crash, the next driver reads the
journal: if it holds the event, the driver finishes the replacement; if not, the driver removes the
new files.
"""

import contextlib
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bimix_sweep import disk, files, locations
from bimix_sweep.config import SweepConfig
from bimix_sweep.data.store import TokenStore
from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.errors import ConfigError, DataError, SweepError
from bimix_sweep.sweep.config_change import Change, VersionChange, compare
from bimix_sweep.sweep.history.events import ChangeEvent, SweepEvent
from bimix_sweep.sweep.history.history import SweepHistory
from bimix_sweep.sweep.workspace.archive import bring_store
from bimix_sweep.sweep.workspace.paths import CONFIG, NEXT_STORE, STORE, local_part

NEXT_CONFIG = re.compile(r"config\.next\.[0-9a-f]{16}\.yaml")
"""Name of the configuration of a change whose event may not be written yet. The name holds the
configuration's digest, so that a late request that deletes the file of an earlier change does not
meet this file.
"""


def take_up(
    folder: str, history: SweepHistory, given: SweepConfig | None, versions: VersionChange = "keep"
) -> Change:
    """Finishes or undoes a change that was begun, then compares the configuration.

    Args:
        folder: path or URI of the sweep.
        history: history of the sweep.
        given: the configuration to continue with; default: the folder's, which may have been
            edited.
        versions: what happens to trials on the old version of a domain.

    Raises:
        SweepError: a part of the configuration changed that may not.
        ConfigError: the configuration cannot be used.
    """
    settle(folder, history.first)
    path = locations.join(folder, CONFIG)
    given = (given or SweepConfig.load(path)).model_copy(update={"out": folder})
    try:
        change = compare(history, given, versions)
    except SweepError as error:
        raise SweepError(
            "\n".join(f"{folder}: {line}" for line in str(error).splitlines())
        ) from error
    if not change.what and files.read_text(path) != (text := change.config.to_yaml()):
        files.write_text(path, text)
    return change


def check_change(
    history: SweepHistory, change: Change, spec: SweepSpec, data: Mapping[str, Any]
) -> None:
    """Refuses a change after which the trainer would work differently.

    Raises:
        SweepError: the trainer measures at other steps, trains proxies of other sizes, or has other
            data although no domain's version changed; or a recorded loss does not fit its target's
            new goal.
    """
    for key in ("steps", "shorter", "size", "smaller", "eval_steps", "min_step"):
        old, new = getattr(history.spec, key), getattr(spec, key)
        if old != new:
            raise SweepError(
                f"{key} of the proxies was {old} and is now {new}; their losses are not "
                "comparable, so start a new sweep"
            )
    history.state.trial_record.check_goals(spec)
    if not change.added and dict(data) != history.first.data:
        raise SweepError(
            "the data are not those this sweep began with, and no domain's version changed; "
            "bring them back, or state the version"
        )


def stage(folder: str, change: Change) -> None:
    """Writes the configuration of a change to `DIR/config.next.DIGEST.yaml`."""
    path = locations.join(folder, f"config.next.{change.config.digest}.yaml")
    files.write_text(path, change.config.to_yaml())


def stage_store(folder: str, change: Change, say: Callable[[str], None]) -> None:
    """Tokenises the text of added domains with the sweep's tokenizer, into `DIR/store.next`.

    The function does nothing if the sweep has no token store.

    Raises:
        DataError: text is missing or too short; in this case nothing is left behind.
    """
    from bimix_sweep.data.extend import extend

    place = local_part(folder)
    if not change.added or not (place / STORE).exists():
        return
    from bimix_sweep.sweep.trainers.texts import (
        max_tokens,
        settle_texts,
        stage_texts,
        stored_sources,
    )

    store = TokenStore.open(place / STORE)
    sources = stored_sources(store, change.config).domains
    added = {name: sources[name] for name in change.added}
    stage_texts(folder, added, change.config.digest)  # before the text is read: it may change
    try:
        extend(
            store,
            added,
            renamed=change.renamed,
            out=place / NEXT_STORE,
            progress=say,
            max_tokens=max_tokens(change.config, added),
        )
    except DataError:
        settle_texts(folder, "")
        raise


def settle(folder: str, first: SweepEvent | ChangeEvent) -> None:
    """Finishes a change whose event was written; undoes a change whose event was not.

    Args:
        folder: path or URI of the sweep.
        first: the `sweep` event, updated by every `change` event, or the last `change` event.

    Raises:
        OSError: the folder cannot be written.
    """
    from bimix_sweep.sweep.trainers.texts import settle_texts

    if (digest := first.data.get("store")) is not None:
        settle_texts(folder, first.config_digest)
        _settle_store(local_part(folder), digest)
        if locations.is_uri(folder):
            with contextlib.suppress(FileNotFoundError):  # `restore_store` makes a lost store again
                bring_store(folder, digest)
    for name in filter(NEXT_CONFIG.fullmatch, files.names(folder)):
        ready = locations.join(folder, name)
        with contextlib.suppress(ConfigError):
            config = SweepConfig.load(ready)
            if config.digest == first.config_digest:
                files.write_text(locations.join(folder, CONFIG), config.to_yaml())
        files.delete(ready)


def _settle_store(folder: Path, digest: str) -> None:
    """Moves the new store into place if it is the journal's; otherwise removes it."""
    ready, store = folder / NEXT_STORE, folder / STORE
    try:
        wanted = TokenStore.open(ready).digest == digest
    except DataError:
        wanted = False
    if wanted:
        if store.exists():
            store.rename(folder / f".{STORE}.old")
        ready.rename(store)
        disk.sync(folder)
    for over in (ready, folder / f".{STORE}.old"):
        shutil.rmtree(over, ignore_errors=True)
