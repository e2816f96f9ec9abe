"""What an export refuses, says and leaves to the user instead of writing a wrong mixture."""

import ast
import json
import re
import runpy

import pytest
import yaml

from bimix_sweep.errors import ExportError
from bimix_sweep.export.recipe import Recipe
from bimix_sweep.export.registry import FORMS, export_all, export_recipe
from bimix_sweep.export.writing import as_yaml
from tests.support.trainers import blocks, read_grain_files

HALVES = Recipe(proportions={"web": 0.25, "code": 0.75})
NEEDING_PATHS = sorted({form.name for form in FORMS if form.paths == "needed"})


@pytest.fixture
def domains(tmp_path):
    """Writes a domains file; answers its path."""

    def write(**entries):
        path = tmp_path / "domains.yaml"
        whole = {
            name: {"path": f"/data/{name}", "tokens": 1e9, "tokens_per_document": 100} | entry
            for name, entry in entries.items()
        }
        path.write_text(yaml.safe_dump(whole))
        return path

    return write


@pytest.mark.parametrize("name", NEEDING_PATHS)
def test_without_paths_a_form_that_holds_paths_is_refused(name, tmp_path):
    ending = next(form.ending for form in FORMS if form.name == name)
    with pytest.raises(
        ExportError, match=r"no domains file|has no (tokens_per_document|number of tokens)"
    ):
        export_recipe(HALVES, name, tmp_path / f"out{ending}")
    assert not list(tmp_path.iterdir())


def test_names_stand_for_paths_where_the_user_says_so_and_the_file_says_it_too(tmp_path):
    done = export_recipe(HALVES, "nanotron", tmp_path / "out.yaml", names=True)
    text = (tmp_path / "out.yaml").read_text()
    (stage,) = yaml.safe_load(text)["data_stages"]
    assert stage["data"]["dataset"]["dataset_folder"] == ["web", "code"]
    assert "# Names of domains stand in place of paths" in text
    assert any("Names of domains" in note for note in done.notes)


def test_a_domains_file_may_give_lengths_and_leave_paths_to_the_names(tmp_path):
    (tmp_path / "d.yaml").write_text(
        "web: {tokens_per_document: 30}\ncode: {tokens_per_document: 90}\n"
    )
    export_recipe(HALVES, "lingua", tmp_path / "out.yaml", tmp_path / "d.yaml", names=True)
    sources = yaml.safe_load((tmp_path / "out.yaml").read_text())["data"]["sources"]
    assert sources == pytest.approx({"web": 50, "code": 50})  # .25 / 30 and .75 / 90 are equal


@pytest.mark.parametrize("name", ["lingua", "maxtext", "energon-documents", "hf-datasets"])
def test_a_trainer_that_draws_documents_needs_their_mean_length(name, tmp_path):
    (tmp_path / "d.yaml").write_text("web: {path: /w}\ncode: {path: /c}\n")
    with pytest.raises(ExportError, match="domain web has no tokens_per_document; this trainer"):
        export_recipe(HALVES, name, tmp_path / "out", tmp_path / "d.yaml")


@pytest.mark.parametrize(
    ("to", "out", "possible"),
    [
        ("megatron-lm", "blend.xyz", ".txt or .json"),
        ("levanter", "data.json", ".yaml"),
        ("levanter-2025", "data.yml", ".yaml"),
        ("torchtitan-main", "mix.yaml", ".py"),
        ("json", "v1.2", ".json"),
    ],
)
def test_a_wrong_ending_is_answered_with_the_possible_ones(to, out, possible, tmp_path, domains):
    with pytest.raises(ExportError, match=rf"ends in \.\w+; {to} is written as {possible}$"):
        export_recipe(HALVES, to, tmp_path / out, domains(web={}, code={}))


