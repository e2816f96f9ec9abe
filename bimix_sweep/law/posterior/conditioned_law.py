"""Conditions the parametric laws and discrepancy GPs of all targets on the trials' curve segments.

Everything here is in log loss; `FittedLaw` adds names, units, calibration and checks of arguments.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from bimix_sweep.law.model import columns as col
from bimix_sweep.law.model import transfer as tl
from bimix_sweep.law.model.discrepancy import GPInputs, KernelParams
from bimix_sweep.law.model.law_inputs import LawInputs
from bimix_sweep.law.model.observations import Trials
from bimix_sweep.law.model.priors import free_columns
from bimix_sweep.law.model.repetition import Repetition
from bimix_sweep.law.model.segments import CurveSegments
from bimix_sweep.law.model.variances import VarianceComponents
from bimix_sweep.law.posterior.information import (
    SegmentInformation,
    TargetGroup,
    spectra,
    target_groups,
)
from bimix_sweep.mixture.simplex import Array

MARGIN = (0.1, 0.25)
"""Bound on predicted log losses: (constant, proportion of the range of the fitted trials).

Predictions stay within 0.1 + 0.25 x (this range) of the worst fitted mixture.

Few trials can drive the help t of a domain to 0. Without this bound, the predicted loss of mixtures
that consist mostly of such a domain would diverge.
"""
MIN_DISCREPANCY_FRACTION = 0.7
"""Smallest proportion of the variance between trials that a widened law takes as error of the law
instead of noise."""
SAME_MIXTURE = 1e-6
"""Largest difference of a proportion of two mixtures that count as the same mixture."""


@dataclass(frozen=True, kw_only=True)
class ConditionedLaw:
    """Laws and discrepancy GPs of all targets, given the residuals of the curve segments."""

    params: Array
    """(targets, parameters), columns of `transfer`."""
    precision: Array
    """(targets, parameters) diagonal prior precision."""
    variances: VarianceComponents
    """(targets,) variances of trial offset, point noise, segment noise and discrepancy GP."""
    kernel: KernelParams
    """Correlation of the discrepancy GP over mixtures, sizes and steps."""
    residual: Array
    """(targets, segments) mean residual of each segment about the parametric law, 0 where not
    measured."""
    trials: Trials
    """Trials to which the law was fitted."""
    segments: CurveSegments
    """Segments of the trials' curves, to which the discrepancy GP is fitted."""
    reference: tuple[float, float]
    """s0 and N0 of the law."""
    repetition: Repetition
    """R* of the law."""
    response: Array
    """(targets, parameters) change of the parameters with log R*, 0 where no trial repeats a
    domain."""

    @property
    def has_discrepancy(self) -> bool:
        """False where the parametric law suffices for every target."""
        return bool((self.variances.discrepancy > 0).any())

    @property
    def sizes(self) -> tuple[float, float] | None:
        """Smallest and largest fitted size, None where the trials have none."""
        sizes = self.trials.sizes
        return None if np.isnan(sizes).any() else (float(sizes.min()), float(sizes.max()))

    @cached_property
    def trial_inputs(self) -> LawInputs:
        """Inputs of the law for the trials."""
        return LawInputs.of_trials(self.trials, *self.reference, self.repetition.r_star)

    @cached_property
    def segment_inputs(self) -> GPInputs:
        """Inputs of the GP for the segments."""
        return self.segments.gp_inputs(self.trial_inputs)

    @cached_property
    def groups(self) -> list[TargetGroup]:
        """Parts of the posterior that do not depend on where predictions are made.

        Their cost grows with the cube of the number of segments.
        """
        columns = free_columns(self.precision**-0.5)
        law = tl.evaluate(self.params, self.trial_inputs, columns).regrouped(self.segments.trial)
        information = SegmentInformation.of(
            law,
            self.segments,
            columns,
            self.params.shape[1],
            self.variances,
        )
        bases = spectra(
            information, self.segments, self.segment_inputs, self.kernel, self.variances
        )
        return target_groups(information, bases, self.precision, self.variances)

    def noise_factors(self, proportions: Array) -> Array:
        """(n,) factors on the noise variance of trials of (n, domains) mixtures; 1 for mixtures
        that were not repeated."""
        factors = np.ones(len(proportions))
        if self.variances.factors is None:
            return factors
        _, first = np.unique(self.trials.mixture, return_index=True)
        for trial in first[self.variances.factors[first] != 1.0]:
            same = np.abs(proportions - self.trials.proportions[trial]).max(axis=1) < SAME_MIXTURE
            factors[same] = self.variances.factors[trial]
        return factors

    def parametric(self, inputs: LawInputs, *, bounded: bool) -> tl.Evaluation:
        """Evaluates the parametric law, with log losses bounded as MARGIN says where `bounded`."""
        return tl.evaluate(
            self.params,
            inputs,
            col.OUTER_COLUMNS,
            smallest_log_v=self.smallest_log_v if bounded else None,
        )

    def parametric_gradient(self, inputs: LawInputs, at: GPInputs) -> tuple[Array, Array]:
        """Computes losses of the parametric law, not bounded, and derivatives by the proportions.

        Returns:
            (n, targets) losses and (n, targets, domains) derivatives.
        """
        law = self.parametric(inputs, bounded=False)
        seen = at.proportions if inputs.slopes is None else np.exp(inputs.log_proportions)
        _, by_r = tl.log_v_gradient(self.params, seen, inputs.log_size)
        if inputs.slopes is not None:
            by_r = by_r * inputs.slopes
        loss = np.exp(law.log_loss)
        return loss.T, ((loss * law.by_log_v)[:, :, None] * by_r).transpose(1, 0, 2)

    def gradient(self, inputs: LawInputs, at: GPInputs) -> tuple[Array, Array]:
        """Computes losses of law and GP, not bounded, and their derivatives by the proportions.

        Returns:
            (n, targets) losses and (n, targets, domains) derivatives.
        """
        loss, by_r = self.parametric_gradient(inputs, at)
        if not self.has_discrepancy:
            return loss, by_r
        factor = np.exp(self.discrepancy(at))
        slopes = np.matmul(
            self.kernel.slopes(at, self.segment_inputs).transpose(0, 2, 1), self.mean_weights
        )
        total = loss * factor
        return total, by_r * factor[:, :, None] + total[:, :, None] * slopes.transpose(0, 2, 1)

    def discrepancy(self, at: GPInputs) -> Array:
        """(n, targets) mean of the discrepancy GP in log loss."""
        if not self.has_discrepancy:
            return np.zeros((len(at.log_size), len(self.params)))
        return self.kernel.correlation(at, self.segment_inputs) @ self.mean_weights

    def variance(self, law: tl.Evaluation, inputs: LawInputs, at: GPInputs) -> Array:
        """Computes (targets, n) variances of the noise-free log loss, before calibration.

        Args:
            law: the parametric law at the inputs.
        """
        variance = np.empty(law.log_loss.shape)
        jacobian = law.jacobian(inputs, col.OUTER_COLUMNS)
        prior = self.kernel.relative_variance(at)
        for group in self.groups:
            cross = self._rotated_correlation(at, group)
            for target in group.targets:
                scale = self.variances.discrepancy[target]
                weighted = scale * cross * group.weights[target]
                left = jacobian[target] - weighted @ group.rotated[target]
                explained = (weighted * cross).sum(axis=1)
                variance[target] = np.einsum(
                    "np,pq,nq->n", left, group.covariance[target], left
                ) + scale * np.maximum(prior - explained, 0.0)
        return variance

    def covariance(self, law: tl.Evaluation, inputs: LawInputs, at: GPInputs) -> Array:
        """Computes (targets, n, n) covariances of noise-free log losses, before calibration.

        Args:
            law: the parametric law at the inputs.
        """
        n = len(at.log_size)
        jacobian = law.jacobian(inputs, col.OUTER_COLUMNS)
        covariance = np.empty((len(self.params), n, n))
        inner = self.kernel.correlation(at, at) if self.has_discrepancy else None
        for group in self.groups:
            cross = self._rotated_correlation(at, group) if self.has_discrepancy else None
            for target in group.targets:
                left, scale = jacobian[target], self.variances.discrepancy[target]
                if scale > 0 and cross is not None and inner is not None:
                    weighted = scale * cross * group.weights[target]
                    left = left - weighted @ group.rotated[target]
                    covariance[target] = scale * (inner - weighted @ cross.T)
                else:
                    covariance[target] = 0.0
                covariance[target] += (left @ group.covariance[target]) @ left.T
        return covariance

    def widened(self, lengthscale_factor: float) -> "ConditionedLaw":
        """Returns the law with a wider discrepancy GP, used only for covariances.

        The GP has at least MIN_DISCREPANCY_FRACTION of the variance between trials. The result is
        kept, because the cost of its covariances grows with the cube of the number of trials.

        Args:
            lengthscale_factor: factor on the GP's lengthscale over mixtures.
        """
        if lengthscale_factor not in self._widened:
            lengthscale = lengthscale_factor * self.kernel.lengthscale
            self._widened[lengthscale_factor] = replace(
                self,
                variances=self.variances.widened(MIN_DISCREPANCY_FRACTION),
                kernel=replace(self.kernel, lengthscale=lengthscale),
            )
        return self._widened[lengthscale_factor]

    @cached_property
    def _widened(self) -> dict[float, "ConditionedLaw"]:
        """{lengthscale factor: result of `widened`}."""
        return {}

    def _rotated_correlation(self, at: GPInputs, group: TargetGroup) -> Array:
        """(n, segments) correlations with the group's segments, in its eigenbasis."""
        measured = self.segment_inputs.of(group.segments)
        return np.asarray(self.kernel.correlation(at, measured) @ group.spectrum.basis)

    @cached_property
    def smallest_log_v(self) -> Array:
        """(targets,) log v at which predictions stop rising."""
        _, log_v, _ = tl.effective_proportion(
            self.params, self.trial_inputs.log_proportions, self.trial_inputs.mixture_log_size
        )
        constant, fraction = MARGIN
        spread = log_v.max(axis=1) - log_v.min(axis=1)
        return np.asarray(
            log_v.min(axis=1) - constant / np.exp(self.params[:, col.SLOPE]) - fraction * spread
        )

    @cached_property
    def mean_weights(self) -> Array:
        """(segments, targets) weights of the GP's mean.

        discrepancy(at) = correlation(at, segments) @ weights.
        """
        weights = np.zeros((len(self.segments.trial), len(self.params)))
        for group in self.groups:
            for target in group.targets:
                basis = group.spectrum.basis
                solved = basis @ (
                    group.weights[target] * (basis.T @ self.residual[target, group.segments])
                )
                weights[group.segments, target] = self.variances.discrepancy[target] * solved
        return weights
