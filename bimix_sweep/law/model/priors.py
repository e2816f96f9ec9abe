"""What is believed of a law's parameters before any run, and why."""

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
"""Column: (centre, standard deviation) of what all targets have in common.

Curvature and `SPREAD` were chosen by leaving runs out of the published 1M training swarm (n = 16, 24, 32, 64 fitted, the others predicted) and mixtures out of
half of the published 70M curves. The slope's centre does not matter there (.05, .07, .1: the same to .3 % of the error) once it is `lowered`; without
that few runs need a centre of .03 held to .1, which costs 19 % more error with 12 of this project's own proxies (5 domains; 30 % with 8), whose slopes are .15
to .2. The exponent ks of the slope is .1 to .2 in those proxies and -.05 in the published curves (cosine schedules), where few mixtures mistake drift for it:
a standard deviation of .2 costs 2 % of the error from 4 mixtures there, .02 costs 6 % with 8 of the proxies. The centre of
kN is what the published curves show: log losses of the same mixtures scatter more at 160M and at 305M than at 70M, by a power of N of .034 on average over
the targets whose order is kept (their standard deviation is .036). Against a centre of 0 it lowers the error of other draws of 70M -> 160M, 70M -> 305M and
160M -> 305M (four or two of the larger, 20 draws each) by .001 to .029 % and, on the swarm, of 1M -> 60M from 2.27 to 2.25 % (64 + 4, 40 draws). Its spread over
targets, `APART`, is near what they show: .045 instead of .06 lowers the error of other draws of 1M -> 60M from 2.30 to 2.27 % (64 + 4) and from 2.51 to 2.49 %
(32 + 4, 20 draws), of 70M -> 160M from .465 to .459 % and of 70M -> 305M from .551 to .547 % (four of the larger, 10 draws); .03 is as wide of it.
The size term is Hoffmann et al.'s (arXiv:2203.15556: 1.69 + 406 / N**.34, so .6 of the limit at N = 4e7): two sizes do not determine it.
Targets that share directions beyond usefulness (a covariance of log t over domains, estimated from all targets) were tried on the training swarm: no gain.
"""
OWN_SLOPE = (np.log(0.04), 0.3)
"""The slope's where only the own domain counts: published losses fall with the own proportion to the power .02 to .06, in seven-domain curves of three sizes,
in the 1M swarm and in this project's own proxies."""
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
"""Column: standard deviation of a target about what all have in common."""
USEFULNESS = 0.35
"""Standard deviation of a domain's general usefulness: the mean over targets of its log t."""
OWN_BONUS = (4.0, 1.0)
"""How much more log t the own domain has than it would for a target without one; centre and standard deviation over tables."""
SPREAD = (1.5, 10.0)
"""Standard deviation of a target's log t about usefulness and bonus, and how many measured log t this expectation weighs as."""
SIZE_SHIFT = 0.04
"""Standard deviation of d, how a domain's usefulness for a target moves with log N, where the runs have several sizes.

Chosen by predicting curves left out at the larger size from the smaller and four of the larger (10 draws each): it betters the log score of a loss by
.009 (70M -> 160M) and .026 (70M -> 305M), .02 by half of that, and costs .004 from 160M to 305M; the intervals then hold .952, .943 and .967
of the losses, without it .945, .927 and .966. A part of d that all targets share, learnt from few large runs, is mistaken for what these have in common by chance: with
a standard deviation of .05 the error at 305M from 70M and 160M rises from .71 to 1.06 %.
"""
TOGETHER = 0.4
"""Correlation over targets of what a training's chance says of the contrasts between mixtures: T targets weigh as T / (1 + (T - 1) TOGETHER) in what
they have in common. Trial offsets correlate by .21 over targets in the published 1M swarm, by .41 in its 60M runs."""
CONTRASTS = (tl.SLOPE, tl.CURVATURE, tl.FLOOR, tl.FLAT, tl.SLOPE_SIZE, tl.SLOPE_STEP)
"""Columns that are found by comparing mixtures, as log t is; the others compare steps or sizes of all trainings."""
FIXED = 1e-6
"""Standard deviation that holds a parameter where it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """What all targets share, one row per law (0 transfer, 1 BiMix); estimated from the runs by `pooled`."""

    columns: Array
    """(2, NUM_SHARED) centres of the shared columns."""
    usefulness: Array
    """(domains,) centres of log t."""
    bonus: float
    """What the own domain has on top."""
    spread: float
    """Standard deviation of a target's log t about these."""
    columns_sd: Array
    """(2, NUM_SHARED) how uncertain the centres of the shared columns still are."""
    usefulness_sd: Array
    """(domains,) the same of the centres of log t."""


