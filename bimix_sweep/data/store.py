"""Reads the token store: a folder of memory-mapped files with a manifest.

The folder holds two files for each split of each domain.
```
manifest.json     what the store holds, its sizes, its inputs and package versions; written last
tokenizer.json    the tokenizer (absent where the tokens came ready-made and it is not known)
000.train.tokens  the tokens of all documents, little-endian uint16 (uint32 for vocabularies
                  above 65,536)
000.train.offsets place of each document's first token, and the number of tokens at the end,
                  little-endian int64
held_out.0.runs   hashes of runs of words of held-out documents, little-endian uint64 (absent
                  where a store was not made from sources)
000.validation.tokens, ..., 003.validation.offsets
```
Training documents are sorted by a hash of their content. So a prefix of a split is a fair subsample,
and a longer prefix contains a shorter one. A document of a validation split is a row of context + 1
tokens.
"""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bimix_sweep.data.reading.token_files import Tokens
from bimix_sweep.errors import DataError

FORMAT = "bimix-sweep token store"
"""Value of `format` in the manifest of every token store."""
VERSION = 2
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
        self._splits: dict[tuple[str, str], tuple[Tokens, npt.NDArray[np.int64]]] = {}
        for name, entry in (*manifest["domains"].items(), *manifest["targets"].items()):
            for split in ("train", "validation"):
                if split in entry:
                    self._splits[name, split] = _mapped(path, entry[split], self.vocabulary)

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
        return self._split(domain, "train")[0]

    def validation(self, target: str) -> Tokens:
        """(tokens,) of a target, or of a domain's own validation split, memory-mapped."""
        return self._split(target, "validation")[0]

    def validation_rows(self, target: str, context: int) -> Tokens:
        """(rows, context + 1) of a target, memory-mapped; tokens that fill no row are left out."""
        tokens, length = self.validation(target), context + 1
        return tokens[: len(tokens) // length * length].reshape(-1, length)

    def documents(self, name: str, split: str = "train") -> npt.NDArray[np.int64]:
        """(documents + 1,) offsets: document k is `train(name)[offsets[k]:offsets[k + 1]]`."""
        return self._split(name, split)[1]

    def num_train_tokens(self, domain: str) -> int:
        """Number of tokens in a domain's training split."""
        return len(self.train(domain))

    def available_tokens(self, domain: str) -> tuple[float, bool]:
        """Tokens of a domain's whole text, and whether they were counted; otherwise they are an
        estimate."""
        known = self.manifest["notes"].get("domains", {}).get(domain, {})
        if "tokens" in known:  # files of ready-made tokens are counted as they are
            return float(known["tokens"]), True
        if "tokens_available" in known:
            return float(known["tokens_available"]), bool(known["tokens_counted"])
        return float(self.num_train_tokens(domain)), True

    def held_out(self, stage: int) -> tuple[list[int], npt.NDArray[np.uint64]]:
        """Keys and runs of the held-out documents of one stage of the notes' `held_out`."""
        names = self.manifest["notes"]["held_out"][stage]
        path = self.path / f"held_out.{stage}.runs"
        runs = np.fromfile(path, "<u8") if path.exists() else np.zeros(0, np.uint64)
        return [int(key, 16) for keys in names.values() for key in keys], runs

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

    def _split(self, name: str, split: str) -> tuple[Tokens, npt.NDArray[np.int64]]:
        if (name, split) not in self._splits:
            known = [known for known, kind in self._splits if kind == split]
            raise DataError(
                f"{self.path} has no {split} split of {name!r}; it has {', '.join(known)}"
            )
        return self._splits[name, split]


def reusable_store(
    path: str | Path, inputs: str, caps: Mapping[str, int | None], *, larger: bool = False
) -> TokenStore | None:
    """The store at `path` if it is complete and has exactly these inputs; None otherwise.

    Args:
        path: the store.
        inputs: fingerprint of the inputs.
        caps: {domain: maximum of its training tokens}; None: no maximum.
        larger: whether the maxima of the store may be larger than these.
    """
    with contextlib.suppress(DataError):
        store = TokenStore.open(path)
        kept = store.manifest["notes"].get("max_tokens")
        if store.manifest["inputs"] == inputs and kept is not None:
            if kept == dict(caps):
                return store
            fits = all(kept[n] is None or (c is not None and kept[n] >= c) for n, c in caps.items())
            if larger and fits:
                return store
    return None


def _mapped(
    folder: Path, entry: Mapping[str, Any], vocabulary: int
) -> tuple[Tokens, npt.NDArray[np.int64]]:
    """Memory-maps the tokens and the offsets of one split.

    Raises:
        DataError: a file cannot be read, or its size differs from the manifest entry.
    """
    kind = np.dtype("<u2" if vocabulary <= 2**16 else "<u4")
    tokens = _mapped_file(folder / f"{entry['file']}.tokens", kind, entry["tokens"])
    offsets = _mapped_file(
        folder / f"{entry['file']}.offsets", np.dtype("<i8"), entry["documents"] + 1
    )
    return tokens, offsets


def _mapped_file(path: Path, kind: "np.dtype[Any]", count: int) -> npt.NDArray[Any]:
    """Memory-maps a file of `count` numbers."""
    try:
        size = path.stat().st_size
        if size == count * kind.itemsize:
            # an empty file cannot be mapped
            return np.asarray(np.memmap(path, kind, mode="r") if size else np.zeros(0, kind))
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}); prepare the store again"
        ) from error
    raise DataError(
        f"{path} is not what the store's manifest says (need {count} numbers of {kind.itemsize} "
        f"bytes, it has {size} bytes); prepare the store again"
    )
