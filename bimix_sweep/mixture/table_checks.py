"""Checks of a loss table's columns and rows; a message about a row counts from 1."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from bimix_sweep.errors import TableError
from bimix_sweep.mixture.column_parsing import hint_for_proportions
from bimix_sweep.mixture.domains import check_names
from bimix_sweep.mixture.goals import PLAIN, Goal, Goals, first_refused, hint
from bimix_sweep.mixture.simplex import Array

NO_STEP = 1.0
"""Step of every row of a table without a column `step`: each row is the end of a trial. A law of
such a table says nothing about steps."""


def names_of(
    path: str | Path, columns: Mapping[str, pa.Array]
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Returns the names of domains and targets, from the names of the columns, and the (rows,)
    names of the trials; without a column `trial`, a row's number names its trial.

    Raises:
        TableError: a column is missing, there are no rows, or a row has no trial.
        MixtureError: a domain or target has a name that `check_names` refuses.
    """
    domains = tuple(name[2:] for name in columns if name.startswith("r_"))
    targets = tuple(name[5:] for name in columns if name.startswith("loss_"))
    if not domains or not targets:
        raise TableError(
            f"{path}: {'no r_<domain>' if not domains else 'no loss_<target>'} column; need "
            f"at least one{'' if domains else hint_for_proportions(columns)}; bimix-sweep table "
            "makes a loss table from other files"
        )
    check_names(domains)
    check_names(targets, "target")
    rows = len(next(iter(columns.values())))
    given = columns["trial"].to_pylist() if "trial" in columns else range(1, rows + 1)
    trials = tuple("" if value is None else str(value) for value in given)
    if not trials:
        raise TableError(f"{path}: no rows; need at least one finished run")
    if "" in trials:
        raise TableError(f"{path}: row {trials.index('') + 1} has no trial; need a name")
    return domains, targets, trials


def goals_by_target(path: str | Path, goals: Goals, targets: Sequence[str]) -> dict[str, Goal]:
    """Returns {target: goal}; a name with a `*` gives its goal to each target that fits it and has
    no goal of its own name.

    Raises:
        TableError: a name fits no target of the table.
    """
    found = {name: goal for name, goal in goals.items() if name in targets}
    for name, goal in goals.items():
        pattern = ".*".join(map(re.escape, name.split("*")))
        fitting = [t for t in targets if t == name or ("*" in name and re.fullmatch(pattern, t))]
        if not fitting:
            raise TableError(
                f"{path} has no column loss_{name}, whose goal is given; its targets are "
                f"{', '.join(targets)}"
            )
        for target in fitting:
            found.setdefault(target, goal)
    return found


def check_losses(
    path: str | Path, goals: Goals, targets: Sequence[str], trials: Sequence[str], losses: Array
) -> None:
    """Checks (rows, targets) measured values against the goals; NaN stands for not measured.

    Raises:
        TableError: a value is outside the range that its target's goal allows.
    """
    if (refused := first_refused(goals, targets, losses)) is None:
        return
    row, target = refused
    name, value = targets[target], losses[row, target]
    raise TableError(
        f"{path}: row {row + 1}, trial {trials[row]}, has loss_{name} = {value:g}; need "
        f"{goals.get(name, PLAIN).needed}, or an empty field where not measured"
        + hint(goals, name, value)
    )


def check_rows(
    path: str | Path,
    trials: Sequence[str],
    steps: Array,
    sizes: Array,
    seeds: Array,
    proportions: Array,
    *,
    stated: bool,
) -> None:
    """Checks that each run has one row a step and one mixture.

    Args:
        path: name of the table, for messages.
        trials: (rows,) names; a run is a trial with its size and seed.
        steps, sizes, seeds: (rows,), sizes and seeds NaN where not given.
        proportions: (rows, domains).
        stated: whether the table has a column `step`.

    Raises:
        TableError: two rows have the same run and step, or a run has two mixtures.
    """
    row_of: dict[tuple[str, float, float, float], int] = {}
    mixture_of: dict[tuple[str, float, float], int] = {}
    for row, trial in enumerate(trials):
        size, seed = (
            float(np.nan_to_num(sizes[row], nan=-1)),
            float(np.nan_to_num(seeds[row], nan=-1)),
        )
        first = row_of.setdefault((trial, float(steps[row]), size, seed), row)
        if first != row:
            where = f"at step {steps[row]:g}" if stated else "and there is no column step"
            raise TableError(
                f"{path}: rows {first + 1} and {row + 1} are both trial {trial} {where}; need one "
                "row for each"
            )
        start = mixture_of.setdefault((trial, size, seed), row)
        if np.abs(proportions[start] - proportions[row]).max() > 1e-6:
            raise TableError(
                f"{path}: trial {trial} has different proportions in rows {start + 1} and "
                f"{row + 1}; need one mixture a trial"
            )


def check_epochs(
    path: str | Path,
    domains: Sequence[str],
    trials: Sequence[str],
    steps: Array,
    sizes: Array,
    seeds: Array,
    epochs: Array | None,
) -> None:
    """Checks that passes grow along the steps of a run.

    Args:
        domains: names of the columns of `epochs`.
        epochs: (rows, domains) passes up to the row; None: not known.
        path, trials, steps, sizes, seeds: as for `check_rows`.

    Raises:
        TableError: a run has the same passes or fewer at a later step.
    """
    if epochs is None:
        return
    before: dict[tuple[str, float, float], int] = {}
    for row in np.argsort(steps, kind="stable").tolist():
        size, seed = (float(np.nan_to_num(values[row], nan=-1)) for values in (sizes, seeds))
        last = before.get((trials[row], size, seed))
        before[trials[row], size, seed] = row
        if last is None:
            continue
        stuck = (epochs[last] > 1) & (epochs[row] <= epochs[last])
        if stuck.any():
            name = domains[int(stuck.argmax())]
            raise TableError(
                f"{path}: trial {trials[row]} has epochs_{name} = {epochs[last, stuck.argmax()]:g} "
                f"at step {steps[last]:g} and {epochs[row, stuck.argmax()]:g} at step "
                f"{steps[row]:g}; need the passes up to each row's step, which grow"
            )


def check_curves(path: str | Path, steps: Array, proportions: Array) -> None:
    """Checks that a table without a column `trial` has no rows of one mixture at several steps,
    which may be the curve of one trial.

    Raises:
        TableError: there are such rows.
    """
    first: dict[bytes, int] = {}
    for row, mixture in enumerate(proportions):
        other = first.setdefault(mixture.tobytes(), row)
        if steps[other] != steps[row]:
            raise TableError(
                f"{path}: rows {other + 1} and {row + 1} have one mixture at steps "
                f"{steps[other]:g} and {steps[row]:g}, and there is no column trial; add one that "
                "says which rows are one run"
            )
