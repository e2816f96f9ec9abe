"""Writes the token store of `store`."""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bimix_sweep import disk, files
from bimix_sweep.data.reading.token_files import Tokens, token_dtype
from bimix_sweep.data.reading.tokenizer_file import TextTokenizer
from bimix_sweep.data.sampling.scan import Keys
from bimix_sweep.data.store import FORMAT, VERSION, TokenStore
from bimix_sweep.errors import DataError
from bimix_sweep.mixture.domains import check_names

ENDINGS = (
    ".train.tokens",
    ".train.offsets",
    ".validation.tokens",
    ".validation.offsets",
    ".runs",
)
"""Endings of the files of a store, besides the manifest and the tokenizer."""
BUFFER = 1 << 20
"""Bytes of tokens that are written at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The documents of one split, before they are written."""

    documents: Iterable[Tokens]
    """Documents, each (tokens,); training documents are sorted by the hash of their content."""
    num_bytes: int | None = None
    """UTF-8 bytes that these tokens stand for; None where the tokenizer is not known."""


def write_store(
    path: str | Path,
    *,
    train: Mapping[str, Split],
    validation: Mapping[str, Split],
    vocabulary: int,
    tokenizer: TextTokenizer | None = None,
    inputs: str = "",
    held_out: Sequence[Keys] = (),
    notes: Mapping[str, Any] | None = None,
) -> TokenStore:
    """Writes a store to a temporary folder beside `path`, then renames the folder to `path`.

    A store that is already at `path` is replaced; anything else there is refused.

    Args:
        train: training split of each domain.
        validation: validation split of each domain, and of each target that is not a domain.
        vocabulary: vocabulary size; every token id is below this number.
        tokenizer: the tokenizer; None where the tokens came ready-made and it is not known.
        inputs: fingerprint of the inputs of the store; `reusable_store` compares it before a store
            is made again.
        held_out: runs of held-out documents (`sampling.held_out`), for each stage of the notes'
            `held_out`.
        notes: JSON-able values that are kept in the manifest.

    Raises:
        DataError: something else is at `path`, `path` cannot be written, or a domain lacks its
            validation split. No partial store is left in these cases.
    """
    path = Path(path)
    check_names(tuple(validation), "target")
    if missing := [name for name in train if name not in validation]:
        raise DataError(f"domain {missing[0]} has no validation split; need one for each domain")
    with _placed(path) as beside:
        content = _write_splits(beside, train, validation, vocabulary, tokenizer)
        content |= {"inputs": inputs, "vocabulary": vocabulary, "notes": dict(notes or {})}
        _write_manifest(beside / "manifest.json", content)
        for number, runs in enumerate(held_out):
            (beside / f"held_out.{number}.runs").write_bytes(runs.astype("<u8").tobytes())
    return TokenStore.open(path)


def share_store(store: TokenStore, path: str | Path) -> TokenStore:
    """Makes a store at `path` of the files of another store, as links where that is possible.

    Raises:
        DataError: something else is at `path`, `path` cannot be written, or another process put
            another store in the place of `store` meanwhile.
    """
    with _placed(Path(path)) as beside:
        for file in store.path.iterdir():
            try:
                os.link(file, beside / file.name)
            except OSError:  # another filesystem, or one without links
                shutil.copyfile(file, beside / file.name)
        # A store is replaced by one rename, so the files are those of one store if it is there now.
        if TokenStore.open(store.path).digest != store.digest:
            raise DataError(
                f"{store.path} was replaced by the store of other text meanwhile; run again, or "
                "give each text a data.store of its own"
            )
    return TokenStore.open(path)


@contextlib.contextmanager
def _placed(path: Path) -> Iterator[Path]:
    """Gives a temporary folder beside `path`, and renames it to `path` when the block has filled
    it; after an error nothing is left.

    Raises:
        DataError: something that is no store is at `path`, or `path` cannot be written.
    """
    check_place(path)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    made = [folder for folder in (beside, *beside.parents) if not folder.exists()]
    try:
        beside.mkdir(parents=True)
        yield beside
        disk.sync_all(beside)
        _put_in_place(beside, path, made)
    except BaseException as error:
        shutil.rmtree(beside, ignore_errors=True)
        for folder in made[1:]:
            with contextlib.suppress(OSError):
                folder.rmdir()
        if isinstance(error, OSError):
            raise _unwritable(path, error) from error
        raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _unwritable(path: Path, error: OSError) -> DataError:
    """The error of a place where no store can be written."""
    return DataError(
        f"{path} cannot be written ({error.strerror or error}); need a folder with room for the "
        "tokens"
    )


