"""torchtitan: the exported config of `InterleavedHuggingFaceTextDataLoader`, built and read."""

import json
import runpy
from pathlib import Path
from typing import Any

from datasets import Dataset, load_from_disk
from torchtitan.hf_datasets import DatasetConfig
from torchtitan.hf_datasets.text_datasets import DATASETS, InterleavedHuggingFaceTextDataLoader

from tests.benchmarks.proofs.job import END, SEQUENCE, Counts, Domain, Drawing, count


def prepare(domain: Domain, place: Path) -> Path:
    rows = {"text": [f"{domain.token} {len(document)}" for document in domain.documents()]}
    Dataset.from_dict(rows).save_to_disk(place)
    return place


class _Tokenizer:
    """Makes the tokens of a document from its domain's token and its length."""

    bos_id, eos_id = None, END

    def encode(self, text: str, **_: Any) -> list[int]:
        token, length = map(int, text.split())
        return [token] * length


def draw(file: Path, drawing: Drawing) -> Counts:
    names = json.loads(file.with_name("names.json").read_text())
    entries = {name: f"set{number}" for number, name in enumerate(names)}
    for entry in entries.values():
        DATASETS[entry] = DatasetConfig(
            path="", loader=load_from_disk, sample_processor=lambda row: row["text"]
        )
    config = runpy.run_path(str(file))["dataloader"](entries)
    loader = InterleavedHuggingFaceTextDataLoader(
        config,
        dp_world_size=1,
        dp_rank=0,
        tokenizer=_Tokenizer(),
        seq_len=SEQUENCE,
        local_batch_size=8,
    )
    return count((batch[0]["input"] for batch in loader), drawing)
