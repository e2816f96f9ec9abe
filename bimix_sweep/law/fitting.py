"""Maximum a posteriori fits of many laws at once: Levenberg-Marquardt with analytic Jacobians, clustered by trial.

Residuals of one training share an offset of variance tau2 (seed, order of data, misfit) and have point noise sigma2:
their precision is (I - k 11') / sigma2 with k = tau2 / (sigma2 + n tau2). The law's dependence on the mixture goes through
one number, log v(r), so the normal equations need (rows x few) sums within trainings and (trainings x domains) across.
"""

from dataclasses import dataclass

import numpy as np

from bimix_sweep.law import transfer as tl
from bimix_sweep.law.priors import FIXED, Common, Prior, Problems
from bimix_sweep.law.runs import Runs
from bimix_sweep.mixture.simplex import Array

MAX_MOVE = 1.5
"""Largest change of a parameter in one step; they are logarithms, so a factor of 4.5."""
NOISE_PRIOR = (0.008, 0.003)
"""Offset and point noise (standard deviations of log loss) expected before any run: what published proxies show."""
NOISE_COUNT = 3.0
"""How many runs that expectation weighs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Variances of log loss, one a problem."""

    offset: Array
    """(problems,) variance shared by the points of a training."""
    point: Array
    """(problems,) variance of a point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What a batch of fits gave; a fit that did not settle is said here, not raised."""

    params: Array
    """(problems, parameters)."""
    noise: Noise
    cost: Array
    """(problems,) half the negative log posterior up to the noise's constants."""
    converged: np.ndarray
    """(problems,) bool."""
    iterations: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Normal:
    """Value, gradient and Gauss-Newton matrix of the cost."""

    cost: Array
    gradient: Array
    hessian: Array
    residual: Array
    """(problems, rows) measured minus law, 0 where not measured."""


def normal_equations(params: Array, prior: Prior, noise: Noise, runs: Runs, design: tl.Design, y: Array, weight: Array) -> Normal:
    """Cost 1/2 (r' P r + prior), its gradient and J' P J + prior precision.

    Args:
        params: (problems, parameters).
        y: (problems, rows) log losses.
        weight: (problems, rows) 1 where the row counts, else 0.
    """
    law = tl.evaluate(params, design, prior.columns)
    residual = (y - law.log_loss) * weight
    counts = runs.sums(weight)
    shrink = noise.offset[:, None] / (noise.point[:, None] + counts * noise.offset[:, None])
    residual_sums = runs.sums(residual)
    inverse = 1 / noise.point
    whitened = residual - (shrink * residual_sums)[:, runs.run] * weight

    outer = law.outer_jacobian * weight[:, :, None]
    through = law.by_log_v * weight
    outer_sums = _run_sums(runs, outer)
    through_sums = runs.sums(through)
    columns = list(prior.columns)
    mixture_columns = [*tl.MIXTURE_COLUMNS, *range(tl.NUM_SHARED, params.shape[1])]

    move = params - prior.mean
    gradient = move / prior.sd**2
    hessian = np.zeros((len(params), params.shape[1], params.shape[1]))
    diagonal = np.arange(params.shape[1])
    hessian[:, diagonal, diagonal] = 1 / prior.sd**2
    cost = 0.5 * (inverse * (residual * whitened).sum(axis=1) + (move**2 / prior.sd**2).sum(axis=1))

    gradient[:, columns] -= inverse[:, None] * np.matmul(whitened[:, None, :], outer)[:, 0]
    per_run = runs.sums(through * whitened)
    g = law.mixture_jacobian
    gradient[:, mixture_columns] -= inverse[:, None] * np.matmul(per_run[:, None, :], g)[:, 0]

    outer_block = np.matmul(outer.transpose(0, 2, 1), outer) - np.matmul((outer_sums * shrink[:, :, None]).transpose(0, 2, 1), outer_sums)
    mixed = _run_sums(runs, outer * through[:, :, None]) - (shrink * through_sums)[:, :, None] * outer_sums
    mixed_block = np.matmul(mixed.transpose(0, 2, 1), g)
    information = np.maximum(runs.sums(through**2) - shrink * through_sums**2, 0.0)
    mixture_block = np.matmul((g * information[:, :, None]).transpose(0, 2, 1), g)
    scale = inverse[:, None, None]
    hessian[:, np.array(columns)[:, None], np.array(columns)[None, :]] += scale * outer_block
    hessian[:, np.array(columns)[:, None], np.array(mixture_columns)[None, :]] += scale * mixed_block
    hessian[:, np.array(mixture_columns)[:, None], np.array(columns)[None, :]] += scale * mixed_block.transpose(0, 2, 1)
    hessian[:, np.array(mixture_columns)[:, None], np.array(mixture_columns)[None, :]] += scale * mixture_block
    return Normal(cost=cost, gradient=gradient, hessian=hessian, residual=residual)


def _run_sums(runs: Runs, values: Array) -> Array:
    """(problems, runs, k) sums over each training's rows of (problems, rows, k)."""
    return values if len(runs.run) == len(runs.proportions) else np.add.reduceat(values, runs.starts, axis=1)


