"""Notes for a person about a loss table: columns that are not used, and rows that repeat others."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from bimix_sweep.mixture.simplex import Array

USED_NAMES = frozenset({"trial", "step", "size", "seed"})
"""Columns with a meaning of their own."""
KNOWN_NAMES = frozenset({"steps", "reason"})
"""Columns that `propose` writes for a person and that a user sends back with the losses."""
KNOWN_PREFIXES = ("r_", "loss_", "sd_", "epochs_")
"""Prefixes of the columns for proportions, losses, standard deviations and passes."""


def _is_numeric(column: pa.Array) -> bool:
    try:
        numbers = [float(value) for value in column.to_pylist() if value is not None]
    except (TypeError, ValueError):
        return False
    return bool(numbers)


def _is_known(name: str) -> bool:
    return name in USED_NAMES | KNOWN_NAMES or name.startswith(KNOWN_PREFIXES)


def _mended(name: str) -> str:
    """Suggests a name for a column: `size` for `Size`, `r_web` for `R_web`, `loss_web` for
    `web_loss`."""
    if name.lower() in USED_NAMES:
        return name.lower()
    if name[:2].lower() == "r_":
        return f"r_{name[2:]}"
    plain = re.sub(r"^loss[\W_]|[\W_]loss$", "", name, flags=re.IGNORECASE)
    return f"loss_{plain}"


def unused(path: str | Path, columns: Mapping[str, pa.Array]) -> tuple[str, ...]:
    """Returns a note that names the columns that are not used, with the names to give to those that
    may be losses."""
    names = [name for name in columns if not _is_known(name)]
    if not names:
        return ()
    note = f"{path}: not used: {', '.join(names[:20])}{' ...' if len(names) > 20 else ''}"
    misspelt = [
        name
        for name in names
        if name.lower() in USED_NAMES or name.lower().startswith(("r_", "loss_"))
    ]
    targets = [name for name in names if name not in misspelt and _is_numeric(columns[name])][:8]
    if misspelt:
        note += f"; write {', '.join(map(_mended, misspelt[:8]))} for {', '.join(misspelt[:8])}"
    if targets:
        note += (
            f"; if {', '.join(targets)} {'is a target' if len(targets) == 1 else 'are targets'}, "
            f"write {', '.join(map(_mended, targets))}"
        )
    return (note,)


def repeated(
    path: str | Path,
    trials: Sequence[str],
    steps: Array,
    sizes: Array,
    seeds: Array,
    proportions: Array,
    losses: Array,
) -> tuple[str, ...]:
    """Returns a note on rows of different trials that are equal in every measured number: probably
    one run entered twice."""
    content = np.column_stack([steps, sizes, seeds, proportions, losses])
    first: dict[bytes, int] = {}
    again = [
        (first[key], row)
        for row, key in enumerate(row.tobytes() for row in content)
        if first.setdefault(key, row) != row and not np.isnan(losses[row]).all()
    ]
    if not again:
        return ()
    one, other = again[0]
    return (
        f"{path}: {len(again)} row{'s repeat others' if len(again) > 1 else ' repeats another'} in "
        f"mixture, step and every loss, such as row {other + 1} (trial {trials[other]}) row "
        f"{one + 1} (trial {trials[one]}); each counts as a run of its own, so leave out copies",
    )
