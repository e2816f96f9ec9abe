"""Compares the confirmation trials: which mixtures differ, by how much, and which mixture to
recommend.

All mixtures are trained with the same seeds. Mixtures are therefore compared within a seed, and the
common effect of a seed on all mixtures cancels. Let y be the objective of M mixtures and n seeds.
The residuals of y about mixture and seed means have (M - 1)(n - 1) degrees of freedom, which are
few for two seeds. The noise that the law estimates from all trials counts as PRIOR_DEGREES
additional degrees:

    sigma^2 = (PRIOR_DEGREES sigma_law^2 + sum residual^2)
              / (PRIOR_DEGREES + (M - 1)(n - 1))
    se(difference) = sigma sqrt(2 / n)

Two mixtures differ where |difference| > t se, with t the 97.5 % quantile of Student's distribution
with PRIOR_DEGREES + (M - 1)(n - 1) degrees.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from bimix_sweep.errors import SweepError
from bimix_sweep.law.fitting.fit_law import FittedLaw
from bimix_sweep.law.optimum.decision_problem import DecisionProblem
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.mixture.goals import PLAIN, Goals
from bimix_sweep.mixture.simplex import Array

PRIOR_DEGREES = 4
"""Degrees of freedom given to the law's noise estimate, which comes from many trials, but not from
paired ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedMixture:
    """One mixture of the confirmation trials."""

    role: str
    """`predicted`, `measured`, `uniform` or `natural`; several roles of one mixture are added by `
    = `."""
    mixture: Mixture
    """Proportions of the mixture."""
    losses: Mapping[str, float]
    """Target -> mean loss over the seeds."""
    objective: float
    """Mean of the objective over the seeds."""
    difference: float
    """Objective of this mixture minus the predicted optimum's, mean over shared seeds; 0 for the
    predicted optimum."""
    noise95: float
    """Half width of the 95 % interval of the difference; 0 for the predicted optimum."""
    differs: bool
    """Whether the difference is larger than `noise95`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The confirmation trials, best objective first, and the recommendation."""

    mixtures: tuple[ComparedMixture, ...]
    """Compared mixtures, sorted by objective."""
    seeds: tuple[int, ...]
    """Seeds that all mixtures were trained with."""
    recommended: str
    """Role of the recommended mixture."""
    reason: str
    """Reason for the recommendation in words, with the numbers."""
    noise: float
    """Standard deviation of one trial's objective after the common effect of its seed is
    removed."""

    @property
    def recommended_mixture(self) -> Mixture:
        """The recommended mixture."""
        return next(one.mixture for one in self.mixtures if one.role == self.recommended)

    @property
    def differ(self) -> bool:
        """Whether any mixture differs from the predicted optimum."""
        return any(compared.differs for compared in self.mixtures)


def compare_confirmation_trials(
    losses: Mapping[str, Mapping[int, Mapping[str, float]]],
    mixtures: Mapping[str, Mixture],
    *,
    weights: Mapping[str, float],
    objective: str = "mean",
    goals: Goals | None = None,
    predicted: str = "predicted",
    noise: float | None = None,
    regret: float | None = None,
) -> Comparison:
    """Compares the confirmation trials.

    Args:
        losses: {role: {seed: {target: loss}}} at the last step, each in its target's own unit.
        mixtures: {role: mixture}.
        weights: {target: importance}, normalised here; targets of weight 0 are shown, but do not
            count in the objective.
        objective: "mean" or "worst".
        goals: {target: direction and range} of targets that are not plain losses.
        predicted: role of the predicted optimum.
        noise: the law's standard deviation of one trial's objective (`objective_noise`), loss
            units; None without a law.
        regret: expected regret of the predicted optimum, a fraction of its objective; used in the
            words only.

    Raises:
        SweepError: there is no predicted optimum, no shared seed, a trial lacks a weighted target,
            all weights are 0, or nothing is there to estimate the noise from.
    """
    roles, seeds = _roles_and_seeds(losses, predicted)
    values = np.array(
        [
            [_objective(losses[role][seed], weights, objective, goals or {}) for seed in seeds]
            for role in roles
        ]
    )
    sigma, degrees = _noise(values, noise)
    error = sigma * np.sqrt(2 / len(seeds))
    bound = float(stats.t.ppf(0.975, degrees)) * error
    compared = [
        ComparedMixture(
            role=role,
            mixture=mixtures[role],
            objective=float(own.mean()),
            difference=float((own - values[0]).mean()),
            losses=_mean_losses([losses[role][seed] for seed in seeds]),
            noise95=bound if role != predicted else 0.0,
            differs=bool(role != predicted and abs((own - values[0]).mean()) > bound),
        )
        for role, own in zip(roles, values, strict=True)
    ]
    recommended, reason = _recommend(compared, bound, len(seeds), regret)
    return Comparison(
        mixtures=tuple(sorted(compared, key=lambda one: one.objective)),
        seeds=tuple(seeds),
        recommended=recommended,
        reason=reason,
        noise=sigma,
    )


