"""Refines the parameters of the chosen laws under the covariance of the discrepancy GP.

The fit before took all errors of the law as independent offsets. Where the GP explains a part of
them, the parameters need not explain it (docs/evidence.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bimix_sweep.law.fitting.fit_data import FitData
from bimix_sweep.law.model import jacobian
from bimix_sweep.law.model import transfer as tl
from bimix_sweep.law.model.discrepancy import KernelParams
from bimix_sweep.law.model.priors import Prior
from bimix_sweep.law.model.segments import CurveSegments
from bimix_sweep.law.model.variances import VarianceComponents
from bimix_sweep.law.posterior.information import (
    SegmentInformation,
    TargetGroup,
    spectra,
    target_groups,
)
from bimix_sweep.mixture.simplex import Array

MAX_MOVE = 1.0
"""Largest change of a parameter in one step."""
STEPS = 2
"""Number of Gauss-Newton steps; a step that does not lower the cost is not taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """The law at some parameters, relative to the data."""

    means: Array
    """(targets, segments) mean residual of each segment."""
    centred: Array
    """(targets, rows) residual about the mean of its segment, over the root of the factor on the
    noise of its trial."""
    move: Array
    """(targets, parameters) distance from the prior mean, in standard deviations."""
    cost: Array
    """(targets,) cost of the points within segments and of the prior."""


def refine(
    params: Array,
    prior: Prior,
    data: FitData,
    segments: CurveSegments,
    kernel: KernelParams,
    variances: VarianceComponents,
    law: tl.Evaluation,
    information: SegmentInformation,
) -> tuple[Array, Array]:
    """Takes Gauss-Newton steps to the posterior mode under the covariance of the discrepancy GP.

    Args:
        params: (targets, parameters) from the fit with independent offsets.
        data: log losses of the chosen laws, one for each target.
        law: the law at these parameters and segments, differentiated by the prior's columns.
        information: information of the segments at these parameters.

    Returns:
        the parameters, and (targets, segments) mean residual of each segment at them.
    """
    rows = segments.as_trials
    state = _state(params, law, prior, data, segments, variances)
    moving = (variances.discrepancy > 0) | (variances.factors is not None)
    if not moving.any():
        return params, state.means
    bases = spectra(information, segments, segments.gp_inputs(data.inputs), kernel, variances)
    best, best_cost, best_means = params, np.full(len(params), np.inf), np.zeros_like(state.means)
    candidate = params
    for number in range(STEPS):
        if number:
            law = tl.evaluate(candidate, data.inputs, prior.columns).regrouped(segments.trial)
            state = _state(candidate, law, prior, data, segments, variances)
            information = SegmentInformation.of(
                law, segments, prior.columns, params.shape[1], variances
            )
        groups = target_groups(information, bases, prior.sd**-2, variances)
        pull = variances.standardised(state.centred, data.trials.trial)
        by_shape = jacobian.transposed(law, rows, prior.columns, params.shape[1], pull)
        by_shape /= variances.point[:, None]
        cost = state.cost + _cost_of_means(groups, state.means)
        change = _newton_step(groups, state, by_shape, prior)
        better = (cost < best_cost) & (moving | (number == 0))
        best_means = np.where(better[:, None], state.means, best_means)
        best = np.where(better[:, None], candidate, best)
        best_cost = np.where(better, cost, best_cost)
        candidate = best + (better & moving)[:, None] * np.clip(change, -MAX_MOVE, MAX_MOVE)
    law = tl.evaluate(candidate, data.inputs, ()).regrouped(segments.trial)
    state = _state(candidate, law, prior, data, segments, variances)
    better = (state.cost + _cost_of_means(groups, state.means) < best_cost) & moving
    return (
        np.where(better[:, None], candidate, best),
        np.where(better[:, None], state.means, best_means),
    )


def _state(
    params: Array,
    law: tl.Evaluation,
    prior: Prior,
    data: FitData,
    segments: CurveSegments,
    variances: VarianceComponents,
) -> _State:
    rows = segments.as_trials
    residual = (data.y - law.log_loss) * data.weight
    means = rows.sums(residual) / np.maximum(rows.sums(data.weight), 1)
    centred = (residual - means[:, rows.trial]) * data.weight
    centred = variances.standardised(centred, data.trials.trial)
    move = (params - prior.mean) / prior.sd
    cost = 0.5 * ((centred**2).sum(axis=1) / variances.point + (move**2).sum(axis=1))
    return _State(means=means, centred=centred, move=move, cost=cost)


def _cost_of_means(groups: Sequence[TargetGroup], means: Array) -> Array:
    """(targets,) cost of the segments' mean residuals."""
    cost = np.zeros(len(means))
    for group in groups:
        for t in group.targets:
            rotated = group.spectrum.basis.T @ means[t, group.segments]
            cost[t] = 0.5 * (group.weights[t] * rotated**2).sum()
    return cost


def _newton_step(
    groups: Sequence[TargetGroup], state: _State, by_shape: Array, prior: Prior
) -> Array:
    """(targets, parameters) Gauss-Newton step.

    Args:
        by_shape: (targets, parameters) pull of the points about the means of their segments.
    """
    change = np.zeros_like(state.move)
    for group in groups:
        for t in group.targets:
            rotated = group.spectrum.basis.T @ state.means[t, group.segments]
            pull = (
                group.rotated[t].T @ (group.weights[t] * rotated)
                + by_shape[t]
                - state.move[t] / prior.sd[t]
            )
            change[t] = group.covariance[t] @ pull
    return change
