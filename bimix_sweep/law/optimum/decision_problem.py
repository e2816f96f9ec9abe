"""Defines the decision problem of a law, and the beliefs about losses that it is solved with.

The belief about log losses (`Posterior`) becomes a belief about the objective F = sum_k w_k L_k by
its derivative w_k L_k, or by exact draws. The errors of different targets come from the same
trials, so they correlate as the noise of a trial does. Independent targets would understate the
uncertainty.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np

from bimix_sweep.errors import OptimumError
from bimix_sweep.law.optimum.objective import Objective
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.law.posterior.gaussian import Posterior
from bimix_sweep.law.posterior.leave_one_out import leave_one_out
from bimix_sweep.law.posterior.problem_statement import OBJECTIVES
from bimix_sweep.mixture.domains import DomainSet, Mixture
from bimix_sweep.mixture.objective import aggregate
from bimix_sweep.mixture.simplex import Array

SOFT = 0.005
"""Temperature of the smoothed maximum over targets, as a fraction of the maximum."""
MAX_PULL = 1e9
"""Largest `kl`; far smaller values already keep a mixture at its prior."""
VARIANCE_FACTOR, SMALL_SAMPLE_FACTOR = 0.62, 20.0
"""Variance factors of the belief about the cost of a decision (docs/evidence.md).

Variances are multiplied by VARIANCE_FACTOR (1 + SMALL_SAMPLE_FACTOR / (3 + trials beyond the number
of domains)), because few trials determine poorly how large the law's error is.
"""
CHI_SQUARE_COUNT = 16.0
"""Number of good trials that the prior value 1 of `DecisionProblem.reduced_chi_square` weighs as
(docs/evidence.md)."""
SEARCH_SD_FACTOR = 2.6
"""Factor on the standard deviations of the belief for choosing trials (docs/evidence.md)."""


@dataclass(frozen=True, kw_only=True)
class DecisionProblem:
    """Decision problem: an objective at one step and size, over the law's domains inside bounds."""

    law: FittedLaw
    """Fitted losses."""
    weights: Array
    """(targets,) >= 0: normalised to sum 1 for "mean", relative to their mean for "worst"."""
    worst: bool
    """True for the largest weighted loss, False for the weighted mean."""
    step: float
    """Optimizer step at which losses are compared."""
    size: float | None
    """Non-embedding parameters at which losses are compared; None where the law has no sizes."""
    lower: Array
    """(law's domains,) smallest proportions."""
    upper: Array
    """(law's domains,) largest proportions."""
    prior: Array | None = None
    """(law's domains,) mixture to stay near; None where there is none."""
    kl: float = 0.0
    """Strength of the pull to `prior`."""

    @classmethod
    def of(
        cls,
        law: FittedLaw,
        domains: DomainSet,
        *,
        weights: Mapping[str, float] | None = None,
        objective: str = "mean",
        step: float | None = None,
        size: float | None = None,
        prior: Mixture | None = None,
        kl: float = 0.0,
    ) -> Self:
        """Checks the arguments of `optimal_mixture` and makes the decision problem.

        Arrays are in the law's order of domains and targets.

        Raises:
            OptimumError: see `optimal_mixture`.
        """
        if unknown := [name for name in domains.names if name not in law.domains]:
            raise OptimumError(
                f"the law has never seen {', '.join(unknown)}; it knows {', '.join(law.domains)}"
            )
        if objective not in OBJECTIVES:
            raise OptimumError(f'objective is {objective!r}; need "mean" or "worst"')
        values = _weights(law, weights)
        _check_fidelity(law, step, size)
        _check_pull(prior, kl)
        pull = prior.as_array(law.domains) if prior is not None and kl > 0 else None
        lower, upper = _bounds(law, domains, pull)
        worst = objective == "worst"
        return cls(
            law=law,
            weights=values / (values[values > 0].mean() if worst else values.sum()),
            worst=worst,
            lower=lower,
            upper=upper,
            step=float(law.steps[1] if step is None else step),
            size=None if law.sizes is None else float(law.sizes[1] if size is None else size),
            prior=pull,
            kl=kl if pull is not None else 0.0,
        )

    def objective_function(self, *, parametric: bool) -> Objective:
        """Returns what the solver minimises.

        Args:
            parametric: True for the parametric law alone, False for law + GP.
        """
        gradient = self.law.law_gradient if parametric else self.law.gradient
        return Objective(
            losses=lambda points: gradient(points, self.step, self.size),
            weights=self.weights,
            worst=self.worst,
            prior=self.prior,
            kl=self.kl,
        )

    def objective(self, losses: Array) -> Array:
        """Computes the objective: (..., targets) losses -> (...,) objective."""
        return aggregate(losses * self.weights, worst=self.worst)

    def pull(self, points: Array) -> Array:
        """Computes the pull to the prior: (n, domains) mixtures -> (n,), 0 without a prior."""
        return self.objective_function(parametric=True).pull(points)[0]

    def sensitivity(self, log_losses: Array) -> Array:
        """Computes derivatives of the objective: (M, targets) log losses -> (M, targets).

        For "worst" it is the derivative of the smoothed maximum.
        """
        weighted = np.exp(log_losses) * self.weights
        if not self.worst:
            return np.asarray(weighted)
        top = weighted.max(axis=1, keepdims=True)
        chance = np.exp((weighted - top) / (SOFT * top))
        return np.asarray(weighted * chance / chance.sum(axis=1, keepdims=True))

    def posterior(
        self, points: Array, steps: Array | None = None, sizes: Array | None = None
    ) -> Posterior:
        """Returns the belief about log losses by which the cost of a decision is judged.

        Args:
            points: (M, domains) mixtures.
            steps, sizes: (M,) each; None: those of the problem.
        """
        belief = self._belief(self.law.widened_for_regret, points, steps, sizes)
        beyond = max(0, self.law.num_trials - len(self.law.domains))
        return replace(
            belief,
            covariance=belief.covariance
            * VARIANCE_FACTOR
            * (1 + SMALL_SAMPLE_FACTOR / (3 + beyond))
            * self.reduced_chi_square,
        )

    def searching(
        self, points: Array, steps: Array | None = None, sizes: Array | None = None
    ) -> Posterior:
        """Returns the belief about log losses by which the next trial is chosen.

        Args:
            points: (M, domains) mixtures.
            steps, sizes: (M,) each; None: those of the problem.
        """
        belief = self._belief(self.law.widened_for_search, points, steps, sizes)
        return replace(belief, covariance=belief.covariance * SEARCH_SD_FACTOR**2)

    @cached_property
    def reduced_chi_square(self) -> float:
        """Mean squared standardised leave-one-out error of the better half of trials.

        The value is 1 where the belief is calibrated.

        The error is that of the objective of a trial predicted from the other trials. The
        discrepancy GP has one variance everywhere, in log loss. Where the law's errors are largest
        on bad mixtures, this variance is too large for good mixtures. The mean includes
        CHI_SQUARE_COUNT trials with the value 1.
        """
        law, mixtures = self.law, self.law.trials.proportions
        left_out = leave_one_out(law.widened_for_regret.conditioned)
        predicted = np.log(law.losses(mixtures, *self._fidelities(len(mixtures), None, None)))
        slopes = self.sensitivity(predicted)
        noise = left_out.noise
        variance = np.maximum(left_out.expected - noise, 0.0) * law.inflation[:, None] + noise
        sd = slopes * np.sqrt(variance.T)
        expected2 = np.einsum("nt,tu,nu->n", sd, law.correlation, sd)
        error2 = (slopes * left_out.error.T).sum(axis=1) ** 2
        values = self.objective(np.exp(predicted))
        good = (values <= np.median(values)) & (expected2 > 0)
        return float(
            (CHI_SQUARE_COUNT + (error2[good] / expected2[good]).sum())
            / (CHI_SQUARE_COUNT + good.sum())
        )

    def _belief(
        self, widened: FittedLaw, points: Array, steps: Array | None, sizes: Array | None
    ) -> Posterior:
        """The mean of the law with the covariance of a widened law."""
        fidelities = self._fidelities(len(points), steps, sizes)
        mean = np.log(self.law.losses(points, *fidelities))
        return replace(widened.posterior(points, *fidelities), mean=mean)

    def _fidelities(
        self, count: int, steps: Array | None, sizes: Array | None
    ) -> tuple[Array, Array]:
        """(count,) steps and sizes; those of the problem where none are given."""
        size = np.nan if self.size is None else self.size
        return (
            np.full(count, self.step) if steps is None else steps,
            np.full(count, size) if sizes is None else sizes,
        )


