"""OLMo-core: `SourceMixtureList` read from the exported YAML, and the mixture that it builds."""

from pathlib import Path

import numpy as np
import yaml
from olmo_core.data.source_mixture import (
    SourceMixtureConfig,
    SourceMixtureDatasetConfig,
    SourceMixtureList,
)

from tests.benchmarks.proofs.job import SEQUENCE, Counts, Domain, Drawing


def prepare(domain: Domain, place: Path) -> Path:
    path = place.with_suffix(".npy")  # as OLMo's tokens are: raw numbers without a header
    np.concatenate([*domain.documents()]).astype(np.uint32).tofile(path)
    return path


def draw(file: Path, drawing: Drawing) -> Counts:
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
