"""From text to a store: what is trained on is never validated on, prefixes are fair, and nothing
half-written is opened.
"""

import itertools
import json
import random
import resource
import time

import numpy as np
import pytest
from tokenizers import Tokenizer

from bimix_sweep.data.prepare import prepare
from bimix_sweep.data.sources import Source
from bimix_sweep.data.store import TokenStore
from bimix_sweep.data.tokenizing import END_OF_TEXT, PIECE
from bimix_sweep.errors import DataError

WORDS = [
    "alpha",
    "beta",
    "gamma",
    "delta",
    "epsilon",
    "zeta",
    "eta",
    "theta",
    "iota",
    "kappa",
    "lambda",
    "mu",
    "nu",
    "xi",
    "omicron",
    "pi",
    "rho",
    "sigma",
    "tau",
    "upsilon",
]


def invented(seed, count=60, words=60):
    generator = np.random.default_rng(seed)
    return tuple(
        " ".join(generator.choice(WORDS, size=words)) + f" {seed}.{n}" for n in range(count)
    )


def quick(domains, out, **settings):
    return prepare(
        domains, out=out, **{"vocabulary": 300, "validation_tokens": 256, "context": 31, **settings}
    )


def texts_of(store, name, split):
    tokenizer = Tokenizer.from_file(str(store.path / "tokenizer.json"))
    offsets, tokens = (
        store.documents(name, split),
        store.train(name) if split == "train" else store.validation(name),
    )
    return [tokenizer.decode(tokens[a:b].tolist()) for a, b in itertools.pairwise(offsets)]


def test_no_copy_of_a_held_out_document_is_trained_on_in_any_domain(tmp_path):
    shared, web, books, exam = invented(1), invented(2), invented(3), invented(4, count=16)
    store = quick(
        {
            "web": Source(documents=web + shared + web),
            "books": Source(documents=shared + books + exam),
        },
        tmp_path / "store",
        targets={"exam": Source(documents=exam)},
        validation_tokens=2_048,
    )
    held_out = {t for name in ("web", "books", "exam") for t in texts_of(store, name, "validation")}
    trained = [t for name in ("web", "books") for t in texts_of(store, name, "train")]
    assert len(held_out) > 12
    for part in held_out:  # a long document gives its middle
        assert not any(part in text for text in trained)
    assert len(set(texts_of(store, "web", "train"))) == len(texts_of(store, "web", "train"))
    assert store.manifest["notes"]["domains"]["web"]["repeated_documents"] == len(web)
    assert store.manifest["notes"]["domains"]["books"]["held_out_elsewhere"] >= len(exam)


def test_every_token_of_the_text_is_there_once(tmp_path):
    texts = invented(5)
    store = quick({"web": Source(documents=texts)}, tmp_path / "store")
    tokenizer = Tokenizer.from_file(str(tmp_path / "store" / "tokenizer.json"))
    assert set(texts_of(store, "web", "train")) < set(texts)
    assert store.train("web")[store.documents("web")[1] - 1] == tokenizer.token_to_id(END_OF_TEXT)
    assert len(store.train("web")) == sum(
        len(tokenizer.encode(t).ids) + 1 for t in texts_of(store, "web", "train")
    )


def test_documents_lie_in_no_order_of_the_files_so_a_prefix_is_a_fair_sample(tmp_path):
    texts = tuple(f"{text} place {n}" for n, text in enumerate(invented(6, count=400)))
    store = quick({"web": Source(documents=texts)}, tmp_path / "store")
    places = [int(text.rsplit(" ", 1)[1]) for text in texts_of(store, "web", "train")]
    assert 150 < np.mean(places[:100]) < 250
    assert abs(np.corrcoef(places, np.arange(len(places)))[0, 1]) < 0.15


def test_a_cap_keeps_just_so_many_tokens(tmp_path):
    source = {
        "web": Source(documents=invented(6, count=200)),
        "books": Source(documents=invented(7, count=200)),
    }
    store = quick(source, tmp_path / "store", max_tokens={"web": 3_000})
    assert store.num_train_tokens("web") == 3_000
    assert store.num_train_tokens("books") > 9_000


def test_the_mean_length_of_documents_is_that_of_whole_ones_whatever_the_cap(tmp_path):
    documents = {"books": Source(documents=invented(1, count=40, words=2000))}
    notes, lengths = {}, {}
    for cap in (500, None):
        store = quick(documents, tmp_path / str(cap), max_tokens=cap)
        notes[cap] = store.manifest["notes"]["domains"]["books"]["tokens_per_document"]
        lengths[cap] = store.num_train_tokens("books") / (len(store.documents("books")) - 1)
    assert lengths[500] == 500
    assert notes[None] == pytest.approx(lengths[None], abs=0.01)
    assert notes[500] == pytest.approx(lengths[None], rel=0.05)


