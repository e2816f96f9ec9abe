"""A user's own tokenizer: its tokens, its end of text, and the bytes that its tokens stand for."""

import json

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from bimix_sweep.data.prepare import prepare
from bimix_sweep.data.reading.tokenizer_file import TextTokenizer
from bimix_sweep.data.sources import Source
from bimix_sweep.data.tokenizing import Encoder
from bimix_sweep.errors import DataError
from bimix_sweep.seeding import rng

WORDS = ["Über", "Wörter", "naïve", "東京", "大きい", "data", "<|endoftext|>", "Mixture", "x=1;"]


def sentences(count=400, seed=0):
    """Texts of random words with white space of several kinds."""
    generator = rng(seed, "sentences")
    return [
        f"{number}  " + "\n\t ".join(generator.choice(WORDS, generator.integers(20, 60)))
        for number in range(count)
    ]


TEXTS = sentences()


def byte_level(size=400, special=("<|endoftext|>",), texts=TEXTS, normalizer=None):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=[*special],
            initial_alphabet=alphabet,
            show_progress=False,
        ),
    )
    return tokenizer


def unigram():
    """As SentencePiece writes them: spaces are a character, other white space is dropped."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace("\t", " "), normalizers.Replace("\n", " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.train_from_iterator(
        TEXTS,
        trainers.UnigramTrainer(
            vocab_size=200,
            special_tokens=["<unk>", "</s>"],
            unk_token="<unk>",  # noqa: S106
            show_progress=False,
        ),
    )
    return tokenizer


def word_piece():
    """As BERT's: without case and accents, and without spaces."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.train_from_iterator(
        TEXTS,
        trainers.WordPieceTrainer(
            vocab_size=300, special_tokens=["[UNK]", "[SEP]"], show_progress=False
        ),
    )
    return tokenizer


KINDS = {
    "byte-level": byte_level,
    "byte-level, lower case": lambda: byte_level(normalizer=normalizers.Lowercase()),
    "unigram": unigram,
    "word piece": word_piece,
}


def own(tokenizer, **stated):
    return TextTokenizer(tokenizer.to_str(), **stated)


