"""Defines the discrepancy GP: a Gaussian process over mixtures for the error of the parametric law.

The GP models the residual of the log loss (Kennedy and O'Hagan). Its kernel is

    amplitude_k**2 exp(-|sqrt(r) - sqrt(r')|**2 / (2 length**2))

Square roots map the simplex to a piece of the sphere, where a move between 0 and 1 % counts as much
as one between 50 and 62 %. All targets share one length, and each has its own amplitude. Both are
estimated by marginal likelihood, with the law's parameters integrated out in the linear
approximation. A prior pulls the amplitude to 0: where the law suffices, the GP vanishes.

The error of the law for a mixture at one size or step may differ from the error at another. So the
correlation also falls with distance in log size and in log step, by the factor

    exp(-|log N - log N'| / reach - |log s - log s'| / lasting)

The marginal likelihood selects both scales. They are infinite unless the trials show otherwise.
"""

from dataclasses import dataclass

import numpy as np

from bimix_sweep.law.model.observations import Index
from bimix_sweep.mixture.simplex import Array

LENGTHS = (0.25, 0.35, 0.5, 0.7)
"""Candidates for the length on the sphere; the largest distance of two mixtures there is 1.41."""
REACHES = (4.0, 1.5, 0.5)
"""Candidates for a finite scale over sizes or steps, in factors of e.

At a factor of 4 in size or step the correlation is 0.71, 0.40 or 0.06.
"""
ALONE = (1.0, 0.3, 0.1)
"""Candidates for `Shape.alone`, the proportion of noise in the variance between segments."""
REACH_GAIN = 3.0
"""Log evidence, in nats, that a finite scale over sizes or over steps must gain to be used."""
MIN_ALONE = 1e-4
"""Smallest noise variance of a segment, in units of the offset's variance.

Without it, curves that have no noise would suggest that the error never differs along a curve.
"""
SHARES = np.array([0.0, 0.15, 0.3, 0.5, 0.7, 0.85, 0.93])
"""Candidates for the proportion of the GP in the variance between trials."""
SHARE_PENALTY = 3.0
"""Prior penalty in nats on a proportion of 1 against a proportion of 0."""
SHARE_COUNT = 2.0
"""Number of targets that this prior weighs as, against the observed targets."""
SHARE_ROUNDS = 6
"""Rounds of the estimate of the prior over proportions; it converges in fewer."""
ABSENT_FROM = 0.4
"""Posterior probability of a proportion of 0 from which a target has no discrepancy GP."""


