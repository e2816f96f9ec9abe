"""Writes and reads the token store: a folder of memory-mapped Arrow files with a manifest.

The folder holds one Arrow file for each split of each domain.
```
manifest.json     what the store holds, its sizes, its inputs and package versions; written last
tokenizer.json    the tokenizer (absent where the tokens came ready-made)
000.train.arrow   one row per document, column `tokens`: list of uint16 (uint32 for large
                  vocabularies)
000.validation.arrow, ..., 003.validation.arrow
```
Documents are sorted by a hash of their content. So a prefix of a split is a fair subsample, and a
longer prefix contains a shorter one.
"""

import contextlib
import hashlib
import json
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.ipc

from bimix_sweep import disk, files
from bimix_sweep.data.token_files import Tokens
from bimix_sweep.errors import DataError
from bimix_sweep.mixture.domains import check_names

FORMAT = "bimix-sweep token store"
"""Value of `format` in the manifest of every token store."""
VERSION = 1
"""Version of the store's format that this package reads and writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The documents of one split, before they are written."""

    documents: Sequence[Tokens]
    """Documents, each (tokens,), sorted by the hash of their content."""
    num_bytes: int | None = None
    """UTF-8 bytes that these tokens stand for; None where the tokenizer is not known."""


class TokenStore:
    """A store opened for reading; opening maps the files into memory and reads none of the
    tokens."""

    def __init__(self, path: Path, manifest: Mapping[str, Any]) -> None:
        self.path = path
        self.manifest = manifest
        self.domains: tuple[str, ...] = tuple(manifest["domains"])
        """Names of the domains, in the order of the sweep."""
        self.targets: tuple[str, ...] = tuple(manifest["targets"])
        """Names of the held-out sets that are not a domain's own validation split."""
        self.digest: str = manifest["digest"]
        """Hash of all tokens, document boundaries and the tokenizer."""
        self.vocabulary: int = manifest["vocabulary"]
        """Vocabulary size: every token id is below this number."""
        self._columns: dict[tuple[str, str], pa.LargeListArray] = {}
        for name, entry in (*manifest["domains"].items(), *manifest["targets"].items()):
            for split in ("train", "validation"):
                if split in entry:
                    self._columns[name, split] = _map_column(
                        path / entry[split]["file"], entry[split]
                    )

    @classmethod
    def open(cls, path: str | Path) -> "TokenStore":
        """Open a store.

        Raises:
            DataError: the store is not there, is unfinished or has another version, or its files do
                not match its manifest.
        """
        path = Path(path)
        try:
            manifest = json.loads((path / "manifest.json").read_text())
        except FileNotFoundError:
            raise DataError(
                f"{path} is not a token store (no manifest.json); prepare one there"
            ) from None
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path}/manifest.json cannot be read ({error}); prepare the store again"
            ) from error
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise DataError(f"{path}/manifest.json is not a token store's; prepare the store again")
        if manifest.get("version") != VERSION:
            raise DataError(
                f"{path} has version {manifest.get('version')}; this bimix-sweep reads {VERSION}, "
                "so prepare it again"
            )
        try:
            return cls(path, manifest)
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path}/manifest.json lacks or misstates {error}; prepare the store again"
            ) from error

    def train(self, domain: str) -> Tokens:
        """(tokens,) of a domain's training split, memory-mapped: all documents, concatenated."""
        return _flat(self._column(domain, "train"))

    def validation(self, target: str) -> Tokens:
        """(tokens,) of a target, or of a domain's own validation split, memory-mapped."""
        return _flat(self._column(target, "validation"))

    def documents(self, name: str, split: str = "train") -> npt.NDArray[np.int64]:
        """(documents + 1,) offsets: document k is `train(name)[offsets[k]:offsets[k + 1]]`."""
        return np.asarray(self._column(name, split).offsets.to_numpy(zero_copy_only=True))

    def num_train_tokens(self, domain: str) -> int:
        """Number of tokens in a domain's training split."""
        return len(self.train(domain))

    def bytes_per_token(self, target: str) -> float:
        """Mean UTF-8 bytes that one token of this target stands for.

        bits per byte = nats per token / ln 2 / bytes per token

        Raises:
            DataError: the tokens came ready-made, so their bytes are not known.
        """
        tokens = len(self.validation(target))
        entry = self.manifest["domains"].get(target) or self.manifest["targets"][target]
        if (num_bytes := entry["validation"]["bytes"]) is None:
            raise DataError(
                f"target {target} came as tokens, so its bytes are not known; give it as text or "
                "use nats per token"
            )
        return float(num_bytes / tokens)

    def _column(self, name: str, split: str) -> pa.LargeListArray:
        if (name, split) not in self._columns:
            known = [known for known, kind in self._columns if kind == split]
            raise DataError(
                f"{self.path} has no {split} split of {name!r}; it has {', '.join(known)}"
            )
        return self._columns[name, split]