def test_all_writes_each_possible_form_and_names_the_others_with_the_reason(tmp_path, domains):
    recipe = Recipe(proportions={"web": 0.99999, "code": 0.00001})
    written, skipped = export_all(recipe, tmp_path / "all", domains(web={}, code={}))
    assert set(skipped) == {"maxtext.txt"}  # the other form of the same trainer is there
    assert "use the JSON form" in skipped["maxtext.txt"]
    names = {path.name for path in (tmp_path / "all").iterdir()}
    assert names == {form.file_name for form in FORMS} - {"maxtext.txt"}
    assert {"torchtitan_mixture.py", "levanter.yaml", "levanter-2025.yaml"} < names
    assert {one.path.rsplit("/", 1)[1] for one in written} == names
    written, skipped = export_all(HALVES, tmp_path / "some")
    assert {one.form.name for one in written} == {"torchtitan", "torchtitan-main", "json"}
    assert len(written) + len(skipped) == len(FORMS)


@pytest.mark.parametrize(
    "key",
    ["1e3", "yes", "y", "null", "~", "nan", "012", "0o17", ".5", "2024-01-01", "12:30:45", "a: b"],
)
def test_text_stays_text_for_every_reader_of_yaml(key):
    text = as_yaml({"sources": {key: 1.0, "web/a.b_c-d": key}})
    assert yaml.safe_load(text) == {"sources": {key: 1.0, "web/a.b_c-d": key}}
    assert f"  '{key}': 1.0\n" in text  # quoted, so no dialect reads a number, date or null
    assert "  web/a.b_c-d: '" in text


def test_maxtext_takes_one_domain_alone(tmp_path, domains):
    path = tmp_path / "out.txt"
    export_recipe(Recipe(proportions={"web": 1.0}), "maxtext", path, domains(web={}))
    assert read_grain_files(path) == {"/data/web": 1.0}
    assert path.read_text() == "/data/web\n"


def test_maxtext_says_what_its_rounding_changes_and_refuses_what_it_drops(tmp_path, domains):
    file = domains(web={}, code={})
    done = export_recipe(
        Recipe(proportions={"web": 0.99993, "code": 0.00007}), "maxtext", tmp_path / "a.txt", file
    )
    assert read_grain_files(tmp_path / "a.txt")["/data/code"] == 0.0001
    assert any("code becomes 0.0001 instead of 7e-05" in one for one in done.warnings)
    with pytest.raises(ExportError, match=r"domain code has the weight 0\.00004, which MaxText"):
        export_recipe(
            Recipe(proportions={"web": 0.99996, "code": 0.00004}),
            "maxtext",
            tmp_path / "b.txt",
            file,
        )


@pytest.mark.parametrize(("rare", "least"), [(0.0001, 3), (0.00002, 1)])
def test_levanter_draws_rare_domains_in_every_block(rare, least, tmp_path, domains):
    recipe = Recipe(proportions={"web": 1 - rare, "code": rare})
    done = export_recipe(recipe, "levanter", tmp_path / "out.yaml", domains(web={}, code={}))
    data = yaml.safe_load((tmp_path / "out.yaml").read_text())["data"]
    drawn = blocks(list(data["train_weights"].values()), data["mixture_block_size"])
    assert drawn[1] >= least
    assert not done.warnings


def test_a_domain_that_levanter_never_draws_is_said(tmp_path, domains):
    recipe = Recipe(proportions={"web": 0.999999, "code": 0.000001})
    done = export_recipe(recipe, "levanter", tmp_path / "out.yaml", domains(web={}, code={}))
    data = yaml.safe_load((tmp_path / "out.yaml").read_text())["data"]
    assert blocks(list(data["train_weights"].values()), data["mixture_block_size"])[1] == 0
    (warning,) = done.warnings
    assert "Levanter never draws code: its weight 0.000001" in warning
    assert warning in (tmp_path / "out.yaml").read_text()


