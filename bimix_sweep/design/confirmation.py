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

import numpy as np
from scipy.special import stdtrit

from bimix_sweep.design.comparison import ComparedMixture, Comparison, role_in_words
from bimix_sweep.errors import SweepError
from bimix_sweep.law.fitting.fit_law import FittedLaw
from bimix_sweep.law.optimum.decision_problem import DecisionProblem
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.mixture.goals import PLAIN, Goals
from bimix_sweep.mixture.simplex import Array

PRIOR_DEGREES = 4
"""Degrees of freedom given to the law's noise estimate, which comes from many trials, but not from
paired ones."""


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
    pulls: Mapping[str, float] | None = None,
    barred: Mapping[str, str] | None = None,
) -> Comparison:
    """Compares the confirmation trials.

    Args:
        losses: {role: {seed: {target: loss}}} at the last step, each in its target's own unit.
        mixtures: {role: mixture}.
        weights: {target: importance}; targets of weight 0 are shown, but do not count.
        objective: "mean" or "worst".
        goals: {target: direction and range} of targets that are not plain losses.
        predicted: role of the predicted optimum.
        noise: the law's standard deviation of a trial's objective (`objective_noise`), or None.
        regret: expected regret of the predicted optimum, a fraction; used in the words only.
        pulls: {role: pull of its mixture to the prior, in units of the objective}, default 0.
        barred: {role: why its mixture may not be recommended}.

    Raises:
        SweepError: there is no predicted optimum, no shared seed, a trial lacks a weighted target,
            all weights are 0, or nothing is there to estimate the noise from.
    """
    roles, seeds = _roles_and_seeds(losses, predicted)
    question = (weights, objective, goals or {})
    values = np.array([[_objective(losses[r][s], *question) for s in seeds] for r in roles])
    sigma, degrees = _noise(values, noise)
    bound = float(stdtrit(degrees, 0.975)) * sigma * np.sqrt(2 / len(seeds))
    apart = (values - values[0]).mean(axis=1)
    compared = [
        ComparedMixture(
            role=role,
            mixture=mixtures[role],
            objective=float(values[row].mean()),
            difference=float(apart[row]),
            losses=_mean_losses([losses[role][seed] for seed in seeds]),
            noise95=bound if row else 0.0,
            differs=bool(row and abs(apart[row]) > bound),
            pull=(pulls or {}).get(role, 0.0),
            barred=(barred or {}).get(role, ""),
        )
        for row, role in enumerate(roles)
    ]
    recommended, reason = _recommend(compared, bound, len(seeds), regret)
    return Comparison(
        mixtures=tuple(sorted(compared, key=lambda one: one.objective)),
        seeds=tuple(seeds),
        recommended=recommended,
        reason=reason,
        noise=sigma,
        bound=bound,
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
    variance = slope @ posterior.trial_noise @ slope * posterior.noise_factors[0]
    return float(np.sqrt(variance))


def _recommend(
    compared: list[ComparedMixture], bound: float, count: int, regret: float | None
) -> tuple[str, str]:
    """Recommends the predicted optimum, unless another mixture that may be recommended was measured
    better by more than the noise, the pull to the prior included; returns role and reason."""
    own, others = compared[0], compared[1:]
    lead = {one.role: one.difference + one.pull - own.pull for one in others}
    seeds = f"{count} paired seed{'s' if count > 1 else ''}"
    if better := [one for one in others if not one.barred and lead[one.role] < -bound]:
        best = min(better, key=lambda one: lead[one.role])
        counted = ", the pull to the prior included," if best.pull or own.pull else ""
        return (
            best.role,
            f"{role_in_words(best.role)} was {-lead[best.role] / own.objective:.2%} better than "
            f"{role_in_words(own.role)}{counted} in {seeds}, beyond the noise of "
            f"{bound / own.objective:.2%}{_not_taken(best, compared)}",
        )
    worse = [role_in_words(one.role) for one in others if one.differs and one.difference > 0]
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
    text += _not_taken(own, compared)
    if same and regret is not None and regret < bound / own.objective:
        text += (
            f"; the expected regret of {regret:.2%} is below that noise, so {seeds} cannot tell "
            "such mixtures apart at that precision"
        )
    return own.role, text


def _not_taken(taken: ComparedMixture, compared: Sequence[ComparedMixture]) -> str:
    """Says why mixtures whose loss is lower than the predicted optimum's beyond the noise, and than
    the recommended one's, are not recommended; empty without such mixtures."""
    return "".join(
        f"; {role_in_words(one.role)} has a lower loss, but "
        + (one.barred or "not with the pull to the prior")
        + ", so it is not recommended"
        for one in compared
        if one.differs and one.difference < min(0.0, taken.difference) and one.role != taken.role
    )


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
