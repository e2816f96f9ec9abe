"""Every form is read as its trainer reads it, the trainer's rule draws what that trainer draws, and
the tokens of the drawn documents are counted: they must lie in the recipe's proportions."""

import json
import runpy

import numpy as np
import pytest
import yaml

from bimix_sweep.export.recipe import Recipe
from bimix_sweep.export.registry import FORMS, export_recipe
from tests.support.trainers import (
    blocks,
    by_running_length,
    chance,
    kept_of,
    lagging,
    python_chance,
    read_grain_files,
    read_megatron,
    read_olmo_core,
    run_with,
    whole_samples,
)

PROPORTIONS = {"web": 0.5, "code": 0.3, "books": 0.15, "1e3": 0.05, "legal": 0.0}
LENGTHS = {"web": 50, "code": 20, "books": 400, "1e3": 100, "legal": 10}
"""Mean tokens of a document; the documents of a domain have from a tenth to twice as many."""
PATHS = {name: f"/data/sets/{name}" for name in PROPORTIONS}
DOMAIN = {path: name for name, path in PATHS.items()}
COUNT = 60_000
TOLERANCE = 0.015
"""Five standard deviations of the proportion of books, whose 900 documents are the fewest drawn."""


def documents(name):
    """Lengths of a domain's documents, mean as in LENGTHS."""
    spread = np.random.default_rng(1).uniform(0.1, 1.9, size=2_000)
    return np.round(LENGTHS[name] * spread / spread.mean()).astype(int)


def tokens_of_documents(weights, rule):
    """Tokens by domain when the rule draws documents by {path: weight}."""
    drawn = rule(list(weights.values()), COUNT)
    return {
        DOMAIN[path]: np.resize(documents(DOMAIN[path]), count).sum()
        for path, count in zip(weights, drawn, strict=True)
    }


def tokens_of_samples(weights, rule, count=COUNT):
    """Tokens by domain when the rule draws samples of equal length by {path: weight}."""
    drawn = rule(list(weights.values()), count)
    return {DOMAIN[path]: 2048 * n for path, n in zip(weights, drawn, strict=True)}


def from_yaml(path, *keys):
    content = yaml.safe_load(path.read_text())
    for key in keys:
        content = content[key]
    return content


def energon(path):
    entries = from_yaml(path, "splits", "train", "blend")
    assert all(entry["weight"] > 0 for entry in entries)
    return {entry["path"]: np.float32(entry["weight"]) for entry in entries}


def mosaic(path):
    streams = from_yaml(path, "train_loader", "dataset", "streams")
    return {stream["remote"]: stream["proportion"] for stream in streams.values()}


def nanotron(path):
    (stage,) = from_yaml(path, "data_stages")
    dataset = stage["data"]["dataset"]
    return dict(zip(dataset["dataset_folder"], dataset["dataset_weights"], strict=True))


def levanter(path, key):
    data = from_yaml(path, "data")
    assert set(data["train_weights"]) == set(data[key])
    sources = {n: c["source"] if key == "components" else c for n, c in data[key].items()}
    weights = {
        sources[name]["train_urls"][0]: weight
        for name, weight in data["train_weights"].items()
        if weight > 0
    }
    return tokens_of_samples(weights, blocks, data["mixture_block_size"])


def lingua(path):
    data = from_yaml(path, "data")
    return {f"{data['root_dir']}/{name}": w for name, w in data["sources"].items()}


def maxtext(path):
    return {d["path"]: float(d["weight"]) for d in json.loads(path.read_text()).values()}


def bridge(path):
    module = runpy.run_path(str(path))
    assert [float(part) > 0 for part in module["SPLIT"].split(",")] == [True, True, False]
    return dict(zip(*module["BLEND"], strict=True))


def torchtitan(path, monkeypatch):
    module = run_with(
        monkeypatch,
        path,
        "torchtitan.hf_datasets.text_datasets",
        "HFDataSource",
        "InterleavedHuggingFaceTextDataLoader",
        "InterleavedHuggingFaceTextDataLoader.Config",
    )
    config = module["dataloader"]({name: name for name in PROPORTIONS})
    return {source.dataset_path: source.weight for source in config.sources}


