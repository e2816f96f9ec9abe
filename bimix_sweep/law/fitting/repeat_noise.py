"""Estimates from repeated trials how the noise of trials differs between mixtures.

Repeats are trials of one mixture that were measured at the same steps and passed over their domains
as often, for example with other seeds. They differ by their noise alone: the errors of a law are
the same for all of them. So this estimate needs no fit. Let x_i be the mean over targets of the
variance among the repeats of mixture i, in units of a variance of the target, and n_i its degrees
of freedom:

    n_i x_i ~ m_i chi^2(n_i),    log m_i ~ N(mu, omega^2)

The variances of all targets and of all parts of the noise (trial, segment, point) have the factor
m_i. Targets of one trial correlate, so n_i is less than targets x (repeats - 1). The evidence of
omega > 0 against omega = 0 decides whether noise differs at all; without this evidence a fit is the
same as without repeats. Measurements: docs/evidence.md.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from bimix_sweep.law.model.observations import Trials
from bimix_sweep.mixture.simplex import Array

SPREADS = (0.35, 0.7, 1.4, 2.8)
"""Candidates for omega, the standard deviation of log m between mixtures."""
LOG_FACTORS = np.arange(-9.0, 9.01, 0.1)
"""Grid of log m."""
CENTRES = np.arange(-9.0, 9.01, 0.25)
"""Candidates for mu."""
ROUNDS = 10
"""Number of times the variances of mixtures and of targets are computed in turn."""
MIN_NOISE_GAIN = 3.0
"""Log evidence, in nats, that different noise of mixtures must gain to be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatNoise:
    """Factors on the variance of the noise of trials, where repeats show that it differs."""

    factors: Array
    """(trials,) m of the trial's mixture; the geometric mean over repeated mixtures is 1, and a
    mixture without repeats has 1."""
    repeated: npt.NDArray[np.bool_]
    """(trials,) True where the trial's mixture has repeats."""

    @property
    def of_fit(self) -> Array:
        """(trials,) factors for the fit without a discrepancy GP, >= 1.

        The offsets of this fit contain errors of the law, which are not smaller where the noise is.
        """
        return np.maximum(self.factors, 1.0)

    @property
    def log_mean(self) -> float:
        """Logarithm of the mean factor over repeated trials."""
        return float(np.log(self.factors[self.repeated].mean()))

    def relative_to_others(self, level: float) -> Array:
        """(trials,) factors where the geometric mean of the repeated mixtures is `level` times the
        variance of the mixtures without repeats."""
        return np.where(self.repeated, level * self.factors, 1.0)


@dataclass(frozen=True, kw_only=True)
class _Repeats:
    """Variances among the repeats of each repeated mixture."""

    mixture: npt.NDArray[np.int64]
    """(repeated mixtures,) mixture numbers of `Trials.mixture`."""
    squares: Array
    """(repeated mixtures, targets) sums of squares about the mean of the repeats."""
    degrees: Array
    """(repeated mixtures, targets) degrees of freedom of `squares`, 0 where not measured."""
    products: Array
    """(repeated mixtures, targets, targets) sums of products, whose diagonal is `squares`."""

    def relative(self, factors: Array) -> tuple[Array, Array]:
        """Returns the (repeated mixtures,) x and n of the module's docstring.

        Args:
            factors: (repeated mixtures,) m under which the correlation of targets is computed.
        """
        used = (self.degrees > 0) & (self.squares.sum(axis=0) > 0)
        num = np.maximum(used.sum(axis=1), 1)
        variance = np.ones(len(self.mixture))
        for _ in range(ROUNDS):
            scaled = self.squares / np.maximum(variance, 1e-12)[:, None]
            pooled = scaled.sum(axis=0) / np.maximum(self.degrees.sum(axis=0), 1)
            ratio = self.squares / np.where(pooled > 0, pooled, 1.0) / np.maximum(self.degrees, 1)
            variance = np.where(used, ratio, 0.0).sum(axis=1) / num
        products = (self.products / factors[:, None, None]).sum(axis=0)
        length = np.sqrt(np.maximum(np.diag(products), 1e-300))
        squared = (products / length[:, None] / length[None, :]) ** 2
        overlap = np.einsum("it,tu,iu->i", used, squared, used)
        degrees = self.degrees.max(axis=1) * num**2 / np.maximum(overlap, 1)
        return variance, degrees


