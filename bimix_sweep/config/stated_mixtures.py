"""Mixtures that sweep.yaml states beside the domains: today's mixture, and the prior."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np

from bimix_sweep.config.stated_sections import PriorConfig
from bimix_sweep.errors import MixtureError
from bimix_sweep.mixture.domains import DomainSet, Mixture
from bimix_sweep.mixture.simplex import SUM_TOLERANCE
from bimix_sweep.mixture.stated_mixture import StatedMixture, natural_mixture


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedMixtures:
    """Today's mixture and the prior, over all domains of a sweep."""

    today: Mixture | None
    """Today's mixture, as stated, which may lie outside the bounds; None where not stated."""
    prior: Mixture | None
    """Mixture that the recommended one stays near; None where there is none."""
    kl: float
    """Strength of the pull to `prior`: objective per nat of divergence; 0 without a prior."""
    notes: tuple[str, ...]
    """Sentences that say what was normalised or left out, and what follows from it."""

    @classmethod
    def of(
        cls,
        today: Mapping[str, float] | Literal["natural"] | None,
        prior: PriorConfig | None,
        domains: DomainSet,
    ) -> Self:
        """Resolves the keys `today` and `prior`.

        Args:
            today, prior: values of the keys.
            domains: domains with their tokens and with the bounds, caps included.

        Raises:
            MixtureError: a mixture cannot be read, or the bounds exclude the prior.
        """
        today_mixture, notes = _resolved("today", today, domains)
        notes += _outside(today_mixture, domains)
        if prior is None:
            return cls(today=today_mixture, prior=None, kl=0.0, notes=notes)
        if prior.mixture != "today":
            pulled_to, more = _resolved("prior.mixture", prior.mixture, domains)
        elif today_mixture is None:
            raise MixtureError("prior.mixture is today, and today is not stated; state it")
        else:
            pulled_to, more = today_mixture, ()
        if pulled_to is not None and prior.kl > 0:
            more += _not_held(pulled_to, domains)
        return cls(today=today_mixture, prior=pulled_to, kl=prior.kl, notes=notes + more)

    @classmethod
    def early_notes(
        cls,
        today: Mapping[str, float] | Literal["natural"] | None,
        prior: PriorConfig | None,
        domains: DomainSet,
        *,
        counted: bool,
    ) -> tuple[str, ...]:
        """Checks the keys before the text of the domains is counted, and returns the notes.

        Args:
            today, prior, domains: as for `of`.
            counted: whether the tokens that the file does not state will be counted.

        Raises:
            MixtureError: as for `of`.
        """
        if counted:
            tokens = np.where(np.isinf(domains.tokens), 1.0, domains.tokens)
            domains = replace(domains, tokens=tuple(tokens.tolist()))
        return cls.of(today, prior, domains).notes


def _resolved(
    what: str, stated: Mapping[str, float] | str | None, domains: DomainSet
) -> tuple[Mixture | None, tuple[str, ...]]:
    """The mixture of one key and the notes on it."""
    if stated is None:
        return None, ()
    if isinstance(stated, str):
        return natural_mixture(what, domains), ()
    read = StatedMixture.of(what, stated, domains)
    return read.mixture, read.notes


def _outside(today: Mixture | None, domains: DomainSet) -> tuple[str, ...]:
    """A note where today's mixture lies outside the bounds."""
    if today is None or not (broken := domains.broken(today.as_array(domains.names))):
        return ()
    return (
        f"today's mixture breaks the bounds of {domains.bounds_in_words(broken)}; it is trained as "
        "stated, as the baseline, and is not recommended",
    )


def _not_held(prior: Mixture, domains: DomainSet) -> tuple[str, ...]:
    """A note where the prior keeps domains out of every recommended mixture.

    Raises:
        MixtureError: the bounds need such a domain.
    """
    absent = np.array(prior.as_array() <= 0)
    needed = [
        name for name, low in zip(domains.names, absent * domains.lower_array, strict=True) if low
    ]
    if needed or domains.upper_array[~absent].sum() < 1 - SUM_TOLERANCE:
        raise MixtureError(
            "prior.mixture gives nothing to domains that the bounds need"
            f"{f', such as {needed[0]}' if needed else ''}; give every such domain a proportion"
        )
    names = [
        name
        for name, is_absent, high in zip(domains.names, absent, domains.upper, strict=True)
        if is_absent and high > 0
    ]
    if not names:
        return ()
    return (
        f"prior.mixture gives nothing to {', '.join(names)}, so no recommended mixture holds it; "
        "give it a proportion to allow it",
    )
