"""Documents come out as they were written, by whatever library and under whatever name."""

import bz2
import gzip
import json
import lzma

import datasets
import pyarrow as pa
import pyarrow.feather
import pyarrow.ipc
import pyarrow.parquet
import pytest

from bimix_sweep.data.sources import Source
from bimix_sweep.errors import DataError
from tests.support.real_inputs import (
    BROKEN,
    FORMATS,
    LINES,
    NESTED,
    TEXTS,
    lz4,
    pairs,
    parquet,
    rows,
    stream,
    table,
    tar,
    zst,
)


@pytest.mark.parametrize("name", FORMATS)
def test_the_documents_of_a_file_are_those_that_were_written(tmp_path, name):
    (tmp_path / name).write_bytes(FORMATS[name])
    assert [*Source(path=tmp_path / name).texts()] == TEXTS


@pytest.mark.parametrize("ending", ["txt", "md", "py", "", "txt.bz2", "html.xz", "rst.lz4"])
def test_a_file_of_plain_text_is_one_document(tmp_path, ending):
    pack = {"bz2": bz2.compress, "xz": lzma.compress, "lz4": lz4}.get(ending[-3:], bytes)
    for number, text in enumerate(TEXTS):
        (tmp_path / f"{number}.{ending}".rstrip(".")).write_bytes(pack(text.encode()))
    assert [*Source(path=tmp_path).texts()] == TEXTS


def test_folders_that_datasets_saves_are_read_without_their_caches(tmp_path):
    made = datasets.Dataset.from_dict({"text": TEXTS, "id": [*range(4)]})
    made.save_to_disk(tmp_path / "one", num_shards=2)
    (tmp_path / "one" / "cache-0123.arrow").write_bytes(stream(table()))
    datasets.DatasetDict({"train": made.select([2, 0])}).save_to_disk(tmp_path / "two")
    assert [*Source(path=tmp_path / "one").texts()] == TEXTS
    assert [*Source(path=tmp_path / "two").texts()] == [TEXTS[2], TEXTS[0]]


@pytest.mark.parametrize(
    ("name", "content", "field"),
    [
        ("a.jsonl", LINES.replace(b'"text"', b'"raw_content"'), "raw_content"),
        ("a.jsonl", NESTED, "doc.text"),
        ("a.jsonl", NESTED.replace(b'{"doc": {"text"', b'{"doc": {"a.b"'), "doc.a.b"),
        ("a.jsonl", LINES.replace(b'"text"', b'"doc.text"'), "doc.text"),
        ("a.parquet", parquet(pa.table({"doc": [{"text": t, "n": 1} for t in TEXTS]})), "doc.text"),
        ("a.arrow", stream(pa.table({"doc": [{"in": {"t": t}} for t in TEXTS]})), "doc.in.t"),
        ("a.csv", rows().replace(b"text", b"content"), "content"),
        ("a.tar", tar(pairs("caption", str.encode)), "caption"),
        ("a.tar", tar(pairs("json", lambda t: json.dumps({"a": {"b": t}}).encode())), "a.b"),
    ],
)
def test_the_text_is_read_from_a_stated_field(tmp_path, name, content, field):
    (tmp_path / name).write_bytes(content)
    assert [*Source(path=tmp_path / name, field=field).texts()] == TEXTS


@pytest.mark.parametrize(
    ("name", "content", "there", "proposed"),
    [
        ("a.jsonl", b'{"id": "a long identifier", "content": "x"}\n', "id, content", "content"),
        ("a.jsonl", b'{"meta": {"body": "x"}, "n": 3}', "meta, n", r"meta\.body"),
        ("a.jsonl", b'{"url": "u", "passage": "the longest one"}', "url, passage", "passage"),
        ("a.parquet", parquet(table().rename_columns(["id", "raw_content"])), "", "raw_content"),
        ("a.arrow", stream(pa.table({"doc": [{"text": "x"}]})), "doc", r"doc\.text"),
        ("a.csv", rows(";").replace(b"text", b"Body"), "id, Body", "Body"),
    ],
)
def test_a_missing_field_names_those_that_are_there_and_the_likely_one(
    tmp_path, name, content, there, proposed
):
    (tmp_path / name).write_bytes(content)
    message = (
        rf"{name}.* has no field 'text'; it has {there}.*; probably meant is field: {proposed}$"
    )
    with pytest.raises(DataError, match=message):
        list(Source(path=tmp_path / name).texts())


