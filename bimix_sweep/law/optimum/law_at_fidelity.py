"""The mean predictions of a law at one step and size, as a short formula over plain numbers.

At one step and size the law of `law.model.transfer` and the mean of the discrepancy GP are

    log L_k(r) = base_k + log(f_k + (1 - f_k) exp(-a_k lv_k)) + sum_m w_mk exp(-d(r, r_m) / (2 l**2))
    lv_k       = max(log(e_k + sum_j t_kj x_j**g_k) - pivot_k, least_k)
    d(r, s)    = sum_j (sqrt(r_j) - sqrt(s_j))**2

x_j is the effective proportion of domain j where the run repeats it, else r_j. Segments of one
mixture share a weight w, so the GP needs one row for each fitted mixture. The page evaluates the
formula in the browser.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bimix_sweep.law.model import columns as col
from bimix_sweep.law.model import transfer as tl
from bimix_sweep.law.model.discrepancy import GPInputs
from bimix_sweep.law.model.observations import LOG_ZERO
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.law.posterior.prediction_inputs import prediction_inputs
from bimix_sweep.mixture.goals import PLAIN
from bimix_sweep.mixture.simplex import Array

DECIMALS = 10
"""Decimals of the GP's weights; the sum over 2000 mixtures is then right to 1e-7."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscrepancyMean:
    """Mean of the discrepancy GP at one step and size."""

    mixtures: Array
    """(mixtures, domains) fitted mixtures r_m."""
    weights: Array
    """(mixtures, targets) w."""
    lengthscale: float
    """l."""


def law_at_fidelity(law: FittedLaw, step: float, size: float | None) -> dict[str, Any]:
    """Computes the numbers of the formula, as JSON values.

    Args:
        law: the law; its `unique` must be None or (domains,).
        step: optimizer step.
        size: non-embedding parameters; None: the largest fitted.

    Returns:
        {"domains", "targets": [{"name", "base", "flat", "slope", "floor", "curvature", "pivot",
        "least", "transfer", "goal", "range"}], "log_zero", "unique", "r_star", "gp": {"mixtures",
        "weights", "lengthscale"} or None}.
    """
    conditioned = law.conditioned
    uniform = np.full((1, len(law.domains)), 1 / len(law.domains))
    inputs, at = prediction_inputs(conditioned, law.domains, uniform, step, size)
    params = conditioned.params
    stage = tl.stage_terms(params, inputs)
    log_t = tl.log_transfer_weights(params, len(law.domains), inputs.mixture_log_size)
    targets = []
    for k, name in enumerate(law.targets):
        goal = law.goals.get(name, PLAIN)
        targets.append(
            {
                "name": name,
                "base": float(params[k, col.LEVEL] + np.log(stage.factor[k, 0])),
                "flat": float(tl.logistic(params[k, col.FLAT]))
                if params[k, col.FLAT] > col.OFF
                else 0.0,
                "slope": float(stage.slope[k, 0]),
                "floor": float(np.exp(params[k, col.FLOOR])),
                "curvature": float(tl.logistic(params[k, col.CURVATURE])),
                "pivot": float(params[k, col.PIVOT]),
                "least": float(conditioned.smallest_log_v[k]),
                "transfer": np.exp(log_t[k, 0]).tolist(),
                "goal": goal.direction,
                "range": None if goal.range is None else list(goal.range),
            }
        )
    gp = discrepancy_mean(law, at)
    unique = law.unique
    return {
        "domains": list(law.domains),
        "targets": targets,
        "log_zero": LOG_ZERO,
        "unique": None
        if unique is None
        else [float(value) if np.isfinite(value) else None for value in unique],
        "r_star": law.repetition.r_star,
        "gp": None
        if gp is None
        else {
            "mixtures": gp.mixtures.round(12).tolist(),
            "weights": gp.weights.round(DECIMALS).tolist(),
            "lengthscale": gp.lengthscale,
        },
    }


def discrepancy_mean(law: FittedLaw, at: GPInputs) -> DiscrepancyMean | None:
    """Mean of the discrepancy GP at the step and size of `at`; None where the law has no GP.

    Args:
        law: the law.
        at: one point; its mixture has no influence.
    """
    conditioned = law.conditioned
    if not conditioned.has_discrepancy:
        return None
    fitted = conditioned.segment_inputs
    # between points of one mixture the correlation is the factor over size and step alone
    same = replace(fitted, proportions=np.repeat(at.proportions, len(fitted.log_size), axis=0))
    factor = conditioned.kernel.correlation(at, same)[0]
    mixtures, which = np.unique(fitted.proportions, axis=0, return_inverse=True)
    weights = np.zeros((len(mixtures), len(law.targets)))
    np.add.at(weights, which.ravel(), factor[:, None] * conditioned.mean_weights)
    return DiscrepancyMean(
        mixtures=mixtures, weights=weights, lengthscale=conditioned.kernel.lengthscale
    )
