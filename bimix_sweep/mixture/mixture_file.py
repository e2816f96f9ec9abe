"""Mixture files: mixtures to predict or to train, as CSV or Parquet with `r_<domain>` columns."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from bimix_sweep.errors import TableError
from bimix_sweep.mixture.column_parsing import hint_for_proportions, numbers, proportions
from bimix_sweep.mixture.columns import read_columns
from bimix_sweep.mixture.domains import check_names
from bimix_sweep.mixture.simplex import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class MixtureFile:
    """Mixtures to predict or to train, with every column of their file."""

    domains: tuple[str, ...]
    """Names of the domains, one for each column of `proportions`."""
    proportions: Array
    """(rows, domains), rows sum to 1."""
    steps: Array
    """(rows,) optimizer steps, NaN where not given."""
    sizes: Array
    """(rows,) non-embedding parameters, NaN where not given."""
    columns: Mapping[str, pa.Array]
    """Every column as read, in the order of the file."""
    notes: tuple[str, ...] = ()
    """Notes for a person: what reading changed."""

    @classmethod
    def read(cls, path: str | Path) -> "MixtureFile":
        """Reads a CSV or Parquet file with `r_<domain>` columns.

        Raises:
            TableError: the file is missing, has no mixture, or has a row that does not sum to 1
                within 0.02.
        """
        columns = read_columns(path)
        domains = tuple(name[2:] for name in columns if name.startswith("r_"))
        if not domains:
            raise TableError(
                f"{path}: no r_<domain> column; need at least one{hint_for_proportions(columns)}"
            )
        check_names(domains)
        rows, notes = proportions(path, columns, domains)
        if not len(rows):
            raise TableError(f"{path}: no rows; need at least one mixture")
        return cls(
            domains=domains,
            proportions=rows,
            columns=columns,
            notes=notes,
            steps=numbers(path, columns, "step", minimum=0, open_end=True, optional=True),
            sizes=numbers(path, columns, "size", minimum=0, open_end=True, optional=True),
        )