@pytest.mark.parametrize("cap", [400, 4_608])
def test_a_domain_that_trains_on_little_is_read_until_validation_is_full_too(tmp_path, cap):
    source = {"web": Source(documents=invented(6, count=4_000, words=10))}
    store = quick(source, tmp_path / "store", max_tokens={"web": cap}, validation_tokens=8_192)
    assert (store.num_train_tokens("web"), len(store.validation("web"))) == (cap, 264 * 32)


def test_a_surrogate_without_its_other_half_stops_nothing(tmp_path):
    texts = [*invented(6), "a lone \ud800 here"]
    (tmp_path / "web.jsonl").write_text(
        "".join(json.dumps({"text": text}) + "\n" for text in texts)
    )
    store = quick({"web": Source(path=tmp_path / "web.jsonl")}, tmp_path / "store")
    assert "a lone ? here" in texts_of(store, "web", "train") + texts_of(store, "web", "validation")


def test_a_line_of_a_megabyte_without_white_space_is_learned_from_in_seconds(tmp_path):
    line = "".join(random.Random(0).choices("abcdefghij", k=3_000_000))
    begun = time.monotonic()
    quick({"web": Source(documents=(line, *invented(6, count=200)))}, tmp_path / "store")
    assert time.monotonic() - begun < 30  # uncut it takes minutes


def test_cutting_the_tokenizers_sample_between_words_changes_no_token(tmp_path):
    text = "  ".join(invented(6))
    store = quick({"web": Source(documents=invented(6))}, tmp_path / "store")
    tokenizer = Tokenizer.from_file(str(store.path / "tokenizer.json"))
    pieces = PIECE.findall(text)
    assert len(pieces) > 20
    assert "".join(pieces) == text
    assert [i for piece in pieces for i in tokenizer.encode(piece).ids] == tokenizer.encode(
        text
    ).ids


def test_a_full_disk_is_named_and_nothing_is_left_on_it(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (30_000, hard)
    )  # a file that cannot grow, as on a full disk
    try:
        with pytest.raises(
            DataError,
            match=r"runs/a/store cannot be written \(.*File too large.*\); need a folder with room",
        ):
            quick(
                {"web": Source(documents=invented(6, count=500))}, tmp_path / "runs" / "a" / "store"
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_the_order_of_files_and_documents_changes_nothing(tmp_path):
    texts = invented(7)
    first = quick({"web": Source(documents=texts)}, tmp_path / "a")
    second = quick({"web": Source(documents=texts[::-1])}, tmp_path / "b")
    assert sorted(texts_of(first, "web", "train")) == sorted(texts_of(second, "web", "train"))
    assert first.digest == second.digest


def test_bytes_per_token_times_tokens_is_the_length_of_the_text(tmp_path):
    texts = tuple(f"größer als 文書 number {n} " * 20 for n in range(60))
    store = quick({"web": Source(documents=texts)}, tmp_path / "store")
    tokenizer = Tokenizer.from_file(str(tmp_path / "store" / "tokenizer.json"))
    tokens = store.validation("web")
    pieces = [
        tokenizer.id_to_token(int(t))
        for t in tokens
        if tokenizer.id_to_token(int(t)) != END_OF_TEXT
    ]
    decoded = tokenizer.decode(tokens[:100].tolist(), skip_special_tokens=True)
    assert "größer als 文書" in decoded
    assert store.bytes_per_token("web") * len(tokens) == pytest.approx(sum(map(len, pieces)))


def test_no_document_is_more_than_a_quarter_of_validation(tmp_path):
    letters = "abcdefghij"
    texts = (*invented(8, count=40, words=20), *(f"{letter * 3} " * 5_000 for letter in letters))
    store = quick({"web": Source(documents=texts)}, tmp_path / "store")
    tokenizer = Tokenizer.from_file(str(store.path / "tokenizer.json"))
    rows = [tokenizer.decode(row.tolist()) for row in store.validation_rows("web", 31)]
    assert len(rows) == 8
    assert max(sum(letter * 3 in row for row in rows) for letter in letters) in (1, 2)


def test_the_same_inputs_are_not_tokenised_twice_and_others_are(tmp_path):
    said = []
    texts = invented(10)
    (tmp_path / "web").mkdir()
    for number, text in enumerate(texts):
        (tmp_path / "web" / f"{number}.txt").write_text(text)
    source = {"web": Source(path=tmp_path / "web")}
    first = quick(source, tmp_path / "store", progress=said.append)
    count = len(said)
    assert quick(source, tmp_path / "store", progress=said.append).digest == first.digest
    assert len(said) == count
    (tmp_path / "web" / "more.txt").write_text("entirely new words " * 50)
    assert quick(source, tmp_path / "store", progress=said.append).digest != first.digest
    assert quick(source, tmp_path / "store", validation_tokens=320).digest != first.digest


@pytest.mark.parametrize("end_of_text", [None, 0])
def test_ready_made_tokens_need_no_tokenizer(tmp_path, end_of_text):
    generator = np.random.default_rng(0)
    for name in ("web", "code"):
        tokens = generator.integers(1, 50_000, size=60_000).astype(np.uint16)
        tokens[::500] = 0
        tokens.tofile(tmp_path / f"{name}.bin")
    sources = {
        n: Source(path=tmp_path / f"{n}.bin", vocabulary=50_000, end_of_text=end_of_text)
        for n in ("web", "code")
    }
    store = quick(sources, tmp_path / "store")
    assert store.vocabulary == 50_000
    assert set(store.train("web").tolist()) <= set(
        np.fromfile(tmp_path / "web.bin", dtype=np.uint16).tolist()
    )
    with pytest.raises(DataError, match="came as tokens, so its bytes are not known"):
        store.bytes_per_token("web")
    with pytest.raises(
        DataError, match="web holds tokens and text holds text; need one tokenizer for all"
    ):
        quick({"web": sources["web"], "text": Source(documents=invented(11))}, tmp_path / "other")
    with pytest.raises(
        DataError, match="code holds tokens, and nothing says how many different ones there are"
    ):
        quick(
            {"web": sources["web"], "code": Source(path=tmp_path / "code.bin")}, tmp_path / "other"
        )


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        (
            invented(12, count=3, words=400),
            r"domain math has 3 different documents \(\d+ tokens\); need at least 12",
        ),
        (("same words again",) * 50, r"domain math has 1 different documents"),
        (
            tuple(f"tiny {n}" for n in range(30)),
            r"domain math has 30 different documents; its validation split of 8 rows of 32 tokens",
        ),
        (("  ", "\n"), r"math is empty"),
    ],
)
def test_too_little_text_says_what_there_is_and_what_is_needed(tmp_path, documents, message):
    with pytest.raises(DataError, match=message):
        quick(
            {"web": Source(documents=invented(13)), "math": Source(documents=documents)},
            tmp_path / "store",
        )
    assert list(tmp_path.iterdir()) == []


