"""Computes BiMix as published: a loss depends on the own domain's proportion and on the step.

    L_i(r_i, s) = (A_i / r_i**alpha_i) (B_i / s**beta_i + C_i)

Four of the five coefficients are identifiable: (A, B, C) and (k A, B / k, C / k) predict the same
losses, so A is 1 here. BiMix is the transfer law with the help of every other domain at 0, and is
fitted as such (`fit_law(..., law="bimix")`).

Source: BiMix, arXiv:2405.14908.
"""

from dataclasses import dataclass

import numpy as np

from bimix_sweep.errors import LawError, MixtureError
from bimix_sweep.law.model import columns as col
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.mixture.simplex import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Coefficients:
    """Published coefficients of one target; a scale common to B and C could move to A."""

    b: float
    """B, the part of the loss at r = 1 that falls with the step; 0 where the trials have a single
    step."""
    c: float
    """C, the loss at r = 1 after infinitely many steps (or at the single step)."""
    alpha: float
    """Exponent of the proportion."""
    beta: float
    """Exponent of the step."""
    a: float = 1.0
    """A, 1 by convention."""


def coefficients(law: FittedLaw, target: str) -> Coefficients:
    """Returns BiMix's coefficients of a target at the smallest fitted size.

    Raises:
        LawError: the law lacks the target, or the target follows the transfer law.
    """
    if target not in law.targets:
        raise LawError(f"target {target} is not in the law; it has {', '.join(law.targets)}")
    if law.choice[target] != "bimix":
        raise LawError(
            f"target {target} follows the {law.choice[target]} law, which has no BiMix "
            "coefficients; fit with law='bimix'"
        )
    row = law.params[law.targets.index(target)]
    alpha, beta = float(np.exp(row[col.SLOPE])), float(np.exp(row[col.STEP_POWER]))
    size = 0.0 if law.sizes is None else float(np.log(law.sizes[0] / law.conditioned.reference[1]))
    scale = float(np.exp(row[col.LEVEL] + alpha * row[col.PIVOT]))
    constant = scale * (1 + float(np.exp(row[col.SIZE_SCALE] - np.exp(row[col.SIZE_POWER]) * size)))
    if row[col.STEP_SCALE] <= col.OFF:
        return Coefficients(b=0.0, c=constant, alpha=alpha, beta=beta)
    falling = (
        scale
        * float(np.exp(row[col.STEP_SCALE] + row[col.STEP_SIZE] * size))
        * law.conditioned.reference[0] ** beta
    )
    return Coefficients(b=falling, c=constant, alpha=alpha, beta=beta)


def predict(values: Coefficients, proportions: Array, steps: Array) -> Array:
    """Predicts (n,) losses at (n,) proportions of the own domain and (n,) steps.

    Raises:
        MixtureError: a proportion is not positive; the law is infinite at 0.
    """
    if (bad := np.flatnonzero(~(proportions > 0))).size:
        raise MixtureError(
            f"mixture {bad[0]} gives the own domain proportion {proportions[bad[0]]:g}; need > 0, "
            "BiMix is infinite at 0"
        )
    return np.asarray(
        values.a * proportions**-values.alpha * (values.b * steps**-values.beta + values.c)
    )