def minimise(
    params: Array, prior: Prior, noise: Noise, runs: Runs, design: tl.Design, y: Array, weight: Array,
    *, iterations: int = 60, tolerance: float = 1e-7, damping: float = 1e-3,
) -> Fit:  # fmt: skip
    """Levenberg-Marquardt on every problem at once, each with its own damping; settled ones drop out.

    Args:
        params: (problems, parameters) start.
        tolerance: a problem is settled when a step lowers its cost by less than this (in nats).
    """
    params = params.copy()
    state = normal_equations(params, prior, noise, runs, design, y, weight)
    cost, gradient, hessian = state.cost, state.gradient, state.hessian
    active = np.arange(len(params))
    damp = np.full(len(params), damping)
    settled = np.zeros(len(params), dtype=bool)
    done = 0
    for done in range(1, iterations + 1):  # noqa: B007
        diagonal = np.einsum("kii->ki", hessian[active])
        lifted = hessian[active].copy()
        index = np.arange(params.shape[1])
        lifted[:, index, index] += damp[active, None] * diagonal
        move = -np.linalg.solve(lifted, gradient[active][:, :, None])[:, :, 0]
        move = np.clip(move, -MAX_MOVE, MAX_MOVE)
        trial = params[active] + move
        part = Prior(mean=prior.mean[active], sd=prior.sd[active], columns=prior.columns)
        part_noise = Noise(offset=noise.offset[active], point=noise.point[active])
        new = normal_equations(trial, part, part_noise, runs, design, y[active], weight[active])
        fall = cost[active] - new.cost
        better = fall > 0
        accepted = active[better]
        params[accepted], cost[accepted] = trial[better], new.cost[better]
        gradient[accepted], hessian[accepted] = new.gradient[better], new.hessian[better]
        damp[accepted] = np.maximum(damp[accepted] / 8, 1e-9)
        damp[active[~better]] *= 10
        small = (better & (fall < tolerance * (1 + np.abs(new.cost)))) | (damp[active] > 1e8)
        settled[active[small]] = True
        active = active[~small]
        if not active.size:
            break
    return Fit(params=params, noise=noise, cost=cost, converged=settled, iterations=done)


def estimate_noise(fit: Fit, prior: Prior, variance: Array, runs: Runs, design: tl.Design, y: Array, weight: Array) -> Noise:
    """Offset and point variances from the residuals, each parameter counted as it is used (MacKay's effective number).

    Within a training the residuals about their mean hold the point noise, between trainings the means hold the offset.

    Args:
        variance: (problems, parameters) posterior variances of the fit.
    """
    law = tl.evaluate(fit.params, design, ())
    residual = (y - law.log_loss) * weight
    counts = runs.sums(weight)
    measured = counts > 0
    means = runs.sums(residual) / np.maximum(counts, 1)
    within = ((residual - means[:, runs.run] * weight) ** 2).sum(axis=1)
    num_within = (counts - measured).sum(axis=1)
    used = (1 - variance / prior.sd**2) * (prior.sd > FIXED)
    used_total = used.sum(axis=1)
    used_steps = used[:, [tl.STEP_SCALE, tl.STEP_POWER, tl.STEP_SIZE, tl.SLOPE_STEP]].sum(axis=1)
    default_offset, default_point = NOISE_PRIOR
    point = (within + NOISE_COUNT * default_point**2) / np.maximum(num_within - used_steps + NOISE_COUNT, 1.0)
    between = (means**2 * measured).sum(axis=1)
    left = np.maximum(measured.sum(axis=1) - (used_total - used_steps), 0.0)
    offset = (between + NOISE_COUNT * default_offset**2) / (left + NOISE_COUNT)
    share = (1 / np.maximum(counts, 1) * measured).sum(axis=1) / np.maximum(measured.sum(axis=1), 1)
    single = num_within == 0
    offset = np.maximum(offset - np.where(single, 0.0, point * share), 0.05 * offset)
    point = np.where(single, 0.1 * offset, point)
    return Noise(offset=offset, point=point)


def fit_laws(
    params: Array, problems: Problems, common: Common, runs: Runs, design: tl.Design, y: Array, weight: Array,
    *, noise: Noise | None = None, rounds: int = 4, iterations: int = 40,
) -> tuple[Fit, Prior, Common]:  # fmt: skip
    """Alternate the fits with the estimates of noise and of what the targets have in common.

    Args:
        params: (problems, parameters) start.
        common: what is believed common to start with.
        noise: start; None starts from the expectation before any run.
        rounds: fits; the rest is estimated between them.
    """
    if noise is None:
        noise = Noise(offset=np.full(len(params), NOISE_PRIOR[0] ** 2), point=np.full(len(params), NOISE_PRIOR[1] ** 2))
    prior = problems.prior(common)
    fit = minimise(params, prior, noise, runs, design, y, weight, iterations=iterations)
    for _ in range(rounds - 1):
        state = normal_equations(fit.params, prior, fit.noise, runs, design, y, weight)
        variance = np.einsum("kii->ki", np.linalg.inv(state.hessian))
        noise = estimate_noise(fit, prior, variance, runs, design, y, weight)
        common = problems.pooled(common, prior, fit.params, variance)
        prior = problems.prior(common)
        fit = minimise(
            np.where(prior.sd > FIXED, fit.params, prior.mean), prior, noise, runs, design, y, weight, iterations=iterations, damping=1e-5
        )
    return fit, prior, common
