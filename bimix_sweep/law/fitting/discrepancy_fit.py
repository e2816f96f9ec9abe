"""Estimates the kernel and the variance components of the discrepancy GP by marginal likelihood."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bimix_sweep.law.fitting.fit_data import FitData
from bimix_sweep.law.fitting.hierarchical_fit import NOISE_COUNT
from bimix_sweep.law.fitting.marginal_likelihood import evidence
from bimix_sweep.law.fitting.normal_equations import Noise
from bimix_sweep.law.fitting.repeat_noise import RepeatNoise
from bimix_sweep.law.model.discrepancy import GPInputs, KernelParams
from bimix_sweep.law.model.segment_covariance import NoiseCovariance, Spectrum
from bimix_sweep.law.model.segments import CurveSegments
from bimix_sweep.law.model.variances import VarianceComponents
from bimix_sweep.law.posterior.information import SegmentInformation, by_segments
from bimix_sweep.mixture.simplex import Array

LENGTHSCALES = (0.25, 0.35, 0.5, 0.7)
"""Candidates for the lengthscale on the sphere; the largest distance of two mixtures there is
1.41."""
FIDELITY_LENGTHSCALES = (4.0, 1.5, 0.5)
"""Candidates for a finite lengthscale over sizes or steps, in factors of e.

At a factor of 4 in size or step the correlation is 0.71, 0.40 or 0.06.
"""
NOISE_FRACTIONS = (1.0, 0.3, 0.1)
"""Candidates for `KernelParams.noise_fraction`."""
LOG_LEVELS = np.log(2.0) * np.arange(-8.0, 9.0)
"""Candidates for the logarithm of the geometric mean of the noise variances of repeated mixtures,
relative to that of mixtures without repeats."""
LEVEL_SD = 1.5
"""Standard deviation of the prior of this logarithm about equal mean variances."""
MIN_GAIN = 3.0
"""Log evidence, in nats, that a finite lengthscale over sizes or over steps must gain to be
used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentResiduals:
    """Residuals of curve segments about the laws of a fit, and what is known of their noise."""

    segments: CurveSegments
    """Segments of the trials' curves."""
    inputs: GPInputs
    """Inputs of the GP for the segments."""
    mean: Array
    """(targets, segments) mean residual of each segment, 0 where not measured."""
    information: SegmentInformation
    """Information of the segments about the laws' parameters."""
    precision: Array
    """(targets, parameters) diagonal prior precision of the parameters."""
    used: Array
    """(targets,) number of parameters that the fit determined."""
    noise: VarianceComponents
    """Variances under which the laws were fitted: no discrepancy yet."""


def noise_components(
    noise: Noise, factors: Array | None, segments: CurveSegments, residual: Array, data: FitData
) -> tuple[Array, VarianceComponents]:
    """Divides the noise of a fit into that of trials, of segments and of points.

    Args:
        noise: (targets,) variances of a trial's offset, and of a point about its trial.
        factors: (trials,) factors on the noise of trials; None: all are 1.
        residual: (targets, rows) measured minus law, 0 where not measured.

    Returns:
        (targets, segments) mean residual of each segment, and the variances; the discrepancy is 0.
    """
    none, trial, point = np.zeros(len(residual)), noise.trial, noise.point
    as_trials, weight = segments.as_trials, data.weight
    counts = as_trials.sums(weight)
    measured_means = means = as_trials.sums(residual) / np.maximum(counts, 1)
    if factors is not None:
        of_fit = data.standardised(residual)
        residual = residual / np.sqrt(factors[data.trials.trial])
        means = means / np.sqrt(factors[segments.trial])
        ratio = _squared_means(residual, data) / _squared_means(of_fit, data)
        trial, point = trial * ratio, point * ratio
    if len(segments.trial) == segments.trial[-1] + 1:  # one segment in each trial
        return measured_means, VarianceComponents(
            trial=trial, point=point, segment=none, discrepancy=none, factors=factors
        )
    within = ((residual - means[:, as_trials.trial] * weight) ** 2).sum(axis=1)
    point = (within + NOISE_COUNT * point) / (np.maximum(counts - 1, 0).sum(axis=1) + NOISE_COUNT)
    measured = counts > 0
    starts = np.flatnonzero(np.diff(segments.trial, prepend=-1))
    each = np.add.reduceat(measured, starts, axis=1, dtype=np.float64)
    centre = np.add.reduceat(means * measured, starts, axis=1) / np.maximum(each, 1)
    free = np.maximum(each - 1, 0).sum(axis=1)
    between = (((means - centre[:, segments.trial]) * measured) ** 2).sum(axis=1)
    point_part = (measured / np.maximum(counts, 1)).sum(axis=1) / np.maximum(
        measured.sum(axis=1), 1
    )
    return measured_means, VarianceComponents(
        trial=trial,
        point=point,
        segment=np.maximum(between - free * point_part * point, 0.0) / (free + NOISE_COUNT),
        discrepancy=none,
        factors=factors,
    )


