"""Computes mixtures from the entropy of each domain's tokens, without any trial.

The higher the entropy of a domain, the larger its proportion.

With P the frequencies of tokens x and of adjacent pairs (x, x') in a domain, and natural
logarithms:

    SE  = -sum P(x) log P(x)                  Shannon
    JE  = -sum P(x, x') log P(x, x')          joint
    CE  = -sum P(x, x') log P(x' | x)         conditional; the best of the four in the paper
    VNE = -sum l log l                        von Neumann; l: eigenvalues of K / N,
                                              K: kernel of N samples with K_nn = 1

    r_i = exp(H_i) / sum_j exp(H_j)

Source: BiMix, arXiv:2405.14908, section 4 and appendix A.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bimix_sweep.data.reading.token_files import Tokens
from bimix_sweep.data.store import TokenStore
from bimix_sweep.errors import DataError
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.mixture.simplex import Array

MAX_COUNTED = 10_000_000
"""Largest number of tokens of each domain that are counted; it bounds memory and time."""


def shannon_entropy(tokens: Tokens) -> float:
    """Shannon entropy (SE) of (tokens,), nats per token.

    Raises:
        DataError: there is no token.
    """
    _need(tokens, 0)
    return _entropy(np.bincount(tokens))


def joint_entropy(tokens: Tokens) -> float:
    """Joint entropy (JE) of the adjacent pairs in (tokens,), nats per pair.

    Raises:
        DataError: there are fewer than two tokens.
    """
    return _entropy(_pair_counts(tokens))


def conditional_entropy(tokens: Tokens) -> float:
    """Conditional entropy (CE) of (tokens,), nats per token.

    CE is JE minus the entropy of the pairs' first tokens.

    Raises:
        DataError: there are fewer than two tokens.
    """
    return _conditional(tokens, _pair_counts(tokens))


def _conditional(tokens: Tokens, pairs: npt.NDArray[np.int64]) -> float:
    """Conditional entropy of tokens whose pairs are counted."""
    return _entropy(pairs) - shannon_entropy(tokens[:-1])


def von_neumann_entropy(kernel: Array) -> float:
    """Von Neumann entropy (VNE) of an (N, N) symmetric kernel with unit diagonal, nats.

    The value lies between 0 (all samples alike) and log N (all samples orthogonal).

    Raises:
        DataError: the kernel is not a symmetric square matrix with a diagonal of ones.
    """
    if (
        kernel.ndim != 2
        or kernel.shape[0] != kernel.shape[1]
        or not np.allclose(kernel, kernel.T)
        or not np.allclose(np.diag(kernel), 1)
    ):
        raise DataError(
            f"the kernel has shape {kernel.shape}; need a symmetric square with a diagonal of ones"
        )
    return _spectral(np.linalg.eigvalsh(kernel) / len(kernel))


def embedding_entropy(embeddings: Array) -> float:
    """Von Neumann entropy (VNE) of (N, d) embeddings under the cosine kernel, nats.

    The eigenvalues are those of the smaller of the two Gram matrices, (N, N) or (d, d).

    Raises:
        DataError: a row is zero or not finite.
    """
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    if embeddings.ndim != 2 or not np.isfinite(lengths).all() or (lengths == 0).any():
        raise DataError(
            f"the embeddings have shape {embeddings.shape}; need one finite non-zero row a sample"
        )
    unit = embeddings / lengths
    gram = unit @ unit.T if len(unit) <= unit.shape[1] else unit.T @ unit
    return _spectral(np.linalg.eigvalsh(gram) / len(unit))


def entropy_mixture(entropies: Mapping[str, float]) -> Mixture:
    """Mixture r_i = exp(H_i) / sum_j exp(H_j) from {domain: H}.

    Raises:
        DataError: there is no entropy, or an entropy is not finite.
    """
    values = np.array([*entropies.values()], dtype=np.float64)
    if not np.isfinite(values).all() or not values.size:
        raise DataError(
            f"the entropies are {dict(entropies)}; need a finite number for each domain"
        )
    shares = np.exp(values - values.max())
    return Mixture.from_array(tuple(entropies), shares / shares.sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainEntropies:
    """Entropies of the domains of one token store."""

    num_tokens: int
    """Number of tokens of each domain that were counted."""
    values: Mapping[str, Mapping[str, float]]
    """{"SE" | "CE" | "JE": {domain: entropy}}, nats per token, or nats per pair for JE."""
    single_pairs: Mapping[str, float]
    """{domain: fraction of its adjacent pairs that occur once}.

    It estimates the probability of a pair that was not counted (Good and Turing). Where it is
    large, CE and JE are too low.
    """

    @classmethod
    def of(cls, store: TokenStore) -> "DomainEntropies":
        """Measures the training tokens of a store.

        The same number of tokens of each domain is counted: as many as the smallest domain has, at
        most MAX_COUNTED. An entropy estimated from counts grows with the number of tokens, so
        different numbers would favour large domains.

        Raises:
            DataError: a domain has fewer than two tokens.
        """
        count = min(MAX_COUNTED, *(store.num_train_tokens(name) for name in store.domains))
        values: dict[str, dict[str, float]] = {"SE": {}, "CE": {}, "JE": {}}
        single = {}
        for name in store.domains:
            tokens = store.train(name)[:count]
            pairs = _pair_counts(tokens)
            values["SE"][name] = shannon_entropy(tokens)
            values["JE"][name] = _entropy(pairs)
            values["CE"][name] = _conditional(tokens, pairs)
            single[name] = float((pairs == 1).sum() / pairs.sum())
        return cls(num_tokens=count, values=values, single_pairs=single)

    @property
    def mixtures(self) -> dict[str, Mixture]:
        """{"SE" | "CE" | "JE": its mixture}."""
        return {short: entropy_mixture(values) for short, values in self.values.items()}


def _need(tokens: Tokens, count: int) -> None:
    """Raises DataError unless there are at least `count + 1` tokens."""
    if len(tokens) < count + 1:
        raise DataError(f"{len(tokens)} tokens; need at least {count + 1} to measure an entropy")


def _pair_counts(tokens: Tokens) -> npt.NDArray[np.int64]:
    """(distinct pairs,) number of times that each adjacent pair in (tokens,) occurs."""
    _need(tokens, 1)
    wide = np.asarray(tokens, dtype=np.uint64)
    pairs = (wide[:-1] << np.uint64(32)) | wide[1:]
    return np.asarray(np.unique(pairs, return_counts=True)[1], dtype=np.int64)


def _entropy(counts: npt.NDArray[np.int64]) -> float:
    """Shannon entropy, nats, of the distribution that counts are proportional to."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def _spectral(eigenvalues: Array) -> float:
    """Von Neumann entropy, nats, from the eigenvalues of K / N."""
    positive = eigenvalues[eigenvalues > 0]
    return float(-(positive * np.log(positive)).sum())
