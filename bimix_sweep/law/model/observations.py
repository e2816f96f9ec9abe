"""Regroups a loss table for fitting: trials, stages (step and size pairs) and log losses."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from bimix_sweep.errors import LawError
from bimix_sweep.mixture.goals import PLAIN, first_refused, hint, losses_of
from bimix_sweep.mixture.simplex import Array
from bimix_sweep.mixture.table import LossTable

Index = npt.NDArray[np.int64]
"""Array of indices, int64."""

LOG_ZERO = -690.0
"""Logarithm used for a proportion of 0: its power is below 1e-59 for every curvature >= 0.2 that
the law may take."""


@dataclass(frozen=True, kw_only=True)
class Trials:
    """Trials and the stages at which each was measured; rows are grouped by trial.

    One trial here is one trial name, size and seed of the table.
    """

    proportions: Array
    """(trials, domains) mixture of each trial."""
    steps: Array
    """(stages,) optimizer steps of the distinct (step, size) pairs."""
    sizes: Array
    """(stages,) non-embedding parameters, NaN where the table gives none."""
    trial: Index
    """(rows,) index of each row's trial, rising."""
    stage: Index
    """(rows,) index of each row's stage."""
    present: npt.NDArray[np.bool_]
    """(targets, rows) True where the target was measured."""
    epochs: Array | None = None
    """(rows, domains) passes over each domain up to the row; None where they are not known, and
    then no trial is taken to repeat a domain."""

    @cached_property
    def repeats(self) -> bool:
        """Whether a trial passes over a domain that it trains on more than once."""
        return self.epochs is not None and bool(
            ((self.epochs > 1) & (self.proportions[self.trial] > 0)).any()
        )

    @cached_property
    def starts(self) -> Index:
        """(trials,) first row of each trial."""
        return np.searchsorted(self.trial, np.arange(len(self.proportions)))

    @cached_property
    def even(self) -> int:
        """Number of rows of every trial, 0 where trials have different numbers of rows."""
        counts = np.diff(np.append(self.starts, len(self.trial)))
        return int(counts[0]) if (counts == counts[0]).all() else 0

    @cached_property
    def mixture(self) -> Index:
        """(trials,) mixture number of each trial; equal mixtures have one number."""
        number: dict[bytes, int] = {}
        rounded = np.round(self.proportions, 9) + 0.0
        return np.array(
            [number.setdefault(row.tobytes(), len(number)) for row in rounded], dtype=np.int64
        )

    def sums(self, values: Array) -> Array:
        """Sums (..., rows) values over the rows of each trial: (..., trials)."""
        if len(self.trial) == len(self.proportions):
            return values
        if self.even:
            total: Array = values.reshape(*values.shape[:-1], -1, self.even) @ np.ones(self.even)
            return total
        return np.add.reduceat(values, self.starts, axis=-1)

    def rows(self, keep: npt.NDArray[np.bool_]) -> "Trials":
        """Returns the trials with some of their rows; trials without a row are left out.

        Args:
            keep: (rows,) True for the rows that stay.
        """
        trials, trial = np.unique(self.trial[keep], return_inverse=True)
        stages, stage = np.unique(self.stage[keep], return_inverse=True)
        return Trials(
            proportions=self.proportions[trials],
            steps=self.steps[stages],
            sizes=self.sizes[stages],
            trial=trial,
            stage=stage,
            present=self.present[:, keep],
            epochs=None if self.epochs is None else self.epochs[keep],
        )

    def to_json(self) -> dict[str, Any]:
        """Returns plain lists; floats survive exactly."""
        return {
            "proportions": self.proportions.tolist(),
            "stages": [
                [float(s), None if np.isnan(n) else float(n)]
                for s, n in zip(self.steps, self.sizes, strict=True)
            ],
            "points": [part.tolist() for part in np.split(self.stage, self.starts[1:])],
            "missing": np.argwhere(~self.present).tolist(),
        } | ({} if self.epochs is None else {"epochs": self.epochs.tolist()})

    @classmethod
    def from_json(cls, data: dict[str, Any], num_targets: int, num_domains: int) -> "Trials":
        """Reads what `to_json` gave.

        Raises:
            KeyError, TypeError, ValueError: the data are damaged; the caller turns these into its
                own message.
        """
        stages = data["stages"]
        points = [np.array(p, dtype=np.int64) for p in data["points"]]
        trials = cls(
            proportions=np.array(data["proportions"], dtype=np.float64).reshape(
                len(points), num_domains
            ),
            steps=np.array([float(s) for s, _ in stages]),
            sizes=np.array([np.nan if n is None else float(n) for _, n in stages]),
            trial=np.repeat(np.arange(len(points)), [len(p) for p in points]),
            stage=np.concatenate(points),
            present=np.ones((num_targets, sum(map(len, points))), dtype=bool),
            epochs=np.array(data["epochs"], dtype=np.float64).reshape(-1, num_domains)
            if "epochs" in data
            else None,
        )
        if trials.epochs is not None and not (
            len(trials.epochs) == len(trials.trial)
            and np.isfinite(trials.epochs).all()
            and (trials.epochs >= 0).all()
        ):
            raise ValueError("epochs must be finite numbers >= 0, one for each point and domain")
        if (
            not all(len(p) for p in points)
            or trials.stage.min() < 0
            or trials.stage.max() >= len(stages)
        ):
            raise ValueError("points name stages that are not there")
        if not (
            np.isfinite(trials.proportions).all()
            and (trials.proportions >= 0).all()
            and (trials.steps > 0).all()
        ):
            raise ValueError("proportions and steps must be finite numbers >= 0")
        for target, row in data["missing"]:
            trials.present[int(target), int(row)] = False
        return trials


