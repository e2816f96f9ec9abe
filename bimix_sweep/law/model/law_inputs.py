"""Computes the inputs of the parametric law: logarithms of proportions, steps and sizes."""

from dataclasses import dataclass

import numpy as np

from bimix_sweep.law.model.observations import LOG_ZERO, Index, Trials
from bimix_sweep.law.model.repetition import R_STAR, worth
from bimix_sweep.mixture.simplex import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class LawInputs:
    """Inputs of the parametric law, computed once a fit."""

    log_proportions: Array
    """(mixtures, domains), LOG_ZERO where the proportion is 0; effective proportions where a run
    repeats domains (`law.model.repetition`)."""
    mixture: Index
    """(rows,) index of each row's mixture."""
    log_step: Array
    """(stages,) log(s / s0)."""
    log_size: Array
    """(stages,) log(N / N0), 0 where sizes are not given."""
    stage: Index
    """(rows,) index of each row's stage."""
    by_row: bool = False
    """Whether every row of some trials has a mixture of its own: what repetition leaves of a
    proportion falls along a trial."""
    slopes: Array | None = None
    """(mixtures, domains) derivatives of the effective proportions by the proportions; None where
    both are the same."""

    @classmethod
    def of_trials(
        cls, trials: Trials, reference_step: float, reference_size: float, r_star: float = R_STAR
    ) -> "LawInputs":
        """Makes the inputs of a set of trials, with one mixture entry for each trial, or for each
        row where a trial repeats a domain.

        Args:
            r_star: R* of `law.model.repetition`.
        """
        log_r, mixture = log_proportions(trials.proportions), trials.trial
        if trials.repeats and trials.epochs is not None:
            log_r = log_r[mixture] + np.log(worth(trials.epochs, r_star))
            mixture = np.arange(len(mixture))
        return cls(
            log_proportions=log_r,
            mixture=mixture,
            by_row=trials.repeats,
            stage=trials.stage,
            log_step=np.log(trials.steps / reference_step),
            log_size=np.nan_to_num(np.log(trials.sizes / reference_size), nan=0.0),
        )

    @property
    def mixture_log_size(self) -> Array:
        """(mixtures,) log(N / N0) of each trial; a trial has one size."""
        out = np.zeros(len(self.log_proportions))
        out[self.mixture] = self.log_size[self.stage]
        return out


def log_proportions(proportions: Array) -> Array:
    """Computes log r, with LOG_ZERO where r is 0."""
    return np.where(proportions > 0, np.log(np.where(proportions > 0, proportions, 1.0)), LOG_ZERO)
