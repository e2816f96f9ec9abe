"""Trainings that somebody must run, told by a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from bimix_sweep.design.trial import Proposal
from bimix_sweep.mixture.table import write_columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Trainings that somebody must run."""

    open: Sequence[Proposal]
    """Proposed before and not recorded to their end."""
    new: Sequence[Proposal]
    domains: tuple[str, ...]
    notes: Sequence[str]
    finals: bool = False
    """The last final training was handed out: when all are recorded the sweep has its results."""
    complete: bool = False
    """The results are written."""
    lengths: tuple[int, ...]
    """Numbers of steps of trainings, rising."""
    sizes: tuple[float, ...] = ()
    """Of the proxies, rising; none or one where all have one."""

    def size_of(self, proposal: Proposal) -> float:
        """Non-embedding parameters to train; of a sweep with several sizes."""
        return self.sizes[-1] if proposal.size is None else proposal.size

    def steps_of(self, proposal: Proposal) -> int:
        """Optimizer steps to train for."""
        return self.lengths[-1] if proposal.steps is None else proposal.steps

    def write(self, path: str | Path) -> None:
        """As CSV or Parquet: trial, seed, steps, where the sweep has several size, r_<domain>, reason; the open ones first."""
        proposals = [*self.open, *self.new]
        shares = np.reshape(
            [proposal.mixture.as_array(self.domains) for proposal in proposals],
            (-1, len(self.domains)),
        )
        columns = {
            "trial": pa.array([proposal.trial for proposal in proposals], pa.string()),
            "seed": pa.array([proposal.seed for proposal in proposals], pa.int64()),
            "steps": pa.array([self.steps_of(proposal) for proposal in proposals], pa.int64()),
            **(
                {"size": pa.array([self.size_of(proposal) for proposal in proposals], pa.float64())}
                if len(self.sizes) > 1
                else {}
            ),
            **{f"r_{name}": pa.array(shares[:, index]) for index, name in enumerate(self.domains)},
            "reason": pa.array([proposal.reason for proposal in proposals], pa.string()),
        }
        write_columns(path, columns)
