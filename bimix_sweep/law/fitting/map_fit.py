"""Fits many laws at once by maximum a posteriori: Levenberg-Marquardt with analytic Jacobians.

The residuals of one trial share an offset of variance tau2 (seed, order of data, error of the law)
and have point noise of variance sigma2. Their precision is (I - k 11') / sigma2 with k = tau2 /
(sigma2 + n tau2). The law depends on the mixture through one number, log v(r). So the normal
equations need (rows x few) sums within trials and (trials x domains) sums across trials.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from bimix_sweep.law.model import jacobian
from bimix_sweep.law.model import transfer as tl
from bimix_sweep.law.model.observations import Runs
from bimix_sweep.law.model.priors import FIXED, Common, Prior, Problems
from bimix_sweep.mixture.simplex import Array

MAX_MOVE = 1.5
"""Largest change of a parameter in one step; parameters are logarithms: a factor of 4.5."""
NOISE_PRIOR = (0.008, 0.003)
"""Offset and point noise (standard deviations of log loss) before any trial (docs/evidence.md)."""
ROUNDS = 3
"""Number of times a cold fit estimates noise and shared values (docs/evidence.md)."""
NOISE_COUNT = 4.0
"""Number of trials that the usual noise of the targets weighs as in the estimate for one target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Variances of log loss, one for each problem."""

    offset: Array
    """(problems,) variance that the points of a trial share."""
    point: Array
    """(problems,) variance of one point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Normal:
    """Value, gradient and Gauss-Newton matrix of the cost."""

    cost: Array
    """(problems,)."""
    gradient: Array
    """(problems, parameters)."""
    hessian: Array
    """(problems, parameters, parameters)."""
    residual: Array
    """(problems, rows) measured minus law, 0 where not measured."""


def normal_equations(
    params: Array,
    law: tl.Evaluation,
    prior: Prior,
    noise: Noise,
    runs: Runs,
    y: Array,
    weight: Array,
) -> Normal:
    """Computes the cost 1/2 (r' P r + prior), its gradient and J' P J + prior precision.

    Args:
        params: (problems, parameters).
        law: the law at these parameters, differentiated by the prior's columns.
        y: (problems, rows) log losses.
        weight: (problems, rows) 1 where the row counts, else 0.
    """
    residual = (y - law.log_loss) * weight
    shrink = noise.offset[:, None] / (
        noise.point[:, None] + runs.sums(weight) * noise.offset[:, None]
    )
    whitened = residual - (shrink * runs.sums(residual))[:, runs.run] * weight
    inverse, parameters = 1 / noise.point, params.shape[1]
    move = params - prior.mean
    cost = 0.5 * (inverse * (residual * whitened).sum(axis=1) + (move**2 / prior.sd**2).sum(axis=1))
    gradient = move / prior.sd**2 - inverse[:, None] * jacobian.transposed(
        law, runs, prior.columns, parameters, whitened
    )
    hessian = inverse[:, None, None] * jacobian.information(
        law, runs, prior.columns, parameters, weight, shrink
    )
    diagonal = np.arange(parameters)
    hessian[:, diagonal, diagonal] += 1 / prior.sd**2
    return Normal(cost=cost, gradient=gradient, hessian=hessian, residual=residual)


def minimise(
    params: Array,
    prior: Prior,
    noise: Noise,
    runs: Runs,
    design: tl.Design,
    y: Array,
    weight: Array,
    *,
    iterations: int = 40,
    tolerance: float = 1e-7,
    damping: float = 1e-3,
) -> Fit:
    """Runs Levenberg-Marquardt on all problems at once, with a damping for each problem.

    Problems that have converged leave the batch.

    Args:
        params: (problems, parameters) start.
        tolerance: a problem has converged when a step lowers its cost by less than `tolerance` x (1
            + |cost|), in nats.
    """
    params = params.copy()
    state = normal_equations(
        params, tl.evaluate(params, design, prior.columns), prior, noise, runs, y, weight
    )
    cost, gradient, hessian = state.cost, state.gradient, state.hessian
    active = np.arange(len(params))
    damp = np.full(len(params), damping)
    refined = np.zeros(len(params), dtype=bool)
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
        new = normal_equations(
            trial,
            tl.evaluate(trial, design, prior.columns),
            part,
            part_noise,
            runs,
            y[active],
            weight[active],
        )
        fall = cost[active] - new.cost
        better = fall > 0
        accepted = active[better]
        params[accepted], cost[accepted] = trial[better], new.cost[better]
        gradient[accepted], hessian[accepted] = (new.gradient[better], new.hessian[better])
        damp[accepted] = np.maximum(damp[accepted] / 8, 1e-9)
        damp[active[~better]] *= 10
        small = (better & (fall < tolerance * (1 + np.abs(new.cost)))) | (damp[active] > 1e8)
        refined[active[small]] = True
        active = active[~small]
        if not active.size:
            break
    return Fit(params=params, noise=noise, cost=cost, converged=refined, iterations=done)


