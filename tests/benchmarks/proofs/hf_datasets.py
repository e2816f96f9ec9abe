"""Hugging Face datasets: `interleave_datasets` with the exported arguments."""

import json
import runpy
from pathlib import Path

from datasets import Dataset, disable_progress_bars, interleave_datasets, load_from_disk

from tests.benchmarks.proofs.job import Counts, Domain, Drawing, count


def prepare(domain: Domain, place: Path) -> Path:
    disable_progress_bars()
    rows = {"input_ids": [document.tolist() for document in domain.documents()]}
    Dataset.from_dict(rows).save_to_disk(place)
    return place


def draw(file: Path, drawing: Drawing) -> Counts:
    names = json.loads(file.with_name("names.json").read_text())
    if file.suffix == ".py":
        sets = {name: load_from_disk(place).to_iterable_dataset() for name, place in names.items()}
        rows = runpy.run_path(str(file))["interleave"](sets)
    else:
        exported = json.loads(file.read_text())
        rows = interleave_datasets(
            [load_from_disk(place).to_iterable_dataset() for place in exported["paths"]],
            **{key: exported[key] for key in ("probabilities", "seed", "stopping_strategy")},
        )
    return count((row["input_ids"] for row in rows), drawing)
