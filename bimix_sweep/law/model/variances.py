"""Splits the variance of log losses about the parametric law into four components."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bimix_sweep.law.model.observations import Index
from bimix_sweep.mixture.simplex import Array

COMPONENTS = ("trial", "point", "segment", "discrepancy")
"""Names of the components, as in a law file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VarianceComponents:
    """Variances of log loss about the parametric law, one of each kind for each target."""

    trial: Array
    """(targets,) variance of a trial's offset, which all points of the trial share and which the
    discrepancy GP does not explain."""
    point: Array
    """(targets,) variance of the noise of a point, or of the mean of a segment where curves are
    dense."""
    segment: Array
    """(targets,) variance of the noise that the points of a segment share, besides the offset of
    their trial; curves wander."""
    discrepancy: Array
    """(targets,) variance of the discrepancy GP; 0 where the parametric law suffices."""
    factors: Array | None = None
    """(trials,) factors on the variances of trial, point and segment, equal for trials of one
    mixture; None where nothing shows that noise differs between mixtures."""

    def of(self, targets: Index) -> "VarianceComponents":
        """Returns the components of some targets."""
        return replace(self, **{name: getattr(self, name)[targets] for name in COMPONENTS})

    def standardised(self, values: Array, trial: Index) -> Array:
        """Divides (..., n) residuals by the root of the factor of the trial of each.

        Args:
            trial: (n,) trial of each residual.
        """
        return values if self.factors is None else values / np.sqrt(self.factors[trial])

    def noise(self, num_points: float = 1.0) -> Array:
        """(targets,) variance of the noise in the mean of `num_points` points of one segment.

        The points are those of one trial, of a mixture of factor 1; the discrepancy is not noise.
        """
        return np.asarray(self.trial + self.segment + self.point / num_points)

    @property
    def notes(self) -> tuple[str, ...]:
        """Tells the user how much the noise of repeated mixtures differs; empty where it does
        not."""
        if self.factors is None:
            return ()
        mean = float(self.noise().mean())
        repeated = self.factors[self.factors != 1.0]
        low, high = np.sqrt(mean * repeated.min()), np.sqrt(mean * repeated.max())
        return (
            "repeated trials show that noise differs between mixtures: a standard deviation of "
            f"{low:.2%} for the quietest repeated mixture, {high:.2%} for the loudest, "
            f"{np.sqrt(mean):.2%} for mixtures without repeats",
        )

    def widened(self, min_fraction: float) -> "VarianceComponents":
        """Returns components in which the discrepancy has a larger part of the variance.

        Args:
            min_fraction: smallest proportion that the discrepancy has of the variance between
                trials (discrepancy and trial offset). 5 % of this variance stay with the offset.
        """
        total = self.discrepancy + self.trial
        discrepancy = np.maximum(self.discrepancy, min_fraction * total)
        return replace(
            self, trial=np.maximum(total - discrepancy, 0.05 * total), discrepancy=discrepancy
        )

    def to_json(self) -> dict[str, Any]:
        """Returns plain lists; floats round-trip exactly."""
        components = {name: getattr(self, name).tolist() for name in COMPONENTS}
        return components | ({} if self.factors is None else {"factors": self.factors.tolist()})
