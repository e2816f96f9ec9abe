"""The final run: the large training that a mixture is for."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bimix_sweep.errors import OptimumError
from bimix_sweep.mixture.domains import DomainSet
from bimix_sweep.mixture.simplex import Array

MAX_QUANTITY = 1e18
"""Largest number of tokens, parameters or steps that a decision problem may hold."""
MAX_EPOCHS = 16.0
"""Largest number of passes by default: the R* expected before any trial, plus one. A further pass
is worth less than 1/e of the first one (docs/evidence.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalRun:
    """The final run: the large training that a mixture is for."""

    tokens: float | None = None
    """Tokens of the final run; None where not stated."""
    size: float | None = None
    """Non-embedding parameters of the final run; None where not stated."""
    max_epochs: float = MAX_EPOCHS
    """Largest number of passes of the final run over the tokens of a domain."""

    def unique(self, domains: DomainSet, names: Sequence[str]) -> Array | None:
        """(names,) unique tokens of each domain as fractions of the run's tokens, infinite where
        not known; None where this is so for all of them."""
        if self.tokens is None:
            return None
        known = dict(zip(domains.names, domains.tokens, strict=True))
        unique = np.array([known.get(name, math.inf) for name in names]) / self.tokens
        return unique if np.isfinite(unique).any() else None

    def __post_init__(self) -> None:
        for name in ("tokens", "size", "max_epochs"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= MAX_QUANTITY:
                raise OptimumError(
                    f"{name} of the final run is {value:g}; need a number above 0, at most "
                    f"{MAX_QUANTITY:g}"
                )
