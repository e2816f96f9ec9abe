"""Trainers that are not installed: stand-ins for their classes, and each one's own rule by which a
file's weights choose what is drawn next.

Each `read_` function parses a written file as the trainer parses it. Each rule returns how many
samples or documents of each domain a trainer draws of `count`.
"""

import json
import random
import runpy
import sys
from types import ModuleType

import numpy as np
import yaml


class Call:
    """Stands for a class of a trainer that is not installed: keeps what it was called with."""

    def __init__(self, *_, **arguments):
        self.__dict__.update(arguments)


def run_with(monkeypatch, path, module, *names):
    """The snippet's globals, with the trainer's module standing in; a name may be dotted."""
    for depth in range(1, module.count(".") + 2):
        name = ".".join(module.split(".")[:depth])
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    for name in names:
        owner, _, attribute = name.rpartition(".")
        place = getattr(sys.modules[module], owner) if owner else sys.modules[module]
        setattr(place, attribute, type(attribute, (Call,), {}))
    return runpy.run_path(str(path))


def lagging(weights, count):
    """Megatron's and Nanotron's: the data set whose count lags its weight most is next.

    Source: `build_blending_indices` in megatron/core/datasets/helpers.cpp, `nanoset.py`. Grain's
    `mix` keeps the same ratio.
    """
    weights, drawn = np.array(weights) / np.sum(weights), np.zeros(len(weights), dtype=int)
    for index in range(count):
        drawn[np.argmax(weights * max(index, 1) - drawn)] += 1
    return drawn


def chance(weights, count):
    """Energon's, Lingua's: each draw by itself, with normalised weights."""
    weights = np.array(weights, dtype=np.float64)
    drawn = np.random.default_rng(0).choice(len(weights), size=count, p=weights / weights.sum())
    return np.bincount(drawn, minlength=len(weights))


def python_chance(weights, count):
    """LitData's and torchtitan 0.3.0's: `random.choices`."""
    total = sum(weights)
    drawn = random.Random(0).choices(
        range(len(weights)), weights=[w / total for w in weights], k=count
    )
    return np.bincount(drawn, minlength=len(weights))


def whole_samples(weights, count):
    """MosaicML Streaming's, for an epoch of `count` samples (`Stream.apply_weights`)."""
    weights = np.array(weights, dtype=np.float64)
    drawn = (count * weights / weights.sum()).astype(np.int64)
    short = np.random.default_rng(0).choice(len(weights), count - drawn.sum(), False)
    drawn[short] += 1
    return drawn


def blocks(weights, size):
    """Levanter's, in one block: floor, the rest to the largest (`MixtureDataset`)."""
    assert 0 < size < 2**16
    weights = np.array(weights) / np.sum(weights)
    drawn = (weights * size).astype(np.int32)
    drawn[np.argmax(drawn)] += size - drawn.sum()
    return drawn


def by_running_length(weights, documents, count):
    """VeOmni's with `level: token`: tokens of each source in `count` drawn documents.

    A draw weighs each source by its weight over the mean length of the documents drawn of it so
    far, or over 1 before the first (`WeightedMultiSourceDataset._runtime_weights`).
    """
    generator = np.random.default_rng(0)
    tokens, drawn = np.zeros(len(weights)), np.zeros(len(weights), dtype=int)
    for _ in range(count):
        means = np.where(drawn > 0, tokens / np.maximum(drawn, 1), 1.0)
        now = np.array(weights) / means
        source = generator.choice(len(weights), p=now / now.sum())
        lengths = documents[source]
        tokens[source] += lengths[drawn[source] % len(lengths)]
        drawn[source] += 1
    return tokens


def kept_of(lengths, weight):
    """axolotl's: tokens of the part of a shuffled data set that is kept, at least one document.

    Source: `_load_and_process_single_dataset` in axolotl/utils/data/sft.py.
    """
    assert 0 < weight <= 1
    shuffled = np.random.default_rng(0).permutation(lengths)
    return shuffled[: max(1, int(len(lengths) * weight))].sum()


def read_megatron(path):
    """Weights and prefixes of the training blend (`get_blend_from_list`); AutoModel's JSON may be
    the list itself."""
    text = path.read_text()
    tokens = json.loads(text) if path.suffix == ".json" else text.split()
    tokens = tokens["train"] if isinstance(tokens, dict) else tokens
    assert len(tokens) % 2 == 0
    return dict(zip(tokens[1::2], map(float, tokens[::2]), strict=True))


def read_grain_files(path):
    """MaxText's `grain_train_files`: split at ; and , with weights rounded to 4 decimals."""
    value = path.read_text().strip()
    if ";" not in value:
        return {value: 1.0}
    patterns, weights = zip(*[entry.split(",") for entry in value.split(";")], strict=True)
    total = sum(map(float, weights))
    return dict(zip(patterns, (round(float(w) / total, 4) for w in weights), strict=True))


def read_olmo_core(path, population, requested):
    """Tokens that OLMo-core takes of each source (`SourceMixtureDatasetConfig.build`)."""
    taken = {}
    for source in yaml.safe_load(path.read_text())["sources"]:
        available = sum(population[name] for name in source["paths"])
        needed = int(requested * source["target_ratio"])
        most = int(available * source["max_source_fraction"] * source["max_repetition_ratio"])
        assert needed <= most, f"Insufficient tokens for source: {source['source_name']}"
        taken[source["paths"][0]] = needed
    return taken
