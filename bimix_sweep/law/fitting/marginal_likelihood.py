"""Computes the marginal likelihood of discrepancy kernels, with the variances integrated over.

The variance between trials is divided between the discrepancy GP and the trials' offsets. The
evidence is averaged over the proportion of the GP, whose prior the targets share.
"""

from dataclasses import dataclass

import numpy as np

from bimix_sweep.law.model.segment_covariance import Spectrum
from bimix_sweep.mixture.simplex import Array

GP_FRACTIONS = np.array([0.0, 0.15, 0.3, 0.5, 0.7, 0.85, 0.93])
"""Candidates for the proportion of the GP in the variance between trials."""
FRACTION_PENALTY = 3.0
"""Prior penalty in nats on a proportion of 1 against a proportion of 0."""
FRACTION_COUNT = 2.0
"""Number of targets that this prior weighs as, against the observed targets."""
FRACTION_ROUNDS = 6
"""Rounds of the estimate of the prior over proportions; it converges in fewer."""
ABSENT_FROM = 0.4
"""Posterior probability of a proportion of 0 from which a target has no discrepancy GP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Marginal likelihood of one kernel, and the variances estimated under it."""

    cost: Array
    """(targets,) negative log evidence, averaged over the proportions of the GP."""
    discrepancy: Array
    """(targets,) variance of the discrepancy GP."""
    trial: Array
    """(targets,) variance of a trial's offset."""


def evidence(
    spectrum: Spectrum,
    residual: Array,
    jacobian: Array,
    information: Array,
    log_det_noise: float,
    used: Array,
) -> Evidence:
    """Computes the marginal likelihood of one kernel for targets measured in the same segments.

    Args:
        spectrum: eigenbasis of kernel and noise of the segments.
        residual: (targets, segments) mean residual of each segment.
        jacobian: (targets, segments, parameters) mean Jacobian of each segment.
        information: (targets, parameters, parameters) prior precision plus the information of the
            points about the means of their segments.
        log_det_noise: log determinant of D.
        used: (targets,) number of parameters that the means of the segments determine.
    """
    targets, segments = residual.shape
    degrees = np.maximum(segments - used, 0.25 * segments)
    squared = (residual @ spectrum.basis) ** 2
    rotated = np.matmul(spectrum.basis.T[None], jacobian)
    cost, offsets = np.empty((2, len(GP_FRACTIONS), targets))
    for number, fraction in enumerate(GP_FRACTIONS):
        weights = 1 / (fraction / (1 - fraction) * spectrum.values + 1)
        offset = np.maximum((squared * weights).sum(axis=1) / degrees, 1e-12)
        precision = (
            information
            + np.matmul((rotated * weights[:, None]).transpose(0, 2, 1), rotated)
            / offset[:, None, None]
        )
        offsets[number] = offset
        cost[number] = 0.5 * (
            segments * np.log(offset)
            - np.log(weights).sum()
            + log_det_noise
            + degrees
            + np.linalg.slogdet(precision)[1]
        )
    return _averaged(cost, offsets)


def _averaged(cost: Array, offsets: Array) -> Evidence:
    """Averages over the proportions of the GP, with a prior estimated from all targets.

    Args:
        cost: (proportions, targets) negative log evidence.
        offsets: (proportions, targets) variance of a trial's offset.
    """
    log_prior = -FRACTION_PENALTY * GP_FRACTIONS
    log_prior -= np.log(np.exp(log_prior).sum())
    start = np.exp(log_prior)
    for _ in range(FRACTION_ROUNDS):
        weighed = log_prior[:, None] - cost
        best = weighed.max(axis=0)
        posterior = np.exp(weighed - best)
        total = posterior.sum(axis=0)
        posterior /= total
        log_prior = np.log(
            (posterior.sum(axis=1) + FRACTION_COUNT * start) / (cost.shape[1] + FRACTION_COUNT)
        )
    fraction = np.where(posterior[0] >= ABSENT_FROM, 0.0, GP_FRACTIONS @ posterior)
    variance = (posterior * offsets / (1 - GP_FRACTIONS)[:, None]).sum(axis=0)
    return Evidence(
        cost=-(best + np.log(total)),
        discrepancy=fraction * variance,
        trial=(1 - fraction) * variance,
    )
