import json
import runpy
from decimal import Decimal

import pytest
import yaml

from bimix_sweep.export.recipe import Recipe
from bimix_sweep.export.registry import FORMS, TRAINERS, export_recipe
from tests.support.trainers import run_with

PROPORTIONS = {"web": 0.5, "yes": 0.3, "books & <more>": 0.199999, "legal": 0.0, "rare": 0.000001}
PATHS = {name: f"/data/sets/{name.split()[0]}" for name in PROPORTIONS}
POSITIVE = {name: proportion for name, proportion in PROPORTIONS.items() if proportion > 0}
WITHOUT_ROOM = {
    "megatron-lm.txt",  # nothing but weights and prefixes may stand in these
    "megatron-lm.json",
    "megatron-bridge.json",
    "nemo-automodel.json",
    "maxtext.txt",
    "maxtext.json",  # every key is read as a data set
}


@pytest.fixture
def written(tmp_path):
    """Writes one form of a recipe of five domains; answers the file."""
    (tmp_path / "domains.yaml").write_text(
        yaml.safe_dump(
            {n: {"path": p, "tokens": 1e9, "tokens_per_document": 100} for n, p in PATHS.items()}
        )
    )
    recipe = Recipe(
        proportions=PROPORTIONS, epochs={"web": 0.4, "rare": 3.0001}, provenance={"seed": 7}
    )

    def go(trainer, ending):
        export_recipe(recipe, trainer, tmp_path / f"out{ending}", tmp_path / "domains.yaml")
        return tmp_path / f"out{ending}"

    return go


def total(weights):
    return sum(Decimal(repr(weight)) for weight in weights)


def test_energon_blends_positive_weights(written):
    content = yaml.safe_load(written("energon", ".yaml").read_text())
    assert (content["__module__"], content["__class__"]) == ("megatron.energon", "MetadatasetV2")
    blend = content["splits"]["train"]["blend"]
    assert {entry["path"]: entry["weight"] for entry in blend} == {
        PATHS[n]: proportion for n, proportion in POSITIVE.items()
    }
    assert total(entry["weight"] for entry in blend) == 1


def test_olmo_core_ratios_sum_to_one_and_scarce_sources_may_repeat(written):
    sources = yaml.safe_load(written("olmo-core", ".yaml").read_text())["sources"]
    assert {s["source_name"]: s["target_ratio"] for s in sources} == POSITIVE
    assert all(
        0 < s["target_ratio"] <= 1 and s["max_repetition_ratio"] >= 1 and s["paths"]
        for s in sources
    )
    assert {s["source_name"]: s["max_repetition_ratio"] for s in sources} == {
        "web": 1,  # .4 passes
        "yes": 4.4,  # unknown: 4, plus the slack
        "books & <more>": 4.4,
        "rare": 3.31,  # 3.0001 passes and a tenth more
    }


def test_torchtitan_packs_every_child_before_mixing(written, monkeypatch):
    names = ("ConcatThenSplitPackingConfig", "DatasetMixConfig", "WeightedDataset")
    module = run_with(
        monkeypatch, written("torchtitan-main", ".py"), "torchtitan.components.data", *names
    )
    mixed = module["mix"]({name: f"documents of {name}" for name in POSITIVE})
    assert {child.dataset.dataset: child.weight for child in mixed.datasets} == {
        f"documents of {n}": s for n, s in POSITIVE.items()
    }


def test_torchtitan_of_the_release_interleaves_sources(written, monkeypatch):
    module = run_with(
        monkeypatch,
        written("torchtitan", ".py"),
        "torchtitan.hf_datasets.text_datasets",
        "HFDataSource",
        "InterleavedHuggingFaceTextDataLoader",
        "InterleavedHuggingFaceTextDataLoader.Config",
    )
    config = module["dataloader"]({name: f"entry {i}" for i, name in enumerate(POSITIVE)})
    assert config.seed == 7
    assert [(s.dataset, s.dataset_path, s.weight) for s in config.sources] == [
        (f"entry {i}", PATHS[n], s) for i, (n, s) in enumerate(POSITIVE.items())
    ]


