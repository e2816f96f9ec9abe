"""Draws the batches of a trial in exact proportions; each batch depends only on its step.

A sequence is `context` + 1 consecutive tokens of one domain. Tijdeman's chairman assignment decides
which domain the n-th sequence of a trial comes from: after any number of sequences, the count of
every domain is within one sequence of its proportion. The k-th sequence of a domain is the same in
every trial with the same stream seed, whatever the mixture (common random numbers). So two trials
differ in how much they take of each domain, and not by chance.

Source: R. Tijdeman, The chairman assignment problem, Discrete Mathematics 32 (1980) 323-330.
"""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from bimix_sweep.data.reading.token_files import Tokens
from bimix_sweep.data.store import TokenStore
from bimix_sweep.errors import DataError
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.mixture.simplex import Array
from bimix_sweep.seeding import rng

Ints = npt.NDArray[np.int64]
MAX_DIFFERENCE = 0.1
"""Maximum relative difference between the requested and the realised proportion that is not
reported."""


def num_windows(tokens: float, context: int) -> int:
    """Number of sequences that do not overlap in so many tokens of a domain; each predicts
    `context` tokens."""
    return int((tokens - 1) // context)


class MixtureStream:
    """The batches of one trial."""

    def __init__(
        self,
        store: TokenStore,
        mixture: Mixture,
        *,
        batch: int,
        context: int,
        seed: int,
        limits: Mapping[str, int] | None = None,
    ) -> None:
        """Map the training tokens of every domain that has a positive proportion.

        Args:
            store: the token store.
            mixture: proportions of tokens; a domain of the store that the mixture does not name has
                proportion 0.
            batch: sequences per step.
            context: number of predicted tokens per sequence.
            seed: seed of the order of sequences; trials that are compared share it, replicates have
                different ones.
            limits: {domain: number of its first training tokens that may be used}; so a smaller
                limit selects a subset of a larger one.

        Raises:
            DataError: a domain with a positive proportion has fewer tokens than one sequence.
            MixtureError: the mixture holds a domain that the store lacks.
        """
        self.store, self.mixture, self.batch, self.context, self.seed = (
            store,
            mixture,
            batch,
            context,
            seed,
        )
        self.limits = dict(limits or {})
        self.proportions: Array = mixture.as_array(store.domains)
        self._tokens: dict[int, Tokens] = {}
        for index in np.flatnonzero(self.proportions):
            name = store.domains[index]
            tokens = store.train(name)[: self.limits.get(name)]
            if len(tokens) < context + 1:
                raise DataError(
                    f"domain {name} has {len(tokens)} tokens to train on; need at least "
                    f"{context + 1}, one sequence of the context {context}"
                )
            self._tokens[int(index)] = tokens
        self._order = np.zeros(0, dtype=np.int64)  # domain of each sequence; `_grow` extends it
        self._counts = np.zeros(
            (1, len(store.domains)), dtype=np.int64
        )  # sequences of each domain before each step; `_grow` extends it

    def batch_at(self, step: int) -> Ints:
        """(batch, context + 1) tokens of a step; steps count from 0.

        The batch of a step does not depend on which batches were asked for before.
        """
        self._grow(step + 1)
        rows = np.empty((self.batch, self.context + 1), dtype=np.int64)
        taken = self._counts[step].copy()
        for row, domain in enumerate(self._order[step * self.batch : (step + 1) * self.batch]):
            rows[row] = self._sequence(int(domain), int(taken[domain]))
            taken[domain] += 1
        return rows

    def tokens_drawn(self, steps: int) -> dict[str, int]:
        """{domain: number of tokens that the first `steps` steps train on}."""
        self._grow(steps)
        return dict(
            zip(self.store.domains, (self._counts[steps] * self.context).tolist(), strict=True)
        )

    def epochs(self, steps: int) -> dict[str, float]:
        """{domain: passes of the first `steps` steps over the tokens that the domain may use}.

        A domain with proportion 0 has 0 passes.
        """
        drawn = self.tokens_drawn(steps)
        domains = self.store.domains
        return {
            domains[i]: drawn[domains[i]] / (self._windows(i) * self.context) for i in self._tokens
        } | {name: 0.0 for name, share in zip(domains, self.proportions, strict=True) if share == 0}

    def fingerprint(self) -> dict[str, object]:
        """JSON-able: everything that the batches depend on."""
        return {
            "store": self.store.digest,
            "mixture": {
                n: float(r) for n, r in zip(self.store.domains, self.proportions, strict=True)
            },
            "batch": self.batch,
            "context": self.context,
            "stream_seed": self.seed,
            "limits": self.limits,
        }

    def _windows(self, domain: int) -> int:
        """Number of sequences that do not overlap in a domain's usable tokens."""
        return num_windows(len(self._tokens[domain]), self.context)

    def _sequence(self, domain: int, number: int) -> Tokens:
        """The `number`-th sequence of a domain; each epoch visits the domain's sequences in
        another order."""
        epoch, place = divmod(number, self._windows(domain))
        start = (
            _permutation(self.seed, self.store.domains[domain], epoch, self._windows(domain))[place]
            * self.context
        )
        return self._tokens[domain][start : start + self.context + 1]

    def _grow(self, steps: int) -> None:
        """Extends the assignment of sequences to domains to at least `steps` steps."""
        have = len(self._counts) - 1
        if steps <= have:
            return
        steps = max(steps, 2 * have)
        order, counts = _assign(
            self.proportions, self._counts[-1], have * self.batch, steps * self.batch
        )
        self._order = np.concatenate([self._order, order])
        self._counts = np.concatenate([self._counts, counts[self.batch - 1 :: self.batch]])


def badly_realised(mixture: Mixture, sequences: int) -> dict[str, tuple[float, float]]:
    """Domains whose realised proportion differs from the requested one by more than MAX_DIFFERENCE.

    The difference is relative to the requested proportion. A domain with a positive proportion and
    0 sequences is included. The numbers hold for a trial on a store whose domains are in the order
    of the mixture.

    Args:
        mixture: the requested proportions.
        sequences: number of sequences of the trial.

    Returns:
        {domain: (requested proportion, realised proportion)}.
    """
    proportions = mixture.as_array()
    if (proportions[proportions > 0] * sequences >= 1 / MAX_DIFFERENCE).all():
        return {}  # a domain is never more than one sequence away from its proportion
    _, counts = _assign(proportions, np.zeros(len(proportions), dtype=np.int64), 0, sequences)
    return {
        name: (float(wanted), count / sequences)
        for name, wanted, count in zip(mixture.names, proportions, counts[-1].tolist(), strict=True)
        if abs(count - wanted * sequences) > MAX_DIFFERENCE * wanted * sequences
    }


@lru_cache(maxsize=64)
def _permutation(seed: int, domain: str, epoch: int, size: int) -> Ints:
    """(size,) order of a domain's sequences in one epoch."""
    return rng(seed, "order", domain, epoch).permutation(size)


def _assign(proportions: Array, before: Ints, first: int, last: int) -> tuple[Ints, Ints]:
    """Assign the sequences `first` to `last` - 1 to domains.

    A domain is eligible if its count lags far enough behind its proportion. Of the eligible
    domains, the one whose next sequence is due first is chosen.

    Args:
        proportions: (domains,), sum 1.
        before: (domains,) sequences of each domain before `first`.

    Returns:
        (sequences,) domain of each sequence, and (sequences, domains) count of each domain after
        each sequence.
    """
    held = np.flatnonzero(proportions)
    share, count = proportions[held] / proportions[held].sum(), before[held].astype(np.float64)
    slack = 1 / (2 * len(held) - 2) if len(held) > 1 else 0.0
    order, counts = (
        np.empty(last - first, dtype=np.int64),
        np.zeros((last - first, len(proportions)), dtype=np.int64),
    )
    for place, number in enumerate(range(first, last)):
        ahead = share * (number + 1) - count
        due = np.where(ahead >= slack - 1e-9, (count + 1 - slack) / share, np.inf)
        chosen = int(due.argmin())
        count[chosen] += 1
        order[place] = held[chosen]
        counts[place, held] = count
    return order, counts
