"""Which mixtures contend for the optimum, and the joint belief about their objective.

Contenders: the predicted optimum; the optima of posterior draws (each draw's gradient at the optimum gives the minimum of
its quadratic model inside the bounds); the extreme members of the near-optimal region; mixtures scattered around it, near
and far. The belief about log losses (`Posterior`) becomes one about the objective F = sum_k w_k L_k by its derivative
w_k L_k, or by exact draws. Errors of different targets correlate as the noise of a training does (they come from the same
trainings), which independent targets would understate.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np

from bimix_sweep.law.optimum.solver import Objective, Solution, convex, quadratic_step
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.law.posterior.gaussian import Posterior
from bimix_sweep.law.posterior.leave_one_out import trainings_left_out
from bimix_sweep.mixture.simplex import Array, sample

SOFT = 0.005
"""The maximum over targets is smoothed over this share of it where its derivative is asked for."""
CONCENTRATIONS = (1000.0, 200.0, 50.0, 15.0, 5.0)
"""Of the Dirichlet mixtures scattered around the optimum: from 1 % away to anywhere."""
SYSTEMATIC = 0.7
"""Least share of the variance between trainings that is taken for misfit instead of noise."""
ROUGHNESS = 0.4
"""What a decision may cost is judged with this share of the process's fitted length: an optimum goes where the prediction is too low by
chance, which happens over shorter distances than all runs together show."""
CERTAINTY, SCARCITY = 0.62, 20.0
"""Its variances are times CERTAINTY (1 + SCARCITY / (3 + trainings beyond the domains)): few trainings say little of how much the law misses.

Chosen with ROUGHNESS and SURPRISE_COUNT on simulated sweeps of five worlds (seeds 7200 to 7211, after 20, 24, 32, 48 and 64 runs; 48 more of the log-linear world,
7300 to 7347). Bound over realised regret, share inside it, and that of the worst world, the one that LightGBM makes: .55: 3.0, 98 %, 92 %; .65: 3.4, 99 %, 97 %;
.65 with a SCARCITY of 16: 3.1, 99 %, 93 %. On earlier sweeps, .6 of the length instead of .4: 2.5, 89 %, 67 %.
"""
SURPRISE_COUNT = 16.0
"""Good trainings that weigh as much as the belief that they miss by what was expected (`Question.surprise`).

