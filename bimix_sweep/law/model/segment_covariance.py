"""Factorises the covariance of the mean residuals of curve segments: discrepancy GP plus noise."""

from dataclasses import dataclass

import numpy as np

from bimix_sweep.law.model.discrepancy import GPInputs, KernelParams
from bimix_sweep.law.model.observations import Index
from bimix_sweep.law.model.variances import VarianceComponents
from bimix_sweep.mixture.simplex import Array

MIN_NOISE = 1e-4
"""Smallest noise variance of a segment, in units of the trial offset's variance.

Without it, curves that have no noise would suggest that the error never differs along a curve.
"""


def by_num_segments(trial: Index) -> list[Index]:
    """Groups segments of trials that have equally many segments.

    Args:
        trial: (segments,) trial to which each segment belongs, rising.

    Returns:
        one (trials, m) array of segment indices, in order, for each number m of segments in a
        trial.
    """
    first, counts = np.unique(trial, return_index=True, return_counts=True)[1:]
    return [first[counts == count, None] + np.arange(count) for count in np.unique(counts)]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseCovariance:
    """D, the noise covariance of the mean residuals of segments, in units of the trial offset's
    variance.

    The segments of one trial share its offset.
    """

    blocks: tuple[tuple[Index, Array], ...]
    """Whitening matrices: one pair for each number m of segments in a trial.

    The pair is (trials, m) segments and (trials, m, m) R with R D R' = 1.
    """
    log_det: float
    """Logarithm of the determinant of D."""

    @classmethod
    def factorised(
        cls, trial: Index, noise: Array, factors: Array | None = None
    ) -> "NoiseCovariance":
        """Factorises D.

        Args:
            trial: (segments,) trial of each segment, rising.
            noise: (segments,) variance of a segment's own noise, in units of the trial offset's
                variance.
            factors: (trials,) factors on all noise of a trial; None: 1.
        """
        blocks, log_det, noise = [], 0.0, np.maximum(noise, MIN_NOISE)
        scale = None if factors is None else np.sqrt(factors[trial])
        for segments in by_num_segments(trial):
            root = np.linalg.cholesky(1.0 + noise[segments][:, :, None] * np.eye(segments.shape[1]))
            if scale is not None:
                root *= scale[segments][:, :, None]
            log_det += 2 * float(np.log(np.einsum("tmm->tm", root)).sum())
            blocks.append((segments, np.linalg.inv(root)))
        return cls(blocks=tuple(blocks), log_det=log_det)

    @classmethod
    def averaged(
        cls, variances: VarianceComponents, counts: Array, trial: Index
    ) -> "NoiseCovariance":
        """Factorises the mean D of some targets that were measured in the same segments.

        Args:
            variances: (targets,) variance components.
            counts: (targets, segments) numbers of points.
            trial: (segments,) trial of each segment, rising.
        """
        noise = variances.point[:, None] / np.maximum(counts, 1) + variances.segment[:, None]
        relative = (noise / variances.trial[:, None]).mean(axis=0)
        return cls.factorised(trial, relative, variances.factors)

    def whitened(self, rows: Array, *, transposed: bool = False) -> Array:
        """Computes R x, or R' x where `transposed`, for x of (segments, n)."""
        out = np.empty_like(rows)
        for segments, root in self.blocks:
            out[segments] = np.matmul(
                root.transpose(0, 2, 1) if transposed else root, rows[segments]
            )
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Spectrum:
    """Eigenbasis in which kernel K and noise D are both diagonal.

    V = discrepancy variance x K + trial variance x D and V^-1 = B diag(weights) B'.
    """

    basis: Array
    """(segments, segments) B = R' U with R K R' = U diag(values) U' and R D R' = 1."""
    values: Array
    """(segments,) eigenvalues."""

    @classmethod
    def of(cls, inputs: GPInputs, kernel: KernelParams, noise: NoiseCovariance) -> "Spectrum":
        """Diagonalises the kernel of some segments together with their noise."""
        values, vectors = np.linalg.eigh(
            noise.whitened(noise.whitened(kernel.correlation(inputs, inputs)).T)
        )
        return cls(basis=noise.whitened(vectors, transposed=True), values=np.maximum(values, 0.0))
