"""Token files as the tools of others write them; the bytes here follow the published rules.

Megatron: megatron/core/datasets/indexed_dataset.py. litdata: litdata/streaming/writer.py. llm.c:
dev/data/data_common.py. nanoGPT: data/openwebtext/prepare.py. OLMo: raw `.npy` of a memmap.
"""

import json
import struct

import numpy as np
import pytest

from bimix_sweep.data.sources import Source
from bimix_sweep.errors import DataError

END = 7
MEGATRON = {"u1": 1, "i1": 2, "<i2": 3, "<i4": 4, "<i8": 5, "<u2": 8}
LITDATA = {
    "<i4": "no_header_tensor:16",
    "<i8": "no_header_tensor:18",
    "<u2": "no_header_numpy:5",
    "<u4": "no_header_numpy:6",
}
DOCUMENTS = [
    [3, 1, END],
    [*range(8, 100)] * 30 + [END],
    [5, END],
    [1, 2, 3, 4, 5, 6] * 50_000 + [END],  # begins in one block and ends in another
    [4, 4, 4, 4, END],
] + [[10, 11, 12, END]] * 5_000


def write_megatron(path, documents, kind, code=None):
    """Writes a pair whose documents of more than 100 tokens are two sequences each."""
    parts = [[d[:50], d[50:]] if len(d) > 100 else [d] for d in documents]
    lengths = [len(sequence) for part in parts for sequence in part]
    pointers = np.cumsum([0, *lengths[:-1]]) * np.dtype(kind).itemsize
    firsts = np.cumsum([0, *map(len, parts)])
    path.with_suffix(".bin").write_bytes(np.concatenate(documents).astype(kind).tobytes())
    path.with_suffix(".idx").write_bytes(
        b"MMIDIDX\x00\x00"
        + struct.pack("<QBQQ", 1, code or MEGATRON[kind], len(lengths), len(firsts))
        + np.array(lengths, "<i4").tobytes()
        + pointers.astype("<i8").tobytes()
        + firsts.astype("<i8").tobytes()
    )


def write_litdata(folder, documents, kind, **config):
    """Writes three chunks with an index."""
    chunks = []
    for number, part in enumerate((documents[:2], documents[2:4], documents[4:])):
        items = [np.array(document, kind).tobytes() for document in part]
        offsets = np.cumsum([4 * (len(items) + 2), *map(len, items)]).astype("<u4")
        name = f"chunk-0-{number}.bin"
        (folder / name).write_bytes(
            struct.pack("<I", len(items)) + offsets.tobytes() + b"".join(items)
        )
        chunks.append({"filename": name, "chunk_size": len(items), "dim": sum(map(len, part))})
    index = {
        "chunks": chunks,
        "config": {
            "data_format": [LITDATA[kind]],
            "compression": None,
            "encryption": None,
            "item_loader": "TokensLoader",
        }
        | config,
    }
    (folder / "index.json").write_text(json.dumps(index))


def write_llmc(path, documents, magic, kind):
    flat = np.concatenate(documents)
    header = np.zeros(256, "<i4")
    header[:3] = magic, 1, len(flat)
    path.write_bytes(header.tobytes() + flat.astype(kind).tobytes())


def written(folder, form):
    """Writes DOCUMENTS in a format; returns the path that a user would give."""
    kind = form.partition(" ")[2]
    if form.startswith("megatron"):
        write_megatron(folder / "web_text_document", DOCUMENTS, kind)
    elif form.startswith("litdata"):
        write_litdata(folder, DOCUMENTS, kind)
    elif form == "llm.c GPT-2":
        write_llmc(folder / "a.bin", DOCUMENTS, 20240520, "<u2")
    elif form == "llm.c Llama 3":
        write_llmc(folder / "a.bin", DOCUMENTS, 20240801, "<u4")
    elif form == "npy":
        np.save(folder / "a.npy", np.concatenate(DOCUMENTS))
    else:  # nanoGPT, OLMo
        (folder / f"a.{kind}").write_bytes(np.concatenate(DOCUMENTS).astype("<u2").tobytes())
    return folder / "web_text_document" if form == "megatron <i4" else folder


LISTED = [f"megatron {kind}" for kind in ("<u2", "<i4", "u1")] + [f"litdata {k}" for k in LITDATA]
MARKED = ["llm.c GPT-2", "llm.c Llama 3", "npy", "nanogpt bin", "olmo npy"]


@pytest.mark.parametrize("form", LISTED + MARKED)
def test_each_format_gives_its_documents_whole_and_in_blocks(tmp_path, form):
    end = None if form in LISTED else END
    source = Source(path=written(tmp_path, form), vocabulary=1000, end_of_text=end)
    expected = sorted(map(tuple, DOCUMENTS))
    assert source.holds_tokens()
    assert source.num_tokens() == sum(map(len, DOCUMENTS))
    assert sorted(tuple(d.tolist()) for d in source.token_documents()) == expected
    opened = source.open()
    in_blocks = [
        tuple(document.tolist())
        for block in range(opened.blocks.total)
        for document in opened.token_documents(opened.blocks.portions(block, 1))
    ]
    assert opened.blocks.total > 1
    assert sorted(in_blocks) == expected