Without what they say one width served all worlds: on the same sweeps, at .55, 3.9 and 100 % inside; after 48 and 64 runs 4.7 instead of 3.
"""
DOUBT = 2.6
"""Factor on the standard deviations of the belief by which runs are chosen; its process keeps the fitted length. Choosing by the other belief
doubled the regret at 32 runs in a law-like world (.205 against .101 % on 8 seeds); factors of 1 and 4: .128, .099 %, but no better in three other worlds.
"""
NEGLIGIBLE = 1e-9
"""Added to the diagonal of a covariance, a share of its mean, before it is factorised."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What the law is asked: an objective at one step and size over the law's domains inside bounds."""

    law: FittedLaw
    weights: Array
    """(targets,) >= 0: normalised to sum 1 for "mean", relative to their mean for "worst"."""
    worst: bool
    step: float
    size: float | None
    lower: Array
    """(law's domains,)."""
    upper: Array
    """(law's domains,)."""
    prior: Array | None = None
    """(law's domains,) mixture to stay near."""
    kl: float = 0.0
    """Strength of that pull."""

    def aim(self, *, parametric: bool) -> Objective:
        """What the solver minimises: of the parametric law alone, or of law + process."""
        gradient = self.law.law_gradient if parametric else self.law.gradient
        return Objective(
            losses=lambda points: gradient(points, self.step, self.size),
            weights=self.weights,
            worst=self.worst,
            prior=self.prior,
            kl=self.kl,
        )

    def objective(self, losses: Array) -> Array:
        """(..., targets) losses -> (...,) objective."""
        weighted = losses * self.weights
        return np.asarray(weighted.max(axis=-1) if self.worst else weighted.sum(axis=-1))

    def sensitivity(self, log_losses: Array) -> Array:
        """(M, targets) log losses -> (M, targets) derivative of the objective by each; of the smoothed maximum for "worst"."""
        weighted = np.exp(log_losses) * self.weights
        if not self.worst:
            return np.asarray(weighted)
        top = weighted.max(axis=1, keepdims=True)
        chance = np.exp((weighted - top) / (SOFT * top))
        return np.asarray(weighted * chance / chance.sum(axis=1, keepdims=True))

    def posterior(
        self, points: Array, steps: Array | None = None, sizes: Array | None = None
    ) -> Posterior:
        """Belief about the log losses at (M, domains) by which the cost of a decision is judged; at (M,) steps and sizes, None: the question's."""
        belief, beyond = (
            self._belief(points, steps, sizes, ROUGHNESS),
            max(0, self.law.num_trials - len(self.law.domains)),
        )
        return replace(
            belief,
            covariance=belief.covariance
            * CERTAINTY
            * (1 + SCARCITY / (3 + beyond))
            * self.surprise,
        )

    def searching(
        self, points: Array, steps: Array | None = None, sizes: Array | None = None
    ) -> Posterior:
        """The same by which the next run is chosen."""
        belief = self._belief(points, steps, sizes, 1.0)
        return replace(belief, covariance=belief.covariance * DOUBT**2)

    @cached_property
    def surprise(self) -> float:
        """By how much the better half of the trainings missed the objective that the others predict, over what was expected: a mean of squares.

        A process has one amplitude everywhere, in log loss. Where the law errs most on bad mixtures, that is too much doubt about good ones.
        """
        law, mixtures = self._wide(ROUGHNESS), self.law.runs.proportions
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
        """The law with at least SYSTEMATIC of the scatter between trainings in a process of a share of the length; asked for covariances only.

        One for all questions to a law: what covariances need of it costs the cube of the trainings.
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
    """(count, M, targets) log losses drawn jointly over mixtures and, as the noise of trainings correlates, over targets."""
    targets, mixtures, _ = posterior.covariance.shape
    sd = np.sqrt(np.maximum(np.diag(posterior.run_noise), 1e-300))
    mixing = _root((posterior.run_noise / sd[:, None] / sd[None])[None])[0]
    normal = np.einsum("kt,tmc->kmc", mixing, generator.standard_normal((targets, mixtures, count)))
    return np.asarray(
        posterior.mean + np.matmul(_root(posterior.covariance), normal).transpose(2, 1, 0)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bowl:
    """The objective around its optimum, to second order, and where beliefs are asked for their slopes there."""

    point: Array
    """(domains,) the optimum."""
    gradient: Array
    """(domains,)."""
    hessian: Array
    """(domains, domains)."""
    stencil: Array
    """(domains + 1, domains) the optimum and a mixture towards each domain."""
    reach: Array
    """(domains,) how far these lie."""

    @classmethod
    def at(cls, question: Question, best: Solution) -> Self:
        """Of "worst", of the smoothed maximum: the maximum itself has walls at its kinks, which no belief would move the optimum over."""
        _, gradient, hessian = question.aim(parametric=False).model(
            best.point, SOFT * abs(best.value)
        )
        reach = np.clip(0.3 * best.point, 0.003, 0.05)
        stencil = np.concatenate(
            [best.point[None], best.point + reach[:, None] * (np.eye(len(best.point)) - best.point)]
        )
        return cls(
            point=best.point, gradient=gradient, hessian=hessian, stencil=stencil, reach=reach
        )

    def slopes(self, values: Array) -> Array:
        """(n, domains, ...) derivatives by the proportions of (n, domains + 1, ...) values at the stencil."""
        return np.asarray(
            (values[:, 1:] - values[:, :1]) / self.reach.reshape(-1, *[1] * (values.ndim - 2))
        )


def drawn_optima(
    question: Question, bowl: Bowl, belief: Posterior, generator: np.random.Generator, count: int
) -> Array:
    """(count, domains) optima of draws of a belief at the bowl's stencil, each by the quadratic model of the objective."""
    deviation = correlated_draws(belief, generator, count) - belief.mean
    slopes = bowl.slopes(np.einsum("cmt,mt->cm", deviation, question.sensitivity(belief.mean)))
    curvature, lower, upper = convex(bowl.hessian), question.lower, question.upper
    return np.stack(
        [
            quadratic_step(curvature, bowl.gradient + slope, bowl.point, lower, upper)
            for slope in slopes
        ]
    )


def scattered(
    question: Question, centre: Array, generator: np.random.Generator, count: int
) -> Array:
    """(count, domains) random mixtures inside the bounds around a centre, near and far."""
    spread = np.maximum(
        0.9 * centre + 0.1 * (question.upper > 0) / max(1, (question.upper > 0).sum()), 1e-6
    )
    each = -(-count // len(CONCENTRATIONS))
    return np.concatenate(
        [sample(generator, each, spread, k, question.lower, question.upper) for k in CONCENTRATIONS]
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
