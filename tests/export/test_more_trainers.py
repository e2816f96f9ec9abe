import json
import runpy
import sys
from decimal import Decimal
from types import ModuleType

import pytest
import yaml

from bimix_sweep.errors import ExportError
from bimix_sweep.export.recipe import Recipe
from bimix_sweep.export.registry import TRAINERS, export_recipe

PROPORTIONS = {"web": 0.5, "yes": 0.3, "books & <more>": 0.199999, "legal": 0.0, "rare": 0.000001}
PATHS = {name: f"/data/sets/{name.split()[0]}" for name in PROPORTIONS}
POSITIVE = {name: share for name, share in PROPORTIONS.items() if share > 0}
UNIT_IN_FILE = {trainer: tuple(forms) for trainer, forms in TRAINERS.items()} | {
    "megatron-lm": (),  # nothing but weights and prefixes may stand in either form
    "megatron-bridge": (".py",),
    "maxtext": (),
}


@pytest.fixture
def written(tmp_path):
    """Writes one form of a recipe of five domains; answers the file."""
    (tmp_path / "domains.yaml").write_text(
        yaml.safe_dump({n: {"path": p, "tokens_per_document": 100} for n, p in PATHS.items()})
    )
    recipe = Recipe(
        proportions=PROPORTIONS, epochs={"web": 0.4, "rare": 3.0001}, provenance={"seed": 7}
    )

    def go(trainer, ending):
        export_recipe(recipe, trainer, tmp_path / f"out{ending}", tmp_path / "domains.yaml")
        return tmp_path / f"out{ending}"

    return go


class Call:
    """Stands for a class of a trainer that is not installed: keeps what it was called with."""

    def __init__(self, **arguments):
        self.__dict__.update(arguments)


def run_with(monkeypatch, path, module, *names):
    """The snippet's globals, with the trainer's module standing in."""
    for depth in range(1, module.count(".") + 2):
        name = ".".join(module.split(".")[:depth])
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    for name in names:
        setattr(sys.modules[module], name, Call)
    return runpy.run_path(str(path))


def total(weights):
    return sum(Decimal(repr(weight)) for weight in weights)


def test_energon_blends_positive_weights(written):
    content = yaml.safe_load(written("energon", ".yaml").read_text())
    assert (content["__module__"], content["__class__"]) == ("megatron.energon", "MetadatasetV2")
    blend = content["splits"]["train"]["blend"]
    assert {entry["path"]: entry["weight"] for entry in blend} == {
        PATHS[n]: share for n, share in POSITIVE.items()
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
        "web": 1,
        "yes": 1,
        "books & <more>": 1,
        "rare": 3.01,
    }


def test_torchtitan_packs_every_child_before_mixing(written, monkeypatch):
    names = ("ConcatThenSplitPackingConfig", "DatasetMixConfig", "WeightedDataset")
    module = run_with(
        monkeypatch, written("torchtitan", ".py"), "torchtitan.components.data", *names
    )
    mixed = module["mix"]({name: f"documents of {name}" for name in POSITIVE})
    assert {child.dataset.dataset: child.weight for child in mixed.datasets} == {
        f"documents of {n}": s for n, s in POSITIVE.items()
    }


def test_litgpt_streams_blocks_with_weights_in_the_order_of_folders(written, monkeypatch):
    module = run_with(
        monkeypatch,
        written("litgpt", ".py"),
        "litdata",
        "CombinedStreamingDataset",
        "StreamingDataset",
        "TokensLoader",
    )
    combined = module["combined"](2049)
    assert dict(zip([d.input_dir for d in combined.datasets], combined.weights, strict=True)) == {
        PATHS[n]: s for n, s in POSITIVE.items()
    }
    assert {dataset.item_loader.block_size for dataset in combined.datasets} == {2049}
    assert (combined.seed, combined.iterate_over_all) == (7, False)


def test_mosaic_streams_all_say_a_proportion(written):
    streams = yaml.safe_load(written("mosaic-streaming", ".yaml").read_text())["streams"]
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
    data = yaml.safe_load(written("levanter", ".yaml").read_text())["data"]
    assert data["train_weights"] == PROPORTIONS
    assert set(data["configs"]) == set(PROPORTIONS)
    assert data["configs"]["legal"] == {"train_urls": [PATHS["legal"]]}


def test_lingua_sources_are_folders_under_the_root(written):
    data = yaml.safe_load(written("lingua", ".yaml").read_text())["data"]
    assert data["root_dir"] == "/data/sets"
    assert {
        f"{data['root_dir']}/{name}": weight / 100 for name, weight in data["sources"].items()
    } == pytest.approx({PATHS[name]: share for name, share in POSITIVE.items()})
    assert sum(data["sources"].values()) == pytest.approx(100, abs=1e-9)


def test_maxtext_reads_the_same_weights_from_both_forms(written):
    line = written("maxtext", ".txt").read_text().strip()
    weights = {
        path: float(weight) for path, weight in (entry.split(",") for entry in line.split(";"))
    }
    content = json.loads(written("maxtext", ".json").read_text())
    assert (
        weights
        == {entry["path"]: entry["weight"] for entry in content.values()}
        == {PATHS[n]: s for n, s in POSITIVE.items()}
    )


def test_maxtext_refuses_a_path_it_would_split(tmp_path):
    (tmp_path / "domains.yaml").write_text("web: {path: 'a;b'}\n")
    with pytest.raises(ExportError, match="'a;b' has a , ; or line break"):
        export_recipe(
            Recipe(proportions={"web": 1.0}),
            "maxtext",
            tmp_path / "out.txt",
            tmp_path / "domains.yaml",
        )


def test_megatron_bridge_takes_prefixes_and_weights_apart(written):
    prefixes, weights = runpy.run_path(str(written("megatron-bridge", ".py")))["BLEND"]
    assert dict(zip(prefixes, weights, strict=True)) == {PATHS[n]: s for n, s in POSITIVE.items()}
    assert list(json.loads(written("megatron-bridge", ".json").read_text())) == [
        "train",
        "valid",
        "test",
    ]


@pytest.mark.parametrize(
    ("trainer", "ending"),
    [(trainer, ending) for trainer, endings in UNIT_IN_FILE.items() for ending in endings],
)
def test_the_unit_is_stated_in_every_file_that_has_room_for_it(written, trainer, ending):
    text = written(trainer, ending).read_text().lower()
    assert "unit" in text
    assert ("documents" if trainer == "hf-datasets" else "share of tokens") in text


def test_the_ids_are_the_documented_ones():
    documented = "megatron-lm megatron-bridge energon olmo-core torchtitan hf-datasets mosaic-streaming litgpt nanotron levanter lingua maxtext json"
    assert list(TRAINERS) == documented.split()
