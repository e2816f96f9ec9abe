"""Alternates the fits of all laws with the estimates of noise and of the values targets share."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from bimix_sweep.law.fitting.fit_data import FitData
from bimix_sweep.law.fitting.map_fit import MapFit, levenberg_marquardt
from bimix_sweep.law.fitting.normal_equations import Noise, normal_equations_at
from bimix_sweep.law.model import columns as col
from bimix_sweep.law.model import transfer as tl
from bimix_sweep.law.model.law_inputs import LawInputs
from bimix_sweep.law.model.pooling import pooled
from bimix_sweep.law.model.priors import FIXED, Prior, Problems
from bimix_sweep.law.model.shared_values import SharedValues
from bimix_sweep.mixture.simplex import Array

STEP_COLUMNS = [
    col.STEP_SCALE,
    col.STEP_POWER,
    col.STEP_SIZE,
    col.SLOPE_STEP,
    col.TRANSIENT_SCALE,
    col.TRANSIENT_POWER,
]
"""Columns that are estimated by comparing the points of a curve."""
NOISE_PRIOR = (0.008, 0.003)
"""Offset and point noise (standard deviations of log loss) before any trial (docs/evidence.md)."""
ROUNDS = 3
"""Number of times a cold fit estimates noise and shared values (docs/evidence.md)."""
NOISE_COUNT = 4.0
"""Number of trials that the usual noise of the targets weighs as in the estimate for one target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HierarchicalFit:
    """Fits of all problems, with the prior and the shared values under which they were made."""

    fit: MapFit
    """Parameters and noise of each problem."""
    prior: Prior
    """Prior of the parameters."""
    shared: SharedValues
    """Values that all targets share."""


def fit_laws(
    params: Array,
    problems: Problems,
    shared: SharedValues,
    data: FitData,
    *,
    noise: Noise | None = None,
) -> HierarchicalFit:
    """Alternates the fits with the estimates of noise and of the values that targets share.

    Args:
        params: (problems, parameters) start.
        shared: shared values to start from.
        noise: None for a cold fit, which starts from the noise expected before any trial and
            alternates `ROUNDS` times. Otherwise the start is nearly right: noise and shared values
            are estimated there, and one fit follows.
    """
    prior = problems.prior(shared)
    count = len(params)
    if noise is None:
        noise = Noise(
            trial=np.full(count, NOISE_PRIOR[0] ** 2), point=np.full(count, NOISE_PRIOR[1] ** 2)
        )
        rounds, tolerance = ROUNDS, 1e-7
        fit = levenberg_marquardt(params, prior, noise, data)
    else:
        rounds, tolerance = 1, 1e-5
        fit = MapFit(
            params=params,
            noise=noise,
            cost=np.zeros(count),
            converged=np.zeros(count, dtype=bool),
            iterations=0,
        )
    for _ in range(rounds):
        state = normal_equations_at(fit.params, prior, fit.noise, data)
        variance = np.einsum("kii->ki", np.linalg.inv(state.hessian))
        noise = estimate_noise(prior, problems.bimix, variance, data, state.residual)
        shared = pooled(problems, shared, prior, fit.params, variance)
        problems = replace(problems, determined=problems.num_determined(prior, variance))
        start = fit.params
        if tolerance < 1e-6:
            problems, start = recentred(problems, start, data.inputs)
        prior = problems.prior(shared)
        start = np.where(prior.sd > FIXED, start, prior.mean)
        fit = levenberg_marquardt(start, prior, noise, data, tolerance=tolerance, damping=1e-5)
    return HierarchicalFit(fit=fit, prior=prior, shared=shared)


def estimate_noise(
    prior: Prior, bimix: npt.NDArray[np.bool_], variance: Array, data: FitData, residual: Array
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
    trials, weight = data.trials, data.weight
    counts = trials.sums(weight)
    measured = counts > 0
    residual = data.standardised(residual)
    means = trials.sums(residual) / np.maximum(counts, 1)
    within = ((residual - means[:, trials.trial] * weight) ** 2).sum(axis=1)
    num_within = (counts - measured).sum(axis=1)
    used = (1 - variance / prior.sd**2) * (prior.sd > FIXED)
    used_total = used.sum(axis=1)
    used_steps = used[:, STEP_COLUMNS].sum(axis=1)
    default_trial, default_point = NOISE_PRIOR
    point = (within + NOISE_COUNT * default_point**2) / np.maximum(
        num_within - used_steps + NOISE_COUNT, 1.0
    )
    between = (means**2 * measured).sum(axis=1)
    left = np.maximum(measured.sum(axis=1) - (used_total - used_steps), 0.0)
    by_itself = (between + default_trial**2) / (left + 1)
    usual = np.where(
        bimix,
        *(
            np.exp(np.log(by_itself[group]).mean()) if group.any() else 1.0
            for group in (bimix, ~bimix)
        ),
    )
    offset = (between + NOISE_COUNT * usual) / (left + NOISE_COUNT)
    point_part = (1 / np.maximum(counts, 1) * measured).sum(axis=1) / np.maximum(
        measured.sum(axis=1), 1
    )
    single = num_within == 0
    offset = np.maximum(offset - np.where(single, 0.0, point * point_part), 0.05 * offset)
    return Noise(trial=offset, point=np.where(single, 0.1 * offset, point))


def recentred(problems: Problems, params: Array, inputs: LawInputs) -> tuple[Problems, Array]:
    """Moves each pivot to the mean of log v over the trials.

    The level changes so that the predictions stay as they are (where f = 0).
    """
    _, log_v, _ = tl.effective_proportion(params, inputs.log_proportions, inputs.mixture_log_size)
    shift = log_v.mean(axis=1)
    params = params.copy()
    params[:, col.PIVOT] += shift
    params[:, col.LEVEL] -= np.exp(params[:, col.SLOPE]) * shift
    return replace(problems, pivot=params[:, col.PIVOT].copy()), params
