"""Gives the values that the laws of all targets share, as expected before any trial.

`law.model.pooling` estimates them from the fits of the targets.
"""

from dataclasses import dataclass

import numpy as np

from bimix_sweep.law.model import columns as col
from bimix_sweep.mixture.simplex import Array

SHARED_PRIOR = {
    col.SLOPE: (np.log(0.1), 0.6),
    col.CURVATURE: (0.5, 0.3),
    col.FLOOR: (np.log(0.02), 0.5),
    col.FLAT: (-6.0, 0.1),
    col.STEP_SCALE: (np.log(0.15), 1.0),
    col.STEP_POWER: (np.log(0.45), 0.25),
    col.STEP_SIZE: (0.0, 0.2),
    col.SIZE_SCALE: (np.log(0.6), 0.5),
    col.SIZE_POWER: (np.log(0.34), 0.7),
    col.SLOPE_SIZE: (0.03, 0.015),
    col.SLOPE_STEP: (0.0, 0.05),
    col.TRANSIENT_SCALE: (np.log(0.02), 1.0),
    col.TRANSIENT_POWER: (np.log(2.0), 0.2),
}
"""Column: (centre, standard deviation) of the value that all targets share (docs/evidence.md)."""
OWN_SLOPE = (np.log(0.04), 0.3)
"""Centre and standard deviation of log a in BiMix (docs/evidence.md)."""
TRANSFER_WEIGHTS_SD = 0.35
"""Standard deviation of a domain's mean transfer weight: the mean over targets of its log t."""
OWN_DOMAIN_OFFSET = (4.0, 1.0)
"""Additional log t of a target's own domain: centre and standard deviation over tables."""
TRANSFER_WEIGHTS_SPREAD = (1.5, 10.0)
"""(standard deviation of log t about its centre, number of log t it weighs as)
(docs/evidence.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedValues:
    """Values that all targets share, with their standard errors.

    Arrays of two rows have one row for each law: 0 transfer, 1 BiMix.
    """

    columns: Array
    """(2, NUM_SHARED) centres of the shared columns."""
    transfer_weights: Array
    """(domains,) centres of log t."""
    own_domain_offset: float
    """Additional log t of a target's own domain."""
    spread: float
    """Standard deviation of a target's log t about `transfer_weights` and `own_domain_offset`."""
    columns_sd: Array
    """(2, NUM_SHARED) standard errors of the centres of the shared columns."""
    transfer_weights_sd: Array
    """(domains,) standard errors of the centres of log t."""


def expected(num_domains: int, reference_size: float) -> SharedValues:
    """Returns the shared values expected before any trial.

    Args:
        reference_size: N0 of the size term.
    """
    columns, sd = np.zeros((2, col.NUM_SHARED)), np.zeros((2, col.NUM_SHARED))
    for column, (centre, spread) in SHARED_PRIOR.items():
        columns[:, column], sd[:, column] = centre, spread
    columns[1, col.SLOPE], sd[1, col.SLOPE] = OWN_SLOPE
    columns[:, col.SIZE_SCALE] -= np.exp(SHARED_PRIOR[col.SIZE_POWER][0]) * np.log(
        reference_size / 4e7
    )
    return SharedValues(
        columns=columns,
        transfer_weights=np.zeros(num_domains),
        own_domain_offset=OWN_DOMAIN_OFFSET[0],
        spread=TRANSFER_WEIGHTS_SPREAD[0],
        columns_sd=sd,
        transfer_weights_sd=np.full(num_domains, TRANSFER_WEIGHTS_SD),
    )
