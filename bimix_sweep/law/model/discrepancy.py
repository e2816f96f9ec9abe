"""The process that carries what the parametric law misses: a Gaussian process over mixtures on the residual of log loss.

Kernel amplitude_k**2 exp(-|sqrt(r) - sqrt(r')|**2 / (2 length**2)): on square roots the simplex becomes a piece of the sphere,
where a move between 0 and 1 % counts as much as one between 50 and 62 %. One length for all targets, an amplitude for each,
both by marginal likelihood (the law's parameters integrated out in the linear approximation) with a prior that pulls the
amplitude to 0: where the law suffices, the process vanishes.

What the law misses of a mixture at one size, or at one step, may be another thing at the next: the correlation falls with distance in log size and
in log step, too, exp(-|log N - log N'| / reach - |log s - log s'| / lasting), both by the same evidence and infinite unless the runs say otherwise.
"""

from dataclasses import dataclass

import numpy as np

from bimix_sweep.law.model.observations import Index
from bimix_sweep.mixture.simplex import Array

LENGTHS = (0.25, 0.35, 0.5, 0.7)
"""Candidates for the length on the sphere, whose diameter is 1.41."""
REACHES = (4.0, 1.5, 0.5)
"""Candidates for a finite reach over sizes or steps, in factors of e: at a factor of 4 the correlation is .71, .40 or .06."""
ALONE = (1.0, 0.3, 0.1)
"""Candidates for the part of it that is noise, where the process is judged over steps."""
REACH_GAIN = 3.0
"""Nats of evidence from which a finite reach, over sizes or over steps, is believed."""
LEAST_ALONE = 1e-4
"""Least noise of a look for itself, in units of the offset's variance: curves without any would say that nothing ever differs along them."""
SHARES = np.array([0.0, 0.15, 0.3, 0.5, 0.7, 0.85, 0.93])
"""Candidates for the process's share of the variance between trainings."""
SHARE_PENALTY = 3.0
"""Nats a share of 1 must gain over a share of 0, before the targets are seen."""
SHARE_COUNT = 2.0
"""Targets that this expectation weighs as; the rest of the belief in a share is what the other targets show."""
SHARE_ROUNDS = 6
"""Rounds of that estimate; it has settled by then."""
ABSENT_FROM = 0.4
"""A target has no process where the belief in a share of 0 is this large."""


def together(training: Index) -> list[Index]:
    """[(trainings, m) looks of the trainings with m of them, in order], from the (looks,) trainings they belong to, rising."""
    first, counts = np.unique(training, return_index=True, return_counts=True)[1:]
    return [first[counts == count, None] + np.arange(count) for count in np.unique(counts)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scatter:
    """D, the noise of the looks' mean residuals in units of the offset variance: looks of one training share its offset."""

    blocks: tuple[tuple[Index, Array], ...]
    """Trainings with equally many looks m: (trainings, m) looks, (trainings, m, m) R with R D R' = 1."""
    log_det: float
    """Logarithm of the determinant of D."""

    @classmethod
    def of(cls, training: Index, noise: Array) -> "Scatter":
        """Of (looks,) trainings, rising, and (looks,) noise that a look has for itself."""
        blocks, log_det, noise = [], 0.0, np.maximum(noise, LEAST_ALONE)
        for looks in together(training):
            root = np.linalg.cholesky(1.0 + noise[looks][:, :, None] * np.eye(looks.shape[1]))
            log_det += 2 * float(np.log(np.einsum("tmm->tm", root)).sum())
            blocks.append((looks, np.linalg.inv(root)))
        return cls(blocks=tuple(blocks), log_det=log_det)

    def whitened(self, rows: Array, *, transposed: bool = False) -> Array:
        """R x, or R' x, of (looks, n)."""
        out = np.empty_like(rows)
        for looks, root in self.blocks:
            out[looks] = np.matmul(root.transpose(0, 2, 1) if transposed else root, rows[looks])
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Spectrum:
    """Eigenbasis in which kernel and noise are both diagonal: V = amplitude2 K + offset2 D, V^-1 = B diag(weights) B'."""

    basis: Array
    """(looks, looks) B = R' U with R K R' = U diag(values) U' and R D R' = 1."""
    values: Array
    """(looks,) eigenvalues."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How the process correlates, and with that, how much of what the looks of a training differ in is left to noise."""

    length: float
    """Over mixtures, on the sphere."""
    reach: float = np.inf
    """Over sizes, in log N; infinite: what is missed of a mixture is the same at all sizes."""
    lasting: float = np.inf
    """The same over steps, in log s."""
    alone: float = 1.0
    """Part of the variance between the looks of a training that is noise of theirs; the rest is what the process loses over steps. The two are
    chosen by one evidence, and a warm refit keeps both."""

    def correlation(self, left: "Places", right: "Places") -> Array:
        """(n, m) of the process at n places and m others."""
        value = kernel(left.proportions, right.proportions, self.length)
        for scale, a, b in (
            (self.reach, left.log_size, right.log_size),
            (self.lasting, left.log_step, right.log_step),
        ):
            if scale < np.inf:
                value *= np.exp(-np.abs(a[:, None] - b[None, :]) / scale)
        return value

    def slopes(self, left: "Places", right: "Places") -> Array:
        """(n, m, domains) derivative of the correlations by the proportions of the first."""
        root = np.sqrt(np.maximum(left.proportions, 1e-9))[:, None]
        value = self.correlation(left, right)
        return np.asarray(
            value[:, :, None] * (np.sqrt(right.proportions) - root) / (2 * self.length**2 * root)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where the process is asked for."""

    proportions: Array
    """(n, domains)."""
    log_size: Array
    """(n,) log(N / N0), 0 where sizes are not given."""
    log_step: Array
    """(n,) log(s / s0)."""

    def of(self, which: Index) -> "Places":
        """Some of them."""
        return Places(
            proportions=self.proportions[which],
            log_size=self.log_size[which],
            log_step=self.log_step[which],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """Hyper-parameters of the process of every target."""

    shape: Shape
    amplitude2: Array
    """(targets,) variance of the process."""
    offset2: Array
    """(targets,) variance of a training's offset, what is left of the variance between trainings."""
    look2: Array
    """(targets,) variance of the noise that a look has for itself."""


def kernel(left: Array, right: Array, length: float) -> Array:
    """(n, m) correlation of the process at mixtures (n, domains) and (m, domains)."""
    a, b = np.sqrt(left), np.sqrt(right)
    squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None, :] - 2 * a @ b.T
    return np.asarray(np.exp(-np.maximum(squared, 0.0) / (2 * length**2)))


def spectrum(places: Places, shape: Shape, scatter: Scatter) -> Spectrum:
    """Diagonalise the kernel of some looks and their noise."""
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
    """Marginal likelihood of each shape, and the best amplitude and offset variances under it.

    Args:
        spectra: {shape: spectrum} of the looks.
        residual: (targets, looks) mean residual of each.
        jacobian: (targets, looks, parameters) mean Jacobian.
        information: (targets, parameters, parameters) prior precision and what points within looks add.
        log_det_noise: log determinant of D.
        used: (targets,) parameters the means of the looks determine.

    Returns:
        {shape: (targets,) negative log evidence at the best share} and {shape: (amplitude2, offset2)}.
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
