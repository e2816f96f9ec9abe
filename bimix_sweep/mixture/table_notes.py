"""What a person is told of a loss table: columns that nothing reads, and rows that repeat others."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from bimix_sweep.mixture.simplex import Array

USED_NAMES = frozenset({"trial", "step", "size", "seed"})
"""Columns with a meaning of their own."""
KNOWN_NAMES = frozenset({"steps", "reason"})
"""Columns that `propose` writes for a person, which come back with the losses."""
KNOWN_PREFIXES = ("r_", "loss_", "sd_")


def _is_numeric(column: pa.Array) -> bool:
    try:
        numbers = [float(value) for value in column.to_pylist() if value is not None]
    except (TypeError, ValueError):
        return False
    return bool(numbers)


def _is_known(name: str) -> bool:
    return name in USED_NAMES | KNOWN_NAMES or name.startswith(KNOWN_PREFIXES)


def _mended(name: str) -> str:
    """What a column is to be called: `Size` as size, `R_web` as r_web, `web_loss` as loss_web."""
    if name.lower() in USED_NAMES:
        return name.lower()
    if name[:2].lower() == "r_":
        return f"r_{name[2:]}"
    plain = re.sub(r"^loss[\W_]|[\W_]loss$", "", name, flags=re.IGNORECASE)
    return f"loss_{plain}"


def unused(path: str | Path, columns: Mapping[str, pa.Array]) -> tuple[str, ...]:
    """A note that names the columns that nothing reads, and what to call those that may be losses."""
    names = [name for name in columns if not _is_known(name)]
    if not names:
        return ()
    said = f"{path}: not used: {', '.join(names[:20])}{' ...' if len(names) > 20 else ''}"
    misspelt = [
        name
        for name in names
        if name.lower() in USED_NAMES or name.lower().startswith(("r_", "loss_"))
    ]
    targets = [name for name in names if name not in misspelt and _is_numeric(columns[name])][:8]
    if misspelt:
        said += f"; write {', '.join(map(_mended, misspelt[:8]))} for {', '.join(misspelt[:8])}"
    if targets:
        said += (
            f"; if {', '.join(targets)} {'is a target' if len(targets) == 1 else 'are targets'}, write "
            f"{', '.join(map(_mended, targets))}"
        )
    return (said,)


def repeated(
    path: str | Path,
    trials: Sequence[str],
    steps: Array,
    sizes: Array,
    seeds: Array,
    proportions: Array,
    losses: Array,
) -> tuple[str, ...]:
    """A note on rows of other trials that are equal in everything measured: one run told twice."""
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
        f"mixture, step and every loss, such as row {other + 1} (trial {trials[other]}) row {one + 1} "
        f"(trial {trials[one]}); each counts as a run of its own, so leave out copies",
    )
