"""Calibrates the posterior against trials left out, and estimates how the errors of targets
correlate."""

from dataclasses import dataclass

import numpy as np

from bimix_sweep.law.model.discrepancy import together
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.mixture.simplex import Array

INFLATION_COUNT = 8.0
"""Number of trials of one target that weigh as much as the inflation common to all targets."""
INFLATION_BOUND = 10.0
"""Largest factor on a variance."""
CORRELATION_COUNT = 15.0
"""Number of trials at which the measured correlation of two targets counts half."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Leave-one-out prediction of each trial's last curve segment; 0 where a target was not
    measured."""

    miss: Array
    """(targets, trials) measured minus predicted, log loss."""
    expected: Array
    """(targets, trials) expected variance of `miss`: variance of the belief plus noise."""
    noise: Array
    """(targets, trials) variance of the noise in `expected`."""


def trainings_left_out(law: FittedLaw) -> LeftOut:
    """Leaves one trial out at a time, in the linear approximation.

    With Q = V^-1 - V^-1 J S J' V^-1, the prediction of trial i's segments from the other trials has
    the error Q_ii^-1 (Q e)_i and the expected covariance Q_ii^-1. This covariance minus the noise
    is that of the posterior.
    """
    shape = (len(law.targets), len(law.runs.proportions))
    miss, expected, noise = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    points = law.looks.runs.sums(law.looks.runs.present.astype(np.float64))
    for group in law.groups:
        basis = group.spectrum.basis
        training = law.looks.training[group.looks]
        for t in group.targets:
            half = group.rotated[t] * group.weights[t][:, None]
            left = basis @ half
            rotated = basis.T @ law.residual[t, group.looks]
            solved = basis @ (group.weights[t] * rotated) - left @ (
                group.covariance[t] @ (half.T @ rotated)
            )
            known = left @ group.covariance[t]
            for looks in together(training):
                rows, of = basis[looks], training[looks[:, 0]]
                inner = np.einsum(
                    "gan,n,gbn->gab", rows, group.weights[t], rows, optimize=True
                ) - np.einsum("gap,gbp->gab", known[looks], left[looks])
                variance = np.linalg.inv(inner)
                miss[t, of] = np.einsum("gb,gb->g", variance[:, -1], solved[looks])
                expected[t, of] = variance[:, -1, -1]
                noise[t, of] = (
                    law.offset2[t]
                    + law.look2[t]
                    + law.point2[t] / points[t, group.looks[looks[:, -1]]]
                )
    return LeftOut(miss=miss, expected=expected, noise=noise)


def calibrate(law: FittedLaw, missed2: Array, misfit: Array) -> tuple[Array, Array]:
    """Computes a factor on each target's covariance, and the correlation of targets within a trial.

    The factors widen the posterior until the errors on trials left out are as large as expected.

    Args:
        missed2: (targets,) sum of squared errors on trials by real refits without the GP.
        misfit: (targets,) these sums over those of the linear approximation; > 1 where few trials
            make the law far from linear.

    Returns:
        (targets,) factors, at least 1, and the (targets, targets) correlation.
    """
    found = trainings_left_out(law)
    expected, miss2, noise = found.expected, found.miss**2, found.noise
    measured = expected > 0
    standard = found.miss / np.sqrt(np.where(measured, expected, 1.0))
    scale2 = np.maximum(expected.sum(axis=1), 1e-300)
    real = np.where(
        law.amplitude2 > 0, misfit * miss2.sum(axis=1), np.maximum(missed2, miss2.sum(axis=1))
    )
    missed, posterior = (
        real - noise.sum(axis=1),
        np.maximum(expected - noise, 0.02 * expected).sum(axis=1),
    )
    pooled = (missed / scale2).sum() / (posterior / scale2).sum()
    share = measured.sum(axis=1) / (measured.sum(axis=1) + INFLATION_COUNT)
    inflation = np.clip(share * missed / posterior + (1 - share) * pooled, 1.0, INFLATION_BOUND)

    num = measured.astype(np.float64) @ measured.T.astype(np.float64)
    length = np.sqrt(
        np.maximum((standard**2).sum(axis=1) / np.maximum(measured.sum(axis=1), 1), 1e-12)
    )
    correlation = (
        standard
        @ standard.T
        / np.maximum(num, 1)
        / (length[:, None] * length[None, :])
        * num
        / (num + CORRELATION_COUNT)
    )
    np.fill_diagonal(correlation, 1.0)
    values, vectors = np.linalg.eigh((correlation + correlation.T) / 2)
    correlation = (vectors * np.maximum(values, 1e-6)) @ vectors.T
    root = np.sqrt(np.diag(correlation))
    return inflation, correlation / root[:, None] / root[None, :]
