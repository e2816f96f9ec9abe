"""Batches of a mixture: exact proportions at every step, each batch a function of its step alone.

A sequence is `context` + 1 consecutive tokens of one domain. Which domain the n-th sequence of a run comes from is
Tijdeman's chairman assignment: after any number of sequences every domain has its share to within one sequence. The k-th
sequence of a domain is the same in every run of one stream seed, whatever the mixture (common random numbers), so two runs
differ by how much they take of each domain and not by luck.

Source: R. Tijdeman, The chairman assignment problem, Discrete Mathematics 32 (1980) 323-330.
"""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from bimix_sweep.data.store import TokenStore
from bimix_sweep.data.token_files import Tokens
from bimix_sweep.errors import DataError
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.mixture.simplex import Array
from bimix_sweep.seeding import rng

Ints = npt.NDArray[np.int64]
MAX_DIFFERENCE = 0.1
"""Relative difference between the proportion asked for and the realised one that is told."""


class MixtureStream:
    """The batches of one run."""

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
        """Prepare to draw.

        Args:
            store: where the tokens are.
            mixture: shares of tokens; a domain of the store it does not name is at 0.
            batch: sequences a step.
            context: tokens a sequence is trained to predict.
            seed: of the order of sequences; runs to be compared share it, replicates differ in it.
            limits: training tokens a domain may use, the first ones of its store: smaller sets lie inside larger ones.

        Raises:
            DataError: a domain with a share has fewer tokens than one sequence.
            MixtureError: the mixture holds a domain the store lacks.
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
                    f"domain {name} has {len(tokens)} tokens to train on; need at least {context + 1}, one sequence of the context {context}"
                )
            self._tokens[int(index)] = tokens
        self._order = np.zeros(
            0, dtype=np.int64
        )  # domain of each sequence, grown as steps are asked for
        self._counts = np.zeros(
            (1, len(store.domains)), dtype=np.int64
        )  # sequences of each domain before each step

    def batch_at(self, step: int) -> Ints:
        """(batch, context + 1) tokens of a step; steps count from 0. The same whenever and in whatever order it is asked."""
        self._grow(step + 1)
        rows = np.empty((self.batch, self.context + 1), dtype=np.int64)
        taken = self._counts[step].copy()
        for row, domain in enumerate(self._order[step * self.batch : (step + 1) * self.batch]):
            rows[row] = self._sequence(int(domain), int(taken[domain]))
            taken[domain] += 1
        return rows

    def tokens_drawn(self, steps: int) -> dict[str, int]:
        """Tokens of each domain the first `steps` steps are trained on."""
        self._grow(steps)
        return dict(
            zip(self.store.domains, (self._counts[steps] * self.context).tolist(), strict=True)
        )

    def epochs(self, steps: int) -> dict[str, float]:
        """How often the first `steps` steps pass over what each domain may use; 0 for a domain without share."""
        drawn = self.tokens_drawn(steps)
        domains = self.store.domains
        return {
            domains[i]: drawn[domains[i]] / (self._windows(i) * self.context) for i in self._tokens
        } | {name: 0.0 for name, share in zip(domains, self.proportions, strict=True) if share == 0}

    def fingerprint(self) -> dict[str, object]:
        """JSON-able: all that the batches depend on."""
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
        return (len(self._tokens[domain]) - 1) // self.context

    def _sequence(self, domain: int, number: int) -> Tokens:
        """The `number`-th sequence of a domain: every epoch goes through its windows in another order."""
        epoch, place = divmod(number, self._windows(domain))
        start = (
            _permutation(self.seed, self.store.domains[domain], epoch, self._windows(domain))[place]
            * self.context
        )
        return self._tokens[domain][start : start + self.context + 1]

    def _grow(self, steps: int) -> None:
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
    """{domain: (proportion asked for, proportion that a trial of so many sequences realises)} where
    these differ by more than MAX_DIFFERENCE of the first; 0 sequences of a domain are such a case.

    The numbers of a run of a store whose domains stand in the mixture's order.
    """
    asked = mixture.as_array()
    if (asked[asked > 0] * sequences >= 1 / MAX_DIFFERENCE).all():
        return {}  # a domain is never more than one sequence away from its proportion
    _, counts = _assign(asked, np.zeros(len(asked), dtype=np.int64), 0, sequences)
    return {
        name: (float(wanted), count / sequences)
        for name, wanted, count in zip(mixture.names, asked, counts[-1].tolist(), strict=True)
        if abs(count - wanted * sequences) > MAX_DIFFERENCE * wanted * sequences
    }


@lru_cache(maxsize=64)
def _permutation(seed: int, domain: str, epoch: int, size: int) -> Ints:
    return rng(seed, "order", domain, epoch).permutation(size)


def _assign(proportions: Array, before: Ints, first: int, last: int) -> tuple[Ints, Ints]:
    """Domains of the sequences `first`..`last` - 1, and how many of each domain there are after each of them.

    Of the domains whose share is far enough ahead of what they have, the one whose next sequence is due first is taken.

    Args:
        proportions: (domains,), sum 1.
        before: (domains,) sequences of each domain before `first`.
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
