"""The keys that say where text lies and how it is read."""

import pytest

from bimix_sweep.config import SweepConfig
from bimix_sweep.errors import ConfigError


def parsed(**web):
    domains = {"web": web, "math": {"path": "math/"}}
    return SweepConfig.parse({"domains": domains}, where="sweep.yaml")


SOURCES = [{"path": "a/", "proportion": 0.75}, {"path": ["b/", "c/"], "proportion": 0.25}]


def test_paths_start_from_the_folder_of_the_file(tmp_path):
    (tmp_path / "sweep.yaml").write_text(
        "domains:\n"
        "  web: {path: [a/*.jsonl, /b, 's3://c/d', '@lists/web.txt', ~/e], field: doc.text}\n"
        "  mix: {sources: [{path: f, proportion: 0.5, format: csv}, {path: [g], proportion: 0.5}]}\n"
        "targets: {exam: {path: '@exam.txt', field: content}, web: {domain: web}}\n"
    )
    config = SweepConfig.load(tmp_path / "sweep.yaml")
    web, mix = config.domains["web"], config.domains["mix"]
    assert web.path == (
        f"{tmp_path}/a/*.jsonl", "/b", "s3://c/d", f"@{tmp_path}/lists/web.txt", "~/e",
    )  # fmt: skip
    assert [one.path for one in mix.sources] == [f"{tmp_path}/f", (f"{tmp_path}/g",)]
    assert config.targets["exam"].path == f"@{tmp_path}/exam.txt"
    source = web.as_source()
    assert (source.path, source.field, source.format) == (web.path, "doc.text", None)
    blend = mix.as_source()
    assert [(one.format, share) for one, share in blend.parts] == [("csv", 0.5), (None, 0.5)]
    (tmp_path / "again.yaml").write_text(config.to_yaml())
    assert SweepConfig.load(tmp_path / "again.yaml") == config


def test_what_changes_the_text_changes_the_digest():
    plain = parsed(path="web/")
    others = [
        parsed(path=["web/", "more/"]),
        parsed(path="web/", field="content"),
        parsed(path="web/", format="text"),
        parsed(sources=SOURCES),
    ]
    assert len({config.digest for config in (plain, *others)}) == 5


def test_the_sources_of_a_blend_have_names():
    assert parsed(sources=SOURCES).blends() == {"web": {"web-1": 0.75, "web-2": 0.25}}
    assert parsed(path="web/").blends() == {}


def test_a_trainer_is_told_how_the_text_is_read():
    told = parsed(sources=SOURCES).domains["web"].told()
    kind = {"field": "text", "format": None}
    assert told == {
        "path": None,
        "sources": [
            {"path": "a/", **kind, "proportion": 0.75},
            {"path": ["b/", "c/"], **kind, "proportion": 0.25},
        ],
    }
    assert parsed(path="a", format="csv").domains["web"].told() == {
        "path": "a", "field": "text", "format": "csv",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("web", "message"),
    [
        ({"path": 5}, r"domains\.web\.path is 5; need a file, folder, glob, URI or '@LIST', or a"),
        ({"path": []}, r"domains\.web\.path is \[\]; need a file"),
        ({"path": ["a", ""]}, r"domains\.web\.path is \['a', ''\]; need a file"),
        ({"path": "s3://me:secret@a/b"}, r"domains\.web\.path .* carries a secret"),
        ({"path": ["a", "@s3://b/c?secret_key=1"]}, r"domains\.web\.path .* carries a secret"),
        ({"path": "a", "feild": "content"}, r"domains\.web\.feild is not .* did you mean field\?"),
        ({"path": "a", "format": "xml"}, r"domains\.web\.format is 'xml'; need: 'jsonl', 'json'"),
        ({"path": "a", "sources": SOURCES}, r"domains\.web has both path and sources; need one"),
        ({"sources": SOURCES[:1]}, r"domains\.web\.sources"),
        ({}, r"domains\.web\.path is missing; need it"),
        (
            {"sources": [SOURCES[0], SOURCES[0]]},
            r"domains\.web has sources with proportions that sum to 1\.5; need 1",
        ),
        (
            {"sources": [{"path": "a", "share": 0.5}, SOURCES[1]]},
            r"domains\.web\.sources\.0\.share is not a known key; .*known are path, field, format, pr",
        ),
    ],
)
def test_a_wrong_key_of_text_is_explained(web, message):
    with pytest.raises(ConfigError, match=message):
        parsed(**web)


def test_a_list_without_quotes_is_explained(tmp_path):
    (tmp_path / "sweep.yaml").write_text("domains: {web: {path: @list.txt}}\n")
    with pytest.raises(
        ConfigError, match=r"sweep\.yaml is not YAML: .* begins with @ needs quotes"
    ):
        SweepConfig.load(tmp_path / "sweep.yaml")


def test_no_domain_has_the_name_of_a_blend_s_source():
    with pytest.raises(ConfigError, match=r"domains\.web-2 has the name of a source of the blend"):
        SweepConfig.parse({"domains": {"web": {"sources": SOURCES}, "web-2": {"path": "x"}}})
