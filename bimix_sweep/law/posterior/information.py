"""Computes the information of curve segments about the law's parameters and the discrepancy GP."""

from dataclasses import dataclass

import numpy as np

from bimix_sweep.law.model import jacobian
from bimix_sweep.law.model import transfer as tl
from bimix_sweep.law.model.discrepancy import GPInputs, KernelParams
from bimix_sweep.law.model.observations import Index
from bimix_sweep.law.model.segment_covariance import NoiseCovariance, Spectrum
from bimix_sweep.law.model.segments import CurveSegments
from bimix_sweep.law.model.variances import VarianceComponents
from bimix_sweep.mixture.simplex import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentInformation:
    """Information of curve segments about the law's parameters.

    One part comes from the means of the segments, the other from the shape of the curves within
    segments.
    """

    mean_jacobian: Array
    """(targets, segments, parameters) mean Jacobian of each segment."""
    within: Array
    """(targets, parameters, parameters) information of the points about the mean of their
    segment."""
    counts: Array
    """(targets, segments) number of points."""

    @classmethod
    def of(
        cls,
        law: tl.Evaluation,
        segments: CurveSegments,
        columns: tuple[int, ...],
        parameters: int,
        variances: VarianceComponents,
    ) -> "SegmentInformation":
        """Computes the information of segments.

        Args:
            law: the law at the rows of the segments, differentiated by `columns`.
            segments: segments of the trials' curves.
            columns: free outer columns; segments have no information about the others.
            parameters: number of parameters.
            variances: (targets,) variance components, of which the point noise and the factors
                count.
        """
        rows = segments.as_trials
        weight = rows.present.astype(np.float64)
        counts = rows.sums(weight)
        mean = jacobian.means(law, rows, columns, parameters, weight)
        if len(rows.trial) == len(rows.proportions):
            within = np.zeros((len(mean), parameters, parameters))
        else:
            weight = variances.standardised(weight, segments.trial[rows.trial])
            within = jacobian.information(
                law, rows, columns, parameters, weight, 1 / np.maximum(counts, 1)
            )
            within = within / variances.point[:, None, None]
        return cls(mean_jacobian=mean, within=within, counts=counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetGroup:
    """Targets that were measured in the same segments and share an eigenbasis."""

    targets: tuple[int, ...]
    """Indices of the targets."""
    segments: Index
    """Indices of the segments measured."""
    spectrum: Spectrum
    """Eigenbasis of kernel and noise."""
    weights: dict[int, Array]
    """{target: (segments,)} diagonal of V^-1 in the basis."""
    rotated: dict[int, Array]
    """{target: (segments, parameters)} B' J."""
    covariance: dict[int, Array]
    """{target: (parameters, parameters)} covariance of the law's parameters given all segments."""


def spectra(
    information: SegmentInformation,
    segments: CurveSegments,
    inputs: GPInputs,
    kernel: KernelParams,
    variances: VarianceComponents,
) -> list[Spectrum]:
    """Diagonalises kernel and noise for each group of `by_segments`.

    Args:
        inputs: inputs of the GP for all segments.
    """
    out = []
    for targets, measured in by_segments(information.counts):
        noise = NoiseCovariance.averaged(
            variances.of(targets),
            information.counts[targets][:, measured],
            segments.trial[measured],
        )
        out.append(Spectrum.of(inputs.of(measured), kernel, noise))
    return out


def target_groups(
    information: SegmentInformation,
    spectra: list[Spectrum],
    precision: Array,
    variances: VarianceComponents,
) -> list[TargetGroup]:
    """Computes everything about the posterior that does not depend on where predictions are made.

    Args:
        information: information of the segments at the law's parameters.
        spectra: result of the function `spectra`, also for other parameters and the same variances.
        precision: (targets, parameters) diagonal of the prior precision.
        variances: (targets,) variance components.
    """
    groups = []
    for (targets, measured), spectrum in zip(by_segments(information.counts), spectra, strict=True):
        part = variances.of(targets)
        weights = 1 / (part.discrepancy[:, None] * spectrum.values + part.trial[:, None])
        rotated = np.matmul(spectrum.basis.T, information.mean_jacobian[targets][:, measured])
        total = information.within[targets] + np.matmul(
            (rotated * weights[:, :, None]).transpose(0, 2, 1), rotated
        )
        diagonal = np.arange(precision.shape[1])
        total[:, diagonal, diagonal] += precision[targets]
        names = tuple(map(int, targets))
        groups.append(
            TargetGroup(
                targets=names,
                segments=measured,
                spectrum=spectrum,
                weights=dict(zip(names, weights, strict=True)),
                rotated=dict(zip(names, rotated, strict=True)),
                covariance=dict(zip(names, np.linalg.inv(total), strict=True)),
            )
        )
    return groups


def by_segments(counts: Array) -> list[tuple[Index, Index]]:
    """Groups targets that were measured in the same segments.

    Args:
        counts: (targets, segments) numbers of points.

    Returns:
        [(targets, segments)] indices.
    """
    if (counts > 0).all():
        return [(np.arange(len(counts)), np.arange(counts.shape[1]))]
    different, member = np.unique(counts > 0, axis=0, return_inverse=True)
    return [
        (np.flatnonzero(member.reshape(-1) == number), np.flatnonzero(pattern))
        for number, pattern in enumerate(different)
    ]
