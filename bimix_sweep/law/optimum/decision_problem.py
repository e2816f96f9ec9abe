"""Defines the decision problem, candidates for its optimum, and the belief about them.

Candidates are the predicted optimum; the optima of posterior draws (each draw's gradient at the
optimum gives the minimum of its quadratic model inside the bounds); the extreme members of the
near-optimal region; and mixtures scattered around it, near and far. The belief about log losses
(`Posterior`) becomes a belief about the objective F = sum_k w_k L_k by its derivative w_k L_k, or
by exact draws. The errors of different targets come from the same trials, so they correlate as the
noise of a trial does. Independent targets would understate the uncertainty.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np

from bimix_sweep.law.optimum.solver import Objective, Solution, convex, quadratic_step
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.law.posterior.gaussian import Posterior
from bimix_sweep.law.posterior.leave_one_out import trainings_left_out
from bimix_sweep.mixture.objective import aggregate
from bimix_sweep.mixture.simplex import Array, sample

SOFT = 0.005
"""Temperature of the smoothed maximum over targets, as a fraction of the maximum."""
CONCENTRATIONS = (1000.0, 200.0, 50.0, 15.0, 5.0)
"""Concentrations of the Dirichlet mixtures scattered around the optimum: from about 1 % away to
anywhere."""
SYSTEMATIC = 0.7
"""Smallest proportion of the variance between trials that is taken as error of the law instead of
noise."""
LENGTHSCALE_FACTOR = 0.4
"""Factor on the GP's length in the belief about the cost of a decision (docs/evidence.md).

The optimum tends to lie where the prediction is too low by chance, and such errors vary over
shorter distances than the errors of all trials together show.
"""
VARIANCE_FACTOR, SMALL_SAMPLE_FACTOR = 0.62, 20.0
"""Variance factors of this belief (docs/evidence.md).

Variances are multiplied by VARIANCE_FACTOR (1 + SMALL_SAMPLE_FACTOR / (3 + trials beyond the number of domains)),
because few trials determine poorly how large the law's error is.
"""
SURPRISE_COUNT = 16.0
"""Number of good trials that the prior `DecisionProblem.surprise` = 1 weighs as (docs/evidence.md)."""
SEARCH_SD_FACTOR = 2.6
"""Factor on the standard deviations of the belief for choosing trials (docs/evidence.md).

The GP of this belief keeps the fitted length.
"""
NEGLIGIBLE = 1e-9
"""Fraction of the mean variance that is added to a covariance's diagonal before factorisation."""


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
        belief, beyond = (
            self._belief(points, steps, sizes, LENGTHSCALE_FACTOR),
            max(0, self.law.num_trials - len(self.law.domains)),
        )
        return replace(
            belief,
            covariance=belief.covariance
            * VARIANCE_FACTOR
            * (1 + SMALL_SAMPLE_FACTOR / (3 + beyond))
            * self.surprise,
        )

    def searching(
        self, points: Array, steps: Array | None = None, sizes: Array | None = None
    ) -> Posterior:
        """Returns the belief about log losses by which the next trial is chosen.

        Args:
            points: (M, domains) mixtures.
            steps, sizes: (M,) each; None: those of the problem.
        """
        belief = self._belief(points, steps, sizes, 1.0)
        return replace(belief, covariance=belief.covariance * SEARCH_SD_FACTOR**2)

    @cached_property
    def surprise(self) -> float:
        """Mean squared standardised leave-one-out error of the better half of trials.

        The value is 1 where the belief is calibrated.

        The error is that of the objective of a trial predicted from the other trials. The
        discrepancy GP has one amplitude everywhere, in log loss. Where the law's errors are largest
        on bad mixtures, this amplitude is too large for good mixtures. The mean includes
        SURPRISE_COUNT trials with the value 1.
        """
        law, mixtures = self._wide(LENGTHSCALE_FACTOR), self.law.runs.proportions
        found = trainings_left_out(law)
        there = (
            np.full(len(mixtures), self.step),
            np.full(len(mixtures), np.nan if self.size is None else self.size),
        )
        predicted = np.log(self.law.losses(mixtures, *there))
        slopes = self.sensitivity(predicted)
        sd = (
            slopes
            * np.sqrt(
                np.maximum(found.expected - found.noise, 0.0) * law.inflation[:, None] + found.noise
            ).T
        )
        expected2 = np.einsum("nt,tu,nu->n", sd, law.correlation, sd)
        missed2 = (slopes * found.miss.T).sum(axis=1) ** 2
        values = self.objective(np.exp(predicted))
        good = (values <= np.median(values)) & (expected2 > 0)
        return float(
            (SURPRISE_COUNT + (missed2[good] / expected2[good]).sum())
            / (SURPRISE_COUNT + good.sum())
        )

    def _belief(
        self, points: Array, steps: Array | None, sizes: Array | None, roughness: float
    ) -> Posterior:
        asked = (
            np.full(len(points), np.nan if self.size is None else self.size)
            if sizes is None
            else sizes
        )
        after = np.full(len(points), self.step) if steps is None else steps
        mean = np.log(self.law.losses(points, after, asked))
        return replace(self._wide(roughness).posterior(points, after, asked), mean=mean)

    def _wide(self, roughness: float) -> FittedLaw:
        """Returns the law with a wider discrepancy GP, used only for covariances.

        The GP has at least SYSTEMATIC of the variance between trials, and its length is multiplied
        by `roughness`. All decision problems of a law share this law, because the cost of its
        covariances grows with the cube of the number of trials.
        """
        kept: dict[float, FittedLaw] = vars(self.law).setdefault("wide", {})
        if roughness not in kept:
            total = self.law.amplitude2 + self.law.offset2
            amplitude2 = np.maximum(self.law.amplitude2, SYSTEMATIC * total)
            offset2 = np.maximum(total - amplitude2, 0.05 * total)
            kept[roughness] = replace(
                self.law,
                amplitude2=amplitude2,
                offset2=offset2,
                shape=replace(self.law.shape, length=roughness * self.law.shape.length),
            )
        return kept[roughness]


