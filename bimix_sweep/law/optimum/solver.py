"""Minimises a weighting of convex losses over mixtures inside bounds, with a certificate.

    minimise F(r) = phi(L(r)) + kl * sum_j r_j log(r_j / p_j)
    over lower <= r <= upper, sum r = 1

with phi(L) = w.L ("mean") or max_k w_k L_k ("worst"). The method is Newton's: the Hessian comes
from differences of gradients (one batched call for all D columns), each step is the exact minimiser
of the quadratic model inside the bounds (a primal active set method), and a line search follows.
"worst" is smoothed, phi_mu(L) = mu log sum_k exp(w_k L_k / mu), with mu falling towards 0 and its
curvature added in closed form.

Certificate: at r, for the convex F with gradient G, F(r) - min F <= max_v G.(r - v) over the
feasible v, because F lies above its tangent plane. The maximum over a bounded simplex is a greedy
filling. For "worst" the same holds with every target's tangent plane, min F >= min_v max_k [w_k
L_k(r) + w_k G_k.(v - r)], which is a small linear programme. The KL term is added to each plane.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.optimize

from bimix_sweep.mixture.objective import aggregate
from bimix_sweep.mixture.simplex import Array, project

Losses = Callable[[Array], tuple[Array, Array]]
"""(n, domains) mixtures -> (n, targets) losses and (n, targets, domains) their derivatives."""

SMOOTHING = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
"""Falling temperatures of "worst", fractions of the objective."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """A mixture and a bound on its distance from the optimum."""

    point: Array
    """(domains,), inside the bounds."""
    value: float
    """F at the point, without smoothing."""
    gap: float
    """Upper bound on F(point) - min F when the losses are convex; otherwise a measure of how far
    the point is from stationary."""
    curvature: Array
    """(domains, domains) Hessian of F at the point (of the smoothed F for "worst"), positive
    semidefinite."""
    gradient: Array
    """(domains,) gradient of F at the point (of the smoothed F for "worst")."""
    iterations: int
    """Newton steps taken."""


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
        return aggregate(losses * self.weights, worst=self.worst) + self.pull(points)[0]

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
        value, share = self.smooth(losses[0], temperature)
        gradient = share @ slopes[0]
        hessian = (np.einsum("k,nkd->nd", share, slopes[1:]) - gradient) / steps[:, None]
        hessian = (hessian + hessian.T) / 2
        if self.worst:
            # share = w_k softmax_k, so the curvature of the smoothed maximum is the covariance of
            # the slopes over mu.
            planes, chance = (
                self.weights[:, None] * slopes[0],
                share / np.where(self.weights > 0, self.weights, 1),
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


def minimise(
    objective: Objective,
    lower: Array,
    upper: Array,
    start: Array,
    tolerance: float = 1e-10,
    steps: int = 60,
) -> Solution:
    """Minimises F from a start.

    Args:
        objective: F.
        lower, upper: (domains,) bounds that leave a mixture.
        start: (domains,) where F is finite once moved into the bounds.
        tolerance: gap to reach, a fraction of |F|.
        steps: largest number of Newton steps for each temperature.

    Returns:
        The best point found; its gap says how good it is, also where the tolerance was not reached.
    """
    point = project(start, lower, upper)
    scale = abs(float(objective.values(point[None])[0])) or 1.0
    taken = 0
    for temperature in SMOOTHING if objective.worst else (1.0,):
        last = temperature == SMOOTHING[-1] or not objective.worst
        for _ in range(steps):
            value, gradient, hessian = objective.model(point, temperature * scale)
            gap = float(gradient @ (point - lowest_vertex(gradient, lower, upper)))
            if gap <= (tolerance if last else 0.1 * temperature) * scale:
                break
            moved = _search(
                objective,
                temperature * scale,
                point,
                value,
                gradient,
                convex(hessian),
                lower,
                upper,
            )
            taken += 1
            if moved is None:
                break
            point = moved
    value, gradient, hessian = objective.model(point, SMOOTHING[-1] * scale)
    return Solution(
        point=point,
        value=float(objective.values(point[None])[0]),
        gap=objective.gap(point, lower, upper),
        curvature=convex(hessian),
        gradient=gradient,
        iterations=taken,
    )


def quadratic_step(
    hessian: Array, gradient: Array, point: Array, lower: Array, upper: Array
) -> Array:
    """Minimises gradient.(x - point) + (x - point)' hessian (x - point) / 2 inside the bounds.

    x is on the simplex. The method is a primal active set: minimise on the free face; stop at the
    first bound in the way and hold it; otherwise release the held bound with the most wrong sign.
    The objective falls at each change, so the method ends.

    Args:
        hessian: (domains, domains), positive definite.
        gradient, point: (domains,); the point is feasible.

    Returns:
        (domains,) feasible, with a value no higher than that of `point`.
    """
    x, count = point.copy(), len(point)
    held = (
        ((x <= lower) & (gradient > np.median(gradient)))
        | ((x >= upper) & (gradient < np.median(gradient)))
        | (lower == upper)
    )
    for _ in range(6 * count + 10):
        free = np.flatnonzero(~held)
        slope = gradient + hessian @ (x - point)
        move = np.zeros(count)
        multiplier = 0.0
        if len(free):
            system = np.ones((len(free) + 1, len(free) + 1))
            system[:-1, :-1], system[-1, -1] = hessian[np.ix_(free, free)], 0.0
            answer = np.linalg.solve(system, np.append(-slope[free], 0.0))
            move[free], multiplier = answer[:-1], -float(answer[-1])
        room = np.full(count, np.inf)
        np.divide(upper - x, move, out=room, where=move > 1e-15)
        np.divide(lower - x, move, out=room, where=move < -1e-15)
        blocking = int(np.argmin(room))
        if room[blocking] < 1:
            x = x + max(room[blocking], 0.0) * move
            x[blocking] = upper[blocking] if move[blocking] > 0 else lower[blocking]
            held[blocking] = True
            continue
        x = x + move
        slope = gradient + hessian @ (x - point)
        reduced = slope - (multiplier if len(free) else float(np.median(slope)))
        wrong = np.where(held & (lower < upper), np.where(x <= lower, -reduced, reduced), -np.inf)
        release = int(np.argmax(wrong))
        if wrong[release] <= 1e-13 * (1 + float(np.abs(gradient).max())):
            break
        held[release] = False
        if not len(free):  # one free domain cannot move: release a second domain
            partner = int(np.argmin(np.where(held & (lower < upper), wrong * -1, np.inf)))
            held[partner] = False
    return project(x, lower, upper)


def lowest_vertex(gradient: Array, lower: Array, upper: Array) -> Array:
    """Returns the minimiser of gradient.v over the bounded simplex.

    The cheapest domains are filled to their bounds first.
    """
    order = np.argsort(gradient, kind="stable")
    room = (upper - lower)[order]
    spare = 1 - lower.sum()
    filled = np.clip(spare - (np.cumsum(room) - room), 0, room)
    vertex = lower.copy()
    vertex[order] += filled
    return np.asarray(vertex)


def _search(
    objective: Objective,
    temperature: float,
    point: Array,
    value: float,
    gradient: Array,
    hessian: Array,
    lower: Array,
    upper: Array,
) -> Array | None:
    """Returns the next point, or None where no direction descends.

    The search backtracks along the Newton step, then along the step to the best vertex.
    """
    for target in (
        quadratic_step(hessian, gradient, point, lower, upper),
        lowest_vertex(gradient, lower, upper),
    ):
        move = target - point
        descent = float(gradient @ move)
        if not descent < 0:
            continue
        length = 1.0
        for _ in range(40):
            if (
                objective.smoothed((point + length * move)[None], temperature)[0]
                <= value + 1e-4 * length * descent
            ):
                return point + length * move
            length /= 2
    return None


def convex(hessian: Array) -> Array:
    """Makes a symmetric matrix positive definite.

    Eigenvalues become their absolute values, at least a small floor.
    """
    values, vectors = np.linalg.eigh(hessian)
    floor = max(1e-10, 1e-9 * float(np.abs(values).max()))
    return np.asarray((vectors * np.maximum(np.abs(values), floor)) @ vectors.T)
