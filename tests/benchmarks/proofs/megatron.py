"""Megatron-LM and Megatron-Bridge: the blend as megatron-core reads and draws it.

Megatron-Bridge hands BLEND and SPLIT to the same `GPTDatasetConfig`.
"""

import json
import runpy
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from megatron.core.datasets.blended_megatron_dataset_builder import BlendedMegatronDatasetBuilder
from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig
from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder
from megatron.core.datasets.utils import get_blend_from_list

from tests.benchmarks.proofs.job import END, SEQUENCE, Counts, Domain, Drawing, count, write_indexed


def prepare(domain: Domain, place: Path) -> Path:
    return write_indexed(domain, place, IndexedDatasetBuilder)


def blend_of(file: Path) -> dict[str, Any]:
    """Arguments of GPTDatasetConfig, as `get_blend_and_blend_per_split` makes them of the file."""
    if file.suffix == ".txt":
        return {"blend": get_blend_from_list(file.read_text().split()), "split": "990,10,0"}
    if file.suffix == ".json":
        splits = json.loads(file.read_text())
        each = [get_blend_from_list(splits[name]) for name in ("train", "valid", "test")]
        return {"blend_per_split": each}
    module = runpy.run_path(str(file))
    return {"blend": module["BLEND"], "split": module["SPLIT"]}


def draw(file: Path, drawing: Drawing) -> Counts:
    tokenizer = SimpleNamespace(
        eod=END, pad=END, unique_identifiers={"class": "one token a domain"}, vocab_size=64
    )
    config = GPTDatasetConfig(
        random_seed=1,
        sequence_length=SEQUENCE,
        path_to_cache=str(drawing.folder),
        tokenizer=tokenizer,
        reset_position_ids=False,
        reset_attention_mask=False,
        eod_mask_loss=False,
        create_attention_mask=False,
        mid_level_dataset_surplus=0.005,
        **blend_of(file),
    )
    train, _, _ = BlendedMegatronDatasetBuilder(
        GPTDataset, [drawing.samples, 0, 0], lambda: True, config
    ).build()
    batches: Iterator[Any] = (train[i]["tokens"] for i in range(drawing.samples))
    return count(batches, drawing)
