"""Computes the cost of many fits at once, its gradient and its Gauss-Newton matrix.

The residuals of one trial share an offset of variance tau2 (seed, order of data, error of the law)
and have point noise of variance sigma2. Their precision is (I - k 11') / sigma2 with k = tau2 /
(sigma2 + n tau2). The law depends on the mixture through one number, log v(r). So the normal
equations need (rows x few) sums within trials and (trials x domains) sums across trials.
"""

from dataclasses import dataclass

import numpy as np

from bimix_sweep.law.fitting.fit_data import FitData
from bimix_sweep.law.model import jacobian
from bimix_sweep.law.model import transfer as tl
from bimix_sweep.law.model.observations import Index
from bimix_sweep.law.model.priors import Prior
from bimix_sweep.mixture.simplex import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Variances of log loss about the law of a fit, one of each kind for each problem.

    The fit takes all errors of the law as offsets of trials; `VarianceComponents` divides them
    further.
    """

    trial: Array
    """(problems,) variance that the points of a trial share."""
    point: Array
    """(problems,) variance of one point."""

    def of(self, problems: Index) -> "Noise":
        """Returns the noise of some of the problems."""
        return Noise(trial=self.trial[problems], point=self.point[problems])


@dataclass(frozen=True, slots=True, kw_only=True)
class NormalEquations:
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
    params: Array, law: tl.Evaluation, prior: Prior, noise: Noise, data: FitData
) -> NormalEquations:
    """Computes the cost 1/2 (r' P r + prior), its gradient and J' P J + prior precision.

    Args:
        params: (problems, parameters).
        law: the law at these parameters, differentiated by the prior's columns.
    """
    trials, weight = data.trials, data.weight
    residual = (data.y - law.log_loss) * weight
    shrink = noise.trial[:, None] / (
        noise.point[:, None] + trials.sums(weight) * noise.trial[:, None]
    )
    whitened = residual - (shrink * trials.sums(residual))[:, trials.trial] * weight
    whitened = data.standardised(data.standardised(whitened))
    inverse, parameters = 1 / noise.point, params.shape[1]
    move = params - prior.mean
    cost = 0.5 * (inverse * (residual * whitened).sum(axis=1) + (move**2 / prior.sd**2).sum(axis=1))
    gradient = move / prior.sd**2 - inverse[:, None] * jacobian.transposed(
        law, trials, prior.columns, parameters, whitened
    )
    hessian = inverse[:, None, None] * jacobian.information(
        law, trials, prior.columns, parameters, data.standardised(weight), shrink
    )
    diagonal = np.arange(parameters)
    hessian[:, diagonal, diagonal] += 1 / prior.sd**2
    return NormalEquations(cost=cost, gradient=gradient, hessian=hessian, residual=residual)


def normal_equations_at(
    params: Array, prior: Prior, noise: Noise, data: FitData
) -> NormalEquations:
    """Evaluates the law at the parameters, and computes the normal equations there."""
    law = tl.evaluate(params, data.inputs, prior.columns)
    return normal_equations(params, law, prior, noise, data)