def test_a_stated_format_holds_for_any_name(tmp_path):
    (tmp_path / "a.wet").write_text(TEXTS[0])
    (tmp_path / "b.json").write_text(TEXTS[1])
    assert [*Source(path=tmp_path, format="text").texts()] == TEXTS[:2]
    with pytest.raises(DataError, match=r"a\.wet line 1 is not JSON"):
        list(Source(path=tmp_path, format="jsonl").texts())
    with pytest.raises(DataError, match=r"format is 'xml'; need one of jsonl, json, parquet"):
        Source(path=tmp_path, format="xml")


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_ends_in_one_line_that_names_it(tmp_path, name):
    content, message = BROKEN[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as raised:
        list(Source(path=tmp_path / name).texts())
    assert name in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_unknown_ending_among_known_ones_proposes_a_glob(tmp_path):
    for name in ("a.jsonl.gz", "b.jsonl.gz", "a.sha256"):
        (tmp_path / name).write_bytes(gzip.compress(LINES) if "jsonl" in name else b"0f3a")
    with pytest.raises(DataError, match=r"ending \.sha256; .*glob such as \*\*/\*\.jsonl\*, or"):
        list(Source(path=tmp_path).texts())
    assert len([*Source(path=tmp_path / "**/*.jsonl*").texts()]) == 8


def test_a_readme_beside_the_data_is_no_document(tmp_path):
    (tmp_path / "a.parquet").write_bytes(FORMATS["string.parquet"])
    (tmp_path / "README.md").write_text("# The data")
    with pytest.raises(DataError, match=r"plain text \(README\.md\) and parquet \(a\.parquet\)"):
        list(Source(path=tmp_path).texts())
    both = Source(path=[tmp_path / "*.parquet", tmp_path / "*.md"])
    assert [*both.texts()] == [*TEXTS, "# The data"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl.bz2", lambda: bz2.compress(b'{"text": "' + b"0" * 300_000_000)),
        ("a.jsonl.xz", lambda: lzma.compress(b'{"text": "' + b"0" * 300_000_000, preset=0)),
        ("a.csv.zst", lambda: zst(b"text\n" + b"0" * 300_000_000)),
        ("b.csv.zst", lambda: zst(b"text\n" + (b'"' + (b"0" * 9_999 + b"\n") * 6_000 + b'",') * 5)),
        ("a.txt.bz2", lambda: bz2.compress(b"0" * 70_000_000)),
        ("a.tar.bz2", lambda: bz2.compress(tar([("1.txt", b"0" * 70_000_000)]))),
    ],
)
def test_a_small_file_that_would_fill_the_memory_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content())
    assert (tmp_path / name).stat().st_size < 100_000
    with pytest.raises(DataError, match=r"(longer|more) than 64 MB"):
        list(Source(path=tmp_path / name).texts())


def test_a_batch_of_arrow_that_would_fill_the_memory_is_refused(tmp_path):
    large = pa.table({"text": ["0" * 400_000_000] * 3})
    (tmp_path / "a.arrow").write_bytes(stream(large, compression="zstd", rows=3))
    assert (tmp_path / "a.arrow").stat().st_size < 200_000
    with pytest.raises(DataError, match=r"a\.arrow has a batch of more than 1000 MB"):
        list(Source(path=tmp_path).texts())


def test_a_window_of_a_gigabyte_is_refused_for_every_codec(tmp_path):
    large = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 30}]
    (tmp_path / "a.jsonl.xz").write_bytes(lzma.compress(LINES, filters=large))
    with pytest.raises(DataError, match=r"its window is larger than 128 MB"):
        list(Source(path=tmp_path).texts())
