"""A domain that is a fixed blend is exported as its sources, in every form."""

import pytest
import yaml

from bimix_sweep.errors import ExportError
from bimix_sweep.export.recipe import Recipe
from bimix_sweep.export.registry import FORMS, export_recipe

BLENDED = Recipe(
    proportions={"web": 0.6, "code": 0.4},
    blends={"web": {"web-1": 0.75, "web-2": 0.25}},
)
FLAT = Recipe(proportions={"web-1": 0.45, "web-2": 0.15, "code": 0.4})


@pytest.fixture
def domains_file(tmp_path):
    entries = {
        name: {
            "path": f"data/{name}",
            "tokens": 1e9,
            "valid": f"held_out/{name}",
            "tokens_per_document": length,
        }
        for name, length in (("web-1", 100), ("web-2", 400), ("code", 50))
    }
    path = tmp_path / "domains.yaml"
    path.write_text(yaml.safe_dump(entries))
    return path


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.file_name)
def test_a_blend_is_written_as_if_its_sources_were_domains(tmp_path, domains_file, form):
    texts = []
    for name, recipe in (("blended", BLENDED), ("flat", FLAT)):
        (tmp_path / name).mkdir()
        out = tmp_path / name / f"blend{form.ending}"
        export_recipe(recipe, form.name, out, domains_file)
        texts.append(out.read_text().replace(str(tmp_path / name), ""))
    assert texts[0] == texts[1]
    assert "web-2" in texts[0]


def test_the_domains_file_names_the_sources_of_a_blend(tmp_path):
    (tmp_path / "domains.yaml").write_text("web: {path: a}\ncode: {path: b}\n")
    message = (
        r"domain web is not in the recipe \(domain web is a fixed blend\); need domains of web-1"
    )
    with pytest.raises(ExportError, match=message):
        export_recipe(BLENDED, "json", tmp_path / "out.json", tmp_path / "domains.yaml")


@pytest.mark.parametrize(
    ("blends", "message"),
    [
        ({"web": {"web-1": 0.5, "web-2": 0.4}}, r"blends\.web sums to 0\.9; need 1"),
        ({"books": {"books-1": 1.0}}, r"blends names domain 'books'"),
        ({"web": {"web-1": 0.5, "code": 0.5}}, r"blends\.web has source code, the name of a"),
    ],
)
def test_a_recipe_with_a_wrong_blend_is_refused(tmp_path, blends, message):
    path = tmp_path / "RECIPE.json"
    BLENDED.model_copy(update={"blends": blends}).write(path)
    with pytest.raises(ExportError, match=message):
        Recipe.read(path)
