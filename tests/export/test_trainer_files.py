import json
import shlex
from decimal import Decimal

import pytest
import yaml

from bimix_sweep.errors import ExportError
from bimix_sweep.export.recipe import Recipe
from bimix_sweep.export.registry import export_recipe

PROPORTIONS = {"web": 0.5, "code": 0.3, "books & <more>": 0.199999, "legal": 0.0, "rare": 0.000001}
DOMAINS = {
    "web": {"path": "/data/web_text_document", "tokens_per_document": 20},
    "code": {
        "path": "/data/code_text_document.bin",
        "tokens_per_document": 80,
        "valid": "/data/code_valid",
    },
    "books & <more>": {"path": "/data/books", "tokens_per_document": 400.5},
    "legal": {"path": "/data/legal", "tokens_per_document": 10},
    "rare": {"path": "/data/rare", "tokens_per_document": 10},
}


@pytest.fixture
def recipe():
    return Recipe(proportions=PROPORTIONS, provenance={"seed": 11})


@pytest.fixture
def domains_file(tmp_path):
    path = tmp_path / "domains.yaml"
    path.write_text(yaml.safe_dump(DOMAINS))
    return path


def megatron_blend(tokens):
    """Megatron-LM's documented reading of a blend: an even list is weights and prefixes in turn,
    weights above 0.
    """
    assert len(tokens) % 2 == 0
    weights, prefixes = [Decimal(t) for t in tokens[::2]], tokens[1::2]
    assert all(weight > 0 for weight in weights)
    assert not any(prefix.endswith((".bin", ".idx")) for prefix in prefixes)
    return dict(zip(prefixes, weights, strict=True))


BLEND = {
    "/data/web_text_document": Decimal("0.5"),
    "/data/code_text_document": Decimal("0.3"),
    "/data/books": Decimal("0.199999"),
    "/data/rare": Decimal("0.000001"),
}


def test_megatron_arguments_alternate_weights_and_prefixes_and_sum_to_one(
    recipe, domains_file, tmp_path
):
    export_recipe(recipe, "megatron-lm", tmp_path / "blend.txt", domains_file)
    text = (tmp_path / "blend.txt").read_text()
    assert megatron_blend(text.split()) == BLEND
    assert shlex.split(text) == text.split()  # the same line pastes behind --data-path
    assert sum(BLEND.values()) == 1


def test_a_prefix_with_white_space_is_refused_where_megatron_would_split_it(recipe, tmp_path):
    with pytest.raises(ExportError, match="prefix 'books & <more>' has white space"):
        export_recipe(recipe, "megatron-lm", tmp_path / "blend.txt", names=True)
    assert not (tmp_path / "blend.txt").exists()


def test_document_probabilities_need_the_mean_length_of_documents(recipe, tmp_path):
    with pytest.raises(
        ExportError, match="domain web has no tokens_per_document; this trainer draws documents"
    ):
        export_recipe(recipe, "hf-datasets", tmp_path / "mix.py")


def test_plain_json_keeps_domains_at_zero_and_states_its_unit(recipe, domains_file, tmp_path):
    export_recipe(recipe, "json", tmp_path / "mix.json", domains_file)
    content = json.loads((tmp_path / "mix.json").read_text())
    assert content["unit"] == "proportion of tokens"
    assert content["seed"] == 11
    assert {n: d["proportion"] for n, d in content["domains"].items()} == PROPORTIONS
    assert content["domains"]["web"]["path"] == "/data/web_text_document"


def test_an_unknown_trainer_is_answered_with_the_list(recipe, tmp_path):
    with pytest.raises(
        ExportError,
        match=r"no trainer 'megatron'; need one of megatron-lm, .*json; did you mean megatron-lm",
    ):
        export_recipe(recipe, "megatron", tmp_path / "x")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "web: {path: a}\n",
            "no domain code; need an entry for every domain with a proportion above 0",
        ),
        ("webb: {path: a}\n", "domain webb is not in the recipe"),
        (
            "web: {tokens_per_document: 0}\n",
            "web.tokens_per_document is 0; input should be greater than 0",
        ),
        (
            "web: {tokens_per_document: .inf}\n",
            "web.tokens_per_document is inf; input should be a finite number",
        ),
        ("web: {path: [a, 3]}\n", r"web.path is \['a', 3\]; need a path, or a list of paths"),
        ("web: {path: []}\n", r"web.path is \[\]; need a path, or a list of paths"),
        ("web: {path: a, tokens: [1, 0]}\n", r"web.tokens is \[1, 0\]; need a number of tokens"),
        ("web: {path: a, tokens: many}\n", "web.tokens is 'many'; need a number of tokens above"),
        ("web: {path: a, tokens: [1, 2]}\n", "web is .*; tokens has 2 numbers and path 1 paths"),
        ("web: {paht: a}\n", "web.paht is not a known key"),
        ("- web\n", "input should be a valid dictionary"),
        ("web: {path: a\n", "is not YAML"),
        ("web: !!python/object/apply:os.system ['true']\n", "is not YAML"),
        ("1: {path: a}\n", "is 1; input should be a valid string"),
        ("", "input should be a valid dictionary"),
        ("[" * 5000, "is not YAML"),
    ],
)
def test_a_bad_domains_file_is_one_clear_line(recipe, tmp_path, content, message):
    path = tmp_path / "domains.yaml"
    path.write_text(content)
    with pytest.raises(ExportError, match=f"(?i){message}") as caught:
        export_recipe(recipe, "json", tmp_path / "out.json", path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.json").exists()


def test_a_domains_file_without_a_path_is_refused_where_one_is_needed(tmp_path):
    (tmp_path / "domains.yaml").write_text("web: {tokens_per_document: 10}\n")
    with pytest.raises(ExportError, match=r"gives domain web no path; need web: \{path: ...\}"):
        export_recipe(
            Recipe(proportions={"web": 1.0}),
            "megatron-lm",
            tmp_path / "out",
            tmp_path / "domains.yaml",
        )