def write_store(
    path: str | Path,
    *,
    train: Mapping[str, Split],
    validation: Mapping[str, Split],
    vocabulary: int,
    tokenizer: str | None = None,
    inputs: str = "",
    notes: Mapping[str, Any] | None = None,
) -> TokenStore:
    """Write a store to a temporary folder beside `path`, then rename the folder to `path`.

    A store that is already at `path` is replaced; anything else there is refused.

    Args:
        train: training split of each domain.
        validation: validation split of each domain, and of each target that is not a domain.
        vocabulary: vocabulary size; every token id is below this number.
        tokenizer: the tokenizer as JSON.
        inputs: fingerprint of the inputs of the store; `reusable_store` compares it before a store
            is made again.
        notes: JSON-able values that are kept in the manifest.

    Raises:
        DataError: something else is at `path`, `path` cannot be written, or a domain lacks its
            validation split. No partial store is left in these cases.
    """
    path = Path(path)
    check_names(tuple(validation), "target")
    if path.exists() and not (
        path.is_dir() and all(_is_ours(entry.name) for entry in path.iterdir())
    ):
        raise DataError(
            f"{path} is there and is no token store; need a new folder, or one that holds a store"
        )
    if missing := [name for name in train if name not in validation]:
        raise DataError(f"domain {missing[0]} has no validation split; need one for each domain")
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    made = [folder for folder in (beside, *beside.parents) if not folder.exists()]
    try:
        beside.mkdir(parents=True)
        digest = hashlib.blake2b((tokenizer or f"ready-made {vocabulary}").encode(), digest_size=16)
        if tokenizer is not None:
            (beside / "tokenizer.json").write_text(tokenizer)
        entries: dict[str, dict[str, Any]] = {}
        for number, name in enumerate(validation):
            entries[name] = {}
            for kind, splits in (("train", train), ("validation", validation)):
                if name in splits:
                    file = f"{number:03d}.{kind}.arrow"
                    digest.update(f"\0{name}\0{kind}\0".encode())
                    entries[name][kind] = {
                        "file": file,
                        **_write_column(beside / file, splits[name], vocabulary, digest),
                    }
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "digest": digest.hexdigest(),
            "inputs": inputs,
            "vocabulary": vocabulary,
            "domains": {name: entries[name] for name in train},
            "targets": {name: entry for name, entry in entries.items() if name not in train},
            "notes": dict(notes or {}),
        }
        files.write_text(
            beside / "manifest.json", json.dumps(manifest, indent=1, ensure_ascii=False)
        )
        disk.sync_all(beside)
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
    except OSError as error:
        shutil.rmtree(beside, ignore_errors=True)
        for folder in made[1:]:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise DataError(
            f"{path} cannot be written ({error.strerror or error}); need a folder with room for "
            "the tokens"
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return TokenStore.open(path)


def _is_ours(name: str) -> bool:
    """True if a token store has a file of this name."""
    return name in ("manifest.json", "tokenizer.json") or name.endswith(
        (".train.arrow", ".validation.arrow")
    )


def reusable_store(path: str | Path, inputs: str) -> TokenStore | None:
    """The store at `path` if it is complete and has exactly these inputs; None otherwise."""
    with contextlib.suppress(DataError):
        store = TokenStore.open(path)
        if store.manifest["inputs"] == inputs:
            return store
    return None


def _write_column(
    path: Path, split: Split, vocabulary: int, digest: "hashlib.blake2b"
) -> dict[str, Any]:
    """Writes one split, adds its tokens and offsets to `digest`, and returns its manifest entry."""
    kind = np.uint16 if vocabulary <= 2**16 else np.uint32
    flat = np.concatenate([np.zeros(0, kind), *split.documents]).astype(kind, copy=False)
    offsets = np.cumsum([0, *map(len, split.documents)], dtype=np.int64)
    digest.update(offsets.tobytes())
    digest.update(flat.tobytes())
    column = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(flat))
    batch = pa.record_batch({"tokens": column})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return {"documents": len(split.documents), "tokens": len(flat), "bytes": split.num_bytes}


def _map_column(path: Path, entry: Mapping[str, Any]) -> pa.LargeListArray:
    """Memory-maps one split.

    Raises:
        DataError: the file cannot be read, or its numbers of documents and tokens differ from the
            manifest entry.
    """
    try:
        column = (
            pa.ipc.open_file(pa.memory_map(str(path))).read_all().column("tokens").combine_chunks()
        )
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"{path} cannot be read ({str(error).splitlines()[0]}); prepare the store again"
        ) from error
    if not pa.types.is_large_list(column.type) or (len(column), len(column.values)) != (
        entry["documents"],
        entry["tokens"],
    ):
        raise DataError(
            f"{path} is not what the store's manifest says (need {entry['tokens']} tokens); "
            "prepare the store again"
        )
    return column


def _flat(column: pa.LargeListArray) -> Tokens:
    """(tokens,) of all documents of a split, without copying."""
    return np.asarray(column.values.to_numpy(zero_copy_only=True))
