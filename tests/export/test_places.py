"""Paths of the domains file: several of a domain, globs, which exist, and how many tokens they
hold."""

import struct

import numpy as np
import pytest
import yaml

from bimix_sweep.errors import ExportError
from bimix_sweep.export.recipe import Recipe
from bimix_sweep.export.registry import export_recipe
from tests.support.trainers import read_grain_files, read_megatron

HALVES = Recipe(proportions={"web": 0.25, "code": 0.75})


def megatron(folder, name, tokens, dtype=np.uint16):
    """A Megatron data set; answers its prefix."""
    np.zeros(tokens, dtype=dtype).tofile(folder / f"{name}.bin")
    code = {np.uint16: 8, np.int32: 4}[dtype]
    (folder / f"{name}.idx").write_bytes(struct.pack("<9sQBQQ", b"MMIDIDX\0\0", 1, code, 1, 1))
    return str(folder / name)


@pytest.fixture
def export(tmp_path):
    """Exports a recipe with these entries of the domains file; answers the file and what was
    said."""

    def go(to, ending, recipe=HALVES, **entries):
        (tmp_path / "domains.yaml").write_text(yaml.safe_dump(entries))
        out = tmp_path / f"out{ending}"
        return out, export_recipe(recipe, to, out, tmp_path / "domains.yaml")

    return go


def test_the_weight_of_a_domain_is_split_over_its_paths_by_their_tokens(export, tmp_path):
    first, second = megatron(tmp_path, "web_0", 3000), megatron(tmp_path, "web_1", 1000, np.int32)
    code = megatron(tmp_path, "code", 50)
    for path in ([first, f"{second}.bin"], f"{tmp_path}/web_?", f"{tmp_path}/web_{{0,1}}.bin"):
        out, done = export("megatron-lm", ".txt", web={"path": path}, code={"path": code})
        assert read_megatron(out) == {first: 0.1875, second: 0.0625, code: 0.75}
        assert "Every path exists on this machine" in " ".join(done.notes)
        assert not any("bytes" in note for note in done.notes)


def test_stated_tokens_need_no_files(export):
    web = {"path": ["/far/a", "/far/b"], "tokens": [1e9, 4e9]}
    out, _ = export("megatron-lm", ".txt", web=web, code={"path": "/far/code"})
    assert read_megatron(out) == {"/far/a": 0.05, "/far/b": 0.2, "/far/code": 0.75}
    web["tokens"] = 5e9
    with pytest.raises(ExportError, match=r"but '/far/a' is not here or is empty; need tokens:"):
        export("megatron-lm", ".txt", web=web, code={"path": "/far/code"})


def test_tokens_are_numbers_however_yaml_reads_them(tmp_path):
    (tmp_path / "d.yaml").write_text("web: {path: [/a, /b], tokens: [2.0e9, 6e9]}\n")
    out = tmp_path / "out.txt"
    export_recipe(Recipe(proportions={"web": 1.0}), "megatron-lm", out, tmp_path / "d.yaml")
    assert read_megatron(out) == {"/a": 0.25, "/b": 0.75}


def test_a_glob_inside_a_list_with_tokens_shares_the_tokens_of_its_entry(export, tmp_path):
    for name, size in (("x0", 10), ("x1", 30), ("y", 5)):
        (tmp_path / name).write_bytes(b"a" * size)
    web = {"path": [f"{tmp_path}/x*", f"{tmp_path}/y"], "tokens": [400, 600]}
    code = {"path": f"{tmp_path}/gone"}
    out, done = export("nanotron", ".yaml", web=web, code=code)
    ((stage,),) = yaml.safe_load(out.read_text()).values()
    dataset = stage["data"]["dataset"]
    assert dataset["dataset_folder"] == [f"{tmp_path}/{n}" for n in ("x0", "x1", "y", "gone")]
    assert dataset["dataset_weights"] == pytest.approx([0.025, 0.075, 0.15, 0.75])
    assert any("bytes compare as tokens over the paths of web" in note for note in done.notes)
    assert done.warnings == (
        f"On this machine there is no {tmp_path}/gone, while the other paths are here.",
    )