def test_megatron_validates_on_held_out_data_or_not_at_all(tmp_path, domains):
    done = export_recipe(HALVES, "megatron-lm", tmp_path / "a.json", domains(web={}, code={}))
    splits = json.loads((tmp_path / "a.json").read_text())
    assert splits == {
        "train": ["0.25", "/data/web", "0.75", "/data/code"],
        "valid": None,  # Megatron: no such split
        "test": None,
    }
    assert "Megatron trains without validation" in done.warnings[0]
    assert "--split 990,10,0" in done.warnings[0]
    held = domains(web={}, code={"valid": "/held/code.bin"})
    done = export_recipe(HALVES, "megatron-lm", tmp_path / "b.json", held)
    splits = json.loads((tmp_path / "b.json").read_text())
    assert splits["valid"] == splits["test"] == ["0.75", "/held/code"]
    assert "validates without web" in done.warnings[0]
    assert "test split is the validation data" in done.warnings[1]


@pytest.mark.parametrize(
    "to",
    [
        "megatron-lm",
        "megatron-bridge",
        "nemo-automodel",
        "gpt-neox",
        "litgpt",
        "levanter",
        "energon",
    ],
)
def test_training_data_is_not_taken_for_validation(to, tmp_path, domains):
    file = domains(web={"valid": "/data/code"}, code={})
    ending = ".json" if to.startswith(("megatron", "nemo")) else ""
    with pytest.raises(
        ExportError, match="domain web has valid: '/data/code', which is the path of domain code"
    ):
        export_recipe(HALVES, to, tmp_path / f"out{ending}", file)


def test_megatron_bridge_is_given_a_split_or_blends_of_its_own(tmp_path, domains):
    export_recipe(HALVES, "megatron-bridge", tmp_path / "a.py", domains(web={}, code={}))
    module = runpy.run_path(str(tmp_path / "a.py"))
    assert module["BLEND"] == (["/data/web", "/data/code"], [0.25, 0.75])
    assert module["SPLIT"] == "990,10,0"
    held = domains(web={"valid": "/held/web"}, code={"valid": "/held/code", "test": "/test/code"})
    export_recipe(HALVES, "megatron-bridge", tmp_path / "b.py", held)
    module = runpy.run_path(str(tmp_path / "b.py"))
    assert "SPLIT" not in module  # Megatron refuses both together
    assert module["BLEND_PER_SPLIT"] == [
        (["/data/web", "/data/code"], [0.25, 0.75]),
        (["/held/web", "/held/code"], [0.25, 0.75]),
        (["/test/code"], [0.75]),
    ]


def test_automodel_gets_a_flat_list_or_splits_without_null(tmp_path, domains):
    done = export_recipe(HALVES, "nemo-automodel", tmp_path / "a.json", domains(web={}, code={}))
    blend = ["0.25", "/data/web", "0.75", "/data/code"]
    assert json.loads((tmp_path / "a.json").read_text()) == blend
    assert not done.warnings
    held = domains(web={}, code={"valid": "/held/code.bin"})
    done = export_recipe(HALVES, "nemo-automodel", tmp_path / "b.json", held)
    assert json.loads((tmp_path / "b.json").read_text()) == {
        "train": blend,
        "valid": ["0.75", "/held/code"],
        "test": ["0.75", "/held/code"],
    }
    assert done.warnings == (
        "AutoModel validates without web: no held-out data (valid:) is given.",
    )


def test_gpt_neox_is_given_all_three_splits_or_told_what_it_lacks(tmp_path, domains):
    done = export_recipe(HALVES, "gpt-neox", tmp_path / "a.yml", domains(web={}, code={}))
    assert "refuses train_data_paths without valid_data_paths" in done.warnings[0]
    held = domains(web={"valid": "/held/web"}, code={"valid": "/held/code", "test": "/test/code"})
    assert not export_recipe(HALVES, "gpt-neox", tmp_path / "b.yml", held).warnings
    data = yaml.safe_load((tmp_path / "b.yml").read_text())
    assert data["valid_data_paths"] == ["/held/web", "/held/code"]
    assert (data["test_data_paths"], data["test_data_weights"]) == (["/test/code"], [0.75])


