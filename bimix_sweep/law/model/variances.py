"""Splits the variance of log losses about the parametric law into four components."""

from dataclasses import dataclass

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

    def of(self, targets: Index) -> "VarianceComponents":
        """Returns the components of some targets."""
        return VarianceComponents(
            **{name: getattr(self, name)[targets] for name in COMPONENTS},
        )

    def noise(self, num_points: float = 1.0) -> Array:
        """(targets,) variance of the noise in the mean of `num_points` points of one segment.

        The points are those of one trial; the discrepancy is not noise.
        """
        return np.asarray(self.trial + self.segment + self.point / num_points)

    def widened(self, min_fraction: float) -> "VarianceComponents":
        """Returns components in which the discrepancy has a larger part of the variance.

        Args:
            min_fraction: smallest proportion that the discrepancy has of the variance between
                trials (discrepancy and trial offset). 5 % of this variance stay with the offset.
        """
        total = self.discrepancy + self.trial
        discrepancy = np.maximum(self.discrepancy, min_fraction * total)
        return VarianceComponents(
            trial=np.maximum(total - discrepancy, 0.05 * total),
            point=self.point,
            segment=self.segment,
            discrepancy=discrepancy,
        )

    def to_json(self) -> dict[str, list[float]]:
        """Returns plain lists; floats round-trip exactly."""
        return {name: getattr(self, name).tolist() for name in COMPONENTS}
