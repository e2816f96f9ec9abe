"""A sample stands for the whole source, and is the same whatever files the documents lie in and
however much is taken."""

import gzip
import json
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import zstandard
from tokenizers import Tokenizer

from bimix_sweep.data.prepare import prepare
from bimix_sweep.data.reading import blocks
from bimix_sweep.data.sampling import sample, scan
from bimix_sweep.data.sampling.held_out import HeldOut
from bimix_sweep.data.sampling.sample import DocumentSample
from bimix_sweep.data.sampling.training import training_documents
from bimix_sweep.data.sampling.work_folder import WorkFolder
from bimix_sweep.data.sources import Source
from bimix_sweep.data.tokenizing import END_OF_TEXT, Encoder, train_tokenizer
from bimix_sweep.errors import DataError

WORDS = [f"{a}{b}" for a in ("ka", "lo", "mi", "ne", "pu") for b in ("ra", "so", "ti", "ve")]


def documents(seed, count, words=40, mark=""):
    chosen = random.Random(seed)
    return [" ".join([*chosen.choices(WORDS, k=words), mark, f"{seed}-{n}"]) for n in range(count)]


def lines(texts):
    return "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()


def sampled(source, folder):
    folder.mkdir(exist_ok=True)
    return DocumentSample("web", source, WorkFolder(folder, lambda line: None), "web")


def trained_on(read, encode, most=None):
    """(keys, tokens) of a sample's training documents, where nothing is held out."""
    made = training_documents(read, encode, HeldOut(), own=set(), max_tokens=most)
    return made.documents.keys.tolist(), [tokens.tobytes() for tokens in made.documents]


def quick(domains, out, **settings):
    return prepare(domains, out=out, **{"vocabulary": 300, "validation_tokens": 1_024, **settings})


def words_of(store, name, split="train"):
    tokenizer = Tokenizer.from_file(str(store.path / "tokenizer.json"))
    tokens = store.train(name) if split == "train" else store.validation(name)
    return tokenizer.decode(tokens.tolist()).split()


