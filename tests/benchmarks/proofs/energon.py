"""Megatron-Energon: the exported metadataset, drawn by `get_train_dataset`.

Each domain is written twice: packed text of SEQUENCE tokens, and whole documents in a folder
`-documents` beside it.
"""

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from megatron.energon import WorkerConfig, get_loader, get_train_dataset
from megatron.energon.flavors.webdataset.prepare import WebdatasetPreparator
from webdataset import ShardWriter

from tests.benchmarks.proofs.job import SEQUENCE, Counts, Domain, Drawing, count

DOCUMENTS = 4_000
"""Documents of a domain that are written."""
KIND = {
    "__module__": "megatron.energon",
    "__class__": "TextWebdataset",
    "field_map": {"text": "txt"},
}
"""Content of a data set's dataset.yaml."""


def _write(place: Path, samples: list[Any]) -> None:
    place.mkdir(parents=True)
    with ShardWriter(f"{place}/shard-%03d.tar", maxcount=4_000, verbose=0) as writer:
        for number, sample in enumerate(samples):
            writer.write({"__key__": f"{number:07d}", "txt": " ".join(map(str, sample))})
    WebdatasetPreparator.prepare_dataset(
        place,
        sorted(path.name for path in place.glob("*.tar")),
        split_parts_ratio=[("train", 1.0)],
        workers=1,
    )
    (place / ".nv-meta" / "dataset.yaml").write_text(yaml.safe_dump(KIND))


def prepare(domain: Domain, place: Path) -> Path:
    documents = [*islice(domain.documents(), DOCUMENTS)]  # a data set begins again at its end
    _write(place.with_name(f"{place.name}-documents"), documents)
    tokens = np.concatenate(documents)
    whole = len(tokens) // SEQUENCE
    _write(place, [*tokens[: whole * SEQUENCE].reshape(whole, SEQUENCE)])
    return place


def draw(file: Path, drawing: Drawing) -> Counts:
    if "documents" in file.name:
        content = yaml.safe_load(file.read_text())
        for entry in content["splits"]["train"]["blend"]:
            entry["path"] += "-documents"
        file = file.with_suffix(".moved.yaml")
        file.write_text(yaml.safe_dump(content))
    data: Any = get_train_dataset(
        file,
        worker_config=WorkerConfig(rank=0, world_size=1, num_workers=0),
        batch_size=None,
        shuffle_buffer_size=100,
        max_samples_per_sequence=100,
    )
    return count((np.array(row.text.split(), dtype=np.int64) for row in get_loader(data)), drawing)