def test_a_target_may_not_share_a_domains_name_or_be_a_line_long(tmp_path):
    web = {"web": Source(documents=invented(14))}
    with pytest.raises(DataError, match="target web has the name of a domain"):
        quick(web, tmp_path / "store", targets={"web": Source(documents=invented(15))})
    with pytest.raises(DataError, match=r"target exam has \d+ tokens; need at least 256"):
        quick(web, tmp_path / "store", targets={"exam": Source(documents=("short",))})


def test_a_store_that_is_unfinished_or_altered_is_not_opened(tmp_path):
    path = tmp_path / "store"
    quick({"web": Source(documents=invented(16))}, path)
    manifest = json.loads((path / "manifest.json").read_text())
    tokens = (path / "000.train.tokens").read_bytes()

    def refused(message):
        with pytest.raises(DataError, match=message):
            TokenStore.open(path)

    (path / "000.train.tokens").write_bytes(tokens[: len(tokens) // 2])
    refused(r"000\.train\.tokens is not what the store's manifest says .* prepare the store again")
    (path / "000.train.tokens").unlink()
    refused(r"000\.train\.tokens cannot be read \(No such file .* prepare the store again")
    (path / "000.train.tokens").write_bytes(tokens)
    for altered, message in (
        ({**manifest, "version": 99}, "has version 99; this bimix-sweep reads 2"),
        ({**manifest, "format": "else"}, "is not a token store's"),
        ({k: v for k, v in manifest.items() if k != "digest"}, "lacks or misstates 'digest'"),
        (
            {
                **manifest,
                "domains": {"web": {"train": {**manifest["domains"]["web"]["train"], "tokens": 5}}},
            },
            "is not what the store's",
        ),
    ):
        (path / "manifest.json").write_text(json.dumps(altered))
        refused(message)
    (path / "manifest.json").write_text("{")
    refused("cannot be read")
    (path / "manifest.json").unlink()
    refused(r"is not a token store \(no manifest\.json\)")
    assert quick({"web": Source(documents=invented(16))}, path).digest == manifest["digest"]
    assert [p.name for p in tmp_path.iterdir()] == ["store"]


def test_a_folder_that_holds_something_else_is_left_as_it_is(tmp_path):
    (tmp_path / "thesis.txt").write_text("the only copy")
    with pytest.raises(DataError, match="is there and is no token store; need a new folder"):
        quick({"web": Source(documents=invented(17))}, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]