def repeat_noise(trials: Trials, y: Array) -> RepeatNoise | None:
    """Estimates the factors; None where no repeats show that noise differs between mixtures.

    Args:
        y: (targets, rows) log losses, 0 where not measured.
    """
    repeats = _repeats(trials, y)
    if repeats is None:
        return None
    equal = np.ones(len(repeats.mixture))
    log_factors, gain = _log_factors(*repeats.relative(equal))
    if gain < MIN_NOISE_GAIN:
        return None
    log_factors, _ = _log_factors(*repeats.relative(np.exp(log_factors)))
    log_factors -= log_factors.mean()
    factor = np.ones(int(trials.mixture.max()) + 1)
    factor[repeats.mixture] = np.exp(log_factors)
    return RepeatNoise(
        factors=factor[trials.mixture], repeated=np.isin(trials.mixture, repeats.mixture)
    )


def _repeats(trials: Trials, y: Array) -> _Repeats | None:
    """Collects the repeats; None where fewer than two mixtures have repeats that differ."""
    if len(set(trials.mixture.tolist())) == len(trials.mixture):
        return None
    present = trials.present
    means = trials.sums(y * present) / np.maximum(trials.sums(present.astype(np.float64)), 1)
    passes = np.ones((len(trials.trial), 1))
    if trials.epochs is not None:
        passes = np.maximum(trials.epochs, 1.0).round(9)  # up to one pass nothing is repeated
    groups: dict[tuple[int, bytes, bytes, bytes], list[int]] = {}
    for trial, rows in enumerate(np.split(np.arange(len(trials.trial)), trials.starts[1:])):
        measured_at = (
            trials.stage[rows].tobytes(),
            present[:, rows].tobytes(),
            passes[rows].tobytes(),
        )
        groups.setdefault((int(trials.mixture[trial]), *measured_at), []).append(trial)
    found: dict[int, list[tuple[Array, Array]]] = {}
    for (mixture, *_), members in groups.items():
        apart = means[:, members] - means[:, members].mean(axis=1, keepdims=True)
        if len(members) > 1 and apart.any():  # equal losses are copies of one trial
            measured = present[:, trials.starts[members[0]] :][:, : _num_rows(trials, members[0])]
            degrees = measured.any(axis=1) * (len(members) - 1.0)
            product = np.asarray(apart @ apart.T)
            found.setdefault(mixture, []).append((product, np.asarray(degrees)))
    if len(found) < 2:
        return None
    products = np.array([sum(product for product, _ in each) for each in found.values()])
    return _Repeats(
        mixture=np.array(list(found)),
        squares=np.einsum("itt->it", products),
        degrees=np.array([sum(degrees for _, degrees in each) for each in found.values()]),
        products=products,
    )


def _num_rows(trials: Trials, trial: int) -> int:
    """Number of rows of one trial."""
    return int((trials.trial == trial).sum())


def _log_factors(variance: Array, degrees: Array) -> tuple[Array, float]:
    """Returns the (repeated mixtures,) posterior means of log m for omega > 0, and the log evidence
    that omega > 0 gains over omega = 0.

    Args:
        variance, degrees: x and n of the module's docstring.
    """
    log_likelihood = (
        -0.5
        * degrees[:, None]
        * (LOG_FACTORS + np.maximum(variance, 1e-12)[:, None] * np.exp(-LOG_FACTORS))
    )
    log_likelihood -= log_likelihood.max(axis=1, keepdims=True)
    likelihood = np.exp(log_likelihood)
    centre, spread = np.tile(CENTRES, len(SPREADS)), np.repeat(SPREADS, len(CENTRES))
    prior = np.exp(-0.5 * ((LOG_FACTORS - centre[:, None]) / spread[:, None]) ** 2)
    prior /= prior.sum(axis=1, keepdims=True)
    each = np.maximum(likelihood @ prior.T, 1e-300)
    evidence = np.log(each).sum(axis=0)
    total, equal = logsumexp(evidence), logsumexp(log_likelihood.sum(axis=0))
    gain = total - np.log(len(evidence)) - (equal - np.log(len(LOG_FACTORS)))
    means = (likelihood * LOG_FACTORS) @ prior.T / each
    return np.asarray(means @ np.exp(evidence - total)), float(gain)
