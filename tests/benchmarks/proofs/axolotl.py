"""axolotl: each data set as `_load_and_process_single_dataset` subsamples it, before it is tokenised."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from axolotl.utils.data import sft
from axolotl.utils.dict import DictDefault
from axolotl.utils.schemas.datasets import SFTDataset

from tests.benchmarks.proofs.job import Counts, Domain, Drawing, write_lengths


def prepare(domain: Domain, place: Path) -> Path:
    return write_lengths(domain, place)


def draw(file: Path, drawing: Drawing) -> Counts:
    kept: list[Any] = []

    def wrapper(*, dataset: Any, **_: Any) -> tuple[Any, None]:
        kept.append(dataset)
        return dataset, None

    sft.get_dataset_wrapper = wrapper  # tokenises; what is kept is decided before
    for entry in yaml.safe_load(file.read_text())["datasets"]:
        checked = SFTDataset(**entry).model_dump(exclude_none=True)
        cfg = DictDefault({"datasets": [checked], "sequence_len": 128})
        sft._load_and_process_single_dataset(DictDefault(checked), cfg, None, "train", 1)
    counts = np.zeros(drawing.num_domains + 1, dtype=np.int64)
    for dataset in kept:
        for row in dataset:
            token, length = map(int, row["text"].split())
            counts[token] += length
    return counts
