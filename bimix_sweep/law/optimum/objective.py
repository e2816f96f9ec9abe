"""Defines the objective that is minimised over mixtures, and the certificate of a minimum.

    F(r) = phi(L(r)) + kl * sum_j r_j log(r_j / p_j)

with phi(L) = w.L ("mean") or max_k w_k L_k ("worst"). "worst" is smoothed, phi_mu(L) = mu log sum_k
exp(w_k L_k / mu).

Certificate: at r, for the convex F with gradient G, F(r) - min F <= max_v G.(r - v) over the
feasible v, because F lies above its tangent plane. The maximum over a bounded simplex is a greedy
filling. For "worst" the same holds with every target's tangent plane, min F >= min_v max_k [w_k
L_k(r) + w_k G_k.(v - r)], which is a small linear programme. The KL term is added to each plane.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.optimize

from bimix_sweep.law.optimum.quadratic_step import lowest_vertex
from bimix_sweep.mixture.simplex import Array

Losses = Callable[[Array], tuple[Array, Array]]
"""(n, domains) mixtures -> (n, targets) losses and (n, targets, domains) their derivatives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """F of the module's docstring."""

    losses: Losses
    """Function that computes the targets' losses and their derivatives."""
    weights: Array
    """(targets,) w, >= 0."""
    worst: bool = False
    """True for the maximum over targets, False for the sum."""
    prior: Array | None = None
    """(domains,) p of the KL term, > 0 wherever the upper bound is."""
    kl: float = 0.0
    """Strength of the pull to p, in units of the objective."""

    def values(self, points: Array) -> Array:
        """Computes (n,) F without smoothing."""
        losses, _ = self.losses(points)
        weighted = losses * self.weights
        return np.asarray(
            (weighted.max(axis=1) if self.worst else weighted.sum(axis=1)) + self.pull(points)[0]
        )

    def gradients(self, points: Array) -> Array:
        """Computes (n, domains) derivatives of F for "mean"."""
        _, slopes = self.losses(points)
        return np.asarray(np.einsum("k,nkd->nd", self.weights, slopes) + self.pull(points)[1])

    def planes(self, points: Array) -> tuple[Array, Array]:
        """Computes the tangent planes of each weighted target, with the pull.

        F lies above each plane for "worst" where the losses are convex.

        Returns:
            (n, used targets, domains) slopes and (n, used targets) values at 0.
        """
        losses, slopes = self.losses(points)
        used = self.weights > 0
        value, slope, _ = self.pull(points)
        planes = self.weights[used, None] * slopes[:, used] + slope[:, None]
        at = self.weights[used] * losses[:, used] + value[:, None]
        return planes, at - np.einsum("nkd,nd->nk", planes, points)

    def model(self, point: Array, temperature: float) -> tuple[float, Array, Array]:
        """Computes value, gradient and Hessian of the smoothed F at one mixture.

        The gradient is (domains,) and the Hessian (domains, domains).
        """
        steps = np.maximum(1e-4 * point, 1e-6)
        losses, slopes = self.losses(np.concatenate([point[None], point + np.diag(steps)]))
        value, weights = self.smooth(losses[0], temperature)
        gradient = weights @ slopes[0]
        hessian = (np.einsum("k,nkd->nd", weights, slopes[1:]) - gradient) / steps[:, None]
        hessian = (hessian + hessian.T) / 2
        if self.worst:
            # weights = w_k softmax_k, so the curvature of the smoothed maximum is the covariance of
            # the slopes over mu.
            planes, chance = (
                self.weights[:, None] * slopes[0],
                weights / np.where(self.weights > 0, self.weights, 1),
            )
            spread = planes - gradient
            hessian = hessian + (spread * chance[:, None]).T @ spread / temperature
        pull, slope, bend = self.pull(point[None])
        return value + float(pull[0]), gradient + slope[0], hessian + np.diag(bend[0])

    def smoothed(self, points: Array, temperature: float) -> Array:
        """Computes (n,) the smoothed F; infinite where a loss is not finite."""
        losses, _ = self.losses(points)
        values = (
            np.array([self.smooth(row, temperature)[0] for row in losses]) + self.pull(points)[0]
        )
        return np.where(np.isfinite(values), values, np.inf)

    def gap(self, point: Array, lower: Array, upper: Array) -> float:
        """Computes the certificate of the module's docstring, >= 0."""
        losses, slopes = (array[0] for array in self.losses(point[None]))
        slope = self.pull(point[None])[1][0]
        if not self.worst:
            gradient = self.weights @ slopes + slope
            return max(0.0, float(gradient @ (point - lowest_vertex(gradient, lower, upper))))
        used = self.weights > 0
        planes = self.weights[used, None] * slopes[used] + slope
        levels = self.weights[used] * losses[used] - planes @ point
        lowest = scipy.optimize.linprog(
            np.append(np.zeros(len(point)), 1.0),
            A_ub=np.column_stack([planes, -np.ones(len(planes))]),
            b_ub=-levels,
            A_eq=np.append(np.ones(len(point)), 0.0)[None],
            b_eq=[1.0],
            bounds=[*zip(lower, upper, strict=True), (None, None)],
            method="highs",
        )
        return (
            max(0.0, float((self.weights * losses).max()) - float(lowest.fun))
            if lowest.success
            else np.inf
        )

    def smooth(self, losses: Array, temperature: float) -> tuple[float, Array]:
        """Computes the smoothed phi of one mixture's (targets,) losses, and its derivatives by
        them."""
        weighted = losses * self.weights
        if not self.worst:
            return float(weighted.sum()), self.weights
        top = weighted.max()
        powers = np.exp((weighted - top) / temperature) * (self.weights > 0)
        return float(top + temperature * np.log(powers.sum())), self.weights * powers / powers.sum()

    def pull(self, points: Array) -> tuple[Array, Array, Array]:
        """Computes the KL term at (n, domains) mixtures.

        Returns:
            value (n,), slope and curvature, (n, domains) each.
        """
        if self.prior is None or self.kl == 0:
            return np.zeros(len(points)), np.zeros_like(points), np.zeros_like(points)
        held = (self.prior > 0) & np.ones_like(points, dtype=bool)
        inside = np.maximum(points, 1e-300)
        logs = np.where(held, np.log(inside / np.where(self.prior > 0, self.prior, 1)), 0.0)
        return (
            self.kl * (points * logs).sum(axis=1),
            self.kl * np.where(held, logs + 1, 0),
            self.kl * np.where(held, 1 / np.maximum(points, 1e-12), 0),
        )