def test_axolotl_keeps_fractions_that_follow_from_the_tokens_of_each_domain(tmp_path, domains):
    file = domains(web={"tokens": 4e9}, code={"path": ["/data/a", "/data/b"], "tokens": [2e9, 1e9]})
    done = export_recipe(HALVES, "axolotl", tmp_path / "a.yaml", file)
    datasets = yaml.safe_load((tmp_path / "a.yaml").read_text())["datasets"]
    # all 3e9 tokens of code are 3/4 of what is kept, so a quarter of the 4e9 of web is kept
    assert {entry["path"]: entry["weight"] for entry in datasets} == pytest.approx(
        {"/data/web": 0.25, "/data/a": 1, "/data/b": 1}
    )
    assert done.warnings[0].startswith("One epoch has 4e9 tokens: all of code")
    unknown = Recipe(proportions={"web": 1.0})
    (tmp_path / "d.yaml").write_text("web: {path: /data/web}")
    with pytest.raises(ExportError, match="domain web has no number of tokens; axolotl keeps"):
        export_recipe(unknown, "axolotl", tmp_path / "b.yaml", tmp_path / "d.yaml")
    known = Recipe(proportions={"web": 1.0}, tokens={"web": 1e9}, epochs={"web": 2.0})
    export_recipe(known, "axolotl", tmp_path / "b.yaml", tmp_path / "d.yaml")


def test_olmo_core_is_told_of_folders_and_unknown_passes(tmp_path, domains):
    done = export_recipe(HALVES, "olmo-core", tmp_path / "out.yaml", domains(web={}, code={}))
    assert "does not say how often the final run repeats web, code" in done.warnings[0]
    assert "paths of web, code look like folders" in done.warnings[1]
    (tmp_path / "tokens").mkdir()
    for folder in ("/data/web/", str(tmp_path / "tokens")):
        with pytest.raises(ExportError, match=r"a folder; OLMo-core .*such as .*/\*\.npy"):
            export_recipe(
                HALVES, "olmo-core", tmp_path / "out.yaml", domains(web={"path": folder}, code={})
            )


def test_one_path_for_two_domains_is_refused(tmp_path, domains):
    file = domains(web={"path": "/data/all.bin"}, code={"path": "/data/all"})
    with pytest.raises(ExportError, match="domains web and code have the same path '/data/all'"):
        export_recipe(HALVES, "megatron-lm", tmp_path / "out.txt", file)


def test_lingua_refuses_what_it_cannot_read(tmp_path, domains):
    file = domains(web={"path": "s3://bucket/web"}, code={})
    with pytest.raises(ExportError, match="has the path 's3://bucket/web'; Lingua reads folders"):
        export_recipe(HALVES, "lingua", tmp_path / "out.yaml", file)


def test_a_python_file_that_hides_the_package_it_imports_is_told(tmp_path, domains):
    file = domains(web={}, code={})
    done = export_recipe(HALVES, "torchtitan", tmp_path / "torchtitan.py", file)
    assert "torchtitan.py hides the package torchtitan from Python" in done.warnings[0]
    assert not export_recipe(HALVES, "torchtitan", tmp_path / "mix.py", file).warnings


