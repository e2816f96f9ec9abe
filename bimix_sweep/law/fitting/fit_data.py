"""Holds the log losses to which a batch of laws is fitted."""

from dataclasses import dataclass, replace

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

    def of(self, problems: Index) -> "FitData":
        """Returns the data of some of the problems."""
        return replace(self, y=self.y[problems], weight=self.weight[problems])
