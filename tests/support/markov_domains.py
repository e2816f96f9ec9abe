"""Makes planted domains: Markov chains over tokens with a known entropy rate.

The entropy rate is the lowest loss that a proxy can reach on such a domain.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bimix_sweep.data.reading.token_files import Tokens
from bimix_sweep.data.store import TokenStore
from bimix_sweep.data.store_writing import Split, write_store
from bimix_sweep.errors import DataError
from bimix_sweep.mixture.simplex import Array
from bimix_sweep.seeding import rng


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkovDomain:
    """A Markov chain: each token depends only on the token before it."""

    transition: Array
    """(V, V); row x is the distribution of the token after x."""

    def __post_init__(self) -> None:
        shape = self.transition.shape
        if (
            len(shape) != 2
            or shape[0] != shape[1]
            or not np.allclose(self.transition.sum(axis=1), 1)
            or (self.transition < 0).any()
        ):
            raise DataError(
                f"transition has shape {shape}; need a square of distributions, one a row"
            )

    @classmethod
    def random(
        cls, generator: np.random.Generator, *, vocabulary: int, successors: int
    ) -> "MarkovDomain":
        """A random chain in which each token has `successors` possible next tokens.

        The probabilities of these tokens come from a flat Dirichlet distribution. The first of them
        is the next token in a cycle through all tokens, so that the chain reaches every token.
        """
        transition = np.zeros((vocabulary, vocabulary))
        cycle = generator.permutation(vocabulary)
        for place, token in enumerate(cycle):
            following = cycle[(place + 1) % vocabulary]
            others = generator.permutation(np.delete(np.arange(vocabulary), following))[
                : successors - 1
            ]
            transition[token, [following, *others]] = generator.dirichlet(np.ones(successors))
        return cls(transition=transition)

    def stationary(self) -> Array:
        """(V,) stationary distribution: the frequency of each token in a long text."""
        size = len(self.transition)
        equations = np.vstack([self.transition.T - np.eye(size), np.ones(size)])
        return np.asarray(np.linalg.lstsq(equations, np.r_[np.zeros(size), 1.0], rcond=None)[0])

    def entropy_rate(self) -> float:
        """Entropy rate, nats per token: the loss of a perfect model that sees the token before."""
        logs = np.log(np.where(self.transition > 0, self.transition, 1))
        return float(-(self.stationary()[:, None] * self.transition * logs).sum())

    def draw(
        self, generator: np.random.Generator, *, documents: int, length: int
    ) -> npt.NDArray[np.uint16]:
        """(documents, length) tokens; the first token of each document has the stationary
        distribution."""
        cumulative = self.transition.cumsum(axis=1)
        out = np.empty((documents, length), dtype=np.uint16)
        out[:, 0] = generator.choice(
            len(cumulative),
            size=documents,
            p=np.maximum(self.stationary(), 0) / np.maximum(self.stationary(), 0).sum(),
        )
        for place in range(1, length):
            rows = cumulative[out[:, place - 1]]
            out[:, place] = (rows < generator.random(documents)[:, None] * rows[:, -1:]).sum(axis=1)
        return out


def planted_store(
    path: str | Path,
    domains: Mapping[str, MarkovDomain],
    *,
    train_tokens: int,
    validation_tokens: int,
    seed: int,
    length: int = 512,
) -> TokenStore:
    """Write a token store of planted domains.

    Args:
        path: where the store is written.
        domains: chains, all over one vocabulary.
        train_tokens, validation_tokens: tokens of each domain, rounded up to whole documents.
        seed: seed of all draws.
        length: tokens per document.

    Raises:
        DataError: the chains have different vocabularies, or the store cannot be written.
    """
    vocabularies = {len(domain.transition) for domain in domains.values()}
    if len(vocabularies) != 1:
        raise DataError(f"the chains have vocabularies {sorted(vocabularies)}; need one")

    def split(name: str, kind: str, tokens: int) -> Split:
        drawn = domains[name].draw(
            rng(seed, f"planted {kind}", name), documents=-(-tokens // length), length=length
        )
        documents: list[Tokens] = list(drawn)
        return Split(documents=documents)

    return write_store(
        path,
        train={name: split(name, "train", train_tokens) for name in domains},
        validation={name: split(name, "validation", validation_tokens) for name in domains},
        vocabulary=vocabularies.pop(),
    )
