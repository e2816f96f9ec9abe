"""Mixtures and domain sets: named domains with bounds and available tokens, and proportions over
these domains."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bimix_sweep.errors import MixtureError
from bimix_sweep.mixture.simplex import SUM_TOLERANCE, Array, check_bounds, project
from bimix_sweep.text import shown

SAME = 1e-3
"""Fraction of a domain's room by which its proportions in two equal mixtures may differ
(`DomainSet.same`)."""
ROUNDING = 1e-9
"""Largest difference of two proportions that file formats and floating-point arithmetic cause."""
MAX_DOMAINS = 10_000
"""Largest number of domains of a mixture; a larger number is taken for an error in the input."""


def check_names(names: Sequence[str], what: str = "domain") -> None:
    """Refuses names that are empty or repeated, or that a person could not read or type.

    Every other text is a name: `dolma/books`, `c4:en (v2)`. A name never becomes a path, because
    files of a sweep and of its token store are numbered. `quoting` has the rules for the two places
    that do not take every text: a folder that a trainer wants, and labels of Ray's metrics.

    Raises:
        MixtureError: a name is refused.
    """
    for name in names:
        if not name or not name.isprintable() or name != name.strip():
            raise MixtureError(
                f"{what} name {shown(name)} is not usable; need printable text that neither begins "
                "nor ends with a space"
            )
    if len(set(names)) < len(names):
        twice = next(name for name in names if list(names).count(name) > 1)
        raise MixtureError(f"{what} {twice} is named twice; need distinct names")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """Proportions over named domains; a proportion is a fraction of all **tokens**."""

    names: tuple[str, ...]
    """Names of the domains, distinct."""
    proportions: tuple[float, ...]
    """One proportion for each domain, >= 0, sum 1 within 1e-6."""

    def __post_init__(self) -> None:
        check_names(self.names)
        if len(self.names) != len(self.proportions):
            raise MixtureError(
                f"{len(self.proportions)} proportions for {len(self.names)} domains; need one each"
            )
        for name, proportion in zip(self.names, self.proportions, strict=True):
            if not (math.isfinite(proportion) and proportion >= 0):
                raise MixtureError(
                    f"domain {name} has proportion {proportion:g}; need a number >= 0"
                )
        if abs(sum(self.proportions) - 1) > SUM_TOLERANCE:
            raise MixtureError(
                f"the proportions sum to {sum(self.proportions):.6g}; need 1 within "
                f"{SUM_TOLERANCE:g}"
            )

    @classmethod
    def from_mapping(cls, proportions: Mapping[str, float]) -> "Mixture":
        """Makes a mixture from {domain: proportion}."""
        return cls(
            names=tuple(proportions), proportions=tuple(float(v) for v in proportions.values())
        )

    @classmethod
    def from_array(cls, names: Sequence[str], proportions: Iterable[float]) -> "Mixture":
        """Makes a mixture from names and a (domains,) array in the order of the names."""
        return cls(names=tuple(names), proportions=tuple(float(v) for v in proportions))

    def as_dict(self) -> dict[str, float]:
        """Returns {domain: proportion} in the order of the names."""
        return dict(zip(self.names, self.proportions, strict=True))

    def moved(self, renamed: Mapping[str, str], names: Sequence[str]) -> "Mixture":
        """Returns the mixture over other domains: renames {domain: new name}, then puts the
        proportions in the order of `names`. A domain in `names` that the mixture lacks gets
        proportion 0.

        Raises:
            MixtureError: the mixture has a positive proportion in a domain that `names` lacks.
        """
        same = Mixture(
            names=tuple(renamed.get(name, name) for name in self.names),
            proportions=self.proportions,
        )
        return Mixture.from_array(names, same.as_array(names))

    def as_array(self, names: Sequence[str] | None = None) -> Array:
        """Returns the (domains,) float64 proportions in the order of `names` (default: the
        mixture's own names). A domain that the mixture lacks gets proportion 0.

        Raises:
            MixtureError: the mixture has a positive proportion in a domain that `names` lacks.
        """
        if names is None:
            return np.array(self.proportions, dtype=np.float64)
        proportions = self.as_dict()
        if extra := [
            name for name, proportion in proportions.items() if proportion > 0 and name not in names
        ]:
            raise MixtureError(
                f"the mixture holds {', '.join(extra)}; only {', '.join(names)} are known here"
            )
        return np.array([proportions.get(name, 0.0) for name in names], dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainSet:
    """The domains of a sweep in their order, with the available tokens and the bounds of the
    proportion of each domain."""

    names: tuple[str, ...]
    """Distinct names."""
    tokens: tuple[float, ...] = ()
    """Tokens available to the final run, > 0; infinite where unknown (the default)."""
    lower: tuple[float, ...] = ()
    """Smallest proportions, default 0."""
    upper: tuple[float, ...] = ()
    """Largest proportions, default 1."""

    def __post_init__(self) -> None:
        check_names(self.names)
        if not self.names:
            raise MixtureError("no domains; need at least one")
        for field, default in (("tokens", math.inf), ("lower", 0.0), ("upper", 1.0)):
            values = getattr(self, field) or (default,) * len(self.names)
            if len(values) != len(self.names):
                raise MixtureError(
                    f"{len(values)} values of {field} for {len(self.names)} domains; need one each"
                )
            object.__setattr__(self, field, tuple(float(v) for v in values))
        for name, count in zip(self.names, self.tokens, strict=True):
            if not count > 0:
                raise MixtureError(f"domain {name} has {count:g} tokens; need more than 0")
        check_bounds(self.lower_array, self.upper_array, self.names)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def lower_array(self) -> Array:
        """(domains,) smallest proportions."""
        return np.array(self.lower, dtype=np.float64)

    @property
    def upper_array(self) -> Array:
        """(domains,) largest proportions."""
        return np.array(self.upper, dtype=np.float64)

    def capped(self, run_tokens: float, max_epochs: float) -> "DomainSet":
        """Returns the same domains with each upper bound lowered to `max_epochs` passes over the
        domain's tokens in a run of `run_tokens` tokens.

        Raises:
            MixtureError: the caps leave no mixture (too few tokens in all), or a cap is below a
                domain's min.
        """
        if not (0 < run_tokens < math.inf and 0 < max_epochs < math.inf):
            raise MixtureError(
                f"a run of {run_tokens:g} tokens at {max_epochs:g} epochs is not possible; need "
                "both above 0 and finite"
            )
        caps = max_epochs * np.array(self.tokens) / run_tokens
        for name, low, tokens, cap in zip(self.names, self.lower, self.tokens, caps, strict=True):
            if cap < low:
                raise MixtureError(
                    f"domain {name} has min {low:g}, and {max_epochs:g} epochs of its {tokens:g} "
                    f"tokens are {cap:.3g} of a run of {run_tokens:g} tokens; need a min of at "
                    "most that, more epochs, or a shorter run"
                )
        upper = np.minimum(self.upper_array, caps)
        if upper.sum() < 1 - SUM_TOLERANCE:
            raise MixtureError(
                f"{run_tokens:g} tokens at {max_epochs:g} epochs need "
                f"{run_tokens / max_epochs:g} tokens of text; the domains and their max give "
                f"{upper.sum() * run_tokens / max_epochs:.4g}, so raise the epochs or shorten "
                "the run"
            )
        return DomainSet(names=self.names, tokens=self.tokens, lower=self.lower, upper=tuple(upper))

    def uniform(self) -> Mixture:
        """Returns equal proportions of all domains whose max is above 0, moved into the bounds."""
        return self.nearest(self._uniform())

    def natural(self) -> Mixture:
        """Returns proportions equal to the domains' fractions of all available tokens, moved into
        the bounds; the uniform mixture where a token count is not known.

        Tokens of a domain with max 0 are not available.
        """
        return self.nearest(self._natural())

    @property
    def knows_tokens(self) -> bool:
        """Whether the available tokens of all domains whose max is above 0 are known."""
        return bool(np.isfinite(np.where(self.upper_array > 0, self.tokens, 0.0)).all())

    @property
    def moved(self) -> dict[str, tuple[str, ...]]:
        """Domains whose bounds a reference mixture breaks before it is moved into them: {"uniform"
        or "natural": names}. A mixture that breaks no bound has no entry."""
        references = {"uniform": self._uniform(), "natural": self._natural()}
        return {name: broken for name, rows in references.items() if (broken := self.broken(rows))}

    def broken(self, proportions: Array) -> tuple[str, ...]:
        """Returns the names of the domains whose bounds (domains,) proportions break."""
        low, high = self.lower_array - SUM_TOLERANCE, self.upper_array + SUM_TOLERANCE
        outside = (proportions < low) | (proportions > high)
        return tuple(self.names[index] for index in np.flatnonzero(outside))

    def bounds_in_words(self, names: Iterable[str]) -> str:
        """Returns the bounds of some domains in words: `web (0 to 0.5), code (0.1 to 1)`."""
        indices = [self.names.index(name) for name in names]
        return ", ".join(
            f"{self.names[n]} ({self.lower[n]:.3g} to {self.upper[n]:.3g})" for n in indices
        )

    @property
    def room(self) -> Array:
        """(domains,) distance between the smallest and the largest proportion that the mixtures
        inside the bounds have."""
        lower, upper = self.lower_array, self.upper_array
        least = np.maximum(lower, 1 - upper.sum() + upper)
        most = np.minimum(upper, 1 - lower.sum() + lower)
        return np.asarray(np.maximum(most - least, 0.0))

    def holds(self, rows: Array) -> npt.NDArray[np.bool_]:
        """Tells which of (n, domains) proportions lie inside the bounds, within rounding; returns
        (n,) booleans."""
        inside = (rows >= self.lower_array - SUM_TOLERANCE) & (
            rows <= self.upper_array + SUM_TOLERANCE
        )
        return np.asarray(inside.all(axis=-1))

    def same(self, rows: Array, proportions: Array) -> npt.NDArray[np.bool_]:
        """Tells which of (n, domains) proportions count as the same mixture as (domains,)
        `proportions` in a measurement; returns (n,) booleans.

        Two mixtures are the same where no domain differs by more than SAME of the room that the
        bounds leave it. Proportions with narrow bounds are therefore compared more finely.
        """
        near = np.abs(rows - proportions) <= SAME * self.room + ROUNDING
        return np.asarray(near.all(axis=-1))

    def nearest(self, proportions: Array) -> Mixture:
        """Returns the mixture inside the bounds that is nearest to a (domains,) array."""
        return Mixture.from_array(
            self.names, project(proportions, self.lower_array, self.upper_array)
        )

    def _uniform(self) -> Array:
        usable = self.upper_array > 0
        return np.asarray(usable / usable.sum())

    def _natural(self) -> Array:
        if not self.knows_tokens:
            return self._uniform()
        tokens = np.where(self.upper_array > 0, self.tokens, 0.0)
        return np.asarray(tokens / tokens.sum())
