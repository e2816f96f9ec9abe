"""Selects the failed trials to run again, and makes the messages about failed trials.

Some trials fail for a cause outside their mixture, such as out of memory, an import error, a lost
node or an exit code. Such a failure says nothing about the mixture, so the trial runs again from
its beginning after the cause is repaired. It stays the same trial and takes no further place in
`budget.trials`. A trial whose loss diverged is left out unless the user asks for it, because the
same mixture at the same learning rate would diverge again. A trial whose text a change removed
cannot run any more.
"""

import shlex
from collections.abc import Iterable, Sequence
from typing import Literal

from bimix_sweep.design.trial import CONFIRMATION, DROPPED, TrialRecord
from bimix_sweep.mixture.simplex import SUM_TOLERANCE
from bimix_sweep.sweep.history.history import SweepHistory
from bimix_sweep.text import listed

RetryFailed = int | Literal["all"] | None
"""Which failed trials run again.

A number is the largest number of trials that failed for a cause outside their mixture. "all"
includes diverged trials. None means all trials that failed for a cause outside their mixture and
that the sweep still needs.
"""
MAX_NAMED = 5
"""Largest number of trials that a message names."""


def retriable(history: SweepHistory, wanted: RetryFailed) -> list[str]:
    """Names of the failed trials to run again, in the order of their proposals.

    If `wanted` is None, only trials that the sweep still needs are included: confirmation trials
    while the sweep is not complete, and other trials until the sweep is settled or the confirmation
    trials are decided.
    """
    failed = _failed(history, ("outside", "budget", *(("diverged",) if wanted == "all" else ())))
    if wanted is None:
        failed = [(name, record) for name, record in failed if _needed(history, record)]
    names = [name for name, _ in failed]
    return names[:wanted] if isinstance(wanted, int) else names


def left_out(history: SweepHistory, folder: str) -> list[str]:
    """Messages, one line each, about failed trials that do not run again by themselves."""
    lines, command = [], f"bimix-sweep resume {shlex.quote(folder)}"
    outside = [name for name, _ in _failed(history, ("outside", "budget"))]
    diverged = [name for name, _ in _failed(history, ("diverged",))]
    if outside:
        lines.append(
            f"{_counted(outside)} failed and {_are(outside)} left out; once the cause is mended, "
            f"{command} --retry-failed {len(outside)} tries {_them(outside)} again"
        )
    if diverged:
        lines.append(
            f"{_counted(diverged)} diverged and {_are(diverged)} left out; if your trainer "
            f"would do better now, {command} --retry-failed all tries {_them(diverged)} again"
        )
    return lines


def advice(history: SweepHistory, folder: str) -> str:
    """Advice for a sweep that cannot continue because of its failed trials."""
    quoted = shlex.quote(folder)
    if history.elsewhere:
        return (
            "train the failed ones again and record their losses, which replace the "
            f"failures (bimix-sweep propose {quoted} --count 0 --retry-failed all -o "
            f"MIXTURES.csv lists them), or raise budget.trials in {quoted}/config.yaml"
        )
    outside = [name for name, _ in _failed(history, ("outside",))]
    spent = [name for name, _ in _failed(history, ("budget",))]
    diverged = [name for name, _ in _failed(history, ("diverged",))]
    steps = []
    if outside:
        steps.append(
            f"mend the cause and go on with: bimix-sweep resume {quoted} (or submit again), "
            f"which tries {_counted(outside)} again; --retry-failed 0 goes on without "
            f"{_them(outside)}"
        )
    stopped_by_hours = (
        history.spec.limited
        and history.decision is not None
        and history.state.trial_record.num_proposed < history.spec.max_trials
    )
    if spent or stopped_by_hours:
        steps.append(
            f"raise the hours of budget in {quoted}/config.yaml and go on with: bimix-sweep "
            f"resume {quoted}" + (f", which tries {_counted(spent)} again" if spent else "")
        )
    if diverged:
        steps.append(
            f"{_counted(diverged)} diverged: lower your trainer's learning rate and go on "
            f"with: bimix-sweep resume {quoted} --retry-failed all, or train other mixtures "
            f"with: bimix-sweep extend {quoted} --trials {len(diverged)}"
        )
    return "; ".join(steps) or f"raise the budget with: bimix-sweep extend {quoted} --trials N"


def _failed(history: SweepHistory, causes: Iterable[str]) -> list[tuple[str, TrialRecord]]:
    """Failed trials with these causes that could run now, within the present bounds."""
    domains, causes = history.spec.domains, tuple(causes)

    def inside(record: TrialRecord) -> bool:
        proportions = record.mixture.as_array(domains.names)
        low, high = domains.lower_array - SUM_TOLERANCE, domains.upper_array + SUM_TOLERANCE
        return bool(((proportions >= low) & (proportions <= high)).all())

    return [
        (name, record)
        for name, record in history.state.trials.items()
        if record.state == "failed"
        and record.cause in causes
        and record.role != DROPPED
        and name not in history.retired
        and (record.role == CONFIRMATION or inside(record))
    ]


def _needed(history: SweepHistory, record: TrialRecord) -> bool:
    if history.complete:
        return False
    decision = history.decision
    settled = decision is not None and decision.streak >= history.spec.patience
    return record.role == CONFIRMATION or (history.confirmation is None and not settled)


def _counted(names: Sequence[str]) -> str:
    return f"{len(names)} trial{'s' * (len(names) > 1)} ({listed(names, MAX_NAMED)})"


def _are(names: Sequence[str]) -> str:
    return "are" if len(names) > 1 else "is"


def _them(names: Sequence[str]) -> str:
    return "them" if len(names) > 1 else "it"
