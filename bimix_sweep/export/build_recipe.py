"""Makes the recipe of a sweep or of a law from the optimum."""

import json
import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from pydantic import JsonValue, ValidationError

from bimix_sweep.design.comparison import Comparison
from bimix_sweep.errors import ExportError
from bimix_sweep.export.recipe import Recipe
from bimix_sweep.export.recipe_parts import (
    Binding,
    Certificate,
    Interval,
    RecipeAtTrials,
    RecipeGain,
    RecipeGoal,
    RecipePrior,
    RecipeRepetition,
)
from bimix_sweep.export.rounding import rounded
from bimix_sweep.export.validation_error import explain
from bimix_sweep.law.optimum.answer import for_final_run, not_tested
from bimix_sweep.law.optimum.gain import Gain, predicted_gain
from bimix_sweep.law.optimum.optimal_mixture import Optimum
from bimix_sweep.law.optimum.regret import Regret
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.law.posterior.problem_statement import ProblemStatement
from bimix_sweep.mixture.domains import Mixture


def build_recipe(
    optimum: Optimum,
    law: FittedLaw,
    problem: ProblemStatement,
    *,
    comparison: Comparison | None = None,
    excluded: Mapping[str, str] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Recipe:
    """Make the recipe of a sweep or of a law.

    The mixture is the law's optimum, or the mixture that the confirmation trials showed to be
    better.

    Args:
        optimum: the law's optimum.
        law: the fitted law.
        problem: the problem that the optimum answers. If it does not state the tokens of the
            final run, `tokens` and `epochs` stay empty.
        comparison: result of the confirmation trials; None if there were none.
        excluded: {trial: reason why it was left out}.
        provenance: JSON values; the problem is added to them.

    Raises:
        ExportError: provenance holds a value that JSON cannot represent.
    """
    mixture, losses, sd = _recommended(optimum, for_final_run(law, problem), comparison)
    proportions = rounded(
        {name: mixture.as_dict().get(name, 0.0) for name in problem.domains.names}
    )
    measured = None if comparison is None else mixture
    beyond = not_tested(optimum, law, problem, measured=measured)
    try:
        return Recipe(
            proportions=proportions,
            gain=_gain(gain_of(optimum, law, problem, comparison)),
            at_trials=_at_trials(optimum),
            blends={
                name: dict(sources)
                for name, sources in problem.blends.items()
                if name in proportions
            },
            predicted_losses=losses,
            predicted_sd=sd,
            goals={
                name: RecipeGoal(goal=goal.direction, range=goal.range)
                for name, goal in law.goals.items()
            },
            **_optimum(optimum),
            prior=_prior(optimum, problem),
            extrapolation=dict(beyond.extrapolation),
            not_tested=list(beyond.sentences),
            **_final_run(proportions, law, problem),
            law=_law(law),
            comparison=None if comparison is None else _compared(comparison),
            excluded=dict(excluded or {}),
            provenance={**(provenance or {}), "problem": problem.to_json()},
        )
    except ValidationError as error:
        raise ExportError(f"the recipe cannot be written: {explain(error)}") from None


def gain_of(
    optimum: Optimum, law: FittedLaw, problem: ProblemStatement, comparison: Comparison | None
) -> Gain:
    """The gain of the recommended mixture over the problem's baseline.

    It is measured where confirmation trials compared both mixtures, else the law predicts it at the
    optimum's step and size.

    Raises:
        OptimumError, MixtureError: the law cannot predict it.
    """
    name, over = problem.baseline
    if comparison is not None and (measured := comparison.gain(name, over)) is not None:
        return measured
    return predicted_gain(
        for_final_run(law, problem),
        _recommended_mixture(optimum, comparison),
        over,
        baseline=name,
        weights=problem.weights,
        objective=problem.objective,
        step=optimum.step,
        size=optimum.size,
        generator=problem.generator(),
    )


def _gain(gain: Gain) -> RecipeGain:
    return RecipeGain(
        baseline=gain.baseline,
        proportions=rounded(gain.mixture.as_dict()),
        value=gain.value,
        lower=gain.lower,
        upper=gain.upper,
        measured=gain.measured,
    )


def _at_trials(optimum: Optimum) -> RecipeAtTrials | None:
    small = optimum.at_trials
    if small is None:
        return None
    return RecipeAtTrials(
        proportions=rounded(small.mixture.as_dict()),
        distance=small.distance,
        regret=_regret(small.regret),
        step=small.step,
        size=small.size,
    )


def _regret(regret: Regret) -> dict[Literal["expected", "upper95"], float]:
    return {"expected": max(regret.expected, 0.0), "upper95": max(regret.upper95, 0.0)}


def _prior(optimum: Optimum, problem: ProblemStatement) -> RecipePrior | None:
    if problem.prior is None or problem.kl == 0:
        return None
    return RecipePrior(
        proportions=rounded(problem.prior.as_dict()), kl=problem.kl, cost=optimum.prior_cost
    )


def _recommended_mixture(optimum: Optimum, comparison: Comparison | None) -> Mixture:
    return optimum.mixture if comparison is None else comparison.recommended_mixture.mixture


def _recommended(
    optimum: Optimum, law: FittedLaw, comparison: Comparison | None
) -> tuple[Mixture, dict[str, float], dict[str, float]]:
    """The recommended mixture, {target: loss that the law predicts for it}, and the standard
    deviations of these losses."""
    mixture = _recommended_mixture(optimum, comparison)
    if mixture == optimum.mixture:
        return mixture, dict(optimum.predicted_losses), dict(optimum.predicted_sd)
    predicted, sd = law.predict_with_sd(
        mixture.as_array(law.domains)[None], np.array([optimum.step]), _one(optimum.size)
    )
    return (
        mixture,
        dict(zip(law.targets, map(float, predicted[0]), strict=True)),
        dict(zip(law.targets, map(float, sd[0]), strict=True)),
    )


def _optimum(optimum: Optimum) -> dict[str, Any]:
    """Fields of the recipe that describe the law's optimum."""
    return {
        "region": _intervals(optimum.region),
        "interval": _intervals(optimum.interval),
        "within": optimum.within,
        "alternatives": [rounded(mixture.as_dict()) for mixture in optimum.alternatives],
        "regret": _regret(optimum.regret),
        "certificate": Certificate(
            gap=max(optimum.gap, 0.0),
            scope=optimum.scope,  # type: ignore[arg-type]
        ),
        "step": optimum.step,
        "size": optimum.size,
        "binding": [
            Binding(domain=one.domain, bound=one.bound, cost=one.cost)  # type: ignore[arg-type]
            for one in optimum.binding
        ],
    }


def _final_run(
    proportions: Mapping[str, float], law: FittedLaw, problem: ProblemStatement
) -> dict[str, Any]:
    """Fields of the recipe that describe the final run; empty where its tokens are not stated."""
    token_budget = problem.final and problem.final.tokens
    if not token_budget:
        return {}
    tokens = {name: proportion * token_budget for name, proportion in proportions.items()}
    available = dict(zip(problem.domains.names, problem.domains.tokens, strict=True))
    return {
        "tokens": tokens,
        "epochs": {
            name: count / available[name] if math.isfinite(available[name]) else None
            for name, count in tokens.items()
        },
        "repetition": None
        if problem.unique(law.domains) is None
        else RecipeRepetition(
            r_star=law.repetition.r_star,
            interval=law.repetition.interval,
            source="trials" if law.repetition.rests_on_trials else "prior",
        ),
    }


def _one(size: float | None) -> np.ndarray | None:
    """(1,) array of the size; None if there is no size."""
    return None if size is None else np.array([size])


def _intervals(ends: Mapping[str, tuple[float, float]]) -> dict[str, Interval]:
    """Intervals clipped to [0, 1].

    The ends come from a projection and may be outside by rounding.
    """
    return {
        name: (min(max(low, 0.0), 1.0), min(max(high, 0.0), 1.0))
        for name, (low, high) in ends.items()
    }


def _law(law: FittedLaw) -> dict[str, JsonValue]:
    """Facts about the law for the recipe, JSON-able."""
    return {
        "choice": dict(law.choice),
        "cross_validation": json.loads(json.dumps(law.cross_validation)),
        "discrepancy": law.has_discrepancy,
        "num_trials": law.num_trials,
        "num_mixtures": law.num_mixtures,
        "steps": list(law.steps),
        "sizes": None if law.sizes is None else list(law.sizes),
        "notes": list(law.notes),
        "digest": law.digest,
    }


def _compared(comparison: Comparison) -> dict[str, JsonValue]:
    """Result of the confirmation trials for the recipe, JSON-able."""
    return {
        "sentence": comparison.reason,
        "recommended": comparison.recommended,
        "differ": comparison.differ,
        "seeds": list(comparison.seeds),
        "noise": comparison.noise,
        "mixtures": [
            {
                "role": one.role,
                "proportions": dict(rounded(one.mixture.as_dict())),
                "losses": dict(one.losses),
                "objective": one.objective,
                "difference": one.difference,
                "noise95": one.noise95,
                "differs": one.differs,
            }
            for one in comparison.mixtures
        ],
    }
