"""LitGPT: the exported `DataModule`, with LitData's `CombinedStreamingDataset` and `TokensLoader`."""

import runpy
from pathlib import Path

import numpy as np
import torch
from litdata import TokensLoader
from litdata.streaming import Cache
from litgpt.data import DataModule

from tests.benchmarks.proofs.job import SEQUENCE, Counts, Domain, Drawing, count


def prepare(domain: Domain, place: Path) -> Path:
    cache = Cache(input_dir=str(place), chunk_size=SEQUENCE * 1024, item_loader=TokensLoader())
    tokens = torch.from_numpy(np.concatenate([*domain.documents()]))
    for number, start in enumerate(range(0, len(tokens), SEQUENCE * 16)):
        cache[number] = tokens[start : start + SEQUENCE * 16]
    cache.done()
    cache.merge()
    return place


def draw(file: Path, drawing: Drawing) -> Counts:
    module = runpy.run_path(str(file))
    data = module["Mixture"](num_workers=0)
    assert isinstance(data, DataModule)
    data.connect(batch_size=8, max_seq_length=SEQUENCE - 1)
    loader = data.train_dataloader()
    passes = (batch for _ in range(100) for batch in loader)
    return count(passes, drawing)