def encoded(tokenizer, texts):
    encode = Encoder(tokenizer)
    return encode, [d.tokens for d in encode((text.encode(), text) for text in texts)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_bytes_of_whole_texts_are_those_of_the_text_with_any_tokenizer(kind):
    encode, documents = encoded(own(KINDS[kind]()), TEXTS)
    expected = sum(len(text.encode()) for text in TEXTS)
    assert encode.num_bytes(documents) == expected
    halves = [document[: len(document) // 2] for document in documents]
    rest = [document[len(document) // 2 :] for document in documents]
    assert encode.num_bytes(halves) + encode.num_bytes(rest) == pytest.approx(expected, abs=1)


def test_the_bytes_of_a_piece_of_a_byte_level_text_are_exact():
    tokenizer = byte_level()
    encode, documents = encoded(own(tokenizer), TEXTS)
    spelled = "".join(tokenizer.id_to_token(int(i)) for i in documents[3][5:20])
    assert encode.num_bytes([documents[3][5:20]]) == len(spelled)  # one character a byte


def test_special_tokens_truncation_and_padding_of_the_file_change_no_text():
    tokenizer = byte_level()
    plain = [tokenizer.encode("a b c").ids for _ in range(2)]
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=50)
    given = own(tokenizer)
    _, (short, special) = encoded(given, ["a b c", "<|endoftext|>"])
    assert short.tolist() == [*plain[0], given.end_id]
    assert len(special) > 2
    assert tokenizer.decode(special[:-1].tolist()) == "<|endoftext|>"
    assert given.end_id not in special[:-1]


@pytest.mark.parametrize(
    ("special", "stated", "found"),
    [
        (["<s>", "</s>"], None, "</s>"),
        (["</s>", "<|endoftext|>"], None, "<|endoftext|>"),
        (["<bos>", "<eos>"], None, "<eos>"),
        (["<|bos|>", "<|document|>"], "<|document|>", "<|document|>"),
        (["<|endoftext|>", "</s>"], "</s>", "</s>"),
    ],
)
def test_the_end_of_text_is_the_stated_one_or_one_that_is_known(special, stated, found):
    given = own(byte_level(special=special), end_of_text=stated)
    assert (given.end_of_text, given.end_id) == (found, special.index(found))


def test_without_a_known_end_of_text_the_candidates_are_named():
    other = byte_level(special=["<|bos|>", "<|document|>"])
    with pytest.raises(
        DataError,
        match=r"no token that is known to end .* end_of_text: .* are "
        r"'<\|bos\|>', '<\|document\|>'\)",
    ):
        own(other)
    with pytest.raises(DataError, match=r"has no token '<eod>'; .* \(candidates are '<\|bos\|>'"):
        own(other, end_of_text="<eod>")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "tokenizer.model",
            b"\n\x0f\n\x05<unk>\x15\x00\x00\x00\x00\x18\x02\xff",
            r"tokenizer\.model is a SentencePiece model; need a tokenizer\.json: convert it with the "
            r"transformers library",
        ),
        ("vocab.json", b'{"a": 0, "b": 1}', r"vocab\.json is a mapping without a model"),
        ("merges.txt", b"#version: 0.2\na b\n", r"merges\.txt is not JSON with a mapping"),
        ("tokenizer.json", b'{"model": {"type": "none"}}', r"cannot be read by tokenizers \("),
    ],
)
def test_a_file_that_is_no_tokenizer_says_what_to_do(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        TextTokenizer.read(str(tmp_path / name))


def test_the_folder_of_a_model_is_read_and_one_without_the_file_is_refused(tmp_path):
    byte_level().save(str(tmp_path / "tokenizer.json"))
    given = TextTokenizer.read(str(tmp_path))
    assert given.content == (tmp_path / "tokenizer.json").read_text()
    (tmp_path / "other").mkdir()
    with pytest.raises(DataError, match=r"other holds no tokenizer\.json; give a folder or a file"):
        TextTokenizer.read(str(tmp_path / "other"))
    with pytest.raises(DataError, match=r"gone cannot be read \(No such file"):
        TextTokenizer.read(str(tmp_path / "gone"))


def with_ids_to(tokenizer, most):
    """The tokenizer with further tokens up to the id `most`, and with holes between the ids."""
    spec = json.loads(tokenizer.to_str())
    first = len(spec["model"]["vocab"])
    spec["model"]["vocab"] |= {f"<unused {number}>": number for number in range(first, most, 1000)}
    spec["model"]["vocab"]["<last>"] = most
    return Tokenizer.from_str(json.dumps(spec))


@pytest.mark.parametrize(("most", "kind"), [(2**16 - 1, np.uint16), (2**18 - 1, np.uint32)])
def test_a_store_of_a_given_tokenizer_holds_its_tokens_in_the_smallest_format(tmp_path, most, kind):
    tokenizer = with_ids_to(byte_level(), most)
    given = own(tokenizer)
    made = {"tokenizer": given, "validation_tokens": 256}
    store = prepare({"web": Source(documents=tuple(TEXTS))}, out=tmp_path / "store", **made)
    assert (store.vocabulary, store.train("web").dtype) == (most + 1, kind)
    first = store.train("web")[: store.documents("web")[1]]
    assert first[-1] == given.end_id
    tokenizer.encode_special_tokens = True
    assert tokenizer.encode(tokenizer.decode(first[:-1].tolist())).ids == first[:-1].tolist()
    assert (store.path / "tokenizer.json").read_text() == given.content
    assert store.tokenizer == {
        "sha256": given.sha256,
        "end_of_text": "<|endoftext|>",
        "given": True,
    }
    other = own(with_ids_to(byte_level(texts=TEXTS[:50]), most))
    again = prepare(
        {"web": Source(documents=tuple(TEXTS))}, out=store.path, **made | {"tokenizer": other}
    )
    assert again.digest != store.digest


def token_file(folder, given, name="a.bin"):
    _, documents = encoded(given, sentences(seed=1))
    np.concatenate(documents).astype("<u2").tofile(folder / name)
    stated = {"vocabulary": given.vocabulary, "end_of_text": given.end_id}
    return Source(path=folder / name, **stated), documents


def test_text_and_tokens_of_one_given_tokenizer_go_together_and_their_bytes_are_known(tmp_path):
    given = own(tokenizer := byte_level())
    tokens, _ = token_file(tmp_path, given)
    text = Source(documents=tuple(TEXTS))
    store = prepare(
        {"text": text, "tokens": tokens},
        out=tmp_path / "store",
        tokenizer=given,
        validation_tokens=2048,
    )
    assert store.num_train_tokens("tokens") > 5000
    validation = store.validation("tokens")
    spelled = [tokenizer.id_to_token(int(i)) for i in validation if i != given.end_id]
    expected = sum(map(len, spelled)) / len(validation)  # one character a byte
    assert store.bytes_per_token("tokens") == pytest.approx(expected, rel=1e-12)
    with pytest.raises(
        DataError,
        match=r"tokens holds tokens and text holds text; .* so state the "
        r"one that made the tokens \(tokenizer: tokenizer\.json\)",
    ):
        prepare({"text": text, "tokens": tokens}, out=tmp_path / "other")


def test_tokens_need_a_vocabulary_that_holds_those_of_the_tokenizer(tmp_path):
    given = own(byte_level())
    tokens, _ = token_file(tmp_path, given)
    with pytest.raises(
        DataError, match=r"a holds tokens, and nothing says how many different ones"
    ):
        prepare({"a": Source(path=tokens.path)}, out=tmp_path / "store")
    small = Source(path=tokens.path, vocabulary=399)
    with pytest.raises(DataError, match=r"is 399, and the tokenizer has 400 tokens; need at least"):
        prepare({"a": small}, out=tmp_path / "store", tokenizer=given)
    padded = Source(path=tokens.path, vocabulary=512, end_of_text=given.end_id)
    store = prepare({"a": padded}, out=tmp_path / "s", tokenizer=given, validation_tokens=256)
    assert store.vocabulary == 512


def test_the_bytes_of_ready_made_tokens_are_known_only_where_their_tokens_spell_the_text():
    spelling = {name: own(kind()).spells_text for name, kind in KINDS.items()}
    assert spelling == {name: name != "word piece" for name in KINDS}
    given = own(byte_level())
    _, documents = encoded(given, TEXTS)
    ready = Encoder(given)
    assert ready.num_bytes(documents) == sum(len(text.encode()) for text in TEXTS)
    assert Encoder(own(word_piece())).num_bytes(documents[:1]) is None
    assert Encoder(None).num_bytes(documents) is None