def _weights(law: FittedLaw, weights: Mapping[str, float] | None) -> Array:
    """(targets,) weights as given, 1 each where none are given."""
    weights = dict.fromkeys(law.targets, 1.0) if weights is None else weights
    if unknown := [name for name in weights if name not in law.targets]:
        raise OptimumError(
            f"weights name {', '.join(unknown)}; the law's targets are {', '.join(law.targets)}"
        )
    values = np.array([float(weights.get(target, 0.0)) for target in law.targets])
    if not (np.isfinite(values).all() and (values >= 0).all() and values.sum() > 0):
        raise OptimumError(f"weights are {dict(weights)}; need numbers >= 0, one of them above 0")
    return values


def _check_fidelity(law: FittedLaw, step: float | None, size: float | None) -> None:
    for name, value in (("step", step), ("size", size)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise OptimumError(f"{name} is {value:g}; need a number > 0")
    if size is not None and law.sizes is None:
        raise OptimumError(
            f"size is {size:g}, and this law was fitted without sizes; leave it out, or fit runs "
            "that give their size"
        )


def _check_pull(prior: Mixture | None, kl: float) -> None:
    if not 0 <= kl <= MAX_PULL:
        raise OptimumError(f"kl is {kl:g}; need a number from 0 to {MAX_PULL:g}")
    if kl > 0 and prior is None:
        raise OptimumError("kl is given without a prior; name the mixture to stay near")


def _bounds(law: FittedLaw, domains: DomainSet, pull: Array | None) -> tuple[Array, Array]:
    """(law's domains,) smallest and largest proportions; 0 where the pull's prior gives 0."""
    lower, upper = np.zeros(len(law.domains)), np.zeros(len(law.domains))
    columns = [law.domains.index(name) for name in domains.names]
    lower[columns], upper[columns] = domains.lower, domains.upper
    if pull is not None:
        upper = np.where(pull > 0, upper, 0.0)
        if upper.sum() < 1 - 1e-9 or (upper < lower).any():
            raise OptimumError(
                "the prior gives nothing to domains that the bounds need; give every such domain a "
                "proportion in it"
            )
    return lower, upper