def _roles_and_seeds(
    losses: Mapping[str, Mapping[int, Mapping[str, float]]], predicted: str
) -> tuple[list[str], list[int]]:
    """Returns the roles, the predicted optimum first, and the seeds that all of them share.
    Arguments and errors as for `compare_confirmation_trials`."""
    if predicted not in losses:
        raise SweepError(
            f"no confirmation trial of the {predicted} optimum; there are "
            f"{', '.join(losses) or 'none'}"
        )
    roles = [predicted, *(role for role in losses if role != predicted)]
    seeds = sorted(set.intersection(*(set(losses[role]) for role in roles)))
    if not seeds:
        raise SweepError(
            f"the confirmation trials of {', '.join(roles)} share no seed; train each with the "
            "same seeds"
        )
    return roles, seeds


def _noise(values: Array, noise: float | None) -> tuple[float, int]:
    """Returns sigma of the module's docstring and its degrees of freedom.

    Args:
        values: (mixtures, seeds) objectives.
        noise: the law's standard deviation of one trial's objective; None without a law.

    Raises:
        SweepError: there are no degrees of freedom.
    """
    num_mixtures, num_seeds = values.shape
    degrees = (num_mixtures - 1) * (num_seeds - 1)
    residual = (
        values
        - values.mean(axis=1, keepdims=True)
        - values.mean(axis=0, keepdims=True)
        + values.mean()
    )
    prior = PRIOR_DEGREES if noise is not None else 0
    if degrees + prior == 0:
        raise SweepError(
            f"{num_mixtures} mixtures with {num_seeds} shared seed and no law: nothing says how "
            "large the noise is; train two seeds"
        )
    sigma = float(np.sqrt((prior * (noise or 0.0) ** 2 + (residual**2).sum()) / (prior + degrees)))
    return sigma, prior + degrees


def _mean_losses(losses: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Returns {target: mean loss} over trials."""
    return {target: float(np.mean([one[target] for one in losses])) for target in losses[0]}


def objective_noise(law: FittedLaw, problem: DecisionProblem, point: Array) -> float:
    """Standard deviation, in loss units, that the law expects of the objective of one trial at a
    mixture `point` (law's domains,)."""
    posterior = law.posterior(point[None], problem.step, problem.size)
    slope = problem.sensitivity(posterior.mean)[0]
    return float(np.sqrt(slope @ posterior.trial_noise @ slope))


ROLES = {"predicted": "predicted optimum", "measured": "best measured"}
"""Roles of confirmation mixtures in words; roles that are not listed are shown as they are. One
mixture may have several roles."""


def role_in_words(role: str) -> str:
    """Writes a role in words: `uniform = measured` becomes `uniform (also best measured)`."""
    first, *others = (ROLES.get(part, part) for part in role.split(" = "))
    return f"{first} (also {' and '.join(others)})" if others else first


def _recommend(
    compared: list[ComparedMixture], bound: float, count: int, regret: float | None
) -> tuple[str, str]:
    """Recommends the predicted optimum, unless another mixture was measured better by more than the
    noise; returns role and reason."""
    own, others = compared[0], compared[1:]
    better = [one for one in others if one.differs and one.difference < 0]
    seeds = f"{count} paired seed{'s' if count > 1 else ''}"
    if better:
        best = min(better, key=lambda one: one.difference)
        return (
            best.role,
            f"{role_in_words(best.role)} was {-best.difference / own.objective:.2%} better than "
            f"{role_in_words(own.role)} in {seeds}, beyond the noise of "
            f"{bound / own.objective:.2%}",
        )
    worse = [role_in_words(one.role) for one in others if one.differs]
    same = [role_in_words(one.role) for one in others if not one.differs]
    noise = f"the noise of ±{bound / own.objective:.2%}"
    if worse:
        text = (
            f"{role_in_words(own.role)} is better than {', '.join(worse)} beyond {noise} in {seeds}"
        )
        text += f"; it does not differ from {', '.join(same)}" if same else ""
    else:
        text = (
            f"{role_in_words(own.role)} does not differ from {', '.join(same) or 'anything'} by "
            f"more than {noise} in {seeds}"
        )
    if others:
        losses = [
            f"of {role_in_words(one.role)} {_apart(one.difference / own.objective)}"
            for one in others
        ]
        text += f": the loss {', '.join(losses)} than its own"
    if same and regret is not None and regret < bound / own.objective:
        text += (
            f"; the expected regret of {regret:.2%} is below that noise, so {seeds} cannot tell "
            "such mixtures apart at that precision"
        )
    return own.role, text


def _apart(difference: float) -> str:
    """Writes a relative difference: `0.13% lower`."""
    return f"{abs(difference):.2%} {'lower' if difference < 0 else 'higher'}"


def _objective(
    values: Mapping[str, float], weights: Mapping[str, float], objective: str, goals: Goals
) -> float:
    losses: dict[str, float] = {
        target: goals.get(target, PLAIN).loss_of(value) for target, value in values.items()
    }
    if missing := [
        target for target, weight in weights.items() if weight > 0 and target not in losses
    ]:
        raise SweepError(
            f"a confirmation trial has no loss of {', '.join(missing)}; need every weighted target"
        )
    counted = {target: weight for target, weight in weights.items() if weight > 0}
    if not counted:
        raise SweepError("all target weights are 0; need one above 0")
    total = sum(counted.values())
    if objective == "worst":
        return max(
            losses[target] * weight * len(counted) / total for target, weight in counted.items()
        )
    return sum(losses[target] * weight / total for target, weight in counted.items())
