"""Defines the fitted law: predictions, gradients, joint uncertainty, and its exact JSON form."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bimix_sweep import files
from bimix_sweep.errors import LawError
from bimix_sweep.law.model import transfer as tl
from bimix_sweep.law.model.discrepancy import Places, Shape
from bimix_sweep.law.model.observations import Runs
from bimix_sweep.law.model.segments import CurveSegments, curve_segments
from bimix_sweep.law.posterior.gaussian import Posterior
from bimix_sweep.law.posterior.information import Group, make_groups
from bimix_sweep.law.posterior.law_file import ARRAYS, FORMAT, read_fields
from bimix_sweep.law.posterior.problem_statement import ProblemStatement
from bimix_sweep.mixture.goals import Goals, value_scales, values_of
from bimix_sweep.mixture.simplex import Array

SIZE_DRIFT = 0.1
"""Standard deviation of log loss for an untested factor of e in size (docs/evidence.md).

Where trials have one size, this uncertainty moves all mixtures equally.
"""
MARGIN = (0.1, 0.25)
"""Bound on predicted log losses: (constant, proportion of the range of the fitted trials).

Predictions stay within 0.1 + 0.25 x (this range) of the worst fitted mixture.

Few trials can drive the help t of a domain to 0. Without this bound, the predicted loss of mixtures
that consist mostly of such a domain would diverge.
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
    `num_mixtures`, `method` (text), `reason` {target: text}.
    """
    notes: tuple[str, ...]
    """Notes for the user on this fit."""
    params: Array
    """(targets, parameters), columns of `transfer`."""
    precision: Array
    """(targets, parameters) diagonal prior precision."""
    point2: Array
    """(targets,) variance of the noise of a point, or of the mean of a segment where curves are
    dense."""
    look2: Array
    """(targets,) variance of the noise that the points of a segment share, besides the offset of
    their trial; curves wander."""
    amplitude2: Array
    """(targets,) variance of the discrepancy GP."""
    offset2: Array
    """(targets,) variance of a trial's offset."""
    shape: Shape
    """Correlation of the discrepancy GP over mixtures, sizes and steps."""
    inflation: Array
    """(targets,) factor on the posterior covariance, from the cross-validated errors."""
    correlation: Array
    """(targets, targets) correlation of the noise of one trial."""
    residual: Array
    """(targets, segments) mean residual of each segment about the parametric law, 0 where not
    measured."""
    runs: Runs
    """Trials to which the law was fitted."""
    reference: tuple[float, float]
    """s0 and N0 of the law."""
    hyper: Mapping[str, Any] = field(default_factory=dict)
    """Values from which a warm refit starts, besides the parameters."""
    problem: ProblemStatement | None = None
    """Decision problem for which the law was fitted; None where none is stated. Predictions do not
    depend on it."""
    goals: Goals = field(default_factory=dict)
    """{target: direction and range}; a target that is missing here is a positive loss.

    The law is fitted to the losses that `goals.losses_of` gives.
    """

    # ------------------------------------------------------------------ what was fitted
    @property
    def steps(self) -> tuple[float, float]:
        """Smallest and largest fitted step."""
        return float(self.runs.steps.min()), float(self.runs.steps.max())

    @property
    def sizes(self) -> tuple[float, float] | None:
        """Smallest and largest fitted size, None where the table gives none."""
        return (
            None
            if np.isnan(self.runs.sizes).any()
            else (float(self.runs.sizes.min()), float(self.runs.sizes.max()))
        )

    @property
    def num_trials(self) -> int:
        """Number of fitted trials."""
        return len(self.runs.proportions)

    @property
    def num_mixtures(self) -> int:
        """Number of different mixtures."""
        return int(self.runs.mixture.max()) + 1

    @property
    def has_process(self) -> bool:
        """False where the parametric law suffices for every target."""
        return bool((self.amplitude2 > 0).any())

    @cached_property
    def digest(self) -> str:
        """Hash of everything on which predictions depend."""
        content = {key: value for key, value in self.to_json().items() if key != "problem"}
        return hashlib.blake2b(
            json.dumps(content, sort_keys=True).encode(), digest_size=16
        ).hexdigest()

    # ------------------------------------------------------------------ predictions
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
        design, asked = self._design(proportions, steps, sizes)
        return np.asarray(np.exp(self._law(design, bounded=True).log_loss.T + self._process(asked)))

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
        design, asked = self._design(proportions, steps, sizes)
        law = self._law(design, bounded=True)
        variance = np.empty(law.log_loss.shape)
        jacobian = law.jacobian(design, tl.OUTER_COLUMNS)
        for group in self.groups:
            cross = (
                self.shape.correlation(asked, self._places.of(group.looks)) @ group.spectrum.basis
            )
            for target in group.targets:
                weighted = self.amplitude2[target] * cross * group.weights[target]
                left = jacobian[target] - weighted @ group.rotated[target]
                explained = (weighted * cross).sum(axis=1)
                variance[target] = np.einsum(
                    "np,pq,nq->n", left, group.covariance[target], left
                ) + self.amplitude2[target] * np.maximum(1 - explained, 0.0)
        variance = variance * self.inflation[:, None] + self._drift(design) ** 2
        if noise:
            variance += (self.offset2 + self.look2 + self.point2)[:, None]
        mean = np.exp(law.log_loss.T + self._process(asked))
        sd = mean * np.sqrt(np.maximum(variance, 0.0)).T
        return (
            values_of(self.goals, self.targets, mean),
            sd * value_scales(self.goals, self.targets),
        )

    def law_only(self, proportions: Array, steps: Array, sizes: Array | None = None) -> Array:
        """Predicts (n, targets) losses of the parametric law alone.

        These losses are convex in the proportions, and unbounded near a floor of 0.
        """
        design, _ = self._design(proportions, steps, sizes)
        return np.asarray(np.exp(self._law(design, bounded=False).log_loss.T))

    def law_gradient(
        self, proportions: Array, step: float, size: float | None = None
    ) -> tuple[Array, Array]:
        """Computes losses of the parametric law and their derivatives by the proportions.

        Returns:
            (n, targets) losses and (n, targets, domains) derivatives.
        """
        return self._law_gradient(*self._at(proportions, step, size))

    def gradient(
        self, proportions: Array, step: float, size: float | None = None
    ) -> tuple[Array, Array]:
        """Computes losses of law and GP, not bounded, and their derivatives by the proportions.

        Returns:
            (n, targets) losses and (n, targets, domains) derivatives.
        """
        design, asked = self._at(proportions, step, size)
        loss, by_r = self._law_gradient(design, asked)
        if not self.has_process:
            return loss, by_r
        factor = np.exp(self._process(asked))
        slopes = np.matmul(self.shape.slopes(asked, self._places).transpose(0, 2, 1), self._weights)
        total = loss * factor
        return total, by_r * factor[:, :, None] + total[:, :, None] * slopes.transpose(0, 2, 1)

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
        design, asked = self._at(proportions, steps, sizes)
        n = len(asked.log_size)
        law = self._law(design, bounded=True)
        jacobian = law.jacobian(design, tl.OUTER_COLUMNS)
        covariance = np.empty((len(self.targets), n, n))
        inner = self.shape.correlation(asked, asked) if self.has_process else None
        for group in self.groups:
            cross = (
                self.shape.correlation(asked, self._places.of(group.looks)) @ group.spectrum.basis
                if self.has_process
                else None
            )
            for target in group.targets:
                left, amplitude2 = jacobian[target], self.amplitude2[target]
                if amplitude2 > 0 and cross is not None and inner is not None:
                    weighted = amplitude2 * cross * group.weights[target]
                    left = left - weighted @ group.rotated[target]
                    covariance[target] = amplitude2 * (inner - weighted @ cross.T)
                else:
                    covariance[target] = 0.0
                covariance[target] += (left @ group.covariance[target]) @ left.T
        drift = self._drift(design)
        covariance = covariance * self.inflation[:, None, None] + drift[:, None] * drift
        points = np.median(np.bincount(self.looks.runs.run))
        sd = np.sqrt(self.offset2 + self.look2 + self.point2 / points)
        return Posterior(
            mean=law.log_loss.T + self._process(asked),
            covariance=covariance,
            run_noise=self.correlation * sd[:, None] * sd[None, :],
        )

    # ------------------------------------------------------------------ JSON
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
            "runs": self.runs.to_json(),
            "shape": {name: value for name, value in asdict(self.shape).items() if value < np.inf},
            "reference": list(self.reference),
            "hyper": dict(self.hyper),
            "problem": None if self.problem is None else self.problem.to_json(),
            **{name: getattr(self, name).tolist() for name in ARRAYS},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "FittedLaw":
        """Reads what `to_json` gave.

        Raises:
            LawError: the data are not a law that this version wrote, or the values do not fit
                together.
        """
        return cls(**read_fields(data))

    # ------------------------------------------------------------------ inside
    def _design(
        self, proportions: Array, steps: Array, sizes: Array | None
    ) -> tuple[tl.Design, Places]:
        r = np.atleast_2d(np.asarray(proportions, dtype=np.float64))
        steps = np.atleast_1d(np.asarray(steps, dtype=np.float64))
        if r.shape[1] != len(self.domains):
            raise LawError(
                f"mixtures have {r.shape[1]} proportions; need {len(self.domains)}: "
                f"{', '.join(self.domains)}"
            )
        if not (np.isfinite(r).all() and (r >= 0).all()):
            raise LawError("a proportion is negative or not a number; need shares >= 0")
        if not (np.isfinite(steps).all() and (steps > 0).all()) or steps.shape != (len(r),):
            raise LawError(f"steps are not {len(r)} numbers > 0; need one for each mixture")
        if self.sizes is None:
            log_size = np.zeros(len(r))
        else:
            given = (
                np.full(len(r), self.sizes[1])
                if sizes is None
                else np.atleast_1d(np.asarray(sizes, dtype=np.float64))
            )
            given = np.where(np.isnan(given), self.sizes[1], given)
            if given.shape != (len(r),) or not (np.isfinite(given).all() and (given > 0).all()):
                raise LawError(f"sizes are not {len(r)} numbers > 0; need one for each mixture")
            log_size = np.log(given / self.reference[1])
        each = np.arange(len(r))
        design = tl.Design(
            log_proportions=tl.log_proportions(r),
            mixture=each,
            stage=each,
            log_step=np.log(steps / self.reference[0]),
            log_size=log_size,
        )
        return design, Places(proportions=r, log_size=log_size, log_step=design.log_step)

    def _at(
        self, proportions: Array, steps: float | Array, sizes: float | Array | None
    ) -> tuple[tl.Design, Places]:
        """Makes the same inputs as `_design`, with one step and size for all mixtures or one for
        each."""
        n = len(np.atleast_2d(proportions))
        return self._design(
            proportions,
            np.broadcast_to(steps, (n,)),
            None if sizes is None else np.broadcast_to(sizes, (n,)),
        )

    def _law_gradient(self, design: tl.Design, asked: Places) -> tuple[Array, Array]:
        law = self._law(design, bounded=False)
        _, by_r = tl.log_v_gradient(self.params, asked.proportions, design.log_size)
        loss = np.exp(law.log_loss)
        return loss.T, ((loss * law.by_log_v)[:, :, None] * by_r).transpose(1, 0, 2)

    def _law(self, design: tl.Design, *, bounded: bool) -> tl.Evaluation:
        return tl.evaluate(
            self.params,
            design,
            tl.OUTER_COLUMNS,
            smallest_log_v=self._smallest_log_v if bounded else None,
        )

    def _drift(self, design: tl.Design) -> Array:
        """(n,) standard deviation of the level at a size other than the only size of the trials.

        The levels of all mixtures move together.
        """
        if self.sizes is None or self.sizes[0] != self.sizes[1]:
            return np.zeros(len(design.log_size))
        return np.asarray(
            SIZE_DRIFT * (design.log_size - np.log(self.sizes[0] / self.reference[1]))
        )

    @cached_property
    def _fit_design(self) -> tl.Design:
        return tl.design_of(self.runs, *self.reference)

    @cached_property
    def looks(self) -> CurveSegments:
        """Segments of the trials' curves, to which the discrepancy GP is fitted."""
        return curve_segments(self.runs)

    @cached_property
    def _places(self) -> Places:
        return self.looks.places(self._fit_design)

    @cached_property
    def _smallest_log_v(self) -> Array:
        """(targets,) log v at which predictions stop rising."""
        _, log_v, _ = tl.transfer_weights(
            self.params, self._fit_design.log_proportions, self._fit_design.mixture_log_size
        )
        fixed, share = MARGIN
        spread = log_v.max(axis=1) - log_v.min(axis=1)
        return np.asarray(
            log_v.min(axis=1) - fixed / np.exp(self.params[:, tl.SLOPE]) - share * spread
        )

    @cached_property
    def groups(self) -> list[Group]:
        """Parts of the posterior that do not depend on where predictions are made."""
        return make_groups(
            self.params,
            self.precision,
            self.looks,
            self._fit_design,
            point2=self.point2,
            look2=self.look2,
            offset2=self.offset2,
            amplitude2=self.amplitude2,
            shape=self.shape,
        )

    @cached_property
    def _weights(self) -> Array:
        """(segments, targets) weights of the GP's mean.

        process(asked) = correlation(asked, looks) @ weights.
        """
        weights = np.zeros((len(self.looks.training), len(self.targets)))
        for group in self.groups:
            for target in group.targets:
                basis = group.spectrum.basis
                solved = basis @ (
                    group.weights[target] * (basis.T @ self.residual[target, group.looks])
                )
                weights[group.looks, target] = self.amplitude2[target] * solved
        return weights

    def _process(self, asked: Places) -> Array:
        """(n, targets) mean of the discrepancy GP in log loss."""
        if not self.has_process:
            return np.zeros((len(asked.log_size), len(self.targets)))
        return self.shape.correlation(asked, self._places) @ self._weights
