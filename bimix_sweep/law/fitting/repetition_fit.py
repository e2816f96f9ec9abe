"""Estimates R*, how soon repeated text wears off, from trials that repeat domains.

The laws are fitted for each R* of a grid. Their marginal likelihoods (Laplace) times the prior of
log R* give its mean and standard deviation. All targets share R*, because it describes text.
"""

import numpy as np

from bimix_sweep.law.fitting.fit_batch import FitBatch
from bimix_sweep.law.fitting.hierarchical_fit import HierarchicalFit
from bimix_sweep.law.fitting.map_fit import levenberg_marquardt
from bimix_sweep.law.fitting.normal_equations import normal_equations_at
from bimix_sweep.law.model.observations import Index
from bimix_sweep.law.model.pooling import NOISE_CORRELATION
from bimix_sweep.law.model.repetition import LOG_R_STAR_SD, R_STAR, Repetition
from bimix_sweep.mixture.simplex import Array

GRID = np.linspace(-2.5, 2.5, 11)
"""Values of log R* for which the laws are fitted, in standard deviations of its prior."""
NARROW = (4.0, 0.5)
"""Half the width of the second grid: (in standard deviations of the first result, at least, in
those of the prior)."""
MISFIT_SD = 0.3
"""Standard deviation of log R* from what the law misses, which the trials' scatter about the law
does not show (docs/evidence.md)."""
HALF_STEP = 0.05
"""Half the change of log R* by which the response of the parameters is measured."""


def fit_repetition(batch: FitBatch) -> FitBatch:
    """Returns the batch with the R* that its trials tell, or the batch as it is where no trial
    repeats a domain."""
    if not batch.data.trials.repeats:
        return batch
    grid = GRID
    for _ in range(2):
        result = batch.fit()  # the noise is estimated again at the first R*
        evidence = np.array([_log_evidence(batch, result, _at(z)) for z in grid])
        mean, sd = _posterior(grid, evidence)
        known = min(float(np.hypot(LOG_R_STAR_SD * sd, MISFIT_SD)), LOG_R_STAR_SD)
        repetition = Repetition(r_star=_at(mean), sd=known, repeated=True)
        batch = batch.with_repetition(repetition)
        grid = mean + max(NARROW[0] * sd, NARROW[1]) * GRID / GRID[-1]
    return batch


def response(batch: FitBatch, result: HierarchicalFit, hessian: Array, chosen: Index) -> Array:
    """(targets, parameters) change of the fitted parameters with log R*, to first order.

    Args:
        hessian: (problems, parameters, parameters) Gauss-Newton matrix at the fit.
        chosen: (targets,) problem of the batch that is each target's law.
    """
    if not batch.data.trials.repeats:
        return np.zeros((len(chosen), hessian.shape[1]))
    fit, r_star = result.fit, batch.repetition.r_star
    more, less = (
        normal_equations_at(
            fit.params,
            result.prior,
            fit.noise,
            batch.with_repetition(Repetition(r_star=r_star * np.exp(change))).data,
        ).gradient[chosen]
        for change in (HALF_STEP, -HALF_STEP)
    )
    slope = (more - less) / (2 * HALF_STEP)
    return np.asarray(-np.linalg.solve(hessian[chosen], slope[:, :, None])[:, :, 0])


def _at(z: float) -> float:
    """R* at `z` standard deviations of the prior of log R* from its centre."""
    return float(R_STAR * np.exp(LOG_R_STAR_SD * z))


def _log_evidence(batch: FitBatch, result: HierarchicalFit, r_star: float) -> float:
    """Log marginal likelihood of an R*, up to a constant.

    Errors of one trial correlate over targets, so T targets weigh less than T.
    """
    data = batch.with_repetition(Repetition(r_star=r_star)).data
    noise, prior = result.fit.noise, result.prior
    fit = levenberg_marquardt(
        result.fit.params, prior, noise, data, iterations=25, tolerance=1e-5, damping=1e-5
    )
    state = normal_equations_at(fit.params, prior, noise, data)
    each = -(state.cost + 0.5 * np.linalg.slogdet(state.hessian)[1])
    counted = each[~batch.bimix] if not batch.bimix.all() else each
    return float(counted.sum() / (1 + (len(counted) - 1) * NOISE_CORRELATION))


def _posterior(grid: Array, evidence: Array) -> tuple[float, float]:
    """Mean and standard deviation of log R* under the evidence at a grid and the prior, in standard
    deviations of the prior."""
    from scipy.interpolate import CubicSpline  # not needed where no trial repeats a domain

    fine = np.linspace(grid[0], grid[-1], 1001)
    log_density = CubicSpline(grid, evidence)(fine) - fine**2 / 2
    density = np.exp(log_density - log_density.max())
    density /= density.sum()
    mean = float(density @ fine)
    return mean, float(np.sqrt(density @ (fine - mean) ** 2))
