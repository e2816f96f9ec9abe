"""Gives the prior of a law's parameters and the hierarchical estimate of what targets have in
common."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bimix_sweep.law.model import transfer as tl
from bimix_sweep.mixture.simplex import Array

SHARED = {
    tl.SLOPE: (np.log(0.1), 0.6),
    tl.CURVATURE: (0.5, 0.3),
    tl.FLOOR: (np.log(0.02), 0.5),
    tl.FLAT: (-6.0, 0.1),
    tl.STEP_SCALE: (np.log(0.15), 1.0),
    tl.STEP_POWER: (np.log(0.5), 0.5),
    tl.STEP_SIZE: (0.0, 0.2),
    tl.SIZE_SCALE: (np.log(0.6), 0.5),
    tl.SIZE_POWER: (np.log(0.34), 0.3),
    tl.SLOPE_SIZE: (0.03, 0.015),
    tl.SLOPE_STEP: (0.0, 0.05),
}
"""Column: (centre, standard deviation) of the value that all targets share (docs/evidence.md)."""
OWN_SLOPE = (np.log(0.04), 0.3)
"""Centre and standard deviation of log a in BiMix (docs/evidence.md)."""
APART = {
    tl.LEVEL: 3.0,
    tl.SLOPE: 0.25,
    tl.CURVATURE: 0.5,
    tl.FLOOR: 1.0,
    tl.FLAT: 0.5,
    tl.STEP_SCALE: 0.7,
    tl.STEP_POWER: 0.5,
    tl.STEP_SIZE: 0.2,
    tl.SIZE_SCALE: 0.7,
    tl.SIZE_POWER: 0.3,
    tl.SLOPE_SIZE: 0.045,
    tl.SLOPE_STEP: 0.003,
}
"""Column: standard deviation of a target's value about the shared value (docs/evidence.md)."""
TRANSFER_WEIGHTS_SD = 0.35
"""Standard deviation of a domain's general transfer_weights: the mean over targets of its log t."""
OWN_BONUS = (4.0, 1.0)
"""Additional log t of a target's own domain: centre and standard deviation over tables."""
SPREAD = (1.5, 10.0)
"""(standard deviation of log t about its centre, number of log t it weighs as)
(docs/evidence.md)."""
SIZE_SHIFT = 0.04
"""Standard deviation of d, the change of log t with log N (docs/evidence.md)."""
TOGETHER = 0.4
"""Correlation over targets of a trial's noise in contrasts between mixtures (docs/evidence.md).

T targets weigh as T / (1 + (T - 1) TOGETHER) in the shared values.
"""
CONTRASTS = (tl.SLOPE, tl.CURVATURE, tl.FLOOR, tl.FLAT, tl.SLOPE_SIZE, tl.SLOPE_STEP)
"""Columns that are estimated by comparing mixtures, as log t is.

The other columns compare steps or sizes of all trials.
"""
FIXED = 1e-6
"""Prior standard deviation that holds a parameter at its mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """Values that all targets share, estimated by `pooled`.

    Arrays of two rows have one row for each law: 0 transfer, 1 BiMix.
    """

    columns: Array
    """(2, NUM_SHARED) centres of the shared columns."""
    transfer_weights: Array
    """(domains,) centres of log t."""
    own_domain_offset: float
    """Additional log t of a target's own domain."""
    spread: float
    """Standard deviation of a target's log t about transfer_weights and own_domain_offset."""
    columns_sd: Array
    """(2, NUM_SHARED) standard errors of the centres of the shared columns."""
    usefulness_sd: Array
    """(domains,) standard errors of the centres of log t."""


def expected(num_domains: int, reference_size: float) -> Common:
    """Returns the shared values expected before any trial.

    Args:
        reference_size: N0 of the size term.
    """
    columns, sd = np.zeros((2, tl.NUM_SHARED)), np.zeros((2, tl.NUM_SHARED))
    for column, (centre, spread) in SHARED.items():
        columns[:, column], sd[:, column] = centre, spread
    columns[1, tl.SLOPE], sd[1, tl.SLOPE] = OWN_SLOPE
    columns[:, tl.SIZE_SCALE] -= np.exp(SHARED[tl.SIZE_POWER][0]) * np.log(reference_size / 4e7)
    return Common(
        columns=columns,
        transfer_weights=np.zeros(num_domains),
        own_domain_offset=OWN_BONUS[0],
        spread=SPREAD[0],
        columns_sd=sd,
        usefulness_sd=np.full(num_domains, TRANSFER_WEIGHTS_SD),
    )


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


