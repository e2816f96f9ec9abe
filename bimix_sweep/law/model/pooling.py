"""Estimates the values that the laws of all targets share from the fits of the targets."""

import numpy as np
import numpy.typing as npt

from bimix_sweep.law.model import columns as col
from bimix_sweep.law.model.priors import FIXED, Prior, Problems
from bimix_sweep.law.model.shared_values import (
    OWN_DOMAIN_OFFSET,
    SHARED_PRIOR,
    TRANSFER_WEIGHTS_SD,
    TRANSFER_WEIGHTS_SPREAD,
    SharedValues,
    expected,
)
from bimix_sweep.mixture.simplex import Array

NOISE_CORRELATION = 0.4
"""Correlation over targets of a trial's noise in contrasts between mixtures (docs/evidence.md).

T targets weigh as T / (1 + (T - 1) NOISE_CORRELATION) in the shared values.
"""
CONTRASTS = (col.SLOPE, col.CURVATURE, col.FLOOR, col.FLAT, col.SLOPE_SIZE, col.SLOPE_STEP)
"""Columns that are estimated by comparing mixtures, as log t is.

The other columns compare steps or sizes of all trials.
"""


def pooled(
    problems: Problems, shared: SharedValues, prior: Prior, params: Array, variance: Array
) -> SharedValues:
    """Estimates the values that targets share, given the fits of the targets.

    A target's fit theta with posterior variance V under the prior N(m, s2) is what a measurement of
    variance u, 1/V = 1/s2 + 1/u, would give. Measurements scatter about the common centre with
    variance s2 + u, and the centre has a Gaussian prior N(m0, S2), so

        m' - m = (sum (theta - m) / s2 - (m - m0) / S2) / (sum (s2 - V) / s2**2 + 1 / S2)

    Args:
        shared: the centres from which `prior` was made.
        params: (problems, parameters) fits under that prior.
        variance: (problems, parameters) posterior variances of the fits.
    """
    s2 = prior.sd**2
    free = prior.sd > FIXED
    centre = prior.mean.copy()
    centre[:, col.SLOPE] += problems.prior_mean_shift
    pull = np.where(free, (params - centre) / s2, 0.0)
    known = np.where(free, np.maximum(s2 - variance, 0.0) / s2**2, 0.0)
    columns, columns_sd = _columns(problems, shared, pull, known)
    log_t = problems.log_t
    transfer_weights, own_domain_offset, transfer_weights_sd = _transfer_weights(
        problems, shared, pull[:, log_t], known[:, log_t]
    )
    return SharedValues(
        columns=columns,
        transfer_weights=transfer_weights,
        own_domain_offset=own_domain_offset,
        spread=_spread(problems, prior, params, variance),
        columns_sd=columns_sd,
        transfer_weights_sd=transfer_weights_sd,
    )


def _columns(
    problems: Problems, shared: SharedValues, pull: Array, known: Array
) -> tuple[Array, Array]:
    """Estimates the centres of the shared columns, and their standard errors.

    Args:
        pull, known: (problems, parameters) terms (theta - m) / s2 and (s2 - V) / s2**2 of `pooled`.
    """
    columns, columns_sd = shared.columns.copy(), shared.columns_sd.copy()
    start = expected(problems.num_domains, problems.reference_size)
    for law in (0, 1):
        rows = problems.bimix == bool(law)
        contrast_weight = _weight(rows)
        for column in SHARED_PRIOR:
            spread = start.columns_sd[law, column]
            weight = contrast_weight if column in CONTRASTS else 1.0
            total = weight * known[rows, column].sum() + spread**-2
            columns[law, column] += (
                weight * pull[rows, column].sum()
                - (columns[law, column] - start.columns[law, column]) / spread**2
            ) / total
            columns_sd[law, column] = total**-0.5
    # Two sizes determine E (N/N0)**-n at two points, so n only through E. What targets seem to say
    # about n is the prior itself, and estimates from it swing between two values.
    if problems.num_sizes == 2:
        columns[:, col.SIZE_POWER], columns_sd[:, col.SIZE_POWER] = SHARED_PRIOR[col.SIZE_POWER]
    return columns, columns_sd


def _transfer_weights(
    problems: Problems, shared: SharedValues, pull: Array, known: Array
) -> tuple[Array, float, Array]:
    """Estimates the centres of log t, the own-domain offset, and the standard errors of the centres.

    Args:
        pull, known: (problems, domains) terms (theta - m) / s2 and (s2 - V) / s2**2 of `pooled`.
    """
    of_others = np.ones((len(problems.own), problems.num_domains), dtype=bool)
    owners = np.flatnonzero((problems.own >= 0) & ~problems.bimix)
    of_others[owners, problems.own[owners]] = False
    of_others[problems.bimix] = False
    weight = _weight(~problems.bimix)
    total = weight * (known * of_others).sum(axis=0) + TRANSFER_WEIGHTS_SD**-2
    transfer_weights = (
        shared.transfer_weights
        + (
            weight * (pull * of_others).sum(axis=0)
            - shared.transfer_weights / TRANSFER_WEIGHTS_SD**2
        )
        / total
    )
    expected_offset, spread = OWN_DOMAIN_OFFSET
    own_pull = pull[owners, problems.own[owners]].sum()
    own_known = known[owners, problems.own[owners]].sum()
    own_domain_offset = shared.own_domain_offset + (
        own_pull - (shared.own_domain_offset - expected_offset) / spread**2
    ) / (own_known + spread**-2)
    return transfer_weights, float(own_domain_offset), total**-0.5


def _spread(problems: Problems, prior: Prior, params: Array, variance: Array) -> float:
    """Estimates the standard deviation of a target's log t about its centre."""
    log_t = problems.log_t
    expected_spread, count = TRANSFER_WEIGHTS_SPREAD
    free = (prior.sd[:, log_t] > FIXED) & ~problems.bimix[:, None]
    deviation2 = ((params - prior.mean)[:, log_t] ** 2)[free].sum()
    measured = np.maximum(1 - (variance / prior.sd**2)[:, log_t], 0.0)[free].sum()
    return float(np.sqrt((deviation2 + count * expected_spread**2) / (measured + count)))


def _weight(targets: npt.NDArray[np.bool_]) -> float:
    """Weight of each of these targets in the shared values; see NOISE_CORRELATION."""
    return 1 / (1 + max(0, int(targets.sum()) - 1) * NOISE_CORRELATION)