def check_place(path: str | Path) -> None:
    """Raises DataError where something is at a path that is no token store."""
    path = Path(path)
    if path.exists() and not (
        path.is_dir() and all(_is_ours(entry.name) for entry in path.iterdir())
    ):
        raise DataError(
            f"{path} is there and is no token store; need a new folder, or one that holds a store"
        )


def _write_splits(
    folder: Path,
    train: Mapping[str, Split],
    validation: Mapping[str, Split],
    vocabulary: int,
    tokenizer: TextTokenizer | None,
) -> dict[str, Any]:
    """Writes the splits of a store and its tokenizer into a folder; arguments as for
    `write_store`.

    Returns:
        `domains`, `targets` and `tokenizer` of the manifest, and `digest`, the hash of all tokens,
        document boundaries and the tokenizer.
    """
    if tokenizer is not None:
        (folder / "tokenizer.json").write_text(tokenizer.content, encoding="utf-8")
    identity = f"ready-made {vocabulary}" if tokenizer is None else tokenizer.content
    digest = hashlib.blake2b(identity.encode(), digest_size=16)
    entries: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(validation):
        entries[name] = {}
        for kind, splits in (("train", train), ("validation", validation)):
            if name in splits:
                file = f"{number:03d}.{kind}"
                digest.update(f"\0{name}\0{kind}\0".encode())
                entries[name][kind] = {
                    "file": file,
                    **_write_split(folder / file, splits[name], vocabulary, digest),
                }
    return {
        "digest": digest.hexdigest(),
        "tokenizer": None if tokenizer is None else tokenizer.to_json(),
        "domains": {name: entries[name] for name in train},
        "targets": {name: entry for name, entry in entries.items() if name not in train},
    }


def _write_manifest(path: Path, content: Mapping[str, Any]) -> None:
    """Writes the manifest of a store, with its keys in a fixed order."""
    manifest = {"format": FORMAT, "version": VERSION}
    manifest |= {
        key: content[key]
        for key in (
            "digest",
            "inputs",
            "vocabulary",
            "tokenizer",
            "domains",
            "targets",
            "notes",
        )
    }
    files.write_text(path, json.dumps(manifest, indent=1, ensure_ascii=False))


def _put_in_place(beside: Path, path: Path, made: Sequence[Path]) -> None:
    """Renames a complete store to its path; a store that is there is replaced.

    Args:
        beside: folder of the complete store.
        path: its path.
        made: folders that were made for `beside`, itself included.
    """
    if path.exists():
        old = path.with_name(f".{path.name}.{secrets.token_hex(4)}.old")
        path.rename(old)
        beside.rename(path)
        disk.sync(path.parent)
        shutil.rmtree(old)
    else:
        beside.rename(path)
        for folder in made:
            disk.sync(folder.parent)


def _is_ours(name: str) -> bool:
    """Tells whether a token store has a file of this name."""
    return name in ("manifest.json", "tokenizer.json") or name.endswith(ENDINGS)


def _write_split(
    path: Path, split: Split, vocabulary: int, digest: "hashlib.blake2b"
) -> dict[str, Any]:
    """Writes one split, adds its tokens and offsets to `digest`, and returns its manifest entry."""
    kind = np.dtype(token_dtype(vocabulary)).newbyteorder("<")
    offsets = array("q", [0])
    with path.with_name(f"{path.name}.tokens").open("wb", buffering=BUFFER) as file:
        for document in split.documents:
            data = document.astype(kind, copy=False).tobytes()
            file.write(data)
            digest.update(data)
            offsets.append(offsets[-1] + len(document))
    data = np.frombuffer(offsets, dtype=np.int64).astype("<i8", copy=False).tobytes()
    digest.update(data)
    path.with_name(f"{path.name}.offsets").write_bytes(data)
    return {"documents": len(offsets) - 1, "tokens": offsets[-1], "bytes": split.num_bytes}
