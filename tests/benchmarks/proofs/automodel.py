"""NeMo AutoModel: `MegatronPretraining(paths=FILE.json)`, its own copy of the Megatron data sets."""

from pathlib import Path
from types import SimpleNamespace

import torch.distributed as dist
from nemo_automodel.components.datasets.llm.megatron.indexed_dataset import IndexedDatasetBuilder
from nemo_automodel.components.datasets.llm.megatron_dataset import MegatronPretraining

from tests.benchmarks.proofs.job import END, SEQUENCE, Counts, Domain, Drawing, count, write_indexed


def prepare(domain: Domain, place: Path) -> Path:
    return write_indexed(domain, place, IndexedDatasetBuilder)


def draw(file: Path, drawing: Drawing) -> Counts:
    if not dist.is_initialized():  # AutoModel waits for all ranks, also for one
        store = dist.HashStore()  # type: ignore[attr-defined]
        dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    data = MegatronPretraining(
        paths=file,
        seq_length=SEQUENCE,
        tokenizer=SimpleNamespace(eos_token_id=END, eod=END, pad_token_id=END, name_or_path="one"),
        global_batch_size=1,
        trainer_max_steps=drawing.samples,
        trainer_val_check_interval=drawing.samples,
        index_mapping_dir=str(drawing.folder),
        splits_to_build="train",
        split="990,10,0",
    )
    data.build()
    train = data.get_dataset("train")
    return count(
        (train[i].get("tokens", train[i].get("input_ids")) for i in range(drawing.samples)), drawing
    )
