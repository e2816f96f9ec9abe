"""Reads the token store: a folder of memory-mapped Arrow files with a manifest.

The folder holds one Arrow file for each split of each domain.
```
manifest.json     what the store holds, its sizes, its inputs and package versions; written last
tokenizer.json    the tokenizer (absent where the tokens came ready-made and it is not known)
000.train.arrow   one row per document, column `tokens`: list of uint16 (uint32 for large
                  vocabularies)
000.validation.arrow, ..., 003.validation.arrow
```
Documents are sorted by a hash of their content. So a prefix of a split is a fair subsample, and a
longer prefix contains a shorter one.
"""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.ipc

from bimix_sweep.data.reading.token_files import Tokens
from bimix_sweep.errors import DataError

FORMAT = "bimix-sweep token store"
"""Value of `format` in the manifest of every token store."""
VERSION = 1
"""Version of the store's format that this package reads and writes."""


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
        self.tokenizer: Mapping[str, Any] | None = manifest["tokenizer"]
        """`sha256`, `end_of_text` and `given` (by the user) of the tokenizer; None where the tokens
        came ready-made and it is not known."""
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

    def available_tokens(self, domain: str) -> int:
        """Number of tokens of a domain, of which the store may hold a part.

        Files of ready-made tokens are counted as they are. Text is counted in the store, so the
        number is too small for text of which only a part was kept.
        """
        record = self.manifest["notes"].get("domains", {}).get(domain, {})
        return int(record.get("tokens", self.num_train_tokens(domain)))

    def bytes_per_token(self, target: str) -> float:
        """Mean UTF-8 bytes that one token of this target stands for.

        bits per byte = nats per token / ln 2 / bytes per token

        Raises:
            DataError: the tokens came ready-made and their tokenizer is not known.
        """
        tokens = len(self.validation(target))
        entry = self.manifest["domains"].get(target) or self.manifest["targets"][target]
        if (num_bytes := entry["validation"]["bytes"]) is None:
            raise DataError(
                f"target {target} came as tokens, so its bytes are not known; state the tokenizer "
                "that made them, give it as text, or use nats_per_token"
            )
        return float(num_bytes / tokens)

    def _column(self, name: str, split: str) -> pa.LargeListArray:
        if (name, split) not in self._columns:
            known = [known for known, kind in self._columns if kind == split]
            raise DataError(
                f"{self.path} has no {split} split of {name!r}; it has {', '.join(known)}"
            )
        return self._columns[name, split]


def reusable_store(path: str | Path, inputs: str) -> TokenStore | None:
    """The store at `path` if it is complete and has exactly these inputs; None otherwise."""
    with contextlib.suppress(DataError):
        store = TokenStore.open(path)
        if store.manifest["inputs"] == inputs:
            return store
    return None


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
