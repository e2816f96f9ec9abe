"""Files with text as other programs write them, whole and broken."""

import bz2
import csv
import gzip
import io
import json
import lzma
import random
import tarfile

import pyarrow as pa
import pyarrow.feather
import pyarrow.ipc
import pyarrow.parquet
import zstandard

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