def free_columns(sd: Array) -> tuple[int, ...]:
    """Outer columns that are free in at least one problem.

    Args:
        sd: (problems, parameters) standard deviations of the prior.
    """
    return tuple(column for column in tl.OUTER_COLUMNS if (sd[:, column] > 2 * FIXED).any())


@dataclass(frozen=True, slots=True, kw_only=True)
class Problems:
    """States which law is fitted to which target."""

    level: Array
    """(problems,) mean log loss."""
    own: npt.NDArray[np.int64]
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
    has_steps: bool
    """True where the trials differ in their steps; otherwise the step factor is left out."""
    num_sizes: int
    """Number of different sizes, 0 where no size is given; below 2 the size term is left out."""
    reference_size: float
    """N0 of the size term."""

    @property
    def log_t(self) -> slice:
        """Columns of log t; the columns of d follow where d is used."""
        return slice(tl.NUM_SHARED, tl.NUM_SHARED + self.num_domains)

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
        return self.determined * APART[tl.SLOPE] ** 2

    def num_determined(self, prior: "Prior", variance: Array) -> Array:
        """(problems,) effective number of log t that the trials determine.

        Args:
            prior: the prior of a fit.
            variance: (problems, parameters) posterior variances of that fit.
        """
        used = np.maximum(1 - variance / prior.sd**2, 0.0)[:, self.log_t]
        return np.asarray((used * (prior.sd[:, self.log_t] > FIXED)).sum(axis=1))

    def prior(self, common: Common, *, widened: bool = False) -> Prior:
        """Makes the prior of each problem, given the values that targets share.

        Args:
            common: the shared values.
            widened: add the uncertainty of the shared values to the standard deviations.
        """
        count, law = len(self.level), self.bimix.astype(np.int64)
        log_t = self.log_t
        parameters = log_t.stop + (self.num_domains if self.num_sizes > 1 else 0)
        mean, sd = np.zeros((count, parameters)), np.full((count, parameters), SIZE_SHIFT)
        for column, apart in APART.items():
            mean[:, column], sd[:, column] = common.columns[law, column], apart
        mean[:, tl.LEVEL] = self.level
        mean[:, tl.SLOPE] -= self.prior_mean_shift
        mean[:, log_t], sd[:, log_t] = (common.transfer_weights, common.spread)
        if widened:
            for column in APART:
                sd[:, column] = np.hypot(sd[:, column], common.columns_sd[law, column])
            sd[:, log_t] = np.hypot(sd[:, log_t], common.usefulness_sd)
        rows = np.flatnonzero(self.own >= 0)
        mean[rows, tl.NUM_SHARED + self.own[rows]] += common.own_domain_offset

        def hold(problems: npt.NDArray[np.bool_], column: int, value: float) -> None:
            mean[problems, column], sd[problems, column] = value, FIXED

        every = np.ones(count, dtype=bool)
        mean[:, tl.PIVOT], sd[:, tl.PIVOT] = self.pivot, FIXED
        if not self.has_steps:
            for column, value in (
                (tl.STEP_SCALE, tl.OFF),
                (tl.STEP_POWER, 0.0),
                (tl.SLOPE_STEP, 0.0),
            ):
                hold(every, column, value)
        # One size does not determine kN. kN keeps its prior, so predictions at another size
        # have its full uncertainty.
        if self.num_sizes < 2:
            for column, value in ((tl.SIZE_SCALE, tl.OFF), (tl.SIZE_POWER, 0.0)):
                hold(every, column, value)
        if self.num_sizes == 0:
            hold(every, tl.SLOPE_SIZE, 0.0)
        if not (self.has_steps and self.num_sizes > 1):
            hold(every, tl.STEP_SIZE, 0.0)
        if self.has_steps:
            hold(every, tl.FLAT, tl.OFF)
        for column, value in (
            (tl.CURVATURE, -tl.OFF),
            (tl.FLAT, tl.OFF),
            (tl.SLOPE_STEP, 0.0),
            (tl.SLOPE_SIZE, 0.0),
        ):
            hold(self.bimix, column, value)
        hold(self.bimix & ~self.floor, tl.FLOOR, tl.OFF)
        for domain in range(self.num_domains):
            hold(self.bimix, tl.NUM_SHARED + domain, tl.OFF)
            hold(self.bimix & (self.own == domain), tl.NUM_SHARED + domain, 0.0)
        sd[self.bimix, log_t.stop :] = FIXED
        return Prior(mean=mean, sd=sd, columns=free_columns(sd))

    def pooled(self, common: Common, prior: Prior, params: Array, variance: Array) -> Common:
        """Estimates the values that targets share, given the fits of the targets.

        A target's fit theta with posterior variance V under the prior N(m, s2) is what a
        measurement of variance u, 1/V = 1/s2 + 1/u, would give. Measurements scatter about the
        common centre with variance s2 + u, and the centre has a Gaussian prior N(m0, S2), so

            m' - m = (sum (theta - m) / s2 - (m - m0) / S2) / (sum (s2 - V) / s2**2 + 1 / S2)

        Args:
            common: the centres from which `prior` was made.
            params: (problems, parameters) fits under that prior.
            variance: (problems, parameters) posterior variances of the fits.
        """
        s2 = prior.sd**2
        free = prior.sd > FIXED
        centre = prior.mean.copy()
        centre[:, tl.SLOPE] += self.prior_mean_shift
        pull = np.where(free, (params - centre) / s2, 0.0)
        known = np.where(free, np.maximum(s2 - variance, 0.0) / s2**2, 0.0)
        columns, columns_sd = common.columns.copy(), common.columns_sd.copy()
        start = expected(self.num_domains, self.reference_size)
        for law in (0, 1):
            rows = self.bimix == bool(law)
            part = _part(rows)
            for column in SHARED:
                spread = start.columns_sd[law, column]
                weight = part if column in CONTRASTS else 1.0
                total = weight * known[rows, column].sum() + spread**-2
                columns[law, column] += (
                    weight * pull[rows, column].sum()
                    - (columns[law, column] - start.columns[law, column]) / spread**2
                ) / total
                columns_sd[law, column] = total**-0.5
        # Two sizes determine E (N/N0)**-n at two points, so n only through E. What targets seem
        # to say about n is the prior itself.
        if self.num_sizes == 2:
            columns_sd[:, tl.SIZE_POWER] = SHARED[tl.SIZE_POWER][1]
        apart = np.ones((len(self.own), self.num_domains), dtype=bool)
        owners = np.flatnonzero((self.own >= 0) & ~self.bimix)
        apart[owners, self.own[owners]] = False
        apart[self.bimix] = False
        pull, known = pull[:, self.log_t], known[:, self.log_t]
        weight = _part(~self.bimix)
        total = weight * (known * apart).sum(axis=0) + TRANSFER_WEIGHTS_SD**-2
        transfer_weights = (
            common.transfer_weights
            + (
                weight * (pull * apart).sum(axis=0)
                - common.transfer_weights / TRANSFER_WEIGHTS_SD**2
            )
            / total
        )
        expected_bonus, spread = OWN_BONUS
        own_pull, own_known = (
            pull[owners, self.own[owners]].sum(),
            known[owners, self.own[owners]].sum(),
        )
        own_domain_offset = common.own_domain_offset + (
            own_pull - (common.own_domain_offset - expected_bonus) / spread**2
        ) / (own_known + spread**-2)
        expected_spread, count = SPREAD
        free = (prior.sd[:, self.log_t] > FIXED) & ~self.bimix[:, None]
        deviation2 = ((params - prior.mean)[:, self.log_t] ** 2)[free].sum()
        measured = np.maximum(1 - (variance / s2)[:, self.log_t], 0.0)[free].sum()
        spread = float(np.sqrt((deviation2 + count * expected_spread**2) / (measured + count)))
        return Common(
            columns=columns,
            transfer_weights=transfer_weights,
            own_domain_offset=float(own_domain_offset),
            spread=spread,
            columns_sd=columns_sd,
            usefulness_sd=total**-0.5,
        )


def _part(targets: npt.NDArray[np.bool_]) -> float:
    """Weight of each of these targets in the shared values; see TOGETHER."""
    return 1 / (1 + max(0, int(targets.sum()) - 1) * TOGETHER)