def expected(num_domains: int, reference_size: float) -> Common:
    """Before any run; `reference_size` is the N0 of the size term."""
    columns, sd = np.zeros((2, tl.NUM_SHARED)), np.zeros((2, tl.NUM_SHARED))
    for column, (centre, spread) in SHARED.items():
        columns[:, column], sd[:, column] = centre, spread
    columns[1, tl.SLOPE], sd[1, tl.SLOPE] = OWN_SLOPE
    columns[:, tl.SIZE_SCALE] -= np.exp(SHARED[tl.SIZE_POWER][0]) * np.log(reference_size / 4e7)
    return Common(
        columns=columns,
        usefulness=np.zeros(num_domains),
        bonus=OWN_BONUS[0],
        spread=SPREAD[0],
        columns_sd=sd,
        usefulness_sd=np.full(num_domains, USEFULNESS),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """Independent Gaussians over the parameters of a batch of problems; a parameter that a law lacks is held at OFF."""

    mean: Array
    """(problems, parameters)."""
    sd: Array
    """(problems, parameters)."""
    columns: tuple[int, ...]
    """Outer columns free in at least one problem."""


def free_columns(sd: Array) -> tuple[int, ...]:
    """Outer columns that are free in at least one problem, from (problems, parameters) standard deviations of their prior."""
    return tuple(column for column in tl.OUTER_COLUMNS if (sd[:, column] > 2 * FIXED).any())


@dataclass(frozen=True, slots=True, kw_only=True)
class Problems:
    """Which law is fitted to which target."""

    level: Array
    """(problems,) mean log loss."""
    own: npt.NDArray[np.int64]
    """(problems,) index of the own domain, -1 where there is none."""
    bimix: npt.NDArray[np.bool_]
    """(problems,) True for the published own-domain law."""
    floor: npt.NDArray[np.bool_]
    """(problems,) True where that law needs a floor because the own proportion is 0 in some run."""
    pivot: Array
    """(problems,) log v at which the slope turns."""
    determined: Array
    """(problems,) how many log t the runs determine, so far as that is known; see `lowered`."""
    num_domains: int
    has_steps: bool
    """Whether the runs differ in their steps; else the step factor is left out."""
    num_sizes: int
    """How many different sizes they have, 0 where none is given; below 2 the size term is left out."""
    reference_size: float
    """N0 of the size term."""

    @property
    def log_t(self) -> slice:
        """Where log t is; d follows where there is one."""
        return slice(tl.NUM_SHARED, tl.NUM_SHARED + self.num_domains)

    @property
    def lowered(self) -> Array:
        """(problems,) by how much the centre of log a is lowered, so that the fit finds the a that is likeliest with log t integrated out.

        A larger a with log t nearer to their centre predicts alike, and costs less under the prior of each; their joint mode is at too large an a
        where runs are few. What integrating adds is half the log determinant of the information of log t, which grows with 2 log a for each that the
        runs determine: a prior of a to the power of minus their number, which times a Gaussian is a Gaussian with a lower centre.
        """
        return self.determined * APART[tl.SLOPE] ** 2

    def num_determined(self, prior: "Prior", variance: Array) -> Array:
        """(problems,) effective number of log t that the runs determine, from the (problems, parameters) posterior variances of a fit under `prior`."""
        used = np.maximum(1 - variance / prior.sd**2, 0.0)[:, self.log_t]
        return np.asarray((used * (prior.sd[:, self.log_t] > FIXED)).sum(axis=1))

    def prior(self, common: Common, *, widened: bool = False) -> Prior:
        """The prior of each problem given what targets have in common; `widened` by what is still uncertain of that."""
        count, law = len(self.level), self.bimix.astype(np.int64)
        log_t = self.log_t
        parameters = log_t.stop + (self.num_domains if self.num_sizes > 1 else 0)
        mean, sd = np.zeros((count, parameters)), np.full((count, parameters), SIZE_SHIFT)
        for column, apart in APART.items():
            mean[:, column], sd[:, column] = common.columns[law, column], apart
        mean[:, tl.LEVEL] = self.level
        mean[:, tl.SLOPE] -= self.lowered
        mean[:, log_t], sd[:, log_t] = (common.usefulness, common.spread)
        if widened:
            for column in APART:
                sd[:, column] = np.hypot(sd[:, column], common.columns_sd[law, column])
            sd[:, log_t] = np.hypot(sd[:, log_t], common.usefulness_sd)
        rows = np.flatnonzero(self.own >= 0)
        mean[rows, tl.NUM_SHARED + self.own[rows]] += common.bonus

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
        if (
            self.num_sizes < 2
        ):  # one size says nothing of kN, which then keeps its prior: predictions at another size are as uncertain
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
        """What the targets have in common, given their fits.

        A target's fit theta with posterior variance V under the prior N(m, s2) is what a measurement of variance u, 1/V = 1/s2 + 1/u,
        would give; measurements scatter about the common centre with s2 + u, and the centre has a Gaussian prior itself, so
        m' - m = (sum (theta - m) / s2 - (m - m0) / S2) / (sum (s2 - V) / s2**2 + 1 / S2).

        Args:
            common: the centres `prior` was made from.
            params: (problems, parameters) fits under it.
            variance: (problems, parameters) their posterior variances.
        """
        s2 = prior.sd**2
        free = prior.sd > FIXED
        centre = prior.mean.copy()
        centre[:, tl.SLOPE] += self.lowered
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
        if (
            self.num_sizes == 2
        ):  # they determine E (N/N0)**-n at two points, so n only through E: what targets say of it is the prior's echo
            columns_sd[:, tl.SIZE_POWER] = SHARED[tl.SIZE_POWER][1]
        apart = np.ones((len(self.own), self.num_domains), dtype=bool)
        owners = np.flatnonzero((self.own >= 0) & ~self.bimix)
        apart[owners, self.own[owners]] = False
        apart[self.bimix] = False
        pull, known = pull[:, self.log_t], known[:, self.log_t]
        weight = _part(~self.bimix)
        total = weight * (known * apart).sum(axis=0) + USEFULNESS**-2
        usefulness = (
            common.usefulness
            + (weight * (pull * apart).sum(axis=0) - common.usefulness / USEFULNESS**2) / total
        )
        expected_bonus, spread = OWN_BONUS
        own_pull, own_known = (
            pull[owners, self.own[owners]].sum(),
            known[owners, self.own[owners]].sum(),
        )
        bonus = common.bonus + (own_pull - (common.bonus - expected_bonus) / spread**2) / (
            own_known + spread**-2
        )
        expected_spread, count = SPREAD
        free = (prior.sd[:, self.log_t] > FIXED) & ~self.bimix[:, None]
        deviation2 = ((params - prior.mean)[:, self.log_t] ** 2)[free].sum()
        measured = np.maximum(1 - (variance / s2)[:, self.log_t], 0.0)[free].sum()
        spread = float(np.sqrt((deviation2 + count * expected_spread**2) / (measured + count)))
        return Common(
            columns=columns,
            usefulness=usefulness,
            bonus=float(bonus),
            spread=spread,
            columns_sd=columns_sd,
            usefulness_sd=total**-0.5,
        )


def _part(targets: npt.NDArray[np.bool_]) -> float:
    """What each of these targets weighs in what they have in common; see TOGETHER."""
    return 1 / (1 + max(0, int(targets.sum()) - 1) * TOGETHER)
