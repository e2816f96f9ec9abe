"""OLMo-core: `SourceMixtureList` read from the exported YAML, and the mixture that it builds; the composable
sources of the exported Python file, built and read."""

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from olmo_core.data import TokenizerConfig
from olmo_core.data.source_mixture import (
    SourceMixtureConfig,
    SourceMixtureDatasetConfig,
    SourceMixtureList,
)

from tests.benchmarks.proofs.job import END, SEQUENCE, Counts, Domain, Drawing, count


def prepare(domain: Domain, place: Path) -> Path:
    path = place.with_suffix(".npy")  # as OLMo's tokens are: raw numbers without a header
    np.concatenate([*domain.documents()]).astype(np.uint32).tofile(path)
    return path


def _composed(file: Path, drawing: Drawing) -> Counts:
    """Tokens of the instances of the composable sources."""
    tokenizer = TokenizerConfig(vocab_size=2**20, eos_token_id=END, pad_token_id=END)
    config = runpy.run_path(str(file))["instances"](
        tokenizer, sequence_length=SEQUENCE, num_tokens=drawing.samples * SEQUENCE
    )
    built = config.build(str(drawing.folder))
    instances: Any = (
        source[number]["input_ids"]
        for source in (built if isinstance(built, list) else [built])
        for number in range(len(source))
    )
    return count(instances, drawing)


def draw(file: Path, drawing: Drawing) -> Counts:
    if file.suffix == ".py":
        return _composed(file, drawing)
    sources = [SourceMixtureConfig(**s) for s in yaml.safe_load(file.read_text())["sources"]]
    mixture = SourceMixtureDatasetConfig(
        source_list=SourceMixtureList(sources=sources),
        requested_tokens=drawing.samples * SEQUENCE,
        global_batch_size=SEQUENCE * 16,
        render_tables=False,
    ).build(npdtype=np.uint32, sequence_length=SEQUENCE)
    counts = np.zeros(drawing.num_domains + 1, dtype=np.int64)
    for outcome in mixture.sources:
        for item in outcome.path_tokens:
            counts[np.fromfile(item.path, dtype=np.uint32, count=1)[0]] += item.tokens
    return counts
