"""Trains the tokenizer of a store: a byte-level BPE on a balanced sample of the store's domains."""

import re
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from bimix_sweep.data.sample import END_OF_TEXT
from bimix_sweep.data.sources import Source
from bimix_sweep.data.token_files import Tokens
from bimix_sweep.errors import DataError

SAMPLE_CHARACTERS = 8_000_000
"""Characters that the tokenizer is trained on: the same number from each domain, at most an
eighth of the total."""
PIECE = re.compile(r"(?s).{1,500}(?<=\S)(?=\s)|.{1,500}")
"""Pattern that cuts training text into short pieces, between words where possible
(docs/evidence.md)."""


def sample_characters(num_domains: int) -> int:
    """Characters of each domain that the tokenizer is trained on."""
    return min(SAMPLE_CHARACTERS // num_domains, SAMPLE_CHARACTERS // 8)


def stated_vocabulary(sources: Mapping[str, Source]) -> int | None:
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
    """Refuse a vocabulary size that a byte-level BPE cannot have.

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
