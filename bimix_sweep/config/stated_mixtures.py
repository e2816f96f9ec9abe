"""Mixtures that sweep.yaml states beside the domains: today's mixture, the prior, and mixtures to
try first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bimix_sweep.config.stated_sections import PriorConfig
from bimix_sweep.errors import MixtureError
from bimix_sweep.mixture.domains import DomainSet, Mixture
from bimix_sweep.mixture.simplex import SUM_TOLERANCE
from bimix_sweep.mixture.stated_mixture import StatedMixture, entropy_mixture, natural_mixture

Stated = Mapping[str, float] | str
"""A mixture as a key states it: numbers for domains, or one of the names that the key allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedMixtures:
    """Today's mixture, the prior and the first mixtures, over all domains of a sweep."""

    today: Mixture | None
    """Today's mixture, as stated, which may lie outside the bounds; None where not stated."""
    prior: Mixture | None
    """Mixture that the recommended one stays near; None where there is none."""
    kl: float
    """Strength of the pull to `prior`: objective per nat of divergence; 0 without a prior."""
    first: tuple[Mixture, ...]
    """Mixtures to try after the uniform and the natural one, inside the bounds."""
    notes: tuple[str, ...]
    """Sentences that say what was normalised or left out, and what follows from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedKeys:
    """The keys `today`, `prior` and `first` as the file states them."""

    today: Stated | None
    prior: PriorConfig | None
    first: Sequence[Stated]

    @property
    def asks_entropy(self) -> bool:
        """Whether a key names the entropy mixture."""
        return "entropy" in (self.today, self.prior and self.prior.mixture, *self.first)

    def resolved(self, domains: DomainSet, entropy: Mixture | None = None) -> StatedMixtures:
        """The mixtures that the keys state.

        Args:
            domains: domains with their tokens and with the bounds, caps included.
            entropy: entropy mixture of the domains; None where it is not known.

        Raises:
            MixtureError: a mixture cannot be read or is not known, or the bounds exclude the prior.
        """
        known = _Known(domains=domains, entropy=entropy)
        today, prior, early = None, None, []
        notes: tuple[str, ...] = ()
        if self.today is not None:
            today, notes = known.resolved("today", self.today)
            notes += _outside(today, domains)
        known = replace(known, today=today)
        if self.prior is not None:
            prior, more = known.resolved("prior.mixture", self.prior.mixture)
            notes += more + (_not_held(prior, domains) if self.prior.kl > 0 else ())
        for number, stated in enumerate(self.first, 1):
            mixture, more = known.resolved(what := f"mixture {number} of first", stated)
            early.append(domains.nearest(mixture.as_array(domains.names)))
            notes += more + _moved(what, mixture, domains)
        return StatedMixtures(
            today=today,
            prior=prior,
            kl=0.0 if self.prior is None else self.prior.kl,
            first=tuple(early),
            notes=notes,
        )

    def early_notes(self, domains: DomainSet, *, counted: bool) -> tuple[str, ...]:
        """Checks the keys before the text of the domains is read, and returns the notes.

        Args:
            domains: as for `resolved`.
            counted: whether the text will be read, which gives the tokens that the file does not
                state, and the entropy mixture.

        Raises:
            MixtureError: as for `resolved`.
        """
        if not counted:
            return self.resolved(domains).notes
        tokens = np.where(np.isinf(domains.tokens), 1.0, domains.tokens)
        domains = replace(domains, tokens=tuple(tokens.tolist()))
        return self.resolved(domains, domains.uniform()).notes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What the names of mixtures stand for."""

    domains: DomainSet
    entropy: Mixture | None
    today: Mixture | None = None

    def resolved(self, what: str, stated: Stated) -> tuple[Mixture, tuple[str, ...]]:
        """The mixture of one key and the notes on it."""
        if stated == "natural":
            return natural_mixture(what, self.domains), ()
        if stated == "entropy":
            return entropy_mixture(what, self.domains, self.entropy), ()
        if stated == "today":
            if self.today is None:
                raise MixtureError(f"{what} is today, and today is not stated; state it")
            return self.today, ()
        assert not isinstance(stated, str)  # noqa: S101
        read = StatedMixture.of(what, stated, self.domains)
        return read.mixture, read.notes


def _outside(today: Mixture, domains: DomainSet) -> tuple[str, ...]:
    """A note where today's mixture lies outside the bounds."""
    if not (broken := domains.broken(today.as_array(domains.names))):
        return ()
    return (
        f"today's mixture breaks the bounds of {domains.bounds_in_words(broken)}; it is trained as "
        "stated, as the baseline, and is not recommended",
    )


def _moved(what: str, first: Mixture, domains: DomainSet) -> tuple[str, ...]:
    """A note where a first mixture lies outside the bounds."""
    if not (broken := domains.broken(first.as_array(domains.names))):
        return ()
    return (
        f"{what} breaks the bounds of {domains.bounds_in_words(broken)} and is moved into them",
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
