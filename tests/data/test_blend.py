"""A fixed blend holds its sources at its proportions of tokens, wherever it is cut."""

import json
import random

import numpy as np
import pytest
from tokenizers import Tokenizer

from bimix_sweep.data.blend import Blend
from bimix_sweep.data.extend import extend
from bimix_sweep.data.prepare import prepare
from bimix_sweep.data.sources import Source
from bimix_sweep.errors import DataError

LETTERS = "abcdefghijklmnopqrs"


def source(mark, count, words):
    """Documents of random words, each of which tells where it comes from."""
    chosen = random.Random(mark)
    known = [f"{mark}{letter}" for letter in LETTERS]
    return Source(
        documents=tuple(" ".join([*chosen.choices(known, k=words), f"{n}"]) for n in range(count))
    )


TWEETS, BOOKS = source("tweet", 3_000, 12), source("book", 300, 700)
OTHER = source("other", 400, 100)


def quick(domains, out, **settings):
    return prepare(domains, out=out, **{"vocabulary": 300, "validation_tokens": 4_096, **settings})


def tokens_by_source(store, name, split="train"):
    """(tokens of tweets, tokens of books) of each document, in the order of the split."""
    tokenizer = Tokenizer.from_file(str(store.path / "tokenizer.json"))
    tokens = store.train(name) if split == "train" else store.validation(name)
    parts = np.split(tokens, store.documents(name, split)[1:-1])
    books = [len(p) * ("book" in tokenizer.decode(p.tolist())) for p in parts]
    return np.array([[len(p) - book, book] for p, book in zip(parts, books, strict=True)])


@pytest.mark.parametrize("share", [0.75, 0.2])
def test_every_beginning_of_a_blend_has_its_proportions_of_tokens(tmp_path, share):
    blend = Blend(parts=((TWEETS, share), (BOOKS, 1 - share)))
    store = quick({"mix": blend, "other": OTHER}, tmp_path / "store", max_tokens={"mix": 30_000})
    assert store.num_train_tokens("mix") == 30_000
    counts = tokens_by_source(store, "mix")
    longest = counts.sum(axis=1).max()
    sums = np.cumsum(counts, axis=0)
    assert np.abs(sums[:, 0] - share * sums.sum(axis=1)).max() <= longest
    held_out = tokens_by_source(store, "mix", "validation").sum(axis=0)
    assert held_out.sum() == 32 * 129
    assert held_out[0] / held_out.sum() == pytest.approx(share, abs=0.016)  # whole rows


def test_a_blend_ends_where_its_first_source_does_and_says_what_is_left(tmp_path):
    said = []
    blend = Blend(parts=((source("tweet", 600, 12), 0.5), (BOOKS, 0.5)))
    store = quick({"mix": blend, "other": OTHER}, tmp_path / "store", progress=said.append)
    tweets, books = tokens_by_source(store, "mix").sum(axis=0)
    assert abs(tweets - books) <= 3_000
    assert "documents left out so that the proportions of the blend stay" in "\n".join(said)
    record = store.manifest["notes"]["domains"]["mix"]
    assert [one["proportion"] for one in record["sources"]] == [0.5, 0.5]
    tweet, book = (one["tokens_per_document"] for one in record["sources"])
    assert 20 * tweet < book


def test_a_blend_and_files_of_it_that_changed_are_told_apart(tmp_path):
    for name, texts in (("a", TWEETS.documents), ("b", BOOKS.documents)):
        lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
        (tmp_path / f"{name}.jsonl").write_text(lines)
    parts = [Source(path=tmp_path / f"{name}.jsonl") for name in "ab"]
    prints = {
        Blend(parts=((parts[0], x), (parts[1], 1 - x))).fingerprint() for x in (0.25, 0.5, 0.25)
    }
    assert len(prints) == 2
    files = Blend(parts=((parts[0], 0.5), (parts[1], 0.5)))
    assert [*files.texts()][:3] == [TWEETS.documents[0], BOOKS.documents[0], TWEETS.documents[1]]
    one = quick({"mix": files, "other": OTHER}, tmp_path / "one", max_tokens=9_000)
    given = Blend(parts=((TWEETS, 0.5), (BOOKS, 0.5)))
    two = quick({"mix": given, "other": OTHER}, tmp_path / "two", max_tokens=9_000)
    assert one.digest == two.digest


def test_a_blend_can_join_a_store(tmp_path):
    store = quick({"other": OTHER}, tmp_path / "one")
    blend = Blend(parts=((TWEETS, 0.4), (BOOKS, 0.6)))
    joined = extend(store, {"mix": blend}, out=tmp_path / "two", max_tokens={"mix": 20_000})
    counts = tokens_by_source(joined, "mix")
    tweets, books = counts.sum(axis=0)
    assert abs(tweets - 0.4 * (tweets + books)) <= counts.sum(axis=1).max()


def test_a_source_of_a_blend_that_cannot_be_used_is_named(tmp_path):
    gone = Blend(parts=((TWEETS, 0.5), (Source(path=tmp_path / "gone"), 0.5)))
    with pytest.raises(DataError, match=r"gone was not found"):
        quick({"mix": gone}, tmp_path / "store")
    (tmp_path / "few.txt").write_text("one text")
    few = Blend(parts=((TWEETS, 0.5), (Source(path=tmp_path / "few.txt"), 0.5)))
    with pytest.raises(DataError, match=r"domain mix \(.*few\.txt\) has 1 different documents"):
        quick({"mix": few}, tmp_path / "store")
    assert not (tmp_path / "store").exists()
    with pytest.raises(DataError, match=r"proportions \[0\.5, 0\.4\]; need two or more above 0"):
        Blend(parts=((TWEETS, 0.5), (BOOKS, 0.4)))
