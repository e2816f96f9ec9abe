"""Joint Gaussian beliefs about the log losses of several mixtures, and what one more run would add to them."""

from dataclasses import dataclass, replace

import numpy as np

from bimix_sweep.mixture.simplex import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """Noise-free log losses at M mixtures, each at its step and size; targets are independent given the runs so far."""

    mean: Array
    """(M, targets) log loss."""
    covariance: Array
    """(targets, M, M) law's parameters and residual process, inflated by the cross-validated misfit."""
    run_noise: Array
    """(targets, targets) covariance of what one more run adds to its own log losses: trial offset and point noise."""

    def conditioned(self, index: int) -> "Posterior":
        """The belief after a run at mixture `index` whose losses are not known yet: covariance shrinks, the mean stays.

        Sigma' = Sigma - Sigma[:, i] Sigma[i, :] / (Sigma[i, i] + noise), for each target: a run's information does not depend on
        its result in the linear approximation.
        """
        column = self.covariance[:, :, index]
        total = column[:, index] + np.diag(self.run_noise)
        covariance = (
            self.covariance
            - column[:, :, None] * (column / np.maximum(total, 1e-300)[:, None])[:, None, :]
        )
        return replace(self, covariance=covariance)

    def draws(self, generator: np.random.Generator, count: int) -> Array:
        """(count, M, targets) log losses drawn jointly over the mixtures."""
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
