"""Fits a law to a loss table; leaving mixtures out decides which law each target gets."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from bimix_sweep.errors import LawError
from bimix_sweep.law.fitting.cross_validation import (
    MAX_FOLDS,
    choose_laws,
    folds,
    held_out_errors,
    left_out,
    refit_errors,
)
from bimix_sweep.law.fitting.discrepancy_fit import (
    SegmentResiduals,
    fit_discrepancy,
    noise_components,
    with_noise_factors,
)
from bimix_sweep.law.fitting.fit_batch import FitBatch, fit_batch
from bimix_sweep.law.fitting.fit_inputs import check_directions, own_domains, usable_targets
from bimix_sweep.law.fitting.forward_validation import drift_of, forward_validation
from bimix_sweep.law.fitting.hierarchical_fit import HierarchicalFit
from bimix_sweep.law.fitting.normal_equations import NormalEquations, normal_equations
from bimix_sweep.law.fitting.refinement import refine
from bimix_sweep.law.fitting.repetition_fit import fit_repetition, response
from bimix_sweep.law.fitting.warm_start import WarmStart
from bimix_sweep.law.model import transfer as tl
from bimix_sweep.law.model.observations import Index, Trials, gather
from bimix_sweep.law.model.priors import FIXED
from bimix_sweep.law.model.repetition import Repetition
from bimix_sweep.law.model.segments import CurveSegments, binned, curve_segments
from bimix_sweep.law.posterior.conditioned_law import ConditionedLaw
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.law.posterior.information import SegmentInformation
from bimix_sweep.law.posterior.law_file import check_numbers
from bimix_sweep.law.posterior.leave_one_out import calibrate
from bimix_sweep.mixture.simplex import Array
from bimix_sweep.mixture.table import LossTable

__all__ = ["FittedLaw", "fit_law"]

MAX_REFIT_MIXTURES = 30
"""Largest number of mixtures for which a warm refit cross-validates by real refits.

