"""Represents joint Gaussian beliefs about the log losses of several mixtures.

A belief also gives what one more trial would add to it.
"""

from dataclasses import dataclass, replace

import numpy as np

from bimix_sweep.mixture.simplex import Array

NEGLIGIBLE = 1e-9
"""Fraction of the mean variance that is added to a covariance's diagonal before factorisation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """Belief about the noise-free log losses at M mixtures, each at its step and size.

    Targets are independent given the trials so far.
    """

    mean: Array
    """(M, targets) mean log loss."""
    covariance: Array
    """(targets, M, M) covariance from the law's parameters and the discrepancy GP, inflated to
    match the cross-validated errors."""
    trial_noise: Array
    """(targets, targets) covariance of the noise that one more trial adds to its own log losses:
    trial offset and point noise.
    """
    noise_factors: Array
    """(M,) factors on `trial_noise` at each mixture: noise may differ between mixtures."""

    def conditioned(self, index: int) -> "Posterior":
        """Returns the belief after a trial at mixture `index` whose losses are not known yet.

        The covariance shrinks and the mean stays, for each target:

            Sigma' = Sigma - Sigma[:, i] Sigma[i, :] / (Sigma[i, i] + noise)

        The information of a trial does not depend on its result in the linear approximation.
        """
        column = self.covariance[:, :, index]
        total = column[:, index] + np.diag(self.trial_noise) * self.noise_factors[index]
        covariance = (
            self.covariance
            - column[:, :, None] * (column / np.maximum(total, 1e-300)[:, None])[:, None, :]
        )
        return replace(self, covariance=covariance)

    def draws(self, generator: np.random.Generator, count: int) -> Array:
        """Draws (count, M, targets) log losses jointly over mixtures and targets.

        Targets correlate as the noise of trials does.
        """
        normal = self._normal(generator, len(self.mean), count)
        return np.asarray(self.mean + np.matmul(_root(self.covariance), normal).transpose(2, 1, 0))

    def paired_draws(self, generator: np.random.Generator, count: int) -> tuple[Array, Array]:
        """Draws log losses of M / 2 pairs: mixture i together with mixture M / 2 + i.

        The two mixtures of a pair are drawn jointly, and different pairs are not. All pairs share
        the same random numbers, so the draws of one pair do not depend on the other pairs.

        Returns:
            (count, M / 2, targets) log losses of the first mixtures, and of the second ones.
        """
        half = len(self.mean) // 2
        first, second = np.arange(half), np.arange(half, 2 * half)
        one, two = self._normal(generator, 2, count).transpose(1, 2, 0)[:, :, None]
        sd = np.sqrt(np.maximum(self.covariance[:, second, second].T, 1e-300))
        shared = self.covariance[:, first, second].T / sd
        rest = np.sqrt(np.maximum(self.covariance[:, first, first].T - shared**2, 0.0))
        return self.mean[first] + shared * one + rest * two, self.mean[second] + sd * one

    def _normal(self, generator: np.random.Generator, mixtures: int, count: int) -> Array:
        """(targets, mixtures, count) standard normal numbers; targets correlate as the noise of
        trials does."""
        sd = np.sqrt(np.maximum(np.diag(self.trial_noise), 1e-300))
        mixing = _root((self.trial_noise / sd[:, None] / sd[None])[None])[0]
        return np.asarray(
            np.einsum("kt,tmc->kmc", mixing, generator.standard_normal((len(sd), mixtures, count)))
        )


def _root(covariance: Array) -> Array:
    """(..., n, n) factors of positive semidefinite matrices."""
    size = covariance.shape[-1]
    scale = np.trace(covariance, axis1=-2, axis2=-1) / size
    for lift in (NEGLIGIBLE, 1e-6):
        try:
            return np.asarray(
                np.linalg.cholesky(
                    covariance + (lift * scale + 1e-300)[..., None, None] * np.eye(size)
                )
            )
        except np.linalg.LinAlgError:
            continue
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :])
