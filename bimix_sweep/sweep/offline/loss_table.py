"""Reads a table of losses from trials trained elsewhere, and checks it against the journal."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.design.trial import TrialRecord
from bimix_sweep.errors import TableError
from bimix_sweep.mixture.columns import read_columns
from bimix_sweep.mixture.goals import Goals
from bimix_sweep.mixture.simplex import Array
from bimix_sweep.mixture.table import LossTable
from bimix_sweep.sweep.history.history import SweepHistory

MAX_DIFFERENCE = 1e-3
"""Largest difference between recorded and proposed proportions, and largest relative difference of
sizes; proportions may be rounded to three decimals.
"""


def read_returned(
    path: str | Path, targets: Sequence[str], goals: Goals
) -> tuple[LossTable, dict[str, int]]:
    """Reads the table of losses, and {trial: row} of the trials that the table marks as failed.

    A loss of nan or plus infinity marks a trial as failed; the field is empty in the returned
    table. Columns of losses that are no targets of the sweep are left out, and the table's notes
    name them.

    Raises:
        TableError: the table lacks the column of a target, or cannot be read.
    """
    columns = read_columns(path)
    others = [name for name in columns if name.startswith("loss_") and name[5:] not in targets]
    if missing := [target for target in targets if f"loss_{target}" not in columns]:
        raise TableError(
            f"{path}: no column loss_{missing[0]}; the sweep's targets are {', '.join(targets)}"
        )
    for name in others:
        del columns[name]
    failed: dict[str, int] = {}
    trials = columns["trial"].to_pylist() if "trial" in columns else []
    for name in [name for name in columns if name.startswith("loss_")]:
        values = columns[name].to_pylist()
        for row, value in enumerate(values):
            if value is not None and str(value).strip().lower() in (
                "nan",
                "inf",
                "+inf",
                "infinity",
            ):
                values[row] = None
                if row < len(trials) and trials[row] is not None:
                    failed.setdefault(str(trials[row]), row)
        columns[name] = pa.array(values, columns[name].type)
    table = LossTable.from_columns(path, columns, goals)
    if others:
        note = f"{path}: not used, no targets of the sweep: {', '.join(others[:20])}"
        table = replace(table, notes=(*table.notes, note))
    return table, failed


def check_returned(
    path: str | Path, table: LossTable, failed: Mapping[str, int], history: SweepHistory
) -> None:
    """Refuses rows that do not agree with what was proposed and recorded.

    Raises:
        TableError: a row does not agree; the message gives the number of the first one.
    """
    records = history.state.trials
    rows: dict[tuple[str, float], int] = {}
    for row, trial in enumerate(table.trials):
        where = f"{path}: row {row + 1}"
        if (first := rows.setdefault((trial, float(table.steps[row])), row)) != row:
            raise TableError(
                f"{where} is trial {trial} at step {table.steps[row]:g}, as row {first + 1} is; "
                "need one of them"
            )
        if trial not in records:
            raise TableError(
                f"{where} is trial {trial}, which this sweep has not proposed; open are "
                f"{', '.join(history.running()[:8]) or 'none'}"
            )
        record = records[trial]
        _check_proposed(where, table, row, record, history.spec)
        if record.state == "finished" and trial in failed:
            raise TableError(
                f"{path}: row {failed[trial] + 1} has nan for trial {trial}, which is recorded as "
                "finished; leave it out"
            )
        if trial not in failed:
            if record.cause == "changed":
                raise TableError(
                    f"{where} has losses for trial {trial}, which does not count any more: "
                    f"{record.failure}; leave it out"
                )
            losses = dict(zip(table.targets, table.losses[row].tolist(), strict=True))
            _check_losses(where, record, int(table.steps[row]), losses, history.spec.targets)


def _check_proposed(
    where: str, table: LossTable, row: int, record: TrialRecord, spec: SweepSpec
) -> None:
    """Refuses a row whose mixture, seed, size or step is not as proposed."""
    trial, step, size = record.trial, table.steps[row], table.sizes[row]
    _check_mixture(where, record, table.domains, table.proportions[row])
    if not np.isnan(table.seeds[row]) and int(table.seeds[row]) != record.seed:
        raise TableError(
            f"{where} has seed {table.seeds[row]:.0f}, trial {trial} was proposed with "
            f"{record.seed}"
        )
    if (
        spec.smaller
        and not np.isnan(size)
        and not math.isclose(size, record.size, rel_tol=MAX_DIFFERENCE)
    ):
        raise TableError(
            f"{where} has size {size:g}, trial {trial} was proposed with {record.size:g}; "
            "record what was trained as proposed"
        )
    if step != int(step) or step > record.steps:
        raise TableError(
            f"{where} has step {step:g}; need a whole number up to {record.steps}, the steps "
            f"of trial {trial}"
        )


def replacing(table: LossTable, history: SweepHistory) -> list[str]:
    """Returns the failed trials for which the table has new information.

    New information is the last step of the trial, or a point that was not recorded, or a point that
    differs from the recorded one.
    """
    replaced: dict[str, None] = {}
    for row, trial in enumerate(table.trials):
        record, step = history.state.trials[trial], int(table.steps[row])
        losses = dict(zip(table.targets, table.losses[row].tolist(), strict=True))
        known = record.points.get(step)
        same = known is not None and all(
            math.isclose(loss, losses[target], rel_tol=1e-9) for target, loss in known.items()
        )
        if record.state == "failed" and (step == record.steps or not same):
            replaced[trial] = None
    return [*replaced]


def _check_losses(
    where: str, record: TrialRecord, step: int, losses: Mapping[str, float], targets: Sequence[str]
) -> None:
    if empty := [target for target in targets if math.isnan(losses[target])]:
        raise TableError(
            f"{where} has no loss_{empty[0]}; need all of {', '.join(targets)}, or nan for a "
            "trial that failed"
        )
    known = {} if record.state == "failed" else record.points.get(step, {})
    if other := [
        target
        for target, loss in known.items()
        if not math.isclose(loss, losses[target], rel_tol=1e-9)
    ]:
        raise TableError(
            f"{where} has loss_{other[0]} = {losses[other[0]]:g} of trial {record.trial} at step "
            f"{step}, recorded is {known[other[0]]:g}; a recorded point stays as it is"
        )


def _check_mixture(
    where: str, record: TrialRecord, domains: Sequence[str], proportions: Array
) -> None:
    proposed = record.mixture.as_dict()
    recorded = dict(zip(domains, proportions.tolist(), strict=True))
    for name in dict.fromkeys((*proposed, *recorded)):
        if abs(proposed.get(name, 0.0) - recorded.get(name, 0.0)) > MAX_DIFFERENCE:
            raise TableError(
                f"{where} has r_{name} = {recorded.get(name, 0.0):g}, trial {record.trial} was "
                f"proposed with {proposed.get(name, 0.0):.6g}; record what was trained as proposed"
            )
