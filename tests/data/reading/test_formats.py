"""Documents come out as they were written, by whatever library and under whatever name."""

import bz2
import csv
import gzip
import io
import json
import lzma
import random
import tarfile

import datasets
import pyarrow as pa
import pyarrow.feather
import pyarrow.ipc
import pyarrow.parquet
import pytest
import zstandard

from bimix_sweep.data.sources import Source
from bimix_sweep.errors import DataError

TEXTS = [
    "first document",
    'zweites "Dokument",\nmit; Zeilen\tund {Klammern}',
    "третий 文書 \U0001f600",
    "=" * 3_000,
]
LINES = "".join(json.dumps({"id": n, "text": t}) + "\n" for n, t in enumerate(TEXTS)).encode()
NESTED = "".join(json.dumps({"doc": {"text": t}}) + "\n" for t in TEXTS).encode()


def lz4(data):
    return pa.compress(data, codec="lz4", asbytes=True)


def zst(data, **settings):
    parameters = zstandard.ZstdCompressionParameters(compression_level=3, **settings)
    return zstandard.ZstdCompressor(compression_params=parameters).compress(data)


def long_window(data):
    """A frame with the window of `zstd --long=27`, after a skippable frame as `pzstd` writes."""
    skipped = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"\0\0\0\0"
    return skipped + zst(data, window_log=27, enable_ldm=True, write_content_size=False)


def turned(data):
    """The data with a stretch of it the wrong way round."""
    return data[:80] + data[80:120][::-1] + data[120:]


def table(kind=None):
    texts = pa.array([*TEXTS, None])
    return pa.table({"id": range(5), "text": texts if kind is None else texts.cast(kind)})


def parquet(columns, **settings):
    target = io.BytesIO()
    pyarrow.parquet.write_table(columns, target, **settings)
    return target.getvalue()


def stream(columns, compression=None, rows=2):
    target = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(target, columns.schema, options=options) as writer:
        writer.write_table(columns, max_chunksize=rows)
    return target.getvalue()


def feather(compression):
    target = io.BytesIO()
    pyarrow.feather.write_feather(table(), target, compression=compression)
    return target.getvalue()


def rows(delimiter=",", encoding="utf-8", end="\r\n"):
    target = io.StringIO()
    writer = csv.writer(target, delimiter=delimiter, lineterminator=end)
    writer.writerows([["id", "text"], *enumerate(TEXTS)])
    return target.getvalue().encode(encoding)


def tar(members):
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return target.getvalue()


def pairs(ending, content):
    """Members of documents that have an image, too."""
    return [
        (f"shard/{n:04}.{end}", data)
        for n, text in enumerate(TEXTS)
        for end, data in ((ending, content(text)), ("jpg", b"\xff\xd8\0"))
    ]


DICTIONARY = pa.dictionary(pa.int32(), pa.string())
FORMATS = {
    "a.jsonl": LINES,
    "b.ndjson": LINES.replace(b"\n", b"\r\n"),
    "c.json": LINES,  # lines under the name of a value
    "part-00000": LINES,
    "crawl.warc.wet": LINES,  # no known ending, and clearly lines
    "lines.txt": LINES,
    "marked.jsonl": b"\xef\xbb\xbf" + LINES,
    "dolma-0001.json.gz": gzip.compress(LINES),
    "c4-train.00000-of-01024.json.gz": gzip.compress(LINES[:50]) + gzip.compress(LINES[50:]),
    "undone.json.gz": LINES,  # decompressed on the way, with the old name
    "packed.jsonl": gzip.compress(LINES),  # compressed, without the ending
    "d.jsonl.zst": zst(LINES),
    "long.jsonl.zst": long_window(LINES),
    "e.jsonl.bz2": bz2.compress(LINES[:50]) + bz2.compress(LINES[50:]),
    "f.jsonl.xz": lzma.compress(LINES[:50]) + bytes(8) + lzma.compress(LINES[50:], preset=9),
    "g.jsonl.lz4": lz4(LINES[:50]) + lz4(LINES[50:]),
    "list.json": json.dumps([{"text": text} for text in TEXTS]).encode(),
    "pretty.json": json.dumps([{"text": text} for text in TEXTS], indent=2).encode(),
    "texts.json": json.dumps(TEXTS).encode(),
    "list.json.zst": zst(json.dumps([{"text": text} for text in TEXTS]).encode()),
    "string.parquet": parquet(table(), row_group_size=2),
    "large.parquet": parquet(table(pa.large_string())),
    "binary.parquet": parquet(table(pa.binary()), compression="zstd"),
    "dictionary.parquet": parquet(table(DICTIONARY)),
    "view.parquet": parquet(table(pa.string_view())),
    "part.0": parquet(table()),
    "stream.arrow": stream(table()),
    "view.arrow": stream(table(pa.string_view())),
    "binary_view.arrow": stream(table(pa.binary_view())),
    "dictionary.arrow": stream(table(DICTIONARY)),
    "packed_dictionary.arrow": stream(table(DICTIONARY), compression="zstd"),
    "plain.feather": feather("uncompressed"),
    "lz4.feather": feather("lz4"),
    "a.csv": rows(),
    "semicolon.csv": rows(";"),
    "excel.csv": rows(encoding="utf-8-sig"),
    "unix.csv.gz": gzip.compress(rows(end="\n")),
    "a.tsv": rows("\t"),
    "texts.tar": tar(pairs("txt", str.encode)),
    "objects.tar": tar(pairs("json", lambda text: json.dumps({"text": text}).encode())),
    "both.tar.gz": gzip.compress(tar([*pairs("txt", str.encode)])),
}


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