def together(training: Index) -> list[Index]:
    """Groups segments of trials that have equally many segments.

    Args:
        training: (segments,) trial to which each segment belongs, rising.

    Returns:
        one (trials, m) array of segment indices, in order, for each number m of segments in a
        trial.
    """
    first, counts = np.unique(training, return_index=True, return_counts=True)[1:]
    return [first[counts == count, None] + np.arange(count) for count in np.unique(counts)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scatter:
    """D, the noise covariance of the mean residuals of segments, in units of the offset's variance.

    The segments of one trial share its offset.
    """

    blocks: tuple[tuple[Index, Array], ...]
    """Whitening matrices: one pair for each number m of segments in a trial.

    The pair is (trials, m) segments and (trials, m, m) R with R D R' = 1.
    """
    log_det: float
    """Logarithm of the determinant of D."""

    @classmethod
    def of(cls, training: Index, noise: Array) -> "Scatter":
        """Factorises D.

        Args:
            training: (segments,) trial of each segment, rising.
            noise: (segments,) variance of a segment's own noise, in units of the offset's variance.
        """
        blocks, log_det, noise = [], 0.0, np.maximum(noise, MIN_ALONE)
        for looks in together(training):
            root = np.linalg.cholesky(1.0 + noise[looks][:, :, None] * np.eye(looks.shape[1]))
            log_det += 2 * float(np.log(np.einsum("tmm->tm", root)).sum())
            blocks.append((looks, np.linalg.inv(root)))
        return cls(blocks=tuple(blocks), log_det=log_det)

    def whitened(self, rows: Array, *, transposed: bool = False) -> Array:
        """Computes R x, or R' x where `transposed`, for x of (segments, n)."""
        out = np.empty_like(rows)
        for looks, root in self.blocks:
            out[looks] = np.matmul(root.transpose(0, 2, 1) if transposed else root, rows[looks])
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Spectrum:
    """Eigenbasis in which kernel and noise are both diagonal.

    V = amplitude2 K + offset2 D and V^-1 = B diag(weights) B'.
    """

    basis: Array
    """(segments, segments) B = R' U with R K R' = U diag(values) U' and R D R' = 1."""
    values: Array
    """(segments,) eigenvalues."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Correlation parameters of the discrepancy GP, and the proportion of noise within a trial."""

    length: float
    """Lengthscale over mixtures, on the sphere."""
    reach: float = np.inf
    """Lengthscale over sizes, in log N; infinite: the error for a mixture is the same at all
    sizes."""
    lasting: float = np.inf
    """Lengthscale over steps, in log s; infinite: the error for a mixture is the same at all
    steps."""
    alone: float = 1.0
    """Proportion of the variance between the segments of a trial that is noise of the segments.

    The rest is the correlation that the GP loses over steps. The marginal likelihood selects
    `alone` and `lasting` together, and a warm refit keeps both.
    """

    def correlation(self, left: "Places", right: "Places") -> Array:
        """(n, m) correlations of the GP between n and m points."""
        value = kernel(left.proportions, right.proportions, self.length)
        for scale, a, b in (
            (self.reach, left.log_size, right.log_size),
            (self.lasting, left.log_step, right.log_step),
        ):
            if scale < np.inf:
                value *= np.exp(-np.abs(a[:, None] - b[None, :]) / scale)
        return value

    def slopes(self, left: "Places", right: "Places") -> Array:
        """(n, m, domains) derivatives of the correlations by the proportions of the n points."""
        root = np.sqrt(np.maximum(left.proportions, 1e-9))[:, None]
        value = self.correlation(left, right)
        return np.asarray(
            value[:, :, None] * (np.sqrt(right.proportions) - root) / (2 * self.length**2 * root)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Inputs of the discrepancy GP: mixtures with sizes and steps."""

    proportions: Array
    """(n, domains)."""
    log_size: Array
    """(n,) log(N / N0), 0 where sizes are not given."""
    log_step: Array
    """(n,) log(s / s0)."""

    def of(self, which: Index) -> "Places":
        """Returns the inputs with the given indices."""
        return Places(
            proportions=self.proportions[which],
            log_size=self.log_size[which],
            log_step=self.log_step[which],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """Hyper-parameters of the discrepancy GP of every target."""

    shape: Shape
    """Correlation parameters, the same for all targets."""
    amplitude2: Array
    """(targets,) variance of the GP."""
    offset2: Array
    """(targets,) variance of a trial's offset, which the GP does not explain."""
    look2: Array
    """(targets,) variance of the noise that each segment has of its own."""


def kernel(left: Array, right: Array, length: float) -> Array:
    """(n, m) correlations of the GP at mixtures (n, domains) and (m, domains)."""
    a, b = np.sqrt(left), np.sqrt(right)
    squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None, :] - 2 * a @ b.T
    return np.asarray(np.exp(-np.maximum(squared, 0.0) / (2 * length**2)))


def spectrum(places: Places, shape: Shape, scatter: Scatter) -> Spectrum:
    """Diagonalises the kernel of some segments together with their noise."""
    values, vectors = np.linalg.eigh(
        scatter.whitened(scatter.whitened(shape.correlation(places, places)).T)
    )
    return Spectrum(
        basis=scatter.whitened(vectors, transposed=True), values=np.maximum(values, 0.0)
    )


def choose(
    spectra: dict[Shape, Spectrum],
    residual: Array,
    jacobian: Array,
    information: Array,
    log_det_noise: float,
    used: Array,
) -> tuple[dict[Shape, Array], dict[Shape, tuple[Array, Array]]]:
    """Computes the marginal likelihood of each shape, and the variances estimated under it.

    Args:
        spectra: {shape: spectrum} of the segments.
        residual: (targets, segments) mean residual of each segment.
        jacobian: (targets, segments, parameters) mean Jacobian of each segment.
        information: (targets, parameters, parameters) prior precision plus the information of the
            points about the means of their segments.
        log_det_noise: log determinant of D.
        used: (targets,) number of parameters that the means of the segments determine.

    Returns:
        {shape: (targets,) negative log evidence, averaged over the proportions of the GP} and
        {shape: (amplitude2, offset2)}, each (targets,).
    """
    evidence, variances = {}, {}
    targets, runs = residual.shape
    degrees = np.maximum(runs - used, 0.25 * runs)
    for shape, basis in spectra.items():
        z2 = (residual @ basis.basis) ** 2
        rotated = np.matmul(basis.basis.T[None], jacobian)
        negative, offsets = np.empty((len(SHARES), targets)), np.empty((len(SHARES), targets))
        for number, share in enumerate(SHARES):
            weights = 1 / (share / (1 - share) * basis.values + 1)
            offset2 = np.maximum((z2 * weights).sum(axis=1) / degrees, 1e-12)
            precision = (
                information
                + np.matmul((rotated * weights[:, None]).transpose(0, 2, 1), rotated)
                / offset2[:, None, None]
            )
            offsets[number] = offset2
            negative[number] = 0.5 * (
                runs * np.log(offset2)
                - np.log(weights).sum()
                + log_det_noise
                + degrees
                + np.linalg.slogdet(precision)[1]
            )
        log_belief = -SHARE_PENALTY * SHARES
        log_belief -= np.log(np.exp(log_belief).sum())
        start = np.exp(log_belief)
        for _ in range(SHARE_ROUNDS):
            weighed = log_belief[:, None] - negative
            best = weighed.max(axis=0)
            posterior = np.exp(weighed - best)
            total = posterior.sum(axis=0)
            posterior /= total
            log_belief = np.log(
                (posterior.sum(axis=1) + SHARE_COUNT * start) / (targets + SHARE_COUNT)
            )
        share_mean = SHARES @ posterior
        variance = (posterior * offsets / (1 - SHARES)[:, None]).sum(axis=0)
        share_mean = np.where(posterior[0] >= ABSENT_FROM, 0.0, share_mean)
        evidence[shape] = -(best + np.log(total))
        variances[shape] = (share_mean * variance, (1 - share_mean) * variance)
    return evidence, variances
