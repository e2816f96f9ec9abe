"""Objective of a sweep: the weighted mean of the targets' losses, or the worst of them. This module
imports no law, because every worker imports it."""

import math
from collections.abc import Mapping

import numpy as np

from bimix_sweep.errors import OptimumError
from bimix_sweep.mixture.goals import PLAIN, Goals
from bimix_sweep.mixture.simplex import Array


def aggregate(weighted: Array, *, worst: bool) -> Array:
    """Combines weighted losses into objectives.

    Args:
        weighted: (..., targets) products of losses and weights. The weights sum to 1, or for
            `worst` are relative to their mean.
        worst: True for the largest product, False for the sum of the products.

    Returns:
        (...,) objectives, in the unit of the losses.
    """
    return np.asarray(weighted.max(axis=-1) if worst else weighted.sum(axis=-1))


def weighted_loss(
    values: Mapping[str, float], weights: Mapping[str, float], objective: str, goals: Goals
) -> float:
    """Computes the objective of one point, which Ray Tune, Optuna and the status page show: the
    weighted mean of the targets' losses; for "worst" the largest product of a loss and its weight
    over the mean weight.

    Args:
        values: {target: value in its own unit}; the target's goal converts the value to a loss.
        weights: {target: weight >= 0}, one above 0; targets of weight 0 do not count.
        objective: "mean" or "worst".
        goals: {target: direction and range} of targets that are not plain losses.

    Returns:
        Objective, in the unit of the losses.
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


def over_references(
    weights: Mapping[str, float] | None, references: Mapping[str, float], goals: Goals
) -> dict[str, float]:
    """Divides weights by the losses of reference values: weights of relative improvement.

    Args:
        weights: {target: weight >= 0} of the relative losses; None: 1 for each reference.
        references: {target: value in its own unit that counts as 1}.
        goals: {target: direction and range} of targets that are not plain losses.

    Raises:
        OptimumError: a target above weight 0 has no reference, or a reference is not possible.
    """
    stated = dict.fromkeys(references, 1.0) if weights is None else weights
    for target, value in references.items():
        goal = goals.get(target, PLAIN)
        if not goal.allows(value):
            raise OptimumError(f"the reference of {target} is {value:g}; need {goal.needed}")
    lacking = [name for name, weight in stated.items() if weight > 0 and name not in references]
    if lacking:
        raise OptimumError(
            f"{lacking[0]} has a weight and no reference; state the reference of every target "
            "above weight 0"
        )
    return {
        name: weight / float(goals.get(name, PLAIN).loss_of(references[name])) if weight else 0.0
        for name, weight in stated.items()
    }


def weights_in_words(weights: Mapping[str, float]) -> str:
    """Says how much each target counts, for a person: `weights of the targets: web 0.8, code 0.2`.

    Targets of weight 0 are left out, and equal weights are said once.
    """
    counted = {target: weight for target, weight in weights.items() if weight > 0}
    total = math.fsum(counted.values())
    if len({f"{weight / total:.6f}" for weight in counted.values()}) == 1:
        others = " above weight 0" if len(counted) < len(weights) else ""
        return f"number of targets{others}: {len(counted)}, each of the same weight"
    shown = ", ".join(f"{target} {weight / total:.3g}" for target, weight in counted.items())
    return f"weights of the targets: {shown}"