With more mixtures the linear approximation agrees with real refits and replaces them.
"""
LAWS = ("auto", "bimix", "transfer")
"""Accepted values of `law`."""
TRY = "look for trials that diverged, or a target whose losses are of different units"
"""Advice at the end of error messages."""


def fit_law(
    table: LossTable,
    *,
    law: str = "auto",
    own: Mapping[str, str] | None = None,
    min_step: float | None = None,
    previous: FittedLaw | WarmStart | None = None,
    generator: np.random.Generator | None = None,
) -> FittedLaw:
    """Fits a law to every target of a table.

    Args:
        table: finished or running trials; a domain that a trial lacks is at 0 there.
        law: "bimix", "transfer" or "auto"; "auto" chooses for each target by cross-validation over
            mixtures.
        own: {target: its own domain}; default: the domain of equal name.
        min_step: rows before this step are left out.
        previous: a law of an earlier state of the table, or the `WarmStart` of such a law; the fit
            starts from it and is then about ten times faster.
        generator: assigns mixtures to folds; default: in turn.

    Raises:
        LawError: fewer than two different mixtures, unknown names, values that are not losses, or
            losses to which no law can be fitted.
    """
    start = WarmStart.of(previous) if isinstance(previous, FittedLaw) else previous
    try:
        fitted = _fitted(table, law, own, min_step, start, generator)
    except np.linalg.LinAlgError as error:
        raise LawError(f"no law comes of these losses ({error}); {TRY}") from error
    try:
        check_numbers(fitted.conditioned, fitted.inflation, fitted.correlation)
    except ValueError as error:
        raise LawError(f"the law of these losses is no sane one ({error}); {TRY}") from error
    return fitted


def _fitted(
    table: LossTable,
    law: str,
    own: Mapping[str, str] | None,
    min_step: float | None,
    previous: WarmStart | None,
    generator: np.random.Generator | None,
) -> FittedLaw:
    if law not in LAWS:
        raise LawError(f"law {law!r} is not known; need one of {', '.join(LAWS)}")
    unstated = check_directions(table, own or {})
    trials, y, left_out_rows = gather(table, min_step)
    trials, y, was_binned = binned(trials, y)
    own = own_domains(table, own)
    trials, y, targets, left_out_targets = usable_targets(table, trials, y)
    batch_of = partial(fit_batch, table.domains, targets, own=own, law=law)
    batch = _batch(trials, y, previous, batch_of)
    result = batch.fit()
    fit, data, mixtures = result.fit, batch.data, batch.num_mixtures
    evaluation = tl.evaluate(fit.params, data.inputs, result.prior.columns)
    state = normal_equations(fit.params, evaluation, result.prior, fit.noise, data)
    linear = left_out(batch, result, evaluation, state)
    by_refits = previous is None or mixtures <= MAX_REFIT_MIXTURES
    held_out = folds(batch, result, generator) if by_refits else linear
    errors = held_out_errors(batch, targets, held_out)
    choice, reasons = choose_laws(errors, law, mixtures)
    chosen = np.array([batch.index(t, choice[name]) for t, name in enumerate(targets)])
    conditioned = _conditioned(batch, result, chosen, evaluation.of(chosen), state, previous)
    forward = []
    if previous is None:
        of_rows = partial(batch_of, previous=None, repetition=batch.repetition)
        forward = forward_validation(trials, y, chosen, of_rows)
    refits = refit_errors(batch, chosen, held_out, linear, conditioned.variances)
    inflation, correlation = calibrate(conditioned, *refits)
    return FittedLaw(
        domains=table.domains,
        targets=targets,
        own={name: own[name] for name in targets if name in own},
        goals={name: goal for name, goal in table.goals.items() if name in targets},
        choice=choice,
        cross_validation={
            "by_target": errors,
            "reason": reasons,
            "num_mixtures": mixtures,
            "method": _method(mixtures, by_refits),
            "forward": [one.to_json(targets) for one in forward],
        },
        notes=(
            *(*table.notes, *unstated, *left_out_rows, *was_binned, *left_out_targets),
            *(*batch.notes, *conditioned.variances.notes),
        ),
        conditioned=conditioned,
        inflation=inflation,
        correlation=correlation,
        drift=drift_of(forward) if previous is None else previous.drift,
        hyper=_hyper(batch, result, targets),
    )


def _batch(
    trials: Trials, y: Array, previous: WarmStart | None, batch_of: Callable[..., FitBatch]
) -> FitBatch:
    """The batch with its R*: that of an earlier fit whose trials repeated domains, else what these
    trials tell."""
    repetition = Repetition() if previous is None else previous.repetition
    batch = batch_of(trials, y, previous=previous, repetition=repetition)
    return batch if repetition.repeated else fit_repetition(batch)


def _method(mixtures: int, by_refits: bool) -> str:
    """How mixtures were left out, in words."""
    if by_refits:
        return f"{min(MAX_FOLDS, mixtures)} folds"
    return "one at a time, linear approximation"


def _conditioned(
    batch: FitBatch,
    result: HierarchicalFit,
    chosen: Index,
    evaluation: tl.Evaluation,
    state: NormalEquations,
    previous: WarmStart | None,
) -> ConditionedLaw:
    """Adds the discrepancy GP to the chosen laws, and refines their parameters under it.

    Args:
        chosen: chosen problems, one for each target.
        evaluation: the chosen laws at the fit.
        state: the normal equations of all problems at the fit.
    """
    data = batch.data.of(chosen)
    prior, params = result.prior.of(chosen), result.fit.params[chosen]
    segments = curve_segments(data.trials)
    at_segments = evaluation.regrouped(segments.trial)
    residuals_under = partial(
        _segment_residuals, batch, result, chosen, at_segments, state, segments
    )
    known_kernel = None if previous is None else previous.kernel
    residuals = with_noise_factors(residuals_under, data.repeat_noise, known_kernel)
    kernel, variances = fit_discrepancy(residuals, known_kernel)
    params, means = refine(
        params, prior, data, segments, kernel, variances, at_segments, residuals.information
    )
    return ConditionedLaw(
        params=params,
        precision=residuals.precision,
        variances=variances,
        kernel=kernel,
        residual=means,
        trials=data.trials,
        segments=segments,
        reference=batch.reference,
        repetition=batch.repetition,
        response=response(batch, result, state.hessian, chosen),
    )


def _segment_residuals(
    batch: FitBatch,
    result: HierarchicalFit,
    chosen: Index,
    at_segments: tl.Evaluation,
    state: NormalEquations,
    segments: CurveSegments,
    factors: Array | None,
) -> SegmentResiduals:
    """The residuals of the chosen laws, and what is known of their noise.

    Args:
        at_segments: the chosen laws at the fit, by segment.
        factors: (trials,) factors on the noise of trials; None: all are 1.
    """
    data, prior = batch.data.of(chosen), result.prior.of(chosen)
    covariance = np.linalg.inv(state.hessian[chosen])
    used = ((1 - np.einsum("kii->ki", covariance) / prior.sd**2) * (prior.sd > FIXED)).sum(axis=1)
    means, variances = noise_components(
        result.fit.noise.of(chosen), factors, segments, state.residual[chosen], data
    )
    parameters = result.fit.params.shape[1]
    return SegmentResiduals(
        segments=segments,
        inputs=segments.gp_inputs(data.inputs),
        mean=means,
        information=SegmentInformation.of(
            at_segments, segments, prior.columns, parameters, variances
        ),
        precision=batch.problems.prior(result.shared, widened=True).sd[chosen] ** -2.0,
        used=used,
        noise=variances,
    )


def _hyper(batch: FitBatch, result: HierarchicalFit, targets: tuple[str, ...]) -> dict[str, Any]:
    """Returns `FittedLaw.hyper`: all fits and the shared values."""
    shared, fit = result.shared, result.fit
    return {
        "columns": shared.columns.tolist(),
        "transfer_weights": shared.transfer_weights.tolist(),
        "own_domain_offset": shared.own_domain_offset,
        "spread": shared.spread,
        "fits": [
            {
                "target": targets[t],
                "law": "bimix" if bimix else "transfer",
                "params": row.tolist(),
                "trial_variance": float(trial),
                "point_variance": float(point),
            }
            for t, bimix, row, trial, point in zip(
                batch.target, batch.bimix, fit.params, fit.noise.trial, fit.noise.point, strict=True
            )
        ],
    }