def test_two_caches_of_mosaic_streaming_never_lie_in_one_folder(tmp_path):
    recipe = Recipe(proportions={"dolma/web": 0.5, "dolma": 0.25, "Dolma": 0.25})
    paths = {name: {"path": f"/data/{number}"} for number, name in enumerate(recipe.proportions)}
    (tmp_path / "d.yaml").write_text(yaml.safe_dump(paths))
    export_recipe(recipe, "mosaic-streaming", tmp_path / "out.yaml", tmp_path / "d.yaml")
    streams = yaml.safe_load((tmp_path / "out.yaml").read_text())["train_loader"]["dataset"]
    folders = [stream["local"].casefold() for stream in streams["streams"].values()]
    assert list(streams["streams"]) == list(recipe.proportions)
    assert len({folder.rpartition("/")[0] for folder in folders}) == 1
    assert len(set(folders)) == 3


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/.."])
def test_a_name_stands_for_no_path_outside_the_trainers_folder(tmp_path, name):
    recipe = Recipe(proportions={name: 1.0})
    with pytest.raises(ExportError, match="would be a path outside the trainer's folder"):
        export_recipe(recipe, "nanotron", tmp_path / "out.yaml", names=True)
    export_recipe(Recipe(proportions={"a/b": 1.0}), "nanotron", tmp_path / "out.yaml", names=True)
    (stage,) = yaml.safe_load((tmp_path / "out.yaml").read_text())["data_stages"]
    assert stage["data"]["dataset"]["dataset_folder"] == ["a/b"]


HARD = ["dolma/web", "c4:en (v2)", 'a "b", c', "x\\y", "1e3", "null", "it's", "{z}", "#1", "é"]


def texts(content):
    """Every text in a value of JSON, YAML or Python, keys included."""
    if isinstance(content, dict):
        return {text for pair in content.items() for part in pair for text in texts(part)}
    if isinstance(content, list | tuple):
        return {text for part in content for text in texts(part)}
    return {content} if isinstance(content, str) else set()


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.name}{form.ending}")
def test_hard_names_are_read_back_from_every_form_as_they_were(form, tmp_path):
    paths = {name: f"/data/set-{number}" for number, name in enumerate(HARD)}
    (tmp_path / "d.yaml").write_text(
        yaml.safe_dump(
            {n: {"path": p, "tokens": 9, "tokens_per_document": 100} for n, p in paths.items()}
        )
    )
    out = tmp_path / f"out{form.ending}"
    recipe = Recipe(proportions=dict.fromkeys(HARD, 1 / len(HARD)))
    export_recipe(recipe, form.name, out, tmp_path / "d.yaml")
    text = out.read_text()
    if form.ending == ".py":
        found = {n.value for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Constant)}
    elif form.ending == ".txt":
        found = set(re.split(r"[ ,;\n]", text))
    else:
        found = texts(json.loads(text) if form.ending == ".json" else yaml.safe_load(text))
    for name, path in paths.items():  # some forms hold no names, some no paths
        assert {name, path, path.removeprefix("/data/")} & found, name


@pytest.mark.parametrize(
    ("to", "ending", "said"),
    [
        ("megatron-lm", "json", "Megatron trains without"),
        ("megatron-bridge", "py", "Megatron trains without"),
        ("nemo-automodel", "json", "leaves the test data (test:) out"),
        ("gpt-neox", "yml", "refuses train_data_paths without valid_data_paths"),
    ],
)
def test_test_data_alone_is_no_validation_and_that_is_said(to, ending, said, tmp_path, domains):
    held = domains(web={"test": "/test/web"}, code={"test": "/test/code"})
    assert said in export_recipe(HALVES, to, tmp_path / f"a.{ending}", held).warnings[0]


def test_torchtitan_keeps_the_path_of_each_domain_that_has_one(tmp_path):
    file = tmp_path / "domains.yaml"
    file.write_text("web: {tokens_per_document: 100}\ncode: {path: /data/code}\n")
    export_recipe(HALVES, "torchtitan", tmp_path / "a.py", file)
    written = ast.parse((tmp_path / "a.py").read_text())
    (paths,) = (
        ast.literal_eval(node.value)
        for node in written.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "PATHS"
    )
    assert paths == {"web": None, "code": "/data/code"}
    file.write_text("web: {tokens_per_document: 100}\ncode: {path: [/data/a, /data/b]}\n")
    with pytest.raises(ExportError, match="code has several paths and web none"):
        export_recipe(HALVES, "torchtitan", tmp_path / "b.py", file)
