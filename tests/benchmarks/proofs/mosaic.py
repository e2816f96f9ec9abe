"""MosaicML Streaming: the streams of LLM Foundry's YAML, drawn by `StreamingDataset`.

`llmfoundry.data.text_data.build_streams` hands each entry of `streams` to `Stream(**entry)`.
"""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import yaml

from tests.benchmarks.proofs.job import SEQUENCE, Counts, Domain, Drawing, count


class _Pictures(ModuleType):
    """Stands for torchvision, which only Streaming's data sets of pictures use."""

    __path__: list[str] = []  # noqa: RUF012

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


import transformers  # noqa: E402, F401  looks for torchvision itself, before the stand-in is there

for _name in ("torchvision", "torchvision.transforms", "torchvision.datasets"):
    sys.modules[_name] = _Pictures(_name)
for _name in ("torchvision.transforms.functional", "torchvision.datasets.folder"):
    sys.modules[_name] = _Pictures(_name)

from streaming import MDSWriter, Stream, StreamingDataset  # noqa: E402


def prepare(domain: Domain, place: Path) -> Path:
    documents = place.with_name(f"{place.name}-documents")
    with MDSWriter(out=str(documents), columns={"tokens": "ndarray:int32"}) as writer:
        for document in domain.documents():
            writer.write({"tokens": document})
    tokens = np.concatenate([*domain.documents()])
    with MDSWriter(out=str(place), columns={"tokens": "ndarray:int32"}) as writer:
        for start in range(0, len(tokens) - SEQUENCE + 1, SEQUENCE):
            writer.write({"tokens": tokens[start : start + SEQUENCE]})
    return place


def draw(file: Path, drawing: Drawing) -> Counts:
    streams = yaml.safe_load(file.read_text())["train_loader"]["dataset"]["streams"]
    whole_documents = "documents" in file.name
    made = []
    for entry in streams.values():
        local = entry["remote"] + ("-documents" if whole_documents else "")
        made.append(Stream(**{**entry, "remote": None, "local": local}))
    mean = 60 if whole_documents else SEQUENCE
    data = StreamingDataset(
        streams=made,
        epoch_size=drawing.samples * SEQUENCE // mean,
        batch_size=1,
        shuffle=True,
        num_canonical_nodes=1,
    )
    # what `__iter__` does, without its threads that download ahead
    data._unique_worker_world = data._unique_rank_world.detect_workers()
    data._parallel_worker_world = data._parallel_rank_world.detect_workers()
    numbers = data._get_work(*data._resume_incr_epoch())
    return count((data[int(number)]["tokens"] for number in numbers if number >= 0), drawing)
