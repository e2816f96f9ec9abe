"""Checks what a fit is given, and leaves out the targets that no law can be fitted to."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from bimix_sweep.errors import LawError
from bimix_sweep.law.model.observations import Trials
from bimix_sweep.mixture.goals import unstated
from bimix_sweep.mixture.simplex import Array
from bimix_sweep.mixture.table import LossTable


def check_directions(table: LossTable, own: Mapping[str, str]) -> list[str]:
    """Returns notes on targets whose direction (less or more is better) is not stated.

    Raises:
        LawError: such a target has a name like an accuracy.
    """
    own = {target: target for target in table.targets if target in table.domains} | dict(own)
    named, notes = unstated(table.goals, table.targets, table.losses, own)
    if named:
        target, best = named[0]
        raise LawError(
            f"{target} is named like a metric of which more is better, and nobody has said which "
            f"way it counts; state its goal: --goal {target}={best} if more is better, "
            f"--goal {target}=min if it is a loss"
        )
    return notes


def own_domains(table: LossTable, own: Mapping[str, str] | None) -> dict[str, str]:
    """Returns {target: its own domain}; by default the domain of equal name.

    Raises:
        LawError: `own` names a target or a domain that the table lacks.
    """
    if own is None:
        return {target: target for target in table.targets if target in table.domains}
    for target, domain in own.items():
        if target not in table.targets:
            raise LawError(
                f"own names target {target}, which the table lacks; its targets are "
                f"{', '.join(table.targets)}"
            )
        if domain not in table.domains:
            raise LawError(
                f"own gives {target} the domain {domain}, which the table lacks; its domains are "
                f"{', '.join(table.domains)}"
            )
    return dict(own)


def usable_targets(
    table: LossTable, trials: Trials, y: Array
) -> tuple[Trials, Array, tuple[str, ...], tuple[str, ...]]:
    """Leaves out targets that were measured on fewer than two mixtures.

    Args:
        y: (targets, rows) log losses.

    Returns:
        the trials and log losses of the targets that are left, their names, and notes.

    Raises:
        LawError: fewer than two domains, mixtures, or measured mixtures remain.
    """
    if len(table.domains) < 2:
        raise LawError(
            f"the table has 1 domain ({table.domains[0]}); need at least 2, there is nothing to mix"
        )
    mixtures = int(trials.mixture.max()) + 1
    if mixtures < 2:
        raise LawError(
            f"all {len(trials.proportions)} trials have the same mixture; need at least 2 "
            "different ones to fit a law"
        )
    num_measured = np.array(
        [len(set(trials.mixture[trials.trial[present]])) for present in trials.present]
    )
    keep = num_measured >= 2
    if not keep.any():
        raise LawError(
            f"no target was measured on 2 different mixtures ({table.targets[int(num_measured.argmax())]} "
            f"on {num_measured.max()}); need at least 2"
        )
    notes = tuple(
        f"target {name} was measured on {count} mixture{'' if count == 1 else 's'} and is left "
        "out; need at least 2"
        for name, count in zip(table.targets, num_measured, strict=True)
        if count < 2
    )
    trials = replace(trials, present=trials.present[keep])
    return (
        trials,
        y[keep],
        tuple(name for name, k in zip(table.targets, keep, strict=True) if k),
        notes,
    )