def _squared_means(residual: Array, data: FitData) -> Array:
    """(targets,) sum over trials of the squared mean residual, > 0."""
    means = data.trials.sums(residual) / np.maximum(data.trials.sums(data.weight), 1)
    return np.asarray(np.maximum((means**2).sum(axis=1), 1e-300))


def with_noise_factors(
    residuals_under: Callable[[Array | None], SegmentResiduals],
    repeat_noise: RepeatNoise | None,
    kernel: KernelParams | None,
) -> SegmentResiduals:
    """Returns the residuals with the factors on the noise of trials.

    The evidence, with a log-normal prior about an equal mean variance, decides how large the noise
    of the repeated mixtures is against that of the mixtures without repeats.

    Args:
        residuals_under: makes the residuals under (trials,) factors, or None for equal noise.
        repeat_noise: factors where noise differs, None where it does not.
        kernel: kernel of an earlier fit, None for a cold fit.
    """
    if repeat_noise is None:
        return residuals_under(None)
    kernel = kernel or KernelParams(lengthscale=LENGTHSCALES[2])
    best, best_cost = None, np.inf
    for log_level in LOG_LEVELS:
        candidate = residuals_under(repeat_noise.relative_to_others(float(np.exp(log_level))))
        apart = (log_level + repeat_noise.log_mean) / LEVEL_SD
        cost = _evidence_of(candidate, [kernel])[kernel].cost + 0.5 * apart**2
        if best is None or cost < best_cost:
            best, best_cost = candidate, cost
    assert best is not None  # noqa: S101
    return best


def fit_discrepancy(
    residuals: SegmentResiduals, previous: KernelParams | None
) -> tuple[KernelParams, VarianceComponents]:
    """Estimates the discrepancy GP and the remaining variance of trials' offsets.

    Args:
        previous: kernel of an earlier fit, which a warm refit keeps; None for a cold fit.
    """
    if previous is not None:
        return previous, _evidence_of(residuals, [previous])[previous].variances
    candidates = _evidence_of(
        residuals, [KernelParams(lengthscale=value) for value in LENGTHSCALES]
    )
    best = min(candidates, key=lambda kernel: candidates[kernel].cost)
    for changes in _finite_lengthscales(residuals):
        finite = _evidence_of(residuals, [replace(best, **change) for change in changes])
        best_finite = min(finite, key=lambda kernel: finite[kernel].cost)
        if finite[best_finite].cost < candidates[best].cost - MIN_GAIN:
            candidates, best = finite, best_finite
    return best, candidates[best].variances


def _finite_lengthscales(residuals: SegmentResiduals) -> Iterator[list[dict[str, float]]]:
    """Yields the changes of a kernel that are tried: over sizes, then over steps."""
    if np.ptp(residuals.inputs.log_size) > 0:
        yield [{"size_lengthscale": value} for value in FIDELITY_LENGTHSCALES]
    if np.ptp(residuals.inputs.log_step) > 0:
        fractions = NOISE_FRACTIONS if residuals.noise.segment.any() else (1.0,)
        yield [
            {"step_lengthscale": value, "noise_fraction": fraction}
            for value in FIDELITY_LENGTHSCALES
            for fraction in fractions
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _KernelEvidence:
    """Evidence of one kernel over all targets."""

    cost: float
    """Negative log evidence, in nats."""
    variances: VarianceComponents
    """(targets,) variance components estimated under the kernel."""


def _evidence_of(
    residuals: SegmentResiduals, kernels: Sequence[KernelParams]
) -> dict[KernelParams, _KernelEvidence]:
    """Computes the evidence of each kernel."""
    information, noise = residuals.information, residuals.noise
    known = (
        information.within
        + np.eye(residuals.precision.shape[1]) * (residuals.precision[:, None, :])
    )
    cost = dict.fromkeys(kernels, 0.0)
    trial = {kernel: noise.trial.copy() for kernel in kernels}
    discrepancy = {kernel: np.zeros(len(noise.trial)) for kernel in kernels}
    for targets, measured in by_segments(information.counts):
        covariances = {
            fraction: NoiseCovariance.averaged(
                replace(noise, segment=fraction * noise.segment).of(targets),
                information.counts[targets][:, measured],
                residuals.segments.trial[measured],
            )
            for fraction in {kernel.noise_fraction for kernel in kernels}
        }
        for kernel in kernels:
            covariance = covariances[kernel.noise_fraction]
            estimate = evidence(
                Spectrum.of(residuals.inputs.of(measured), kernel, covariance),
                residuals.mean[targets][:, measured],
                information.mean_jacobian[targets][:, measured],
                known[targets],
                covariance.log_det,
                residuals.used[targets],
            )
            cost[kernel] += float(estimate.cost.sum())
            discrepancy[kernel][targets], trial[kernel][targets] = (
                estimate.discrepancy,
                estimate.trial,
            )
    return {
        kernel: _KernelEvidence(
            cost=cost[kernel],
            variances=VarianceComponents(
                trial=trial[kernel],
                point=noise.point,
                segment=kernel.noise_fraction * noise.segment,
                discrepancy=discrepancy[kernel],
                factors=noise.factors,
            ),
        )
        for kernel in kernels
    }