def test_a_trainer_that_takes_lists_gets_them_whole_and_its_patterns_as_they_are(export):
    web = {"path": ["/far/a-*.npy", "/far/b.npy"]}
    out, _ = export("olmo-core", ".yaml", web=web, code={"path": "/far/c.npy"})
    sources = yaml.safe_load(out.read_text())["sources"]
    assert [source["paths"] for source in sources] == [web["path"], ["/far/c.npy"]]
    out, _ = export("levanter", ".yaml", web=web, code={"path": "/far/c"})
    data = yaml.safe_load(out.read_text())["data"]
    assert data["components"]["web"]["source"]["train_urls"] == web["path"]
    web = {"path": "/far/a-*.array_record", "tokens_per_document": 10}
    code = {"path": "/far/c", "tokens_per_document": 10}
    out, _ = export("maxtext", ".txt", web=web, code=code)
    assert read_grain_files(out) == {"/far/a-*.array_record": 0.25, "/far/c": 0.75}


@pytest.mark.parametrize(
    ("web", "message"),
    [
        ({"path": "/far/a-*"}, "the pattern '/far/a-.*', which matches nothing here"),
        ({"path": ["/far/a", "/far/a"]}, "domain web has the path '/far/a' twice"),
        ({"path": ["/far/a", "/far/code"], "tokens": [1, 1]}, "web-2 and code have the same path"),
        ({"path": "/far/{0..99999999}"}, "far"),
    ],
)
def test_paths_that_cannot_be_weighed_are_refused(export, web, message):
    with pytest.raises(ExportError, match=message):
        export("megatron-lm", ".txt", web=web, code={"path": "/far/code"})


def test_a_part_is_never_called_like_another_domain(export):
    recipe = Recipe(proportions={"web": 0.25, "web-2": 0.75})
    web = {"path": ["/far/a", "/far/b"], "tokens": [1, 1]}
    with pytest.raises(ExportError, match="written as web-2 and so on, but there is a domain web-"):
        export("litgpt", ".py", recipe, **{"web": web, "web-2": {"path": "/far/c"}})


def test_the_final_run_is_compared_with_the_tokens_of_the_paths(export, tmp_path):
    recipe = Recipe(
        proportions={"web": 0.5, "code": 0.4999, "rare": 0.0001},
        tokens={"web": 5e6, "code": 4.999e6, "rare": 1e3},
        epochs={"web": 1.0, "code": None, "rare": 0.5},
        provenance={
            "problem": {"final": {"tokens": 1e7, "max_epochs": 4.0}},
            "config": {"trainer": "builtin", "proxy": {"vocabulary": 2048}},
        },
    )
    path = megatron(tmp_path, "web", 500_000)
    code, rare = {"path": "/far/c", "tokens": 2.5e6}, {"path": "/far/r"}
    out, done = export("nanotron", ".yaml", recipe, web={"path": path}, code=code, rare=rare)
    text = out.read_text()
    assert "Final run: 1e7 tokens: web 5e6 (10 epochs), code 5e6 (2 epochs), rare 1000 (0.5" in text
    assert "Tokens are those of the sweep's own tokenizer of 2048 entries" in text
    often, seldom, _ = done.warnings
    assert often == (
        "The final run reads web 10 times: 5e6 tokens of the 5e5 that its paths hold; the recipe "
        "permits 4 epochs."
    )
    assert "less than one sequence of 4,096 tokens of rare: the trainer may never draw" in seldom
    assert often in text
    out, _ = export("olmo-core", ".yaml", recipe, web={"path": path}, code=code, rare=rare)
    limits = [s["max_repetition_ratio"] for s in yaml.safe_load(out.read_text())["sources"]]
    assert limits == [11, 2.2, 1]  # of 10, 2 and 0.5 epochs