def test_documents_of_a_mapped_file_are_views_of_it(tmp_path):
    write_megatron(tmp_path / "a", DOCUMENTS, "<u2")
    documents = list(Source(path=tmp_path / "a.bin", vocabulary=1000).token_documents())
    assert not any(document.flags.owndata for document in documents)
    with pytest.raises(ValueError, match="read-only"):
        documents[0][0] = 1


def test_the_number_format_of_a_raw_file_follows_the_vocabulary_or_what_is_stated(tmp_path):
    ids = [70_000, 3, END]
    (tmp_path / "a.bin").write_bytes(np.array(ids, "<u4").tobytes())
    (tmp_path / "b.bin").write_bytes(np.array(ids, "<i8").tobytes())
    read = {
        (name, dtype): [
            d.tolist()
            for d in Source(
                path=tmp_path / name, vocabulary=100_000, end_of_text=END, dtype=dtype
            ).token_documents()
        ]
        for name, dtype in (("a.bin", None), ("b.bin", "int64"))
    }
    assert read == {("a.bin", None): [ids], ("b.bin", "int64"): [ids]}


@pytest.mark.parametrize(
    ("kind", "vocabulary", "dtype", "message"),
    [
        (
            "<u2",
            50_000,
            None,
            r"a\.bin holds token 60000 \(token 5000, byte 10000\); need ids from 0"
            r" to 49999: give the vocabulary that the tokens were made with, or the right dtype",
        ),
        (
            "<u2",
            60_001,
            "uint32",
            r"a\.bin holds token 524296 \(token 0, byte 0\).* it was read as "
            r"uint32; read as uint16, all ids here fit",
        ),
        (
            "<u4",
            60_001,
            None,
            r"every second number from token 0 on is 0, so its numbers have 4 "
            r"bytes and not 2; state tokens\.dtype: uint32",
        ),
        ("<i4", 60_001, "int64", r"cut off or of another dtype|holds token \d{9,}"),
    ],
)
def test_a_token_beyond_the_vocabulary_is_named_with_its_place_and_the_dtype_that_would_fit(
    tmp_path, kind, vocabulary, dtype, message
):
    numbers = np.full(10_001 if dtype == "int64" else 10_000, 8)
    numbers[5000] = 60_000
    (tmp_path / "a.bin").write_bytes(numbers.astype(kind).tobytes())
    with pytest.raises(DataError, match=message):
        list(Source(path=tmp_path, vocabulary=vocabulary, dtype=dtype).token_documents())


def cut(path, count):
    path.write_bytes(path.read_bytes()[:-count])


def damage(folder, form):
    """Writes a damaged file of a format."""
    if form.startswith("litdata"):
        config = {"compressed": {"compression": "zstd"}, "text": {"data_format": ["str"]}}
        write_litdata(folder, DOCUMENTS, "<u2", **config.get(form.partition(" ")[2], {}))
        cut(folder / "chunk-0-1.bin", 2)
        return
    write_megatron(folder / "a", DOCUMENTS[:9], "<u2", code=7 if form == "floats" else None)
    index = folder / "a.idx"
    if form == "bin cut":
        cut(folder / "a.bin", 2)
    elif form == "idx cut":
        cut(index, 8)
    elif form == "other idx":
        index.write_text("an index of something else, which is long enough")
    elif form == "bin replaced":
        write_megatron(folder / "b", DOCUMENTS[:8], "<u2")
        (folder / "b.bin").replace(folder / "a.bin")
        (folder / "b.idx").unlink()


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (
            "bin cut",
            r"a\.bin has \d+ bytes of numbers of 2 bytes each, and should have \d+ numbers",
        ),
        ("bin replaced", r"a\.bin has \d+ bytes .* should have \d+ numbers; it is cut off"),
        ("idx cut", r"a\.idx is cut off"),
        ("other idx", r"a\.idx is no Megatron index; need one that belongs to .*a\.bin"),
        ("floats", r"a\.idx has version 1 and dtype code 7; need version 1 and whole numbers"),
        ("litdata cut", r"chunk-0-1\.bin is cut off or is no litdata chunk"),
        ("litdata compressed", r"index\.json describes compressed or encrypted items"),
        ("litdata text", r"index\.json does not describe tokens"),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong(tmp_path, form, message):
    damage(tmp_path, form)
    with pytest.raises(DataError, match=message):
        list(Source(path=tmp_path, vocabulary=1000).token_documents())


def test_raw_tokens_whose_first_bytes_look_like_another_format_are_tokens(tmp_path):
    for number, head in enumerate((b"\x1f\x8b", b"BZh!", b"\xff\xff\xff\xff")):
        (tmp_path / f"{number}.bin").write_bytes(head + b"\1\0" * 50)
    documents = list(Source(path=tmp_path, vocabulary=2**16).token_documents())
    assert [d[0] for d in documents] == [0x8B1F, 0x5A42, 0xFFFF]


def test_a_damaged_file_of_tokens_is_left_out_of_the_count_where_it_is_left_out_of_the_text(
    tmp_path,
):
    np.arange(40, dtype="<u2").tofile(tmp_path / "a.bin")
    (tmp_path / "b.bin").write_bytes(b"123")
    assert Source(path=tmp_path, vocabulary=50, max_bad=1).num_tokens() == 40
    with pytest.raises(DataError, match=r"b\.bin has 3 bytes"):
        Source(path=tmp_path, vocabulary=50).num_tokens()