def torchtitan_main(path, monkeypatch):
    names = ("ConcatThenSplitPackingConfig", "DatasetMixConfig", "WeightedDataset")
    module = run_with(monkeypatch, path, "torchtitan.components.data", *names)
    mix = module["mix"](PATHS)
    packed = {type(child.dataset).__name__ for child in mix.datasets}
    assert packed == {"ConcatThenSplitPackingConfig"}  # else the weights count documents
    return {child.dataset.dataset: child.weight for child in mix.datasets}


def litgpt(path, monkeypatch):
    names = ("CombinedStreamingDataset", "StreamingDataLoader", "StreamingDataset", "TokensLoader")
    combined = run_with(monkeypatch, path, "litdata", *names)["combined"](2049)
    assert {type(dataset.item_loader).__name__ for dataset in combined.datasets} == {"TokensLoader"}
    assert not combined.iterate_over_all  # else litdata takes no weights
    folders = [dataset.input_dir for dataset in combined.datasets]
    return dict(zip(folders, combined.weights, strict=True))


def hugging_face(path):
    """The package's own code."""
    from datasets import Dataset, disable_progress_bars, interleave_datasets

    disable_progress_bars()
    parts = {}
    for name, proportion in PROPORTIONS.items():
        count = int(1_200_000 * proportion / LENGTHS[name]) + 1
        lengths = np.resize(documents(name), count)
        parts[name] = Dataset.from_dict({"domain": [name] * len(lengths), "tokens": lengths})
    if path.suffix == ".py":
        rows = runpy.run_path(str(path))["interleave"](parts)
    else:
        arguments = json.loads(path.read_text())
        rows = interleave_datasets(
            [parts[name] for name in arguments["datasets"]],
            **{key: arguments[key] for key in ("probabilities", "seed", "stopping_strategy")},
        )
    domain, tokens = np.array(rows["domain"]), np.array(rows["tokens"])
    return {name: tokens[domain == name].sum() for name in PROPORTIONS}


def plain(path):
    """A trainer of one's own that draws tokens by `proportion`."""
    domains = json.loads(path.read_text())["domains"]
    return tokens_of_samples({d["path"]: d["proportion"] for d in domains.values()}, chance)


def olmo_core(path):
    """With half a percent fewer tokens in the files than the recipe's passes were counted with."""
    held = {"web": 1e6, "code": 1e6, "books": 1e5, "1e3": 2.5e4}
    return {
        DOMAIN[path]: taken
        for path, taken in read_olmo_core(
            path, {PATHS[n]: 0.995 * count for n, count in held.items()}, 1e6
        ).items()
    }


def gpt_neox(path):
    data = yaml.safe_load(path.read_text())
    assert data["weight_by_num_documents"] is False  # else it makes weights of its own
    return dict(zip(data["train_data_paths"], data["train_data_weights"], strict=True))


def veomni(path):
    content = yaml.safe_load(path.read_text())
    (schedule,) = content["schedule"]
    assert (schedule["schedule_type"], content["level"]) == ("const", "token")
    assert content["stopping_strategy"] == "never_exhausted"
    names = content["names"]
    assert len(set(names)) == len(content["sources"])
    assert [DOMAIN[path] for path in content["sources"]] == names
    tokens = by_running_length(schedule["weights"], [*map(documents, names)], 20_000)
    return dict(zip(names, tokens, strict=True))


def axolotl(path):
    datasets = yaml.safe_load(path.read_text())["datasets"]
    assert max(entry["weight"] for entry in datasets) == 1  # nothing is left out in vain
    large = {name: np.resize(documents(name), 40_000) for name in PROPORTIONS}  # 20 times each set
    return {
        DOMAIN[entry["path"]]: kept_of(large[DOMAIN[entry["path"]]], entry["weight"])
        for entry in datasets
    }


