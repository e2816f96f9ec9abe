"""The number that Tune, Optuna and a person see of a point; it loads nothing else, because every worker needs it."""

import math
from collections.abc import Mapping


def weighted_loss(
    losses: Mapping[str, float], weights: Mapping[str, float], objective: str
) -> float:
    """What is minimised: the weighted mean of the targets' losses, or with "worst" the largest, each times its weight over their mean."""
    counted = {target: weight for target, weight in weights.items() if weight > 0}
    if objective == "worst":
        mean = math.fsum(counted.values()) / len(counted)
        return max(losses[target] * weight / mean for target, weight in counted.items())
    return math.fsum(losses[target] * weight for target, weight in counted.items()) / math.fsum(
        counted.values()
    )
