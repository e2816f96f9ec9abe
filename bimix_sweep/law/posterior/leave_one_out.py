"""Calibrates the posterior against trials left out, and estimates how the errors of targets
correlate."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bimix_sweep.law.model.segment_covariance import by_num_segments
from bimix_sweep.law.posterior.conditioned_law import ConditionedLaw
from bimix_sweep.mixture.simplex import Array

INFLATION_COUNT = 8.0
"""Number of trials of one target that weigh as much as the inflation common to all targets."""
INFLATION_BOUND = 10.0
"""Largest factor on a variance."""
CORRELATION_COUNT = 15.0
"""Number of trials at which the measured correlation of two targets counts half."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveOneOut:
    """Leave-one-out prediction of each trial's last curve segment; 0 where a target was not
    measured."""

    error: Array
    """(targets, trials) measured minus predicted, log loss."""
    expected: Array
    """(targets, trials) expected variance of `error`: variance of the belief plus noise."""
    noise: Array
    """(targets, trials) variance of the noise in `expected`."""


def leave_one_out(law: ConditionedLaw) -> LeaveOneOut:
    """Leaves one trial out at a time, in the linear approximation.

    With Q = V^-1 - V^-1 J S J' V^-1, the prediction of trial i's segments from the other trials has
    the error Q_ii^-1 (Q e)_i and the expected covariance Q_ii^-1. This covariance minus the noise
    is that of the posterior.
    """
    shape = (len(law.params), len(law.trials.proportions))
    error, expected, noise = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    as_trials, variances = law.segments.as_trials, law.variances
    points = as_trials.sums(as_trials.present.astype(np.float64))
    for group in law.groups:
        basis = group.spectrum.basis
        trial = law.segments.trial[group.segments]
        for t in group.targets:
            half = group.rotated[t] * group.weights[t][:, None]
            left = basis @ half
            rotated = basis.T @ law.residual[t, group.segments]
            solved = basis @ (group.weights[t] * rotated) - left @ (
                group.covariance[t] @ (half.T @ rotated)
            )
            known = left @ group.covariance[t]
            for segments in by_num_segments(trial):
                rows, of = basis[segments], trial[segments[:, 0]]
                inner = np.einsum(
                    "gan,n,gbn->gab", rows, group.weights[t], rows, optimize=True
                ) - np.einsum("gap,gbp->gab", known[segments], left[segments])
                variance = np.linalg.inv(inner)
                error[t, of] = np.einsum("gb,gb->g", variance[:, -1], solved[segments])
                expected[t, of] = variance[:, -1, -1]
                noise[t, of] = (
                    variances.trial[t]
                    + variances.segment[t]
                    + variances.point[t] / points[t, group.segments[segments[:, -1]]]
                ) * (1.0 if variances.factors is None else variances.factors[of])
    return LeaveOneOut(error=error, expected=expected, noise=noise)


def calibrate(law: ConditionedLaw, refit_error2: Array, nonlinearity: Array) -> tuple[Array, Array]:
    """Computes a factor on each target's covariance, and the correlation of targets within a trial.

    The factors widen the posterior until the errors on trials left out are as large as expected.

    Args:
        refit_error2: (targets,) sum of squared errors on trials by real refits without the GP,
            over the factors on the trials' noise.
        nonlinearity: (targets,) these sums over those of the linear approximation; > 1 where few
            trials make the law far from linear.

    Returns:
        (targets,) factors, at least 1, and the (targets, targets) correlation.
    """
    left_out = leave_one_out(law)
    factors = 1.0 if law.variances.factors is None else law.variances.factors
    expected, error2, noise = (
        squared / factors for squared in (left_out.expected, left_out.error**2, left_out.noise)
    )
    measured = expected > 0
    scale2 = np.maximum(expected.sum(axis=1), 1e-300)
    real = np.where(
        law.variances.discrepancy > 0,
        nonlinearity * error2.sum(axis=1),
        np.maximum(refit_error2, error2.sum(axis=1)),
    )
    excess = real - noise.sum(axis=1)
    posterior = np.maximum(expected - noise, 0.02 * expected).sum(axis=1)
    pooled = (excess / scale2).sum() / (posterior / scale2).sum()
    weight = measured.sum(axis=1) / (measured.sum(axis=1) + INFLATION_COUNT)
    inflation = np.clip(weight * excess / posterior + (1 - weight) * pooled, 1.0, INFLATION_BOUND)
    standardised = left_out.error / np.sqrt(np.where(measured, left_out.expected, 1.0))
    return inflation, _correlation(standardised, measured)


def _correlation(errors: Array, measured: npt.NDArray[np.bool_]) -> Array:
    """(targets, targets) correlation of the errors of one trial, shrunk towards 0 for few trials.

    Args:
        errors: (targets, trials) standardised errors.
        measured: (targets, trials) True where an error is known.
    """
    num = measured.astype(np.float64) @ measured.T.astype(np.float64)
    length = np.sqrt(
        np.maximum((errors**2).sum(axis=1) / np.maximum(measured.sum(axis=1), 1), 1e-12)
    )
    correlation = (
        errors
        @ errors.T
        / np.maximum(num, 1)
        / (length[:, None] * length[None, :])
        * num
        / (num + CORRELATION_COUNT)
    )
    np.fill_diagonal(correlation, 1.0)
    values, vectors = np.linalg.eigh((correlation + correlation.T) / 2)
    correlation = (vectors * np.maximum(values, 1e-6)) @ vectors.T
    root = np.sqrt(np.diag(correlation))
    return np.asarray(correlation / root[:, None] / root[None, :])
