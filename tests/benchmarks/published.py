"""The published runs as loss tables (read from beside the checkout; nothing of them is in the project)."""

import csv
from pathlib import Path

import numpy as np

from bimix_sweep.mixture.table import LossTable
from tests.benchmarks.recording import shared

PARAMETERS = {"1m": 1e6, "60m": 6e7, "70M": 18.9e6, "160M": 85.1e6, "305M": 201.5e6}
"""Sizes of the runs; non-embedding parameters for the curves."""
CURVE_STEPS = (10_000, 30_000)
"""Checkpoints that all curves of a size share; one run of each went on to 100000."""
OWN = {
    "Github": "github",
    "ArXiv": "arxiv",
    "Books3": "books",
    "Wikipedia_en": "wikipedia",
    "StackExchange": "stackexchange",
    "Pile-CC": "common_crawl",
}
"""Targets of the curves with a training domain of their own."""


def _by_index(path: Path) -> tuple[list[str], dict[str, list[float]]]:
    with path.open() as stream:
        header, *rows = csv.reader(stream)
    return header[1:], {row[0]: [float(v) for v in row[1:]] for row in rows}


def swarm(part: str, size: str, *, with_size: bool = False) -> LossTable:
    """`regmix/`: 17 domains, 13 targets, losses at the end of training; part "train" or "test", size "1m" or "60m"."""
    columns, mixtures = _by_index(shared("regmix", f"{part}_mixture_{size}.csv"))
    metrics, losses = _by_index(shared("regmix", f"{part}_pile_loss_{size}.csv"))
    index = [i for i in mixtures if i in losses]
    r = np.array([mixtures[i] for i in index])
    return LossTable(
        domains=tuple(c.removeprefix("train_the_pile_") for c in columns),
        targets=tuple(
            m.removeprefix("metric/the_pile_").removesuffix("_val_loss") for m in metrics
        ),
        trials=tuple(f"{size}-{part}-{i}" for i in index),
        steps=np.full(len(index), 1000.0),
        sizes=np.full(len(index), PARAMETERS[size] if with_size else np.nan),
        seeds=np.full(len(index), np.nan),
        proportions=r / r.sum(axis=1, keepdims=True),
        losses=np.array([losses[i] for i in index]),
    )


def curves(size: str, *, with_size: bool = False) -> LossTable:
    """`mixinglaws/`: 7 domains, 22 targets, checkpoints of one size within CURVE_STEPS."""
    table = LossTable.read(shared("mixinglaws", f"redpajama_{size}.csv"))
    table = table.select((table.steps >= CURVE_STEPS[0]) & (table.steps <= CURVE_STEPS[1]))
    return changed(table, sizes=np.full(len(table), PARAMETERS[size])) if with_size else table


def changed(table: LossTable, **fields: object) -> LossTable:
    """The table with some fields replaced."""
    names = ("domains", "targets", "trials", "steps", "sizes", "seeds", "proportions", "losses")
    return LossTable(**{**{name: getattr(table, name) for name in names}, **fields})


def stacked(*tables: LossTable) -> LossTable:
    """Rows of tables with the same domains and targets; trials get the table's number in front."""
    arrays = {
        name: np.concatenate([getattr(t, name) for t in tables])
        for name in ("steps", "sizes", "seeds", "proportions", "losses")
    }
    trials = tuple(
        f"{number}/{trial}" for number, table in enumerate(tables) for trial in table.trials
    )
    return LossTable(domains=tables[0].domains, targets=tables[0].targets, trials=trials, **arrays)


def mixture_ids(table: LossTable) -> np.ndarray:
    """(rows,) int: rows of equal proportions have the same number, in order of appearance."""
    number: dict[bytes, int] = {}
    rounded = np.round(table.proportions, 9) + 0.0
    return np.array(
        [number.setdefault(row.tobytes(), len(number)) for row in rounded], dtype=np.int64
    )
