"""What the proof of a trainer is given and gives back; it runs in the trainer's own environment.

A proof is a module of this folder with two functions. `prepare(domain, place)` writes the documents of a
domain with the trainer's own writer and returns the path that the trainer takes. `draw(file, recipe)`
reads an exported file with the trainer's own code, draws, and returns the tokens by token id. Every token of
a domain has the same id, so the tokens of a domain can be counted in any batch.
"""

import importlib
import json
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
"""(domains + 1,) tokens drawn by token id."""
SEQUENCE = 128
"""Tokens of a sample."""
END = 0
"""Token id of the end of a document, for trainers that need one; it counts for no domain."""


@dataclass(frozen=True, kw_only=True)
class Domain:
    """One domain of a recipe, with documents of unequal lengths."""

    name: str
    """Name in the recipe."""
    token: int
    """Token id of all its tokens, from 1 on."""
    tokens: int
    """Tokens that it holds, nearly."""
    length: int
    """Mean tokens of a document."""

    def documents(self) -> Iterator[npt.NDArray[np.int32]]:
        """Documents from a tenth to twice the mean length, in random order."""
        spread = np.random.default_rng(self.token).uniform(0.1, 1.9, self.tokens // self.length + 2)
        for length in np.maximum(np.round(self.length * spread), 1).astype(int):
            yield np.full(length, self.token, dtype=np.int32)


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """How much to draw of an exported recipe."""

    folder: Path
    """Folder for caches."""
    samples: int
    """Samples of SEQUENCE tokens to draw."""
    num_domains: int
    """Domains of the recipe."""
    held: dict[str, int]
    """{path: tokens there}."""


def count(batches: Iterator[Any], drawing: Drawing) -> Counts:
    """Tokens by id in the first `samples` batches of SEQUENCE tokens, or as many tokens in documents."""
    counts = np.zeros(drawing.num_domains + 1, dtype=np.int64)
    most = drawing.samples * SEQUENCE
    for batch in batches:
        counts += np.bincount(np.asarray(batch).ravel(), minlength=len(counts))
        if counts[1:].sum() >= most:
            break
    return counts


def write_lengths(domain: Domain, place: Path) -> Path:
    """Write one JSON line a document, whose text is its token id and its number of tokens."""
    path = place.with_suffix(".jsonl")
    lines = (json.dumps({"text": f"{domain.token} {len(d)}"}) for d in domain.documents())
    path.write_text("\n".join(lines))
    return path


def write_indexed(domain: Domain, place: Path, builder_class: Any) -> Path:
    """Write a Megatron data set with the trainer's own builder."""
    import torch

    builder = builder_class(f"{place}.bin", dtype=np.int32)
    for document in domain.documents():
        builder.add_document(torch.from_numpy(document), [len(document)])
    builder.finalize(f"{place}.idx")
    return place


def main(mode: str, path: str) -> None:
    """Run one step of a proof and write what it gives beside the job."""
    job = json.loads(Path(path).read_text())
    proof = importlib.import_module(f"tests.benchmarks.proofs.{job['proof']}")
    found: dict[str, Any] = {}
    if mode == "prepare":
        for case in job["cases"]:
            places = {}
            for one in case["domains"]:
                domain = Domain(**one)
                place = Path(case["folder"]) / f"d{domain.token:02d}"
                places[domain.name] = str(proof.prepare(domain, place))
            found[case["name"]] = places
    else:
        for case in job["cases"]:
            for file in case["files"]:
                cache = Path(case["folder"]) / f"cache-{Path(file).name}"
                cache.mkdir(exist_ok=True)
                drawing = Drawing(
                    folder=cache,
                    samples=job["samples"],
                    num_domains=len(case["domains"]),
                    held=case["held"],
                )
                try:
                    found[file] = proof.draw(Path(file), drawing).tolist()
                except Exception as error:  # noqa: BLE001  whatever the trainer says is the result
                    traceback.print_exc()
                    found[file] = f"{type(error).__name__}: {error}"
    versions = {name: version(name) for name in job["packages"]}
    Path(job["result"]).write_text(json.dumps({"versions": versions, "found": found}))


if __name__ == "__main__":
    main(*sys.argv[1:])
