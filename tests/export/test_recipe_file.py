import json
from decimal import Decimal

import numpy as np
import pytest

from bimix_sweep.errors import ExportError
from bimix_sweep.export.recipe import Certificate, Recipe
from bimix_sweep.export.rounding import rounded

WHOLE = {
    "proportions": {"web": 0.5, "code": 0.3, "math": 0.2},
    "gain": {
        "baseline": "today",
        "proportions": {"web": 0.9, "code": 0.1, "math": 0.0},
        "value": 0.02,
        "lower": 0.01,
        "upper": 0.03,
        "measured": True,
    },
    "blends": {"math": {"math-1": 0.6, "math-2": 0.4}},
    "region": {"web": [0.4, 0.6], "code": [0.2, 0.4], "math": [0.1, 0.3]},
    "alternatives": [{"web": 0.4, "code": 0.4, "math": 0.2}],
    "interval": {"web": [0.45, 0.55], "code": [0.25, 0.35], "math": [0.15, 0.25]},
    "within": 0.005,
    "predicted_losses": {"web": 3.1, "mmlu": 2.2},
    "predicted_sd": {"web": 0.01, "mmlu": 0.02},
    "goals": {"mmlu": {"goal": "max", "range": [0.0, 1.0]}},
    "regret": {"expected": 0.0004, "upper95": 0.001},
    "at_trials": {
        "proportions": {"web": 0.55, "code": 0.3, "math": 0.15},
        "distance": 0.05,
        "regret": {"expected": 0.0002, "upper95": 0.0006},
        "step": 800.0,
        "size": 2e5,
    },
    "certificate": {"gap": 1e-9, "scope": "global"},
    "step": 800.0,
    "size": 2e5,
    "extrapolation": {"step": 1.0, "size": 350000.0},
    "not_tested": ["That the order of mixtures holds at 7e10 parameters is assumed."],
    "tokens": {"web": 5e12, "code": 3e12, "math": 2e12},
    "epochs": {"web": 1.25, "code": None, "math": 4.0},
    "repetition": {"r_star": 8.0, "interval": [4.4, 14.5], "source": "trials"},
    "binding": [{"domain": "math", "bound": "max", "cost": 0.03}],
    "prior": {"proportions": {"web": 0.6, "code": 0.3, "math": 0.1}, "kl": 0.05, "cost": 0.001},
    "law": {"choice": {"web": "bimix"}},
    "comparison": {"sentence": "They do not differ."},
    "excluded": {"trial-7": "its loss was nan"},
    "provenance": {"seed": 3},
}


def write(tmp_path, content):
    path = tmp_path / "RECIPE.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_recipe_read_and_written_again_is_the_same_file(tmp_path):
    first = Recipe.read(write(tmp_path, WHOLE))
    first.write(tmp_path / "again.json")
    assert Recipe.read(tmp_path / "again.json") == first
    again = json.loads((tmp_path / "again.json").read_text())
    assert list(again) == [
        "proportions",
        "gain",
        "blends",
        "region",
        "alternatives",
        "interval",
        "within",
        *list(WHOLE)[7:],
    ]
    assert again == WHOLE


