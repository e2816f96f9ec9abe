"""Documents come out the same whatever they are stored as, and a file that is not what it says is
named.
"""

import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import zstandard

from bimix_sweep.data.sources import Source
from bimix_sweep.errors import DataError

TEXTS = ["first document", "zweites\nDokument", "третий 文書"]


def as_lines(texts, field="text"):
    return "".join(
        json.dumps({field: text, "id": n}) + "\n" for n, text in enumerate(texts)
    ).encode()


def write(folder, kind):
    folder.mkdir(exist_ok=True)
    lines = as_lines(TEXTS)
    if kind == "txt":
        for number, text in enumerate(TEXTS):
            (folder / f"{number}.txt").write_text(text)
    elif kind == "txt.gz":
        for number, text in enumerate(TEXTS):
            (folder / f"{number}.txt.gz").write_bytes(gzip.compress(text.encode()))
    elif kind == "jsonl":
        (folder / "a.jsonl").write_bytes(lines)
    elif kind == "jsonl.gz":
        (folder / "a.jsonl.gz").write_bytes(gzip.compress(lines))
    elif kind == "jsonl.zst":  # two frames, as appended files have
        half = lines.index(b"\n") + 1
        (folder / "a.jsonl.zst").write_bytes(
            b"".join(
                zstandard.ZstdCompressor().compress(part) for part in (lines[:half], lines[half:])
            )
        )
    elif kind == "json":
        (folder / "a.json").write_text(json.dumps([{"text": TEXTS[0]}, *TEXTS[1:]]))
    elif kind == "parquet":
        pyarrow.parquet.write_table(pa.table({"text": [*TEXTS, None, " "]}), folder / "a.parquet")


@pytest.mark.parametrize(
    "kind", ["txt", "txt.gz", "jsonl", "jsonl.gz", "jsonl.zst", "json", "parquet"]
)
@pytest.mark.parametrize("how", ["folder", "glob", "uri"])
def test_every_format_gives_the_same_documents_from_a_folder_a_glob_and_a_uri(tmp_path, kind, how):
    folder = tmp_path / "web"
    write(folder, kind)
    (folder / ".hidden").write_text("not a document")
    path = {"folder": folder, "glob": tmp_path / "**" / f"*.{kind}", "uri": folder.as_uri()}[how]
    assert sorted(Source(path=path).texts()) == sorted(TEXTS)


def test_a_pattern_matches_folders_one_by_one_and_two_stars_any_number(tmp_path):
    for name in ("a.txt", "x/b.txt", "x/y/c.txt", "x/y/d.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    found = {
        pattern: sorted(Source(path=tmp_path / pattern).texts())
        for pattern in ("*.txt", "*/*.txt", "**/*.txt", "x/**/c.txt")
    }
    assert found == {
        "*.txt": ["a.txt"],
        "*/*.txt": ["x/b.txt"],
        "**/*.txt": ["a.txt", "x/b.txt", "x/y/c.txt"],
        "x/**/c.txt": ["x/y/c.txt"],
    }


