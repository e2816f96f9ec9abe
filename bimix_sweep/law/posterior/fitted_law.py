"""Defines the fitted law: predictions, gradients, joint uncertainty, and its exact JSON form."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from bimix_sweep import files
from bimix_sweep.law.model.discrepancy import GPInputs
from bimix_sweep.law.model.law_inputs import LawInputs
from bimix_sweep.law.model.observations import Trials
from bimix_sweep.law.model.repetition import Repetition
from bimix_sweep.law.posterior.common_errors import drift_sd, repetition_sd
from bimix_sweep.law.posterior.conditioned_law import ConditionedLaw
from bimix_sweep.law.posterior.drift import Drift
from bimix_sweep.law.posterior.gaussian import Posterior
from bimix_sweep.law.posterior.law_file import FORMAT, conditioned_json, read_fields
from bimix_sweep.law.posterior.prediction_inputs import prediction_inputs
from bimix_sweep.law.posterior.problem_statement import ProblemStatement
from bimix_sweep.mixture.goals import Goals, value_scales, values_of
from bimix_sweep.mixture.simplex import Array

LENGTHSCALE_FACTOR = 0.4
"""Factor on the GP's lengthscale in the belief about the cost of a decision (docs/evidence.md).

The optimum tends to lie where the prediction is too low by chance, and such errors vary over
shorter distances than the errors of all trials together show.
"""


@dataclass(frozen=True, kw_only=True)
class FittedLaw:
    """One law for each target, the discrepancy GP on top, and the result of cross-validation."""

    domains: tuple[str, ...]
    """Names of the domains, in the order of all arrays."""
    targets: tuple[str, ...]
    """Names of the targets, in the order of all arrays."""
    own: Mapping[str, str]
    """{target: its own domain}, only targets that have one."""
    choice: Mapping[str, str]
    """{target: "bimix" | "transfer"}."""
    cross_validation: Mapping[str, Any]
    """Result of cross-validation.

    `by_target` {target: {law: {mean_relative_error, worst, last_step, rank_correlation}}},
    `num_mixtures`, `method` (text), `reason` {target: text}, and `forward`, a list of forward
    validations {axis, fitted, predicted, bias {target: number}, error {target: number}}.
    """
    notes: tuple[str, ...]
    """Notes for the user on this fit."""
    conditioned: ConditionedLaw
    """Laws and discrepancy GPs, conditioned on the trials; in log loss."""
    inflation: Array
    """(targets,) factor on the posterior covariance, from the cross-validated errors."""
    correlation: Array
    """(targets, targets) correlation of the noise of one trial."""
    drift: Drift
    """Uncertainty beyond the fitted steps and sizes."""
    hyper: Mapping[str, Any] = field(default_factory=dict)
    """Values from which a warm refit starts, besides the parameters."""
    problem: ProblemStatement | None = None
    """Decision problem for which the law was fitted; None where none is stated. Predictions do not
    depend on it."""
    goals: Goals = field(default_factory=dict)
    """{target: direction and range}; a target that is missing here is a positive loss.

    The law is fitted to the losses that `goals.losses_of` gives.
    """
    unique: Array | None = None
    """(domains,), or (n, domains) for n predictions: unique tokens of each domain as fractions of
    the tokens of the predicted run, infinite where not limited; None: it repeats nothing. `for_run`
    sets it; it is not a part of the law."""

    @property
    def params(self) -> Array:
        """(targets, parameters), columns of `transfer`."""
        return self.conditioned.params

    @property
    def trials(self) -> Trials:
        """Trials to which the law was fitted."""
        return self.conditioned.trials

    @property
    def steps(self) -> tuple[float, float]:
        """Smallest and largest fitted step."""
        return float(self.trials.steps.min()), float(self.trials.steps.max())

    @property
    def sizes(self) -> tuple[float, float] | None:
        """Smallest and largest fitted size, None where the table gives none."""
        return self.conditioned.sizes

    @property
    def num_trials(self) -> int:
        """Number of fitted trials."""
        return len(self.trials.proportions)

    @property
    def num_mixtures(self) -> int:
        """Number of different mixtures."""
        return int(self.trials.mixture.max()) + 1

    @property
    def has_discrepancy(self) -> bool:
        """False where the parametric law suffices for every target."""
        return self.conditioned.has_discrepancy

    @property
    def repetition(self) -> Repetition:
        """R*: how soon repeated text wears off."""
        return self.conditioned.repetition

    def for_run(self, unique: Array | None) -> "FittedLaw":
        """Returns the law whose predictions are of a run that repeats domains; see `unique`."""
        return self if unique is self.unique is None else replace(self, unique=unique)

    @cached_property
    def digest(self) -> str:
        """Hash of everything on which predictions depend."""
        content = {key: value for key, value in self.to_json().items() if key != "problem"}
        return hashlib.blake2b(
            json.dumps(content, sort_keys=True).encode(), digest_size=16
        ).hexdigest()

    def predict(self, proportions: Array, steps: Array, sizes: Array | None = None) -> Array:
        """Predicts (n, targets) means of law and GP, each in the unit of its target.

        Args and Raises: see `losses`.
        """
        return values_of(self.goals, self.targets, self.losses(proportions, steps, sizes))

    def losses(self, proportions: Array, steps: Array, sizes: Array | None = None) -> Array:
        """Predicts (n, targets) mean losses of law and GP: the values that are minimised.

        Args:
            proportions: (n, domains), rows sum to 1.
            steps: (n,) optimizer steps.
            sizes: (n,) non-embedding parameters; None = the largest fitted.

        Raises:
            LawError: shapes or values for which no prediction is possible.
        """
        inputs, at = self._inputs(proportions, steps, sizes)
        law = self.conditioned.parametric(inputs, bounded=True)
        return np.asarray(np.exp(law.log_loss.T + self.conditioned.discrepancy(at)))

    def predict_with_sd(
        self, proportions: Array, steps: Array, sizes: Array | None = None, *, noise: bool = False
    ) -> tuple[Array, Array]:
        """Predicts mean and standard deviation, both (n, targets), each in the unit of its target.

        Args:
            proportions, steps, sizes: see `losses`.
            noise: add the noise of one more trial at these mixtures (of dense curves, the noise of
                the mean of a segment); False describes the noise-free mean loss.

        Raises:
            LawError: shapes or values for which no prediction is possible.
        """
        inputs_at = partial(self._inputs, proportions, steps, sizes)
        inputs, at = inputs_at()
        law = self.conditioned.parametric(inputs, bounded=True)
        variance = self.conditioned.variance(law, inputs, at)
        drift = drift_sd(self.conditioned, self.drift, inputs)
        variance = variance * self.inflation[:, None] + (drift**2).sum(axis=0)
        if (by_r_star := repetition_sd(self.conditioned, inputs, inputs_at)) is not None:
            variance += by_r_star**2
        if noise:
            factors = self.conditioned.noise_factors(at.proportions)
            variance += self.conditioned.variances.noise()[:, None] * factors
        mean = np.exp(law.log_loss.T + self.conditioned.discrepancy(at))
        sd = mean * np.sqrt(np.maximum(variance, 0.0)).T
        return (
            values_of(self.goals, self.targets, mean),
            sd * value_scales(self.goals, self.targets),
        )

    def law_gradient(
        self, proportions: Array, step: float, size: float | None = None
    ) -> tuple[Array, Array]:
        """Computes losses of the parametric law and their derivatives by the proportions.

        These losses are convex in the proportions, and unbounded near a floor of 0.

        Returns:
            (n, targets) losses and (n, targets, domains) derivatives.
        """
        return self.conditioned.parametric_gradient(*self._inputs(proportions, step, size))

    def gradient(
        self, proportions: Array, step: float, size: float | None = None
    ) -> tuple[Array, Array]:
        """Computes losses of law and GP, not bounded, and their derivatives by the proportions.

        Returns:
            (n, targets) losses and (n, targets, domains) derivatives.
        """
        return self.conditioned.gradient(*self._inputs(proportions, step, size))

    def posterior(
        self, proportions: Array, steps: float | Array, sizes: float | Array | None = None
    ) -> Posterior:
        """Returns the joint belief about noise-free log losses of M mixtures.

        Each mixture has its step and size.

        Sizes share the parameters of the law, and the GP as far as its correlation over sizes goes.
        So a trial of one size also has information about the others.

        Args:
            proportions: (M, domains).
            steps: one for all mixtures, or (M,).
            sizes: one for all mixtures, or (M,); None or NaN = the largest fitted.
        """
        inputs_at = partial(self._inputs, proportions, steps, sizes)
        inputs, at = inputs_at()
        law = self.conditioned.parametric(inputs, bounded=True)
        covariance = self.conditioned.covariance(law, inputs, at)
        drift = drift_sd(self.conditioned, self.drift, inputs)
        covariance = covariance * self.inflation[:, None, None] + drift.T @ drift
        if (by_r_star := repetition_sd(self.conditioned, inputs, inputs_at)) is not None:
            covariance += by_r_star[:, :, None] * by_r_star[:, None, :]
        points = np.median(np.bincount(self.conditioned.segments.as_trials.trial))
        sd = np.sqrt(self.conditioned.variances.noise(float(points)))
        return Posterior(
            mean=law.log_loss.T + self.conditioned.discrepancy(at),
            covariance=covariance,
            trial_noise=self.correlation * sd[:, None] * sd[None, :],
            noise_factors=self.conditioned.noise_factors(at.proportions),
        )

    @cached_property
    def widened_for_regret(self) -> "FittedLaw":
        """The law whose covariances judge the cost of a decision; see LENGTHSCALE_FACTOR."""
        return replace(self, conditioned=self.conditioned.widened(LENGTHSCALE_FACTOR))

    @cached_property
    def widened_for_search(self) -> "FittedLaw":
        """The law whose covariances choose the next trial; its GP keeps the fitted lengthscale."""
        return replace(self, conditioned=self.conditioned.widened(1.0))

    def save(self, path: str | Path) -> None:
        """Writes the law as JSON, whole or not at all; `bimix_sweep.load_law` reads it."""
        files.write_text(path, json.dumps(self.to_json(), allow_nan=False) + "\n")

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON values; floats round-trip exactly."""
        return {
            "format": FORMAT,
            "domains": list(self.domains),
            "targets": list(self.targets),
            "own": dict(self.own),
            "goals": {target: goal.to_json() for target, goal in self.goals.items()},
            "choice": dict(self.choice),
            "cross_validation": dict(self.cross_validation),
            "notes": list(self.notes),
            "hyper": dict(self.hyper),
            "problem": None if self.problem is None else self.problem.to_json(),
            "inflation": self.inflation.tolist(),
            "correlation": self.correlation.tolist(),
            "drift": self.drift.to_json(),
            **conditioned_json(self.conditioned),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "FittedLaw":
        """Reads what `to_json` gave.

        Raises:
            LawError: the data are not a law that this version wrote, or the values do not fit
                together.
        """
        return cls(**read_fields(data))

    def _inputs(
        self,
        proportions: Array,
        steps: float | Array,
        sizes: float | Array | None,
        r_star: float | None = None,
    ) -> tuple[LawInputs, GPInputs]:
        """Makes the inputs with one step and size for all mixtures, or one for each."""
        return prediction_inputs(
            self.conditioned, self.domains, proportions, steps, sizes, self.unique, r_star
        )
