"""Table of the trials that somebody must train."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from bimix_sweep.design.trial import Proposal
from bimix_sweep.mixture.columns import write_columns
from bimix_sweep.mixture.table_checks import NO_STEP


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialTable:
    """Trials that somebody must train."""

    open: Sequence[Proposal]
    """Trials that were proposed before and are not recorded to their end."""
    new: Sequence[Proposal]
    domains: tuple[str, ...]
    notes: Sequence[str]
    confirmation: bool = False
    """True where all confirmation trials are proposed; results follow when all are recorded."""
    complete: bool = False
    """True where the results are written."""
    lengths: tuple[int, ...]
    """Numbers of optimizer steps that trials may have, rising; NO_STEP alone where not known."""
    sizes: tuple[float, ...] = ()
    """Non-embedding parameters of the proxies, rising; none or one where all have one size."""

    def size_of(self, proposal: Proposal) -> float:
        """Returns the non-embedding parameters of a trial, for a sweep with several sizes."""
        return self.sizes[-1] if proposal.size is None else proposal.size

    @property
    def stated_steps(self) -> bool:
        """Whether the numbers of steps are known."""
        return self.lengths != (NO_STEP,)

    def steps_of(self, proposal: Proposal) -> int:
        """Returns the optimizer steps of a trial."""
        return self.lengths[-1] if proposal.steps is None else proposal.steps

    def write(self, path: str | Path) -> None:
        """Writes the trials as CSV or Parquet, the open ones first.

        Columns: trial, seed, steps (where they are known), size (where the sweep has several
        sizes), r_<domain>, reason.
        """
        proposals = [*self.open, *self.new]
        proportions = np.reshape(
            [proposal.mixture.as_array(self.domains) for proposal in proposals],
            (-1, len(self.domains)),
        )
        columns = {
            "trial": pa.array([proposal.trial for proposal in proposals], pa.string()),
            "seed": pa.array([proposal.seed for proposal in proposals], pa.int64()),
            **(
                {"steps": pa.array([self.steps_of(proposal) for proposal in proposals], pa.int64())}
                if self.stated_steps
                else {}
            ),
            **(
                {"size": pa.array([self.size_of(proposal) for proposal in proposals], pa.float64())}
                if len(self.sizes) > 1
                else {}
            ),
            **{
                f"r_{name}": pa.array(proportions[:, index])
                for index, name in enumerate(self.domains)
            },
            "reason": pa.array([proposal.reason for proposal in proposals], pa.string()),
        }
        write_columns(path, columns)