def test_the_fingerprint_changes_with_the_files_and_with_nothing_else(tmp_path):
    write(tmp_path / "web", "txt")
    source = Source(path=tmp_path / "web")
    before = source.fingerprint()
    assert Source(path=tmp_path / "web").fingerprint() == before
    (tmp_path / "web" / "new.txt").write_text("another")
    assert source.fingerprint() != before
    assert Source(documents=("a", "b")).fingerprint() != Source(documents=("ab",)).fingerprint()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("a.jsonl", as_lines(TEXTS) + b'{"text": "cut', r"a\.jsonl line 4 is not JSON"),
        (
            "a.jsonl",
            as_lines(TEXTS, field="content"),
            r"line 1 has no field 'text'; it has content, id",
        ),
        ("a.jsonl", b'{"text": 3}\n', r"field 'text' is int; need text"),
        ("a.jsonl", b"[1, 2]\n", r"line 1 has no field 'text'; it is a list"),
        (
            "a.jsonl.gz",
            gzip.compress(as_lines(TEXTS), mtime=0)[:-12],
            r"a\.jsonl\.gz cannot be read",
        ),
        ("a.jsonl.zst", b"not compressed at all", r"a\.jsonl\.zst line 1 is not JSON"),
        (
            "a.jsonl.zst",
            zstandard.ZstdCompressor().compress(as_lines(TEXTS * 500))[:1000],
            r"a\.jsonl\.zst cannot be read: Truncated",
        ),
        (
            "a.txt.zst",
            zstandard.ZstdCompressor().compress(b"some text " * 50)[:-4],
            r"a\.txt\.zst cannot be read: Truncated",
        ),
        ("a.parquet", b"PAR1 this is no table", r"a\.parquet cannot be read"),
        ("a.txt", b"\xff\xfe\x00bytes", r"a\.txt is not UTF-8 text"),
        ("a.json", b"{", r"a\.json is not JSON"),
        ("a.bin", b"\x01\x00", r"a\.bin holds tokens; need text here"),
    ],
)
def test_a_file_that_is_not_what_its_ending_says_is_named_with_its_line(
    tmp_path, file, content, message
):
    (tmp_path / file).write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(Source(path=tmp_path / file).texts())


def test_a_parquet_file_without_the_column_says_which_it_has(tmp_path):
    pyarrow.parquet.write_table(pa.table({"body": TEXTS, "n": [1, 2, 3]}), tmp_path / "a.parquet")
    with pytest.raises(
        DataError, match=r"no field 'text'; it has body, n; probably meant is field: body"
    ):
        list(Source(path=tmp_path / "a.parquet").texts())
    with pytest.raises(DataError, match=r"field 'n' is int64; need text"):
        list(Source(path=tmp_path / "a.parquet", field="n").texts())
    assert list(Source(path=tmp_path / "a.parquet", field="body").texts()) == TEXTS


@pytest.mark.parametrize("path", ["nowhere", "nowhere/*.txt", "*.jsonl", "."])
def test_a_path_with_nothing_behind_it_says_what_was_looked_for(tmp_path, path):
    with pytest.raises(
        DataError, match=r"looked for|nowhere was not found; need"
    ):  # the path itself is not said twice
        list(Source(path=tmp_path / path).texts())


def test_half_a_surrogate_pair_is_read_as_a_question_mark(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "before \\ud800 after"}\n')
    assert list(Source(path=tmp_path).texts()) == ["before ? after"]
    assert list(Source(documents=("before \ud800 after",)).texts()) == ["before ? after"]


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    write(tmp_path / "data", "jsonl")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert (
        list(Source(path="~/data").texts()) == list(Source(path="~/data/*.jsonl").texts()) == TEXTS
    )
    with pytest.raises(DataError, match=r"~nobody-of-this-name/data cannot be read"):
        list(Source(path="~nobody-of-this-name/data").texts())


@pytest.mark.parametrize("end_of_text", [None, 9])
def test_token_files_give_documents_by_their_end_of_text_or_by_length(tmp_path, end_of_text):
    tokens = np.tile(np.array([1, 2, 3, 9]), 2000)
    np.save(tmp_path / "a.npy", tokens)
    tokens.astype("<u4").tofile(tmp_path / "b.bin")
    documents = list(
        Source(
            path=tmp_path, vocabulary=10, dtype="uint32", end_of_text=end_of_text
        ).token_documents()
    )
    assert sum(map(len, documents)) == 16_000
    assert {len(d) for d in documents} == ({2048, 8000 - 3 * 2048} if end_of_text is None else {4})
    assert all(d.dtype == np.uint16 for d in documents)


def test_tokens_beyond_the_vocabulary_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([1, 2, 300]))
    with pytest.raises(
        DataError, match=r"holds token 300 \(token 2, byte 144\); need ids from 0 to 255"
    ):
        list(Source(path=tmp_path, vocabulary=256).token_documents())
    np.save(tmp_path / "a.npy", np.array([0.5]))
    with pytest.raises(DataError, match=r"float64 array .* need one row of whole numbers"):
        list(Source(path=tmp_path, vocabulary=256).token_documents())
