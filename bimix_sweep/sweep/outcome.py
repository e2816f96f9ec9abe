"""The outcome of a sweep: its law, the predicted optimum, and what the confirmation trials say."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bimix_sweep.config import SweepConfig
from bimix_sweep.data.stream import badly_realised
from bimix_sweep.design.comparison import Comparison
from bimix_sweep.design.confirmation import compare_confirmation_trials, objective_noise
from bimix_sweep.design.evidence import points_to_fit
from bimix_sweep.design.initial_design import moved_references
from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.errors import SweepError
from bimix_sweep.export.build_recipe import build_recipe
from bimix_sweep.export.provenance import commit
from bimix_sweep.export.recipe import Recipe
from bimix_sweep.law.fitting.fit_law import FittedLaw, fit_law
from bimix_sweep.law.optimum.answer import answer
from bimix_sweep.law.optimum.optimal_mixture import Optimum
from bimix_sweep.law.posterior.problem_statement import ProblemStatement
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.mixture.simplex import total_variation
from bimix_sweep.sweep.history.confirmation_trials import confirmation_trials
from bimix_sweep.sweep.history.history import SweepHistory
from bimix_sweep.text import printable

MOVED = 5e-4
"""Smallest distance between the predicted optimum and its confirmation mixture that is reported.

