"""What the final trainings say: which mixtures differ, by how much, and which to take.

Each mixture was trained with the same seeds, so mixtures are compared within a seed and what a seed does to all of them
cancels. With y the objective of M mixtures and n seeds, the residuals of y about mixture and seed means have (M - 1)(n - 1)
degrees of freedom, few for two seeds. The noise the law estimated from all trainings counts as PRIOR_DEGREES more:

    sigma^2 = (PRIOR_DEGREES sigma_law^2 + sum residual^2) / (PRIOR_DEGREES + (M - 1)(n - 1)),   se(difference) = sigma sqrt(2 / n)

and two mixtures differ where |difference| > t se, t the 97.5 % quantile of Student's distribution with as many degrees.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from bimix_sweep.errors import SweepError
from bimix_sweep.law.fitting.fit_law import FittedLaw
from bimix_sweep.law.optimum.decision_problem import Question
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.mixture.goals import PLAIN, Goals
from bimix_sweep.mixture.simplex import Array

PRIOR_DEGREES = 4
"""Weight of the law's noise estimate: it comes from many trainings, but not from paired ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedMixture:
    """One of the mixtures trained at the end."""

    role: str
    """`predicted`, `measured`, `uniform`, `natural`."""
    mixture: Mixture
    """Its proportions."""
    losses: Mapping[str, float]
    """Target -> mean loss over its seeds."""
    objective: float
    """Mean of the weighted loss over its seeds."""
    difference: float
    """Its objective minus the predicted optimum's, mean over shared seeds; 0 for the predicted optimum."""
    noise95: float
    """Half width of the 95 % interval of the difference; 0 for the predicted optimum."""
    differs: bool
    """The difference is beyond that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The final trainings, best objective first, and the recommendation."""

    mixtures: tuple[ComparedMixture, ...]
    """Sorted by objective."""
    seeds: tuple[int, ...]
    """Seeds shared by all of them."""
    recommended: str
    """Role of the mixture to take."""
    reason: str
    """In words, with the numbers."""
    noise: float
    """Standard deviation of one training's objective beyond what its seed does to all."""

    @property
    def differ(self) -> bool:
        """Some mixture differs from the predicted optimum."""
        return any(compared.differs for compared in self.mixtures)


def compare_finals(
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
    """Compare the final trainings.

    Args:
        losses: {role: {seed: {target: loss}}} at the last step, each in its target's own unit.
        mixtures: {role: mixture}.
        weights: {target: importance}, normalised here; targets of weight 0 are shown, not weighed.
        objective: "mean" or "worst".
        goals: {target: direction and range} of targets that are no plain losses.
        predicted: role of the predicted optimum.
        noise: the law's standard deviation of one training's objective (`objective_noise`), loss units; None without a law.
        regret: what the law expects the predicted optimum to cost, a fraction of its objective; for the words only.

    Raises:
        SweepError: no predicted optimum, no shared seed, or nothing to estimate the noise from.
    """
    if predicted not in losses:
        raise SweepError(
            f"no final training of the {predicted} optimum; there are {', '.join(losses) or 'none'}"
        )
    roles = [predicted, *(role for role in losses if role != predicted)]
    seeds = sorted(set.intersection(*(set(losses[role]) for role in roles)))
    if not seeds:
        raise SweepError(
            f"the final trainings of {', '.join(roles)} share no seed; train each with the same seeds"
        )
    values = np.array(
        [
            [_objective(losses[role][seed], weights, objective, goals or {}) for seed in seeds]
            for role in roles
        ]
    )
    count = len(seeds)
    degrees = (len(roles) - 1) * (count - 1)
    residual = (
        values
        - values.mean(axis=1, keepdims=True)
        - values.mean(axis=0, keepdims=True)
        + values.mean()
    )
    prior = PRIOR_DEGREES if noise is not None else 0
    if degrees + prior == 0:
        raise SweepError(
            f"{len(roles)} mixtures with {count} shared seed and no law: nothing says how large the noise is; train two seeds"
        )
    sigma = float(np.sqrt((prior * (noise or 0.0) ** 2 + (residual**2).sum()) / (prior + degrees)))
    error = sigma * np.sqrt(2 / count)
    bound = float(stats.t.ppf(0.975, prior + degrees)) * error
    compared = []
    for index, role in enumerate(roles):
        difference = float((values[index] - values[0]).mean())
        compared.append(
            ComparedMixture(
                role=role,
                mixture=mixtures[role],
                objective=float(values[index].mean()),
                difference=difference,
                losses={
                    t: float(np.mean([losses[role][seed][t] for seed in seeds]))
                    for t in losses[role][seeds[0]]
                },
                noise95=bound if index else 0.0,
                differs=bool(index and abs(difference) > bound),
            )
        )
    recommended, reason = _recommend(compared, bound, count, regret)
    return Comparison(
        mixtures=tuple(sorted(compared, key=lambda one: one.objective)),
        seeds=tuple(seeds),
        recommended=recommended,
        reason=reason,
        noise=sigma,
    )


def objective_noise(law: FittedLaw, question: Question, point: Array) -> float:
    """Standard deviation the law expects of the objective of one training at a mixture (law's domains,), in loss units."""
    posterior = law.posterior(point[None], question.step, question.size)
    slope = question.sensitivity(posterior.mean)[0]
    return float(np.sqrt(slope @ posterior.run_noise @ slope))


ROLES = {"predicted": "predicted optimum", "measured": "best measured"}
"""Roles of final mixtures in words; the others say it themselves. One mixture may have several."""


def said(role: str) -> str:
    """`uniform = measured` as `uniform (also best measured)`."""
    first, *others = (ROLES.get(part, part) for part in role.split(" = "))
    return f"{first} (also {' and '.join(others)})" if others else first


def _recommend(
    compared: list[ComparedMixture], bound: float, count: int, regret: float | None
) -> tuple[str, str]:
    """The predicted optimum, unless another one was measured better beyond the noise."""
    own, others = compared[0], compared[1:]
    better = [one for one in others if one.differs and one.difference < 0]
    seeds = f"{count} paired seed{'s' if count > 1 else ''}"
    if better:
        best = min(better, key=lambda one: one.difference)
        return (
            best.role,
            f"{said(best.role)} was {-best.difference / own.objective:.2%} better than {said(own.role)} in {seeds}, beyond the noise of {bound / own.objective:.2%}",
        )
    worse = [said(one.role) for one in others if one.differs]
    same = [said(one.role) for one in others if not one.differs]
    noise = f"the noise of ±{bound / own.objective:.2%}"
    if worse:
        told = f"{said(own.role)} is better than {', '.join(worse)} beyond {noise} in {seeds}"
        told += f"; it does not differ from {', '.join(same)}" if same else ""
    else:
        told = f"{said(own.role)} does not differ from {', '.join(same) or 'anything'} by more than {noise} in {seeds}"
    if others:
        losses = [f"of {said(one.role)} {_apart(one.difference / own.objective)}" for one in others]
        told += f": the loss {', '.join(losses)} than its own"
    if same and regret is not None and regret < bound / own.objective:
        told += f"; the expected regret of {regret:.2%} is below that noise, so {seeds} cannot tell such mixtures apart at that precision"
    return own.role, told


def _apart(difference: float) -> str:
    """`0.13% lower`."""
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
            f"a final training has no loss of {', '.join(missing)}; need every weighted target"
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