def test_proportions_alone_make_a_recipe(tmp_path):
    recipe = Recipe.read(write(tmp_path, {"proportions": {"web": 0.25, "code": 0.75}}))
    assert recipe.proportions == {"web": 0.25, "code": 0.75}
    assert recipe.regret == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"proportions": {"web": 0.5, "code": 0.4}}, r"proportions sums to 0.9; need 1"),
        (
            {"proportions": {"web": "0.5", "code": 0.5}},
            r"proportions.web is '0.5'; input should be a valid number",
        ),
        (
            {"proportions": {"web": True}},
            r"proportions.web is True; input should be a valid number",
        ),
        (
            {"proportions": {"web": 1.5, "code": -0.5}},
            r"proportions.web is 1.5; input should be less than or equal to 1",
        ),
        ({"proportions": {}}, r"proportions has 0 domains"),
        (
            {"proportions": [0.5, 0.5]},
            r"proportions is \[0.5, 0.5\]; input should be (a valid dictionary|an object)",
        ),
        (
            {"proportions": {"a\u0000b": 1.0}},
            r"proportions: domain name 'a\\x00b' is not usable; need printable text",
        ),
        (
            {"regret": {"expected": -1, "upper95": 0.1}},
            r"regret.expected is -1; input should be greater than or equal to 0",
        ),
        ({"regret": {"expected": 0.1}}, r"regret has only expected; need expected and upper95"),
        (
            {"certificate": {"gap": 0, "scope": "maybe"}},
            r"certificate.scope is 'maybe'; input should be 'global' or 'local'",
        ),
        (
            {"region": {"web": [0.6, 0.4]}},
            r"region.web is \[0.6, 0.4\]; need the smaller end first",
        ),
        (
            {"region": {"webb": [0.4, 0.6]}},
            r"region names domain 'webb'; need domains of proportions",
        ),
        ({"alternatives": [{"web": 0.5, "code": 0.2}]}, r"alternatives.0 sums to 0.7; need 1"),
        ({"tokens": {"web": -1}}, r"tokens.web is -1; input should be greater"),
        ({"colour": "red"}, r"colour is not a known key"),
    ],
)
def test_a_bad_value_is_named_by_its_key(tmp_path, change, message):
    path = write(
        tmp_path,
        WHOLE
        | {"alternatives": [], "region": {}, "interval": {}, "tokens": {}, "epochs": {}}
        | change,
    )
    with pytest.raises(ExportError, match=message) as caught:
        Recipe.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '{"proportions": {"web": NaN}}',
        '{"proportions": {"web": 1e999}}',
        '{"proportions": {"web": ' + "9" * 5000 + "}}",
        '{"proportions": {"web": 1}, "step": -Infinity}',
        '{"proportions": {"web": 1}, "provenance": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"proportions": {"web": 1}, "law": "\ud800"}'.encode("utf-8", "surrogatepass").decode(
            "latin-1"
        ),
    ],
)
def test_hostile_text_is_one_clear_line(tmp_path, text):
    with pytest.raises(ExportError, match=r"RECIPE\.json: .+") as caught:
        Recipe.read(write(tmp_path, text))
    assert len(str(caught.value)) < 400


def test_a_million_domains_are_refused(tmp_path):
    domains = ",".join(f'"d{i}":0.000001' for i in range(1_000_000))
    with pytest.raises(ExportError, match="1000000 domains; need 1 to 10000"):
        Recipe.read(write(tmp_path, f'{{"proportions":{{{domains}}}}}'))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ExportError, match=r"nowhere\.json cannot be read \(No such file"):
        Recipe.read(tmp_path / "nowhere.json")


def test_writing_replaces_the_old_file_and_leaves_nothing_beside_it(tmp_path):
    path = write(tmp_path, WHOLE)
    Recipe(proportions={"web": 1.0}).write(path)
    assert Recipe.read(path) == Recipe(proportions={"web": 1.0})
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("num_domains", [1, 3, 7, 40, 999])
def test_rounded_proportions_sum_to_one_exactly_as_written(num_domains):
    generator = np.random.default_rng(num_domains)
    for proportions in generator.dirichlet(np.full(num_domains, 0.3), size=20):
        names = [f"d{i}" for i in range(num_domains)]
        written = rounded(dict(zip(names, proportions, strict=True)))
        assert sum(Decimal(repr(value)) for value in written.values()) == 1
        assert (
            max(
                abs(written[name] - proportion)
                for name, proportion in zip(names, proportions, strict=True)
            )
            < 1e-6
        )


def test_the_parts_refuse_what_no_sweep_can_produce():
    with pytest.raises(ValueError, match="finite"):
        Certificate(gap=float("nan"), scope="global")
    with pytest.raises(ValueError, match="finite"):
        Recipe(proportions={"web": 1.0}, provenance={"loss": float("inf")})