def write(folder, kind, texts):
    """One file that holds the texts in this order."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"crawl.{kind.partition(' ')[0]}"
    if kind == "jsonl":
        path.write_bytes(lines(texts))
    elif kind == "jsonl.gz":
        path.write_bytes(gzip.compress(lines(texts), compresslevel=1))
    elif kind == "jsonl.zst":
        path.write_bytes(zstandard.ZstdCompressor(level=1).compress(lines(texts)))
    else:
        rows = 300 if kind == "parquet of many groups" else len(texts)
        pyarrow.parquet.write_table(pa.table({"text": texts}), path, row_group_size=rows)
    return path


def wide_window():
    """A frame that may refer back 1 GB."""
    settings = zstandard.ZstdCompressionParameters(window_log=30, compression_level=1)
    stream = zstandard.ZstdCompressor(compression_params=settings).compressobj()
    parts = [stream.compress(b"ab" * (1 << 20)) for _ in range(100)]
    return b"".join([*parts, stream.flush()])


KINDS = ["jsonl", "jsonl.gz", "jsonl.zst", "parquet of one group", "parquet of many groups"]


@pytest.fixture(scope="module")
def numbered():
    """12,000 documents that say where they stand and do not compress well, 12 MB."""
    chosen = random.Random(3)
    return [f"{n} {chosen.randbytes(500).hex()}" for n in range(12_000)]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_of_a_large_file_is_spread_over_all_of_it(
    tmp_path, monkeypatch, numbered, kind
):
    path = write(tmp_path, kind, numbered)
    monkeypatch.setattr(sample, "SCAN_BYTES", Source(path=path).stored_bytes() / 3)
    read = sampled(Source(path=path), tmp_path / "work")
    assert not read.whole
    places = [int(text.split(" ")[0]) for _, text in read.scan.pool()]
    assert 3_000 < len(places) < 7_000
    shares = np.histogram(places, bins=4, range=(0, 12_000))[0] / len(places)
    np.testing.assert_allclose(shares, 0.25, atol=0.13)
    record = read.record()
    assert record["bytes_read"] < 0.75 * record["bytes"]
    if not kind.startswith("jsonl."):  # of a compressed file the size is an estimate
        assert record["bytes"] == pytest.approx(sum(map(len, numbered)), rel=0.35)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first", [1, 7])
def test_blocks_hold_every_document_once(tmp_path, numbered, kind, first):
    opened = Source(path=write(tmp_path, kind, numbered)).open()
    total = opened.blocks.total
    assert total > 8
    found = [
        text
        for start, count in ((0, first), (first, total))
        for text in opened.texts(opened.blocks.portions(start, count))
    ]
    assert sorted(found) == sorted(numbered)


@pytest.mark.parametrize("kind", ["bin", "npy"])
@pytest.mark.parametrize("end_of_text", [None, 0])
def test_blocks_of_token_files_hold_every_document_once(tmp_path, kind, end_of_text):
    tokens = np.random.default_rng(0).integers(1, 50_000, size=1_000_003).astype(np.uint16)
    tokens[np.random.default_rng(1).integers(0, len(tokens), size=300)] = 0
    tokens[131_071:131_073] = (
        0  # the first block ends with an end of text, the second begins with one
    )
    path = tmp_path / f"web.{kind}"
    tokens.tofile(path) if kind == "bin" else np.save(path, tokens)
    source = Source(path=path, vocabulary=50_000, end_of_text=end_of_text)
    opened = source.open()
    assert opened.blocks.total in (8, 9)
    parts = [opened.blocks.portions(0, 3), opened.blocks.portions(3, 9)]
    found = sorted(
        part.tobytes() for portions in parts for part in opened.token_documents(portions)
    )
    ends = (
        np.arange(2048, len(tokens), 2048)
        if end_of_text is None
        else np.flatnonzero(tokens == 0) + 1
    )
    assert found == sorted(part.tobytes() for part in np.split(tokens, ends) if len(part) > 1)


def test_every_stretch_of_files_has_its_part_of_the_blocks_whenever_reading_ends():
    files = [(f"{n}", size << 18) for n, size in enumerate((5, 100, 37, 300, 58, 500))]
    laid = blocks.Blocks(files, whole=[False] * 6, sought=[True] * 6, num_bytes=1_000 << 18)
    for count in (50, 200, 617, 999):
        taken = {p.path: len(p.blocks or range(p.num_blocks)) for p in laid.portions(0, count)}
        for name, size in files:
            assert abs(taken.get(name, 0) - count * (size >> 18) / 1_000) < 4
    assert sum(len(p.blocks or range(p.num_blocks)) for p in laid.portions(617, 1_000)) == 383


def test_a_crawl_ordered_by_language_is_trained_on_and_validated_on_in_both(tmp_path):
    crawl = documents(1, 4_000, mark="deutsch") + documents(2, 4_000, mark="english")
    (tmp_path / "crawl.jsonl").write_bytes(lines(crawl))
    source = Source(path=tmp_path / "crawl.jsonl")
    store = quick(
        {"web": source, "books": Source(documents=tuple(documents(3, 1_000)))},
        tmp_path / "store",
        targets={"exam": Source(documents=tuple(d + " exam" for d in crawl))},
        max_tokens={"web": 60_000},
        validation_tokens=8_192,
    )
    for name, split in (("web", "train"), ("exam", "validation")):
        found = words_of(store, name, split)
        german, english = (found.count(word) for word in ("deutsch", "english"))
        assert german + english > 20
        assert german / (german + english) == pytest.approx(0.5, abs=0.25)
    german, english = (words_of(store, "web").count(word) for word in ("deutsch", "english"))
    assert german / (german + english) == pytest.approx(0.5, rel=0.1)


def test_fifty_shards_with_a_word_of_their_own_are_all_in_a_capped_sample(tmp_path):
    counts = {f"shard{n:02d}word": 20 + 4 * n for n in range(50)}
    for n, (word, count) in enumerate(counts.items()):
        (tmp_path / "text" / f"{n}").mkdir(parents=True)
        (tmp_path / "text" / f"{n}" / "a.jsonl").write_bytes(lines(documents(n, count, mark=word)))
    store = quick(
        {
            "web": Source(path=tmp_path / "text"),
            "books": Source(documents=tuple(documents(99, 400))),
        },
        tmp_path / "store",
        max_tokens=120_000,
    )
    found = words_of(store, "web")
    taken = np.array([found.count(word) for word in counts])
    share = np.array([*counts.values()]) / sum(counts.values())
    assert taken.sum() > 600
    assert (taken > 0).all()
    large = share[25:].sum()  # the larger half of the shards
    assert taken[25:].sum() / taken.sum() == pytest.approx(large, rel=0.1)
    expected = taken.sum() * share
    assert ((taken - expected) ** 2 / expected).sum() < 86  # chi-square of 49: 1 in 1,000


def test_documents_in_one_shard_or_fifty_of_any_kind_and_order_give_one_store(tmp_path):
    texts = documents(5, 900) + [f"{text} \n" for text in documents(5, 30)]
    random.Random(0).shuffle(texts)
    write(tmp_path / "one", "jsonl", texts)
    for n in range(50):
        shard = sorted(texts[n::50], reverse=True)
        name, content = (
            (f"{n}.jsonl.gz", gzip.compress(lines(shard)))
            if n % 2
            else (f"x{n}.jsonl.zst", zstandard.ZstdCompressor().compress(lines(shard)))
        )
        (tmp_path / "fifty" / f"{n % 3}").mkdir(parents=True, exist_ok=True)
        (tmp_path / "fifty" / f"{n % 3}" / name).write_bytes(content)
    write(tmp_path / "rows", "parquet of many groups", texts[::-1])
    stores = [
        quick(
            {
                "web": Source(path=tmp_path / folder),
                "books": Source(documents=tuple(documents(6, 200))),
            },
            tmp_path / f"store of {folder}",
            targets={"exam": Source(path=tmp_path / folder)},
            max_tokens=20_000,
        )
        for folder in ("one", "fifty", "rows")
    ]
    assert len({store.digest for store in stores}) == 1


@pytest.mark.parametrize("scanned", [128_000_000, 500_000])
def test_a_larger_cap_keeps_validation_and_tokenizer_and_begins_with_the_smaller(
    tmp_path, monkeypatch, scanned
):
    monkeypatch.setattr(sample, "SCAN_BYTES", scanned)
    monkeypatch.setattr(scan, "POOL_BYTES", 100_000)
    path = write(tmp_path, "jsonl", documents(7, 6_000))
    sources = {"web": Source(path=path), "books": Source(documents=tuple(documents(8, 400)))}
    stores = [
        quick(sources, tmp_path / f"store {cap}", max_tokens={"web": cap})
        for cap in (20_000, 150_000, None)
    ]
    for store in stores[1:]:
        np.testing.assert_array_equal(store.validation("web"), stores[0].validation("web"))
        assert (store.path / "tokenizer.json").read_text() == (
            stores[0].path / "tokenizer.json"
        ).read_text()
    assert [store.num_train_tokens("web") for store in stores[:2]] == [20_000, 150_000]
    np.testing.assert_array_equal(stores[0].train("web"), stores[1].train("web")[:20_000])
    whole = stores[2].manifest["notes"]["domains"]["web"]
    assert whole["documents"] == 6_000
    assert whole["bytes_read"] == whole["bytes"] == sum(map(len, documents(7, 6_000)))


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "parquet of one group"])
def test_without_a_cap_every_document_is_read_once(tmp_path, monkeypatch, numbered, kind):
    texts = numbered[:3_000]
    path = write(tmp_path, kind, [*texts, *texts[:10]])
    monkeypatch.setattr(sample, "SCAN_BYTES", 700_000)
    monkeypatch.setattr(blocks, "STREAM_BYTES", 400_000)
    read = sampled(Source(path=path), tmp_path / "work")
    assert not read.whole
    keys, tokens = trained_on(read, Encoder(train_tokenizer(texts[:100], 300)))
    assert len({*keys}) == len(keys) == len(tokens) == len(texts)
    assert keys == sorted(keys)
    record = read.record()
    assert record["bytes_read"] == record["bytes"] == sum(map(len, [*texts, *texts[:10]]))
    assert (record["documents"], record["repeated_documents"]) == (3_000, 10)


def test_what_the_pool_does_not_hold_is_read_again_in_the_order_of_keys(tmp_path, monkeypatch):
    texts = tuple(documents(9, 500))
    encode = Encoder(train_tokenizer(texts, 300))
    read = sampled(Source(documents=texts), tmp_path / "one")
    whole = trained_on(read, encode)
    in_order = [*read.in_order()]
    monkeypatch.setattr(scan, "POOL_BYTES", 5_000)
    small = sampled(Source(documents=texts[::-1] + texts[:50]), tmp_path / "other")
    assert small.repeated == 50
    assert len([*small.scan.pool()]) < 40
    assert [*small.in_order()] == in_order
    assert trained_on(small, encode) == whole
    some = sampled(Source(documents=texts), tmp_path / "third")
    keys, tokens = trained_on(some, encode, most=sum(map(len, whole[1])) // 4)  # two bytes a token
    assert 100 < len(keys) < 500
    assert (keys, tokens) == (whole[0][: len(keys)], whole[1][: len(keys)])


def test_a_special_token_in_text_is_text_and_its_bytes_count(tmp_path):
    texts = tuple(f"{text} {END_OF_TEXT} and {END_OF_TEXT}" for text in documents(10, 30))
    store = quick(
        {
            name: Source(documents=tuple(documents(n, 500)))
            for n, name in enumerate(("web", "books"))
        },
        tmp_path / "store",
        targets={"exam": Source(documents=texts)},
        validation_tokens=4_096,
    )
    tokenizer = Tokenizer.from_file(str(store.path / "tokenizer.json"))
    tokens = store.validation("exam")
    ends = (tokens == tokenizer.token_to_id(END_OF_TEXT)).sum()
    assert len(texts) - 2 <= ends <= len(texts)  # the real ends; a rest fills no row
    assert store.bytes_per_token("exam") * len(tokens) == pytest.approx(
        len(tokenizer.decode(tokens.tolist(), skip_special_tokens=True))
    )


def test_copies_that_differ_by_white_space_do_not_straddle_the_split(tmp_path):
    texts = [text.replace("mira", "mi\nra") + " caf\u00e9" for text in documents(11, 300)]
    copies = (
        [f"\n  {text}\t\n" for text in texts]
        + [text.replace("\n", "\r\n") for text in texts]
        + [text.replace("\u00e9", "e\u0301") for text in texts]
    )
    sources = {"web": Source(documents=(*copies, *texts))}
    store = quick(sources, tmp_path / "store", validation_tokens=4_096)  # of whole documents
    held_out, trained = (
        {word for word in words_of(store, "web", split) if word.startswith("11-")}
        for split in ("validation", "train")
    )
    assert len(held_out) > 30
    assert not held_out & trained
    assert store.manifest["notes"]["domains"]["web"]["documents"] == 300
    assert store.manifest["notes"]["domains"]["web"]["repeated_documents"] == 900
    turned = {"web": Source(documents=(*texts, *copies[::-1]))}
    assert quick(turned, tmp_path / "other", validation_tokens=4_096).digest == store.digest


def test_one_long_target_is_measured_all_over(tmp_path):
    half = 20_000
    book = " ".join(["first"] * half + ["second"] * half)
    store = quick(
        {
            name: Source(documents=tuple(documents(n, 200)))
            for n, name in enumerate(("web", "books"))
        },
        tmp_path / "store",
        targets={"exam": Source(documents=(book,))},
    )
    assert store.validation_rows("exam", 128).shape == (8, 129)
    found = words_of(store, "exam", "validation")
    assert found.count("first") == pytest.approx(found.count("second"), rel=0.5)  # 4 rows each


def test_what_was_read_and_text_in_two_domains_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "SCAN_BYTES", 1_000_000)
    monkeypatch.setattr(blocks, "STREAM_BYTES", 300_000)
    both = documents(12, 60)
    chosen = random.Random(0)
    large = [f"{n} {chosen.randbytes(300).hex()}" for n in range(6_000)]
    sources = {
        "web": Source(documents=tuple(documents(13, 300) + both + both[:7])),
        "books": Source(documents=tuple(documents(14, 300) + both)),
        "crawl": Source(path=write(tmp_path, "jsonl.gz", large)),
    }
    said = []
    store = quick(sources, tmp_path / "store", max_tokens=4_000, progress=said.append)
    told = "\n".join(said)
    assert "web: read 0.0" in told
    assert "360 documents; 4,000 tokens kept to train on, of about " in told
    assert " (estimated from what was read); 7 copies of documents left out" in told
    assert "note: 60 documents are in both web and books, of 360 and 360 looked at" in told
    assert "crawl: read" in told
    assert "MB: blocks spread evenly over all files" in told
    assert "no more than their first 0.3 MB were read" in told
    notes = store.manifest["notes"]
    assert notes["shared_documents"] == {"web": {"books": 60}}
    assert notes["domains"]["crawl"]["bytes_read"] < notes["domains"]["crawl"]["bytes"]
    assert notes["domains"]["crawl"]["reach_bytes"] == 300_000


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            "a.jsonl.zst",
            lambda: zstandard.ZstdCompressor().compress(b'{"text": "' + b"0" * 300_000_000),
            r"a\.jsonl\.zst line 1 is longer than 64 MB",
        ),
        (
            "a.txt.gz",
            lambda: gzip.compress(b"0" * 70_000_000),
            r"a\.txt\.gz is one text of more than 64 MB",
        ),
        (
            "a.json.zst",
            lambda: zstandard.ZstdCompressor().compress(b"0" * 600_000_000),
            r"a\.json\.zst is one JSON value of more than 512 MB",
        ),
        ("a.txt.zst", wide_window, r"its window is larger than 128 MB"),
    ],
)
def test_a_small_file_that_would_fill_the_memory_is_refused(tmp_path, file, content, message):
    (tmp_path / file).write_bytes(content())
    assert (tmp_path / file).stat().st_size < 100_000
    with pytest.raises(DataError, match=message):
        list(Source(path=tmp_path / file).texts())


def test_a_parquet_column_that_is_compressed_as_no_text_is_is_refused(tmp_path):
    repeated = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(1_000, np.int32)), ["x" * 30_000_000]
    )
    table = pa.table({"text": repeated.cast(pa.dictionary(pa.int32(), pa.string()))})
    pyarrow.parquet.write_table(
        table, tmp_path / "a.parquet", compression="zstd", store_schema=False
    )
    assert (tmp_path / "a.parquet").stat().st_size < 100_000
    with pytest.raises(DataError, match=r"row group 0: field 'text' is compressed \d+-fold"):
        list(Source(path=tmp_path / "a.parquet").texts())
