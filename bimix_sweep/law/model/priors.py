"""Gives the prior of the law's parameters for each target and law, given the shared values."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bimix_sweep.law.model import columns as col
from bimix_sweep.law.model.observations import Index, Trials
from bimix_sweep.law.model.shared_values import SharedValues
from bimix_sweep.mixture.simplex import Array

BETWEEN_TARGETS_SD = {
    col.LEVEL: 3.0,
    col.SLOPE: 0.25,
    col.CURVATURE: 0.5,
    col.FLOOR: 1.0,
    col.FLAT: 0.5,
    col.STEP_SCALE: 0.7,
    col.STEP_POWER: 0.25,
    col.STEP_SIZE: 0.2,
    col.SIZE_SCALE: 0.7,
    col.SIZE_POWER: 0.3,
    col.SLOPE_SIZE: 0.045,
    col.SLOPE_STEP: 0.003,
    col.TRANSIENT_SCALE: 1.0,
    col.TRANSIENT_POWER: 0.1,
}
"""Column: standard deviation of a target's value about the shared value (docs/evidence.md)."""
SIZE_SHIFT = 0.04
"""Standard deviation of d, the change of log t with log N (docs/evidence.md)."""
MIN_CURVE_POINTS = 4
"""Smallest number of points of the longest curve for which the law has a transient."""
FIXED = 1e-6
"""Prior standard deviation that holds a parameter at its mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """Independent Gaussians over the parameters of a batch of problems.

    A parameter that a law lacks is held at OFF.
    """

    mean: Array
    """(problems, parameters) means."""
    sd: Array
    """(problems, parameters) standard deviations."""
    columns: tuple[int, ...]
    """Outer columns that are free in at least one problem."""

    def of(self, problems: Index) -> "Prior":
        """Returns the prior of some of the problems."""
        return Prior(mean=self.mean[problems], sd=self.sd[problems], columns=self.columns)


def free_columns(sd: Array) -> tuple[int, ...]:
    """Outer columns that are free in at least one problem.

    Args:
        sd: (problems, parameters) standard deviations of the prior.
    """
    return tuple(column for column in col.OUTER_COLUMNS if (sd[:, column] > 2 * FIXED).any())


def step_terms_of(trials: Trials) -> int:
    """Number of terms of the law that fall with the step and that the trials can determine.

    Trials without different steps determine none. Both terms need curves of MIN_CURVE_POINTS.
    """
    if np.ptp(trials.steps) == 0:
        return 0
    return 1 if np.bincount(trials.trial).max() < MIN_CURVE_POINTS else 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Problems:
    """States which law is fitted to which target."""

    level: Array
    """(problems,) mean log loss."""
    own: Index
    """(problems,) index of the own domain, -1 where the target has none."""
    bimix: npt.NDArray[np.bool_]
    """(problems,) True for BiMix, the published law of the own domain."""
    floor: npt.NDArray[np.bool_]
    """(problems,) True where BiMix needs a floor because the own proportion is 0 in some trial."""
    pivot: Array
    """(problems,) value of log v where a change of the slope does not change the loss."""
    determined: Array
    """(problems,) number of log t that the trials determine, as far as it is known; see
    `prior_mean_shift`."""
    num_domains: int
    """Number of domains."""
    step_terms: int
    """Number of terms that fall with the step, see `step_terms_of`: 0 none, 1 without the transient,
    2 both."""
    num_sizes: int
    """Number of different sizes, 0 where no size is given; below 2 the size term is left out."""
    reference_size: float
    """N0 of the size term."""

    @property
    def log_t(self) -> slice:
        """Columns of log t; the columns of d follow where d is used."""
        return slice(col.NUM_SHARED, col.NUM_SHARED + self.num_domains)

    @property
    def prior_mean_shift(self) -> Array:
        """(problems,) decrease of the prior mean of log a, because log t is not integrated out.

        With this decrease the fitted a is close to its mode with log t integrated out.

        A larger a with log t nearer to their centres predicts the same losses and has a lower cost
        under the priors of a and log t, so their joint mode has a too large a where trials are few.
        Integration over log t adds half the log determinant of the information of log t. This term
        grows with 2 log a for each log t that the trials determine. It acts as a prior of a to the
        power of minus their number, and this prior times a Gaussian in log a is a Gaussian with a
        lower mean.
        """
        return self.determined * BETWEEN_TARGETS_SD[col.SLOPE] ** 2

    def num_determined(self, prior: "Prior", variance: Array) -> Array:
        """(problems,) effective number of log t that the trials determine.

        Args:
            prior: the prior of a fit.
            variance: (problems, parameters) posterior variances of that fit.
        """
        used = np.maximum(1 - variance / prior.sd**2, 0.0)[:, self.log_t]
        return np.asarray((used * (prior.sd[:, self.log_t] > FIXED)).sum(axis=1))

    def prior(self, shared: SharedValues, *, widened: bool = False) -> Prior:
        """Makes the prior of each problem, given the values that targets share.

        Args:
            shared: the shared values.
            widened: add the uncertainty of the shared values to the standard deviations.
        """
        count, law = len(self.level), self.bimix.astype(np.int64)
        log_t = self.log_t
        parameters = log_t.stop + (self.num_domains if self.num_sizes > 1 else 0)
        mean, sd = np.zeros((count, parameters)), np.full((count, parameters), SIZE_SHIFT)
        for column, between in BETWEEN_TARGETS_SD.items():
            mean[:, column], sd[:, column] = shared.columns[law, column], between
        mean[:, col.LEVEL] = self.level
        mean[:, col.SLOPE] -= self.prior_mean_shift
        mean[:, log_t], sd[:, log_t] = (shared.transfer_weights, shared.spread)
        if widened:
            for column in BETWEEN_TARGETS_SD:
                sd[:, column] = np.hypot(sd[:, column], shared.columns_sd[law, column])
            sd[:, log_t] = np.hypot(sd[:, log_t], shared.transfer_weights_sd)
        rows = np.flatnonzero(self.own >= 0)
        mean[rows, col.NUM_SHARED + self.own[rows]] += shared.own_domain_offset
        mean[:, col.PIVOT], sd[:, col.PIVOT] = self.pivot, FIXED
        for problems, column, value in self._held():
            mean[problems, column], sd[problems, column] = value, FIXED
        sd[self.bimix, log_t.stop :] = FIXED
        return Prior(mean=mean, sd=sd, columns=free_columns(sd))

    def _held(self) -> Iterator[tuple[npt.NDArray[np.bool_], int, float]]:
        """Yields (problems, column, value) of the parameters that are not fitted."""
        every = np.ones(len(self.level), dtype=bool)
        if self.step_terms == 0:
            yield every, col.STEP_SCALE, col.OFF
            yield every, col.STEP_POWER, 0.0
            yield every, col.SLOPE_STEP, 0.0
        if self.step_terms < 2:
            yield every, col.TRANSIENT_SCALE, col.OFF
            yield every, col.TRANSIENT_POWER, 0.0
        # One size does not determine kN. kN keeps its prior, so predictions at another size
        # have its full uncertainty.
        if self.num_sizes < 2:
            yield every, col.SIZE_SCALE, col.OFF
            yield every, col.SIZE_POWER, 0.0
        if self.num_sizes == 0:
            yield every, col.SLOPE_SIZE, 0.0
        if not (self.step_terms and self.num_sizes > 1):
            yield every, col.STEP_SIZE, 0.0
        if self.step_terms:
            yield every, col.FLAT, col.OFF
        yield self.bimix, col.CURVATURE, -col.OFF
        yield self.bimix, col.FLAT, col.OFF
        yield self.bimix, col.TRANSIENT_SCALE, col.OFF
        yield self.bimix, col.TRANSIENT_POWER, 0.0
        yield self.bimix, col.SLOPE_STEP, 0.0
        yield self.bimix, col.SLOPE_SIZE, 0.0
        yield self.bimix & ~self.floor, col.FLOOR, col.OFF
        for domain in range(self.num_domains):
            yield self.bimix, col.NUM_SHARED + domain, col.OFF
            yield self.bimix & (self.own == domain), col.NUM_SHARED + domain, 0.0