def estimate_noise(
    prior: Prior,
    bimix: npt.NDArray[np.bool_],
    variance: Array,
    runs: Runs,
    *,
    weight: Array,
    residual: Array,
) -> Noise:
    """Estimates offset and point variances from the residuals.

    Each parameter counts as the effective number of degrees of freedom it uses (MacKay). The point
    variance comes from the residuals within a trial about their mean. The offset variance comes
    from the means of the trials.

    Args:
        prior: the prior of the fit.
        bimix: (problems,) law of each problem; the usual noise is computed among the fits of one
            law.
        variance: (problems, parameters) posterior variances of the fit.
        residual: (problems, rows) measured minus law, 0 where not measured.
    """
    counts = runs.sums(weight)
    measured = counts > 0
    means = runs.sums(residual) / np.maximum(counts, 1)
    within = ((residual - means[:, runs.run] * weight) ** 2).sum(axis=1)
    num_within = (counts - measured).sum(axis=1)
    used = (1 - variance / prior.sd**2) * (prior.sd > FIXED)
    used_total = used.sum(axis=1)
    used_steps = used[:, [tl.STEP_SCALE, tl.STEP_POWER, tl.STEP_SIZE, tl.SLOPE_STEP]].sum(axis=1)
    default_offset, default_point = NOISE_PRIOR
    point = (within + NOISE_COUNT * default_point**2) / np.maximum(
        num_within - used_steps + NOISE_COUNT, 1.0
    )
    between = (means**2 * measured).sum(axis=1)
    left = np.maximum(measured.sum(axis=1) - (used_total - used_steps), 0.0)
    alone = (between + default_offset**2) / (left + 1)
    usual = np.where(
        bimix,
        *(np.exp(np.log(alone[group]).mean()) if group.any() else 1.0 for group in (bimix, ~bimix)),
    )
    offset = (between + NOISE_COUNT * usual) / (left + NOISE_COUNT)
    share = (1 / np.maximum(counts, 1) * measured).sum(axis=1) / np.maximum(measured.sum(axis=1), 1)
    single = num_within == 0
    offset = np.maximum(offset - np.where(single, 0.0, point * share), 0.05 * offset)
    point = np.where(single, 0.1 * offset, point)
    return Noise(offset=offset, point=point)


def recentred(problems: Problems, params: Array, design: tl.Design) -> tuple[Problems, Array]:
    """Moves each pivot to the mean of log v over the trials.

    The level changes so that the predictions stay as they are (where f = 0).
    """
    _, log_v, _ = tl.transfer_weights(params, design.log_proportions, design.mixture_log_size)
    shift = log_v.mean(axis=1)
    params = params.copy()
    params[:, tl.PIVOT] += shift
    params[:, tl.LEVEL] -= np.exp(params[:, tl.SLOPE]) * shift
    return replace(problems, pivot=params[:, tl.PIVOT].copy()), params


def fit_laws(
    params: Array,
    problems: Problems,
    common: Common,
    runs: Runs,
    design: tl.Design,
    y: Array,
    weight: Array,
    *,
    noise: Noise | None = None,
) -> tuple[Fit, Prior, Common]:
    """Alternates the fits with the estimates of noise and of the values that targets share.

    Args:
        params: (problems, parameters) start.
        common: shared values to start from.
        noise: None for a cold fit, which starts from the noise expected before any trial and
            alternates `ROUNDS` times. Otherwise the start is nearly right: noise and shared values
            are estimated there, and one fit follows.
    """
    prior = problems.prior(common)
    if noise is None:
        count = len(params)
        noise = Noise(
            offset=np.full(count, NOISE_PRIOR[0] ** 2), point=np.full(count, NOISE_PRIOR[1] ** 2)
        )
        rounds, tolerance = ROUNDS, 1e-7
        fit = minimise(params, prior, noise, runs, design, y, weight)
    else:
        rounds, tolerance = 1, 1e-5
        fit = Fit(
            params=params,
            noise=noise,
            cost=np.zeros(len(params)),
            converged=np.zeros(len(params), dtype=bool),
            iterations=0,
        )
    for _ in range(rounds):
        state = normal_equations(
            fit.params,
            tl.evaluate(fit.params, design, prior.columns),
            prior,
            fit.noise,
            runs,
            y,
            weight,
        )
        variance = np.einsum("kii->ki", np.linalg.inv(state.hessian))
        noise = estimate_noise(
            prior, problems.bimix, variance, runs, weight=weight, residual=state.residual
        )
        common = problems.pooled(common, prior, fit.params, variance)
        problems = replace(problems, determined=problems.num_determined(prior, variance))
        start = fit.params
        if tolerance < 1e-6:
            problems, start = recentred(problems, start, design)
        prior = problems.prior(common)
        fit = minimise(
            np.where(prior.sd > FIXED, start, prior.mean),
            prior,
            noise,
            runs,
            design,
            y,
            weight,
            tolerance=tolerance,
            damping=1e-5,
        )
    return fit, prior, common