Total variation, in [0, 1].
"""


def decided(history: SweepHistory) -> tuple[FittedLaw, Optimum, Comparison | None]:
    """The law that the confirmation trials test, its optimum, and the comparison of the trials.

    Returns:
        The law with the sweep's problem, the optimum, and the comparison. The comparison is None
        before all confirmation trials ended, and if too many of them failed.
    """
    assert history.confirmation is not None  # noqa: S101
    problem = _problem(history, history.confirmation.num_points)
    law = replace(FittedLaw.from_json(history.confirmation.law), problem=problem)
    optimum = answer_of(law)
    if history.running():
        return law, optimum, None
    comparison = _comparison(history, law, optimum)
    if comparison is not None:
        result = confirmation_result(problem.sweep, comparison, optimum)
        law = replace(law, problem=replace(problem, confirmation_result=result))
    return law, optimum, comparison


def law_so_far(history: SweepHistory) -> FittedLaw:
    """Fits a law to all points recorded so far, with the sweep's problem.

    Raises:
        LawError, TableError: the points determine no law.
    """
    evidence = history.state.trial_record.evidence()
    law = fit_law(points_to_fit(history.spec, evidence), own=history.spec.own)
    return replace(law, problem=_problem(history, history.state.trial_record.num_points))


def _problem(history: SweepHistory, num_points: int) -> ProblemStatement:
    config = history.first.config
    blends = (
        SweepConfig.parse(config, where="the configuration in the journal").blends()
        if config
        else {}
    )
    return replace(history.spec.problem(history.first.name, num_points), blends=blends)


def answer_of(law: FittedLaw) -> Optimum:
    """The optimum that answers the problem that the law carries."""
    assert law.problem is not None  # noqa: S101
    return answer(law, law.problem)


def confirmation_result(sweep: str, comparison: Comparison, optimum: Optimum) -> str:
    """Sentence about the confirmation trials, for users who have only the law."""
    taken = comparison.recommended_mixture.mixture
    other = ""
    if taken != optimum.mixture:
        proportions = ", ".join(
            f"{name} {proportion:.4f}" for name, proportion in taken.as_dict().items()
        )
        other = f" recommend another mixture than this optimum of the law ({proportions})"
    return f"The confirmation trials of the sweep {sweep}{other}: {comparison.reason}."


def _comparison(history: SweepHistory, law: FittedLaw, optimum: Optimum) -> Comparison | None:
    """Compares the confirmation trials; None if too many of them failed."""
    spec, measured = history.spec, _measured(history)
    noise = objective_noise(law, spec.decision_problem(law), optimum.mixture.as_array(law.domains))
    try:
        comparison = compare_confirmation_trials(
            measured.losses,
            measured.mixtures,
            weights=spec.weights,
            objective=spec.objective,
            goals=spec.goals,
            predicted=measured.predicted,
            noise=noise,
            regret=optimum.regret.expected,
            pulls=_pulls(spec, measured.mixtures),
            barred=_barred(spec, measured.mixtures),
        )
    except SweepError:
        return None
    if outside := moved_references(spec.domains):
        comparison = replace(comparison, reason=f"{comparison.reason}; {outside}")
    moved = total_variation(
        measured.mixtures[measured.predicted].as_array(law.domains),
        optimum.mixture.as_array(law.domains),
    )
    if moved < MOVED:
        return comparison
    return replace(
        comparison,
        reason=f"{comparison.reason}; the mixture trained in place of the predicted optimum lies "
        f"{moved:.3f} from it",
    )


def _pulls(spec: SweepSpec, mixtures: Mapping[str, Mixture]) -> dict[str, float]:
    """{role: pull to the prior}, without the mixtures that the prior excludes."""
    pulls = {role: spec.pull(mixture) for role, mixture in mixtures.items()}
    return {role: pull for role, pull in pulls.items() if math.isfinite(pull)}


def _barred(spec: SweepSpec, mixtures: Mapping[str, Mixture]) -> dict[str, str]:
    """{role: why its mixture may not be recommended}."""
    domains, barred = spec.domains, {}
    for role, mixture in mixtures.items():
        proportions = mixture.as_array(domains.names)
        if broken := domains.broken(proportions):
            barred[role] = f"breaks the bounds of {domains.bounds_in_words(broken)}"
        elif math.isinf(spec.pull(mixture)):
            barred[role] = "holds domains that the prior does not hold"
    return barred


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """What the finished confirmation trials measured, by the role of their mixture."""

    mixtures: dict[str, Mixture]
    losses: dict[str, dict[int, dict[str, float]]]
    """{role: {seed: {target: loss at the last step}}}."""
    predicted: str
    """Role of the predicted optimum; empty if no trial of it finished."""


def _measured(history: SweepHistory) -> _Measured:
    assert history.confirmation is not None  # noqa: S101
    predicted = ""
    mixtures: dict[str, Mixture] = {}
    losses: dict[str, dict[int, dict[str, float]]] = {}
    for trial, _, entry in confirmation_trials(history, history.confirmation.mixtures):
        role = " = ".join(sorted(entry.labels, key=lambda label: label != "predicted"))
        record = history.state.trials.get(trial)
        if record is not None and record.state == "finished" and record.points:
            mixtures[role] = record.mixture
            losses.setdefault(role, {})[record.seed] = record.points[max(record.points)]
            predicted = role if "predicted" in entry.labels else predicted
    return _Measured(mixtures=mixtures, losses=losses, predicted=predicted)


def recipe_of(
    history: SweepHistory,
    law: FittedLaw,
    optimum: Optimum,
    comparison: Comparison | None,
    config: Mapping[str, Any],
) -> Recipe:
    """The recipe that answers the sweep's own problem.

    Args:
        history: history of the sweep.
        law: law of the sweep, with its problem (from `decided` or `law_so_far`).
        optimum: the predicted optimum.
        comparison: comparison of the confirmation trials; None before all of them ended.
        config: the public configuration, for the provenance.
    """
    assert law.problem is not None  # noqa: S101
    return build_recipe(
        optimum,
        law,
        law.problem,
        comparison=comparison,
        excluded=failed_trials(history),
        provenance=provenance_of(history, config, law),
    )


def failed_trials(history: SweepHistory) -> dict[str, str]:
    """{trial: reason} of each failed trial."""
    return {
        name: record.failure
        for name, record in history.state.trials.items()
        if record.state == "failed"
    }


def last_failure(history: SweepHistory) -> str:
    """The last trial that failed and why, in one line; empty where none failed."""
    trial, reason = next(reversed(failed_trials(history).items()), ("", ""))
    return printable(f"last failure: {trial}: {reason}") if trial else ""


def provenance_of(
    history: SweepHistory, config: Mapping[str, Any], law: FittedLaw | None
) -> dict[str, Any]:
    """Provenance of the results as JSON values."""
    return {
        "config": dict(config),
        "config_digest": history.first.config_digest,
        "seed": history.spec.seed,
        "data": history.first.data,
        "precision": history.precision,
        **_realised(history, config),
        "law_digest": law.digest if law else None,
        "versions": history.first.versions,
        **commit(),
    }


def _realised(history: SweepHistory, config: Mapping[str, Any]) -> dict[str, Any]:
    """{"realised": {trial: {domain: [proportion asked for, realised]}}}, of large differences.

    The sequences of the built-in trainer are known, those of other trainers are not. The result is
    empty if all proportions are close enough.
    """
    if config["trainer"] != "builtin" or history.elsewhere:
        return {}
    realised = {
        name: {domain: [*pair] for domain, pair in off.items()}
        for name, record in history.state.trials.items()
        if (off := badly_realised(record.mixture, record.steps * config["proxy"]["batch"]))
    }
    return {"realised": realised} if realised else {}