def correlated_draws(posterior: Posterior, generator: np.random.Generator, count: int) -> Array:
    """Draws (count, M, targets) log losses jointly over mixtures and targets.

    Targets correlate as the noise of trials does.
    """
    targets, mixtures, _ = posterior.covariance.shape
    sd = np.sqrt(np.maximum(np.diag(posterior.run_noise), 1e-300))
    mixing = _root((posterior.run_noise / sd[:, None] / sd[None])[None])[0]
    normal = np.einsum("kt,tmc->kmc", mixing, generator.standard_normal((targets, mixtures, count)))
    return np.asarray(
        posterior.mean + np.matmul(_root(posterior.covariance), normal).transpose(2, 1, 0)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class QuadraticModel:
    """Quadratic model of the objective around its optimum, with points for finite differences of a
    belief."""

    point: Array
    """(domains,) the optimum."""
    gradient: Array
    """(domains,) gradient of the objective at the optimum."""
    hessian: Array
    """(domains, domains) Hessian of the objective at the optimum."""
    difference_points: Array
    """(domains + 1, domains) finite-difference points: the optimum and one mixture towards each
    domain."""
    difference_step: Array
    """(domains,) step from the optimum to each of these mixtures."""

    @classmethod
    def at(cls, problem: DecisionProblem, best: Solution) -> Self:
        """Makes the quadratic model at an optimum.

        For "worst" it is the model of the smoothed maximum. The maximum itself has kinks at which
        it rises steeply on both sides, so no belief would move the optimum away from a kink.
        """
        _, gradient, hessian = problem.objective_function(parametric=False).model(
            best.point, SOFT * abs(best.value)
        )
        difference_step = np.clip(0.3 * best.point, 0.003, 0.05)
        difference_points = np.concatenate(
            [
                best.point[None],
                best.point + difference_step[:, None] * (np.eye(len(best.point)) - best.point),
            ]
        )
        return cls(
            point=best.point,
            gradient=gradient,
            hessian=hessian,
            difference_points=difference_points,
            difference_step=difference_step,
        )

    def slopes(self, values: Array) -> Array:
        """Computes (n, domains, ...) derivatives by the proportions from (n, domains + 1, ...)
        values at the finite-difference points."""
        return np.asarray(
            (values[:, 1:] - values[:, :1])
            / self.difference_step.reshape(-1, *[1] * (values.ndim - 2))
        )


def drawn_optima(
    problem: DecisionProblem,
    quadratic: QuadraticModel,
    belief: Posterior,
    generator: np.random.Generator,
    count: int,
) -> Array:
    """Returns (count, domains) optima of draws of a belief at the finite-difference points.

    Each optimum is that of the quadratic model of the objective with the slopes of one draw.
    """
    deviation = correlated_draws(belief, generator, count) - belief.mean
    slopes = quadratic.slopes(np.einsum("cmt,mt->cm", deviation, problem.sensitivity(belief.mean)))
    curvature, lower, upper = convex(quadratic.hessian), problem.lower, problem.upper
    return np.stack(
        [
            quadratic_step(curvature, quadratic.gradient + slope, quadratic.point, lower, upper)
            for slope in slopes
        ]
    )


def scattered(
    problem: DecisionProblem, centre: Array, generator: np.random.Generator, count: int
) -> Array:
    """Draws (count, domains) random mixtures inside the bounds around a centre, near and far."""
    spread = np.maximum(
        0.9 * centre + 0.1 * (problem.upper > 0) / max(1, (problem.upper > 0).sum()), 1e-6
    )
    each = -(-count // len(CONCENTRATIONS))
    return np.concatenate(
        [sample(generator, each, spread, k, problem.lower, problem.upper) for k in CONCENTRATIONS]
    )[:count]


def _root(covariance: Array) -> Array:
    """(..., n, n) lower factor of positive semidefinite matrices."""
    size = covariance.shape[-1]
    scale = np.trace(covariance, axis1=-2, axis2=-1) / size
    for lift in (NEGLIGIBLE, 1e-6):
        try:
            return np.asarray(
                np.linalg.cholesky(
                    covariance + (lift * scale + 1e-300)[..., None, None] * np.eye(size)
                )
            )
        except np.linalg.LinAlgError:
            continue
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :])
