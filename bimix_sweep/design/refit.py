"""Refit of a sweep: the law of the points so far, its predicted optimum, and whether to stop."""

import math
from dataclasses import dataclass

from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.design.stopping import Decision
from bimix_sweep.law.optimum.optimal_mixture import Optimum, optimum_in
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.mixture.simplex import total_variation
from bimix_sweep.seeding import rng


@dataclass(frozen=True, slots=True, kw_only=True)
class Refit:
    """Result of one fit to the points recorded so far."""

    num_points: int
    """Number of points recorded."""
    num_trials: int
    """Number of trials with at least one of these points."""
    law: FittedLaw | None
    """The fitted law; None where the points determine none, and in every refit but the last,
    because laws are large."""
    optimum: Optimum | None
    """Predicted optimum of the law; None without a law."""
    decision: Decision
    """Whether to stop."""
    seconds: float
    """Wall time of the refit, seconds."""


def optimum_of(spec: SweepSpec, law: FittedLaw, num_points: int) -> Optimum:
    """Finds the predicted optimum of a law fitted to `num_points` points, for the sweep's objective
    and target fidelity."""
    return optimum_in(
        spec.decision_problem(law),
        spec.domains.names,
        generator=rng(spec.seed, "optimum", num_points),
    )


def known_regret(optimum: Optimum | None, before: Refit | None) -> dict[str, float]:
    """Returns the values that `StoppingRule.judge` takes of an optimum, as keyword arguments.

    Args:
        optimum: predicted optimum; None while there is no law.
        before: refit before this one; None where this one is the first.

    Returns:
        `regret_expected` and `regret_upper95`, fractions of the optimum's loss, each only where it
        is finite (a value that overflowed is not known); and `movement_tv`, in [0, 1], where both
        refits have an optimum. Empty without an optimum.
    """
    if optimum is None:
        return {}
    regret = {
        "regret_expected": optimum.regret.expected,
        "regret_upper95": optimum.regret.upper95,
    }
    known = {name: value for name, value in regret.items() if math.isfinite(value)}
    if before and before.optimum:
        known["movement_tv"] = total_variation(
            optimum.mixture.as_array(), before.optimum.mixture.as_array()
        )
    return known
