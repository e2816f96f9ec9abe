"""Weighted loss of one point, which Ray Tune, Optuna and the status page show. This module imports
no law, because every worker imports it."""

import math
from collections.abc import Mapping

from bimix_sweep.mixture.goals import PLAIN, Goals


def weighted_loss(
    values: Mapping[str, float], weights: Mapping[str, float], objective: str, goals: Goals
) -> float:
    """Computes the objective that a sweep minimises: the weighted mean of the targets' losses; with
    "worst" the largest product of a loss and its weight over the mean weight.

    Args:
        values: {target: value in its own unit}; the target's goal converts the value to a loss.
    """
    losses: dict[str, float] = {
        target: goals.get(target, PLAIN).loss_of(value) for target, value in values.items()
    }
    counted = {target: weight for target, weight in weights.items() if weight > 0}
    if objective == "worst":
        mean = math.fsum(counted.values()) / len(counted)
        return max(losses[target] * weight / mean for target, weight in counted.items())
    return math.fsum(losses[target] * weight for target, weight in counted.items()) / math.fsum(
        counted.values()
    )