BROKEN = {
    "cut.jsonl.gz": (gzip.compress(LINES)[:-20], r"cannot be read: Compressed file ended"),
    "cut.jsonl.bz2": (bz2.compress(LINES)[:-20], r"cannot be read: Compressed file ended"),
    "cut.jsonl.xz": (lzma.compress(LINES)[:-40], r"cannot be read: Compressed file ended"),
    "cut.jsonl.lz4": (lz4(LINES)[:-40], r"cannot be read: "),
    "cut.jsonl.zst": (zst(LINES)[:-20], r"cannot be read: Truncated"),
    "bad.jsonl.xz": (turned(lzma.compress(LINES)), r"cannot be read: Corrupt"),
    "bad.jsonl.bz2": (turned(bz2.compress(LINES)), r"cannot be read: Invalid data"),
    "cut.parquet": (parquet(table())[:-9], r"cannot be read: "),
    "cut.arrow": (stream(table())[:700], r"cannot be read: "),
    "cut.tar": (tar(pairs("txt", str.encode))[:1100], r"cannot be read: unexpected end"),
    "line.jsonl": (LINES + b'{"text": "cut', r"line 5 is not JSON \(Unterminated string"),
    "deep.jsonl": (b"[" * 100_000, r"line 1 is not JSON \(nested too deep\)"),
    "number.jsonl": (LINES + b'{"text": 5}\n', r"line 5: field 'text' is int; need text"),
    "number.parquet": (parquet(pa.table({"text": [1]})), r"field 'text' is int64; need text"),
    "latin.txt": ("älteste".encode("latin-1"), r"is not UTF-8 text"),
    "latin.parquet": (parquet(pa.table({"text": [b"\xff"]})), r"is not UTF-8 text"),
    "latin.csv": (rows() + b"5,\xff\r\n", r"is not UTF-8 text"),
    "noise": (random.Random(0).randbytes(5_000), r"is not UTF-8 text, and of no known binary"),
    "noise.txt": (b"some text\0and more", r"is not UTF-8 text, and of no known binary"),
    "noise.parquet": (random.Random(0).randbytes(5_000), r"its ending stands for parquet"),
    "text.parquet": (b"404 not found", r"its ending stands for parquet, and its content is none"),
    "short.csv": (rows() + b"no comma\r\n", r"line 7 has 1 columns; need 2, as its first line"),
    "quote.csv": (rows() + b'5,"open', r"cannot be read: unexpected end of data"),
    "images.tar": (tar([("1.jpg", b"\xff")]), r"member 1 has no field 'text'; it has jpg"),
    "packed.parquet.gz": (gzip.compress(parquet(table())), r"inside another compression"),
    "page.xyz": (b"some text", r"nothing is known of the ending \.xyz; state its format: text"),
    "empty.jsonl": (b"", r"no file with content was found there"),
}


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