def test_litgpt_streams_blocks_with_weights_in_the_order_of_folders(written, monkeypatch):
    module = run_with(
        monkeypatch,
        written("litgpt", ".py"),
        "litdata",
        "CombinedStreamingDataset",
        "StreamingDataLoader",
        "StreamingDataset",
        "TokensLoader",
    )
    combined = module["combined"](2049)
    assert dict(zip([d.input_dir for d in combined.datasets], combined.weights, strict=True)) == {
        PATHS[n]: s for n, s in POSITIVE.items()
    }
    assert {dataset.item_loader.block_size for dataset in combined.datasets} == {2049}
    assert (combined.seed, combined.iterate_over_all) == (7, False)
    data = module["Mixture"]()
    data.connect(batch_size=4, max_seq_length=1024)
    loader = data.train_dataloader()
    assert loader.batch_size == 4
    with pytest.raises(ValueError, match="no held-out data: fill in VALIDATION_FOLDERS"):
        data.val_dataloader()


def test_mosaic_streams_all_say_a_proportion(written):
    content = yaml.safe_load(written("mosaic-streaming", ".yaml").read_text())
    streams = content["train_loader"]["dataset"]["streams"]  # where LLM Foundry reads them
    assert {name: stream["proportion"] for name, stream in streams.items()} == POSITIVE
    assert {name: stream["remote"] for name, stream in streams.items()} == {
        name: PATHS[name] for name in POSITIVE
    }
    assert len({stream["local"] for stream in streams.values()}) == len(streams)


def test_nanotron_weights_stand_in_the_order_of_folders(written):
    ((stage,),) = yaml.safe_load(written("nanotron", ".yaml").read_text()).values()
    dataset = stage["data"]["dataset"]
    assert dict(zip(dataset["dataset_folder"], dataset["dataset_weights"], strict=True)) == {
        PATHS[n]: s for n, s in POSITIVE.items()
    }


def test_levanter_keeps_a_domain_at_zero_for_evaluation(written):
    data = yaml.safe_load(written("levanter-2025", ".yaml").read_text())["data"]
    assert data["train_weights"] == PROPORTIONS
    assert set(data["configs"]) == set(PROPORTIONS)
    assert data["configs"]["legal"] == {"train_urls": [PATHS["legal"]]}
    of_2026 = yaml.safe_load(written("levanter", ".yaml").read_text())["data"]
    assert of_2026["train_weights"] == PROPORTIONS
    assert of_2026["components"] == {
        name: {"source": {"type": "url", **source}} for name, source in data["configs"].items()
    }


def test_lingua_sources_are_folders_under_the_root(written):
    data = yaml.safe_load(written("lingua", ".yaml").read_text())["data"]
    assert data["root_dir"] == "/data/sets"
    assert {
        f"{data['root_dir']}/{name}": weight / 100 for name, weight in data["sources"].items()
    } == pytest.approx({PATHS[name]: proportion for name, proportion in POSITIVE.items()})
    assert sum(data["sources"].values()) == pytest.approx(100, abs=1e-9)


def test_megatron_bridge_takes_prefixes_and_weights_apart(written):
    prefixes, weights = runpy.run_path(str(written("megatron-bridge", ".py")))["BLEND"]
    assert dict(zip(prefixes, weights, strict=True)) == {PATHS[n]: s for n, s in POSITIVE.items()}
    assert list(json.loads(written("megatron-bridge", ".json").read_text())) == [
        "train",
        "valid",
        "test",
    ]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name + form.ending)
def test_unit_version_and_what_was_not_checked_are_in_every_file_that_has_room(written, form):
    assert form.has_room == (form.name + form.ending not in WITHOUT_ROOM)
    if not form.has_room:
        return
    text = written(form.name, form.ending).read_text()
    drawn = form.name.startswith(("hf-datasets", "lingua")) or form.name.endswith("documents")
    unit = "documents" if drawn else "proportion of tokens"
    unit = "fraction of each data set that is kept" if form.name == "axolotl" else unit
    assert f"Unit of the weights: {unit}" in text
    assert ("tokens_per_document was counted with the trainer's tokenizer" in text) == drawn
    assert ("Not checked: your version" in text) == (form.trainer != "json")


def test_the_ids_are_the_documented_ones():
    documented = (
        "megatron-lm megatron-bridge nemo-automodel gpt-neox energon olmo-core torchtitan "
        "hf-datasets mosaic-streaming litgpt nanotron levanter lingua maxtext veomni axolotl json"
    )
    assert list(TRAINERS) == documented.split()
