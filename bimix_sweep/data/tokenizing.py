"""Tokenizer of a store: a byte-level BPE, trained on a balanced sample of the store's domains; and
the encoder that turns documents into tokens."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from bimix_sweep.data.blend import Blend
from bimix_sweep.data.reading.token_files import Tokens
from bimix_sweep.data.sources import Source
from bimix_sweep.errors import DataError

END_OF_TEXT = "<|endoftext|>"
"""Special token that ends every document."""
BATCH_CHARACTERS = 250_000
"""Characters encoded at once, so that memory use stays small."""
SAMPLE_CHARACTERS = 8_000_000
"""Characters that the tokenizer is trained on: the same number from each domain, at most an
eighth of the total."""
PIECE = re.compile(r"(?s).{1,500}(?<=\S)(?=\s)|.{1,500}")
"""Pattern that cuts training text into short pieces, between words where possible
(docs/evidence.md)."""
Content = str | Tokens
"""Text of a document, or its ready-made tokens."""


def sample_characters(num_domains: int) -> int:
    """Characters of each domain that the tokenizer is trained on."""
    return min(SAMPLE_CHARACTERS // num_domains, SAMPLE_CHARACTERS // 8)


def stated_vocabulary(sources: Mapping[str, Source | Blend]) -> int | None:
    """The vocabulary size of sources that all hold tokens; None if all sources hold text.

    Raises:
        DataError: some sources hold tokens and some hold text, or their vocabularies differ.
    """
    ready = {name: source.holds_tokens() for name, source in sources.items()}
    if not any(ready.values()):
        return None
    if not all(ready.values()):
        token, text = (next(n for n, r in ready.items() if r is kind) for kind in (True, False))
        raise DataError(
            f"{token} holds tokens and {text} holds text; need one tokenizer for all, so give all "
            "as text or all as tokens"
        )
    stated = {source.vocabulary for source in sources.values()}
    if None in stated or len(stated) > 1:
        raise DataError(
            f"the vocabularies of the token files are {sorted(map(str, stated))}; need one, stated "
            "for each"
        )
    return stated.pop()


def check_vocabulary(vocabulary: int) -> None:
    """Refuses a vocabulary size that a byte-level BPE cannot have.

    Raises:
        DataError: the size is below 257 or above 2**20.
    """
    if not 257 <= vocabulary <= 2**20:
        raise DataError(
            f"vocabulary is {vocabulary}; need at least 257 (every byte and an end of text)"
        )


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """A byte-level BPE with `vocabulary` tokens, trained on these texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_cut(texts), trainer)
    return tokenizer


def _cut(texts: Iterable[str]) -> Iterator[str]:
    """Pieces of the texts, of at most 500 characters."""
    for text in texts:
        yield from PIECE.findall(text)


def token_bytes(tokenizer: Tokenizer) -> np.ndarray:
    """(vocabulary,) number of bytes that each token stands for.

    A byte-level BPE writes one character per byte. The end of text stands for no byte.
    """
    width = np.zeros(tokenizer.get_vocab_size(), dtype=np.int64)
    for token, index in tokenizer.get_vocab().items():
        width[index] = 0 if token == END_OF_TEXT else len(token)
    return width


def num_bytes(documents: list[Tokens], width: np.ndarray | None) -> int | None:
    """UTF-8 bytes that the tokens stand for; None if the bytes per token are not known."""
    return None if width is None else int(sum(int(width[tokens].sum()) for tokens in documents))


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One document, tokenised."""

    key: bytes
    """Hash of the text, 16 bytes."""
    tokens: Tokens
    """(tokens,), with the end of text if there is one."""


class Encoder:
    """Turns texts into tokens; no part of a text becomes a special token. Ready-made tokens stay
    unchanged."""

    def __init__(self, tokenizer: Tokenizer | None) -> None:
        """Args:
        tokenizer: None where the sources hold tokens.
        """
        self._tokenizer = tokenizer
        if tokenizer is not None:
            tokenizer.encode_special_tokens = True  # `<|endoftext|>` in a text is text
            self._end = tokenizer.token_to_id(END_OF_TEXT)
            self._wide = tokenizer.get_vocab_size() > 2**16

    def __call__(self, contents: Iterable[tuple[bytes, Content]]) -> Iterator[Document]:
        """The documents of (key, content) pairs, in the same order."""
        if self._tokenizer is None:
            for key, content in contents:
                if not isinstance(content, str):
                    yield Document(key=key, tokens=content)
            return
        for batch in _batches(contents):
            encodings = self._tokenizer.encode_batch_fast(
                [text for _, text in batch], add_special_tokens=False
            )
            kind = np.uint32 if self._wide else np.uint16
            for (key, _), encoding in zip(batch, encodings, strict=True):
                yield Document(key=key, tokens=np.array([*encoding.ids, self._end], dtype=kind))


def _batches(contents: Iterable[tuple[bytes, Content]]) -> Iterator[list[tuple[bytes, Content]]]:
    """Groups (key, content) pairs into batches of about BATCH_CHARACTERS."""
    batch: list[tuple[bytes, Content]] = []
    size = 0
    for key, content in contents:
        batch.append((key, content))
        size += len(content)
        if size >= BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