def composable(path, monkeypatch):
    """`calculate_sample_sizes`: tokens by ratio, at most the repetitions of each source."""
    module = run_with(
        monkeypatch,
        path,
        "olmo_core.data.composable",
        "ConcatAndChunkInstanceSourceConfig",
        "MixingTokenSourceConfig",
        "MixingTokenSourceSpecConfig",
        "NumpyDocumentSourceConfig",
    )
    config = module["instances"]("tokenizer", sequence_length=2048, num_tokens=10**6)
    (mix,) = config.sources
    assert (config.sequence_length, mix.num_tokens, mix.seed) == (2048, 10**6, 11)
    assert all(spec.source.source_paths == [PATHS[spec.label]] for spec in mix.source_specs)
    held = {"web": 1e6, "code": 1e6, "books": 1e5, "1e3": 2.5e4}  # as in `olmo_core`
    for spec in mix.source_specs:
        assert spec.ratio * 10**6 <= spec.max_repetition_factor * 0.995 * held[spec.label]
    return {spec.label: spec.ratio * 10**6 for spec in mix.source_specs}


TOKENS = {
    "megatron-lm.txt": lambda path, _: tokens_of_samples(read_megatron(path), lagging),
    "megatron-lm.json": lambda path, _: tokens_of_samples(read_megatron(path), lagging),
    "megatron-bridge.json": lambda path, _: tokens_of_samples(read_megatron(path), lagging),
    "megatron-bridge.py": lambda path, _: tokens_of_samples(bridge(path), lagging),
    "nemo-automodel.json": lambda path, _: tokens_of_samples(read_megatron(path), lagging),
    "gpt-neox.yml": lambda path, _: tokens_of_samples(gpt_neox(path), lagging),
    "veomni.yaml": lambda path, _: veomni(path),
    "axolotl.yaml": lambda path, _: axolotl(path),
    "energon.yaml": lambda path, _: tokens_of_samples(energon(path), chance),
    "energon-documents.yaml": lambda path, _: tokens_of_documents(energon(path), chance),
    "olmo-core.yaml": lambda path, _: olmo_core(path),
    "olmo-core-composable.py": composable,
    "torchtitan.py": lambda path, patch: tokens_of_samples(torchtitan(path, patch), python_chance),
    "torchtitan-main.py": lambda path, patch: tokens_of_samples(
        torchtitan_main(path, patch), lagging
    ),
    "hf-datasets.py": lambda path, _: hugging_face(path),
    "hf-datasets.json": lambda path, _: hugging_face(path),
    "mosaic-streaming.yaml": lambda path, _: tokens_of_samples(mosaic(path), whole_samples),
    "mosaic-streaming-documents.yaml": lambda path, _: tokens_of_documents(
        mosaic(path), whole_samples
    ),
    "litgpt.py": lambda path, patch: tokens_of_samples(litgpt(path, patch), python_chance),
    "nanotron.yaml": lambda path, _: tokens_of_samples(nanotron(path), lagging),
    "levanter.yaml": lambda path, _: levanter(path, "components"),
    "levanter-2025.yaml": lambda path, _: levanter(path, "configs"),
    "lingua.yaml": lambda path, _: tokens_of_documents(lingua(path), chance),
    "maxtext.txt": lambda path, _: tokens_of_documents(read_grain_files(path), lagging),
    "maxtext.json": lambda path, _: tokens_of_documents(maxtext(path), lagging),
    "json.json": lambda path, _: plain(path),
}
"""{file: tokens that its trainer trains on, by domain}."""


@pytest.mark.parametrize("name", [form.name + form.ending for form in FORMS])
def test_a_trainer_that_reads_the_file_trains_on_the_proportions_of_the_recipe(
    name, tmp_path, monkeypatch
):
    recipe = Recipe(
        proportions=PROPORTIONS,
        epochs={"web": 0.5, "code": 0.3, "books": 1.5, "1e3": 2.0},
        provenance={"seed": 11},
    )
    (tmp_path / "domains.yaml").write_text(
        yaml.safe_dump(
            {
                n: {
                    "path": PATHS[n],
                    "tokens": float(documents(n).sum()),
                    "tokens_per_document": float(documents(n).mean()),
                }
                for n in PROPORTIONS
            }
        )
    )
    to, ending = name.rsplit(".", 1)
    export_recipe(recipe, to, tmp_path / f"out.{ending}", tmp_path / "domains.yaml")
    tokens = TOKENS[name](tmp_path / f"out.{ending}", monkeypatch)
    total = sum(tokens.values())
    seen = {domain: tokens.get(domain, 0) / total for domain in PROPORTIONS}
    assert seen == pytest.approx(PROPORTIONS, abs=TOLERANCE)
