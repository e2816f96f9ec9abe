"""Fits many laws at once by maximum a posteriori: Levenberg-Marquardt with analytic Jacobians."""

from dataclasses import dataclass

import numpy as np

from bimix_sweep.law.fitting.fit_data import FitData
from bimix_sweep.law.fitting.normal_equations import Noise, normal_equations_at
from bimix_sweep.law.model.priors import Prior
from bimix_sweep.mixture.simplex import Array

MAX_MOVE = 1.5
"""Largest change of a parameter in one step; parameters are logarithms: a factor of 4.5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapFit:
    """Result of a batch of fits; a fit that did not converge is marked here and raises no error."""

    params: Array
    """(problems, parameters) fitted parameters."""
    noise: Noise
    """Variances under which the parameters were fitted."""
    cost: Array
    """(problems,) half the negative log posterior up to the noise's constants."""
    converged: np.ndarray
    """(problems,) bool, True where the fit converged."""
    iterations: int
    """Number of iterations of the batch."""


def levenberg_marquardt(
    params: Array,
    prior: Prior,
    noise: Noise,
    data: FitData,
    *,
    iterations: int = 40,
    tolerance: float = 1e-7,
    damping: float = 1e-3,
) -> MapFit:
    """Runs Levenberg-Marquardt on all problems at once, with a damping for each problem.

    Problems that have converged leave the batch.

    Args:
        params: (problems, parameters) start.
        tolerance: a problem has converged when a step lowers its cost by less than `tolerance` x (1
            + |cost|), in nats.
    """
    params = params.copy()
    state = normal_equations_at(params, prior, noise, data)
    cost, gradient, hessian = state.cost, state.gradient, state.hessian
    active = np.arange(len(params))
    damp = np.full(len(params), damping)
    converged = np.zeros(len(params), dtype=bool)
    done = 0
    for done in range(1, iterations + 1):  # noqa: B007
        move = _damped_step(hessian[active], gradient[active], damp[active])
        candidate = params[active] + move
        new = normal_equations_at(candidate, prior.of(active), noise.of(active), data.of(active))
        fall = cost[active] - new.cost
        better = fall > 0
        accepted = active[better]
        params[accepted], cost[accepted] = candidate[better], new.cost[better]
        gradient[accepted], hessian[accepted] = (new.gradient[better], new.hessian[better])
        damp[accepted] = np.maximum(damp[accepted] / 8, 1e-9)
        damp[active[~better]] *= 10
        small = (better & (fall < tolerance * (1 + np.abs(new.cost)))) | (damp[active] > 1e8)
        converged[active[small]] = True
        active = active[~small]
        if not active.size:
            break
    return MapFit(params=params, noise=noise, cost=cost, converged=converged, iterations=done)


def _damped_step(hessian: Array, gradient: Array, damp: Array) -> Array:
    """(problems, parameters) Newton step with the diagonal multiplied by 1 + damp."""
    diagonal = np.einsum("kii->ki", hessian)
    lifted = hessian.copy()
    index = np.arange(gradient.shape[1])
    lifted[:, index, index] += damp[:, None] * diagonal
    move = -np.linalg.solve(lifted, gradient[:, :, None])[:, :, 0]
    return np.clip(move, -MAX_MOVE, MAX_MOVE)