def gather(table: LossTable, min_step: float | None) -> tuple[Trials, Array, tuple[str, ...]]:
    """Regroups the usable rows of a table by trial.

    Args:
        table: loss table.
        min_step: rows before this step (warm-up) are left out; None keeps all rows.

    Returns:
        the trials as `Trials`, (targets, rows) log losses (0 where not measured), and notes on the
        rows left out.

    Raises:
        LawError: no row is left, or a value is not usable.
    """
    keep: npt.NDArray[np.bool_] = np.asarray(np.isfinite(table.losses).any(axis=1))
    notes = []
    if min_step is not None:
        early = table.steps < min_step
        if (early & keep).any():
            notes.append(
                f"{int((early & keep).sum())} of {len(table)} rows are before step {min_step:g} "
                "and were left out"
            )
        keep = np.asarray(keep & ~early)
    if not keep.any():
        before = f" from step {min_step:g} on" if min_step is not None else ""
        raise LawError(
            f"the table has no measured loss{before}; need at least 2 different mixtures"
        )
    _check(table, keep)
    rows = np.flatnonzero(keep)
    ids = _trial_numbers(table, rows)
    order = np.lexsort((table.steps[rows], ids))
    trial, rows = ids[order], rows[order]
    steps, sizes, stage = stages_of(table.steps[rows], table.sizes[rows])
    starts = np.searchsorted(trial, np.arange(trial[-1] + 1))
    losses = losses_of(table.goals, table.targets, table.losses[rows]).T
    present = np.isfinite(losses)
    trials = Trials(
        proportions=table.proportions[rows][starts],
        steps=steps,
        sizes=sizes,
        trial=trial,
        stage=stage,
        present=present,
        epochs=None if table.epochs is None else table.epochs[rows],
    )
    has_size = ~np.isnan(trials.sizes)
    if has_size.any() and not has_size.all():
        raise LawError("some rows have a size and some have none; need it in all rows or in none")
    return trials, np.log(np.where(present, losses, 1.0)), tuple(notes)


def stages_of(steps: Array, sizes: Array) -> tuple[Array, Array, Index]:
    """Finds the distinct (step, size) pairs of (rows,) steps and sizes.

    Returns:
        (stages,) steps and (stages,) sizes, rising, and (rows,) the stage of each row.
    """
    stages, stage = np.unique(
        np.stack([steps, np.nan_to_num(sizes, nan=-1.0)], axis=1), axis=0, return_inverse=True
    )
    return (
        stages[:, 0],
        np.where(stages[:, 1] < 0, np.nan, stages[:, 1]),
        stage.reshape(-1).astype(np.int64),
    )


def _trial_numbers(table: LossTable, rows: Index) -> Index:
    """(rows,) trial number of each row: rows of one trial have the same trial name, size and seed.

    Numbers follow the order of first appearance.
    """
    number: dict[str, int] = {}
    trial = np.array([number.setdefault(table.trials[row], len(number)) for row in rows.tolist()])
    size = np.unique(np.nan_to_num(table.sizes[rows], nan=-1.0), return_inverse=True)[1]
    seed = np.unique(np.nan_to_num(table.seeds[rows], nan=-1.0), return_inverse=True)[1]
    _, first, inverse = np.unique(
        (trial * (size.max() + 1) + size) * (seed.max() + 1) + seed,
        return_index=True,
        return_inverse=True,
    )
    return np.asarray(np.argsort(np.argsort(first))[inverse], dtype=np.int64)


def _check(table: LossTable, keep: npt.NDArray[np.bool_]) -> None:
    """Checks a table's values: a table built in Python did not pass the reader's checks.

    Raises:
        LawError: a loss, a proportion or a step is not usable.
    """
    used = np.where(keep[:, None], table.losses, np.nan)
    if (bad := first_refused(table.goals, table.targets, used)) is not None:
        row, target = bad
        name = table.targets[target]
        raise LawError(
            f"trial {table.trials[row]} has loss {used[row, target]:g} of {name} at step "
            f"{table.steps[row]:g}; need {table.goals.get(name, PLAIN).needed}, or NaN where not "
            "measured" + hint(table.goals, name, used[row, target])
        )
    r = table.proportions[keep]
    if not (np.isfinite(r).all() and (r >= 0).all() and np.abs(r.sum(axis=1) - 1).max() < 1e-3):
        row = np.flatnonzero(keep)[
            ~(
                np.isfinite(r).all(axis=1)
                & (r >= 0).all(axis=1)
                & (np.abs(r.sum(axis=1) - 1) < 1e-3)
            )
        ][0]
        raise LawError(
            f"trial {table.trials[row]} has proportions {table.proportions[row].tolist()}; need "
            "numbers >= 0 that sum to 1"
        )
    if not (np.isfinite(table.steps[keep]).all() and (table.steps[keep] > 0).all()):
        raise LawError("a step is not a number > 0; need optimizer steps")
    passes = table.epochs
    if passes is not None and not (
        passes.shape == table.proportions.shape and (np.isfinite(passes) & (passes >= 0)).all()
    ):
        raise LawError(
            f"epochs of the table have shape {passes.shape}, or one is no number >= 0; need the "
            f"passes of {len(table)} rows over {len(table.domains)} domains"
        )
