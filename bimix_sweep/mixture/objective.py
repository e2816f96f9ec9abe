"""The number that Tune, Optuna and a person see of a point; it loads no law, because every worker needs it."""

import math
from collections.abc import Mapping

from bimix_sweep.mixture.goals import PLAIN, Goals


def weighted_loss(
    values: Mapping[str, float], weights: Mapping[str, float], objective: str, goals: Goals
) -> float:
    """What is minimised: the weighted mean of the targets' losses, or with "worst" the largest, each times its weight over their mean.

    Args:
        values: {target: value in its own unit}; its goal says which loss that is.
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
