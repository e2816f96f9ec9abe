"""Trains the tokenizer of a store where none is given: a byte-level BPE, on a balanced sample of the
store's domains; and encodes documents."""

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from bimix_sweep.data.blend import Blend
from bimix_sweep.data.reading.token_files import Tokens, token_dtype
from bimix_sweep.data.reading.tokenizer_file import TextTokenizer
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


def common_vocabulary(
    sources: Mapping[str, Source | Blend], tokenizer: TextTokenizer | None
) -> int | None:
    """The vocabulary size of sources that hold tokens, or of the tokenizer; None if all sources
    hold text and no tokenizer is given.

    Raises:
        DataError: some sources hold tokens and some hold text, and no tokenizer is given; the
            vocabularies of the tokens differ; or one is smaller than the tokenizer's.
    """
    ready = {name: source.holds_tokens() for name, source in sources.items()}
    if tokenizer is None and len({*ready.values()}) > 1:
        token, text = (next(n for n, r in ready.items() if r is kind) for kind in (True, False))
        raise DataError(
            f"{token} holds tokens and {text} holds text; need one tokenizer for all, so state the "
            "one that made the tokens (tokenizer: tokenizer.json), or give all as text or all as "
            "tokens"
        )
    stated = {source.vocabulary for name, source in sources.items() if ready[name]}
    if None in stated:
        name = next(n for n, r in ready.items() if r and sources[n].vocabulary is None)
        raise DataError(
            f"{name} holds tokens, and nothing says how many different ones there are; state "
            "tokens: {vocabulary: N}, or the tokenizer that made them (tokenizer: tokenizer.json)"
        )
    if len(stated) > 1:
        raise DataError(
            f"the vocabularies of the token files are {sorted(map(str, stated))}; need one, stated "
            "for each"
        )
    vocabulary = stated.pop() if stated else None
    if tokenizer is None or vocabulary is None:
        return tokenizer.vocabulary if tokenizer is not None else vocabulary
    if vocabulary < tokenizer.vocabulary:
        raise DataError(
            f"the vocabulary of the token files is {vocabulary}, and the tokenizer has "
            f"{tokenizer.vocabulary} tokens; need at least as many, so correct tokens.vocabulary or "
            "name the tokenizer that made the tokens"
        )
    return vocabulary


def check_vocabulary(vocabulary: int) -> None:
    """Refuses a vocabulary size that a byte-level BPE cannot have.

    Raises:
        DataError: the size is below 257 or above 2**20.
    """
    if not 257 <= vocabulary <= 2**20:
        raise DataError(
            f"vocabulary is {vocabulary}; need at least 257 (every byte and an end of text)"
        )


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> TextTokenizer:
    """A byte-level BPE with `vocabulary` tokens, trained on these texts."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

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
    return TextTokenizer(tokenizer.to_str(), end_of_text=END_OF_TEXT, given=False)


def _cut(texts: Iterable[str]) -> Iterator[str]:
    """Pieces of the texts, of at most 500 characters."""
    for text in texts:
        yield from PIECE.findall(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One document, tokenised."""

    key: int
    """Hash of the text, as in `sampling.identity`."""
    tokens: Tokens
    """(tokens,), with the end of text if there is one."""


class Encoder:
    """Turns the texts of one source into tokens; ready-made tokens stay unchanged."""

    def __init__(self, tokenizer: TextTokenizer | None) -> None:
        """Args:
        tokenizer: None where all sources hold tokens and their tokenizer is not known.
        """
        self._tokenizer = tokenizer
        self._text_bytes = self._token_bytes = 0  # of all texts so far

    def __call__(self, contents: Iterable[tuple[int, Content]]) -> Iterator[Document]:
        """The documents of (key, content) pairs, in the same order."""
        with ThreadPoolExecutor(1) as thread:
            waiting: deque[tuple[Batch, Future[list[list[int]]]]] = deque()
            for batch in _batches(contents):
                waiting.append((batch, thread.submit(self._ids, batch)))
                if len(waiting) > 1:  # reads and converts while the next batch is encoded
                    yield from self._documents(*waiting.popleft())
            while waiting:
                yield from self._documents(*waiting.popleft())

    def _ids(self, batch: "Batch") -> list[list[int]]:
        """Token ids of the texts of a batch, without the end of text."""
        texts = [content for _, content in batch if isinstance(content, str)]
        return [] if self._tokenizer is None or not texts else self._tokenizer.encode(texts)

    def _documents(self, batch: "Batch", ids: "Future[list[list[int]]]") -> Iterator[Document]:
        """The documents of a batch."""
        encoded = iter(ids.result())
        for key, content in batch:
            if isinstance(content, str):
                if self._tokenizer is None:
                    continue
                yield Document(key=key, tokens=self._tokens(content, next(encoded)))
            else:
                yield Document(key=key, tokens=content)

    def _tokens(self, text: str, ids: list[int]) -> Tokens:
        """Tokens of a text, with the end of text; counts its bytes."""
        assert self._tokenizer is not None  # noqa: S101 - `_documents` has checked it
        kind, end = token_dtype(self._tokenizer.vocabulary), self._tokenizer.end_id
        tokens: Tokens = np.array([*ids, end], dtype=kind)
        self._text_bytes += len(text.encode())
        self._token_bytes += int(self._tokenizer.widths[tokens].sum())
        return tokens

    def num_bytes(self, documents: Sequence[Tokens]) -> int | None:
        """UTF-8 bytes of the text that tokens of this source stand for; None if not known.

        The bytes are the sum of the tokens' widths, times the ratio of bytes to widths of all texts
        that were encoded. The ratio is 1 for a byte-level tokenizer. It corrects what another
        tokenizer drops or changes, such as spaces or accents.
        """
        if self._tokenizer is None or not (self._token_bytes or self._tokenizer.spells_text):
            return None
        total = sum(int(self._tokenizer.widths[tokens].sum()) for tokens in documents)
        return round(total * self._text_bytes / self._token_bytes) if self._token_bytes else total


Batch = list[tuple[int, Content]]
"""(key, content) pairs that are encoded at once."""


def _batches(contents: Iterable[tuple[int, Content]]) -> Iterator[list[tuple[int, Content]]]:
    """Groups (key, content) pairs into batches of about BATCH_CHARACTERS."""
    batch: list[tuple[int, Content]] = []
    size = 0
    for key, content in contents:
        batch.append((key, content))
        size += len(content)
        if size >= BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
