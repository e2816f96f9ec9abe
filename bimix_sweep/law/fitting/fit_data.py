"""Holds the log losses to which a batch of laws is fitted."""

from dataclasses import dataclass, replace

import numpy as np

from bimix_sweep.law.fitting.repeat_noise import RepeatNoise, repeat_noise
from bimix_sweep.law.model.law_inputs import LawInputs
from bimix_sweep.law.model.observations import Index, Trials
from bimix_sweep.mixture.simplex import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class FitData:
    """Log losses of a batch of problems; a problem is one law to be fitted to one target."""

    trials: Trials
    """Trials, the same for all problems."""
    inputs: LawInputs
    """Inputs of the law for the trials."""
    y: Array
    """(problems, rows) log losses, 0 where not measured."""
    weight: Array
    """(problems, rows) 1 where the row counts, else 0."""
    repeat_noise: RepeatNoise | None = None
    """Factors on the noise of the trials; None where all have the same noise."""

    def standardised(self, values: Array) -> Array:
        """Divides (problems, rows) residuals by the root of the factors that the fit uses."""
        if self.repeat_noise is None:
            return values
        return values / np.sqrt(self.repeat_noise.of_fit[self.trials.trial])

    @classmethod
    def of_targets(cls, trials: Trials, inputs: LawInputs, y: Array, target: Index) -> "FitData":
        """Makes the data of some problems.

        Args:
            y: (targets, rows) log losses.
            target: (problems,) target of each problem.
        """
        return cls(
            trials=trials,
            inputs=inputs,
            y=y[target],
            weight=trials.present.astype(np.float64)[target],
            repeat_noise=repeat_noise(trials, y),
        )

    def of(self, problems: Index) -> "FitData":
        """Returns the data of some of the problems."""
        return replace(self, y=self.y[problems], weight=self.weight[problems])
