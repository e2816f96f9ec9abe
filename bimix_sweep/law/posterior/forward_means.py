"""Means over the targets of the forward validations that a law keeps, for people to read."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import mean
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardMeans:
    """One forward validation: what a fit up to some step or size predicted beyond it."""

    axis: str
    """"step" or "size"."""
    fitted: float
    """Largest step or size of the fit."""
    predicted: float
    """Step or size of the predictions."""
    error: float
    """Mean over the targets of the mean absolute error of log loss."""
    bias: float
    """Mean over the targets of the mean error of log loss; above 0 the predictions are too high."""


def forward_means(cross_validation: Mapping[str, Any]) -> list[ForwardMeans]:
    """Returns the means of each forward validation in `FittedLaw.cross_validation`.

    Validations in which no target was measured are left out.
    """
    return [
        ForwardMeans(
            axis=one["axis"],
            fitted=one["fitted"],
            predicted=one["predicted"],
            error=mean(one["error"].values()),
            bias=mean(one["bias"].values()),
        )
        for one in cross_validation.get("forward", ())
        if one["error"]
    ]
