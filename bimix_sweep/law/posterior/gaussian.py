"""Represents joint Gaussian beliefs about the log losses of several mixtures.

A belief also gives what one more trial would add to it.
"""

from dataclasses import dataclass, replace

import numpy as np

from bimix_sweep.mixture.simplex import Array


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
    run_noise: Array
    """(targets, targets) covariance of the noise that one more trial adds to its own log losses:
    trial offset and point noise.
    """

    def conditioned(self, index: int) -> "Posterior":
        """Returns the belief after a trial at mixture `index` whose losses are not known yet.

        The covariance shrinks and the mean stays, for each target:

            Sigma' = Sigma - Sigma[:, i] Sigma[i, :] / (Sigma[i, i] + noise)

        The information of a trial does not depend on its result in the linear approximation.
        """
        column = self.covariance[:, :, index]
        total = column[:, index] + np.diag(self.run_noise)
        covariance = (
            self.covariance
            - column[:, :, None] * (column / np.maximum(total, 1e-300)[:, None])[:, None, :]
        )
        return replace(self, covariance=covariance)

    def draws(self, generator: np.random.Generator, count: int) -> Array:
        """Draws (count, M, targets) log losses jointly over the mixtures."""
        targets, mixtures, _ = self.covariance.shape
        normal = generator.standard_normal((targets, mixtures, count))
        scale = np.einsum("tmm->t", self.covariance) / mixtures
        lifted = self.covariance + (1e-9 * scale + 1e-300)[:, None, None] * np.eye(mixtures)
        try:
            root: Array = np.linalg.cholesky(lifted)
        except np.linalg.LinAlgError:
            values, vectors = np.linalg.eigh(lifted)
            root = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
        drawn: Array = self.mean[None] + np.matmul(root, normal).transpose(2, 1, 0)
        return drawn
