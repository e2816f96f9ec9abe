"""Mixtures as users state them: as proportions, as numbers of tokens, as `natural` or
as `entropy`.

A stated mixture is normalised where its meaning is clear, and refused where it is not. What was
changed is told in notes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bimix_sweep.errors import MixtureError
from bimix_sweep.mixture.domains import DomainSet, Mixture
from bimix_sweep.mixture.simplex import SUM_TOLERANCE, Array
from bimix_sweep.text import listed

ROUNDED = 0.004
"""Largest difference from 1 of the sum of rounded proportions."""
MIN_COUNTS = 2.0
"""Smallest sum of numbers that are taken for numbers of tokens, if one of them is at least 1."""
MAX_COUNT = 1e18
"""Largest number that a stated mixture may give to a domain."""
MAX_NAMED = 8
"""Largest number of domains that a note names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedMixture:
    """A mixture that a user stated."""

    mixture: Mixture
    """The mixture over all domains; a domain that was not named has proportion 0."""
    notes: tuple[str, ...]
    """Sentences that say what was normalised or left out; empty where nothing was."""

    @classmethod
    def of(cls, what: str, values: Mapping[str, float], domains: DomainSet) -> "StatedMixture":
        """Reads the numbers of a stated mixture.

        Args:
            what: name of the mixture, with which each message begins.
            values: {domain: number}: proportions with the sum 1, to within `ROUNDED`, or numbers of
                tokens with a sum of at least `MIN_COUNTS`.
            domains: the domains that may be named.

        Raises:
            MixtureError: an unknown domain, a number out of its range, or a sum that belongs
                neither to proportions nor to numbers of tokens.
        """
        if unknown := [name for name in values if name not in domains.names]:
            raise MixtureError(
                f"{what} names {listed(unknown, MAX_NAMED)}; the domains are "
                f"{listed(domains.names, MAX_NAMED)}"
            )
        for name, value in values.items():
            if not 0 <= value <= MAX_COUNT:
                raise MixtureError(
                    f"{what} gives {name} the value {value:g}; need a number from 0 to "
                    f"{MAX_COUNT:g}"
                )
        total = math.fsum(values.values())
        notes = [*_normalised(what, total, max(values.values(), default=0.0))]
        held = zip(domains.names, domains.upper, strict=True)
        if absent := [name for name, high in held if high > 0 and name not in values]:
            notes.append(
                f"{what} does not name {listed(absent, MAX_NAMED)}; a domain not named counts as 0"
            )
        rows = np.array([values.get(name, 0.0) for name in domains.names]) / total
        return cls(mixture=Mixture.from_array(domains.names, rows), notes=tuple(notes))


def natural_mixture(what: str, domains: DomainSet) -> Mixture:
    """Returns the proportions of the available tokens, which may lie outside the bounds.

    Args:
        what: name of the mixture, for the message.
        domains: the domains with their tokens; a domain with max 0 gets 0.

    Raises:
        MixtureError: the tokens of a domain are not known.
    """
    known = zip(domains.names, domains.tokens, domains.upper, strict=True)
    if unknown := [name for name, tokens, high in known if high > 0 and math.isinf(tokens)]:
        raise MixtureError(
            f"{what} is natural, and the tokens of {listed(unknown, MAX_NAMED)} are not known; "
            "state the tokens of each domain, or the proportions"
        )
    tokens = np.where(domains.upper_array > 0, domains.tokens, 0.0)
    return Mixture.from_array(domains.names, tokens / tokens.sum())


def entropy_mixture(what: str, domains: DomainSet, measured: Mixture | None) -> Mixture:
    """Returns the entropy mixture of the domains, which may lie outside the bounds.

    Args:
        what: name of the mixture, for the message.
        domains: the domains; a domain with max 0 gets 0.
        measured: entropy mixture of the domains' text; None where it is not known.

    Raises:
        MixtureError: the mixture is not known.
    """
    if measured is None:
        raise MixtureError(
            f"{what} is entropy, which only the built-in trainer measures; print the mixture with "
            "bimix-sweep entropy, and state its proportions"
        )
    rows = np.where(domains.upper_array > 0, measured.as_array(domains.names), 0.0)
    return Mixture.from_array(domains.names, rows / rows.sum())


def divergence(mixture: Array, prior: Array) -> float:
    """Computes KL(mixture || prior) in nats, for (domains,) arrays in one order.

    It is infinite where the mixture holds a domain that the prior does not hold.
    """
    held = mixture > 0
    if (prior[held] <= 0).any():
        return math.inf
    return float((mixture[held] * np.log(mixture[held] / prior[held])).sum())


def _normalised(what: str, total: float, largest: float) -> Sequence[str]:
    """Notes on the sum of the stated numbers.

    Raises:
        MixtureError: the sum belongs neither to proportions nor to numbers of tokens.
    """
    if abs(total - 1) <= SUM_TOLERANCE:
        return ()
    if abs(total - 1) <= ROUNDED + SUM_TOLERANCE:
        return (f"{what} sums to {total:.6g} and was normalised to 1",)
    if total >= MIN_COUNTS and largest >= 1:
        return (
            f"{what} sums to {total:.4g}, so its numbers count as numbers of tokens and were "
            "divided by their sum",
        )
    raise MixtureError(
        f"{what} sums to {total:.6g}; need proportions with the sum 1 (rounding up to {ROUNDED:g} "
        "is normalised), or numbers of tokens"
    )
