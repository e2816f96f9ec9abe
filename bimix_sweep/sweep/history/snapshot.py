"""A sweep at one moment, as plain values, for the progress view and other viewers.

A snapshot is made and sent every second while trials record. It therefore holds what changes and
only the last part of what does not, so its size and its cost hardly grow with the sweep.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bimix_sweep.design.fidelity import Fidelity
from bimix_sweep.sweep.history.confirmation_trials import (
    PAIRS,
    confirmation_trials,
    max_confirmation_trials,
    planned_mixtures,
)
from bimix_sweep.sweep.history.cost_model import Prices
from bimix_sweep.sweep.history.history import SweepHistory
from bimix_sweep.sweep.history.refits import last_with_optimum
from bimix_sweep.text import printable

STATES = ("running", "finished", "failed")
PHASES = ("sweep", "confirmation trials", "done")
RECENT = 20
"""Number of latest trials that a snapshot holds whether or not they run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRow:
    """One trial of a snapshot."""

    trial: str
    role: str
    reason: str
    state: str
    step: int
    """Last step with a point; 0 before the first."""
    objective: float | None
    """Weighted loss at the last point; None before the first."""
    mixture: Mapping[str, float]
    steps: int
    """Optimizer steps of the whole trial; only losses at the same step can be compared."""
    size: float | None = None
    """Non-embedding parameters if the sweep has several sizes, else None.

    Only losses of the same size can be compared.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A sweep at one moment."""

    name: str
    phase: str
    """One of `PHASES`."""
    steps: int
    """Optimizer steps of a trial; the largest number if there are several."""
    trials: Sequence[TrialRow]
    """The running trials and the latest `RECENT` trials, in order."""
    counts: Mapping[str, Mapping[str, int]]
    """{role: {state: number of trials}}."""
    max_trials: int
    num_confirmation_trials: int
    """Number of confirmation trials in total, including those from before a change."""
    optimum: Mapping[str, float] | None
    """Predicted best mixture; None before the first law."""
    region: Mapping[str, Sequence[float]]
    """{domain: [lowest, highest] proportion among the near-optimal mixtures}."""
    regret_expected: float | None
    regret_upper95: float | None
    movement_tv: float | None
    decision: str
    """The last stopping decision in words."""
    elapsed_seconds: float
    """Seconds since this driver started."""
    training_seconds: float
    """Mean wall time in seconds of a finished trial; 0 before the first."""
    slots: int
    lines: Sequence[str]
    """Last log lines of this epoch: one for each refit and for each trial that ended."""
    num_lines: int
    """Number of all log lines of this epoch."""
    epoch: int
    """Epoch of the journal's writer; each epoch has its own log."""
    extrapolation: Mapping[str, float]
    """{axis: how many times the final run lies beyond the trials}; 1 is inside; known axes only."""
    not_tested: Sequence[str]
    """Sentences about properties of the final run that no trial tests."""
    seconds_to_do: float | None = None
    """Expected wall seconds of all running and future trials, one after another.

    None while no time is known.
    """

    @property
    def seconds_left(self) -> float | None:
        """Expected seconds until the end if the sweep does not stop early.

        None before the first trial ended.
        """
        if not self.training_seconds or self.seconds_to_do is None:
            return None
        return self.seconds_to_do / self.slots


def describe(mixture: Mapping[str, float]) -> str:
    """Formats a mixture as `python .41 cpp .33 docs .26`."""
    return " ".join(
        f"{name} {proportion:.2f}".replace(" 0.", " .") for name, proportion in mixture.items()
    )


def percent(proportion: float) -> str:
    """Formats a proportion as `0.12%`; a value that would read as 0 is `<0.01%`."""
    return "<0.01%" if 0 <= proportion < 5e-5 else f"{proportion:.2%}"


def duration(seconds: float) -> str:
    """Formats a duration as `48 s`, `3 min 20 s` or `5 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def phase_of(history: SweepHistory) -> str:
    """Phase of a sweep, one of `PHASES`."""
    search, confirmation, done = PHASES
    if history.complete:
        return done
    return search if history.confirmation is None else confirmation


def snapshot_of(
    history: SweepHistory,
    *,
    elapsed_seconds: float,
    training_seconds: float,
    lines: Sequence[str],
    num_lines: int,
    epoch: int,
) -> Snapshot:
    """Makes the snapshot from the history and from values that only its driver knows.

    Args:
        history: history of the sweep.
        elapsed_seconds, training_seconds, lines, num_lines, epoch: the fields of `Snapshot`.
    """
    spec, beyond = history.spec, history.spec.beyond
    num_confirmation_trials = _num_confirmation_trials(history)
    last = last_with_optimum(history.refits)
    optimum = None if last is None else last.optimum
    decision = history.decision or (history.refits[-1].decision if history.refits else None)
    return Snapshot(
        name=printable(history.first.name),
        phase=phase_of(history),
        steps=spec.steps,
        trials=_rows(history),
        counts=_counts(history),
        max_trials=spec.max_trials,
        num_confirmation_trials=num_confirmation_trials,
        decision=printable(decision.reason) if decision else "",
        optimum=optimum.mixture if optimum else None,
        region=optimum.region if optimum else {},
        regret_expected=last.decision.regret_expected if last else None,
        regret_upper95=last.decision.regret_upper95 if last else None,
        movement_tv=last.decision.movement_tv if last else None,
        elapsed_seconds=elapsed_seconds,
        training_seconds=training_seconds,
        slots=spec.slots,
        lines=[*map(printable, lines)],
        num_lines=num_lines,
        epoch=epoch,
        extrapolation=beyond.extrapolation,
        not_tested=beyond.sentences,
        seconds_to_do=_seconds_to_do(history, num_confirmation_trials, training_seconds),
    )


def trials_to_go(history: SweepHistory) -> int:
    """Largest number of trials that the sweep still runs to its end; it may stop earlier."""
    if history.complete:
        return 0
    records = history.state.trials.values()
    confirmed = sum(record.role == "confirmation" for record in records)
    coming = _num_confirmation_trials(history) - confirmed + len(history.running())
    if history.confirmation is None and history.decision is None:
        coming += history.spec.max_trials - history.state.trial_record.num_proposed
    return max(0, coming)


def _rows(history: SweepHistory) -> list[TrialRow]:
    """The running trials and the latest `RECENT` trials, in order."""
    records = history.state.trials
    recent = set(itertools.islice(reversed(records), RECENT))
    return [
        TrialRow(
            trial=name,
            role=record.role,
            reason=printable(history.proposals[name].reason),
            state=record.state,
            step=max(record.points, default=0),
            objective=history.objective(name),
            mixture=record.mixture.as_dict(),
            size=record.size if history.spec.smaller else None,
            steps=record.steps,
        )
        for name, record in records.items()
        if record.state == "running" or name in recent
    ]


def _counts(history: SweepHistory) -> dict[str, dict[str, int]]:
    """{role: {state: number of trials}}."""
    counts: dict[str, dict[str, int]] = {}
    for record in history.state.trials.values():
        states = counts.setdefault(record.role, dict.fromkeys(STATES, 0))
        states[record.state] += 1
    return counts


def _seconds_to_do(
    history: SweepHistory, num_confirmation_trials: int, training_seconds: float
) -> float | None:
    """Computes `Snapshot.seconds_to_do`.

    The fidelities of the initial trials are known. A later trial costs the mean of the trials that
    the law has chosen so far. Before the law has chosen any, a later trial costs as much as one at
    the target fidelity, which gives an upper bound. If all trials have one fidelity, each takes the
    mean time of the trials that finished under this driver. Times of earlier drivers, perhaps on
    other machines, are needed only to compare fidelities.
    """
    spec, records = history.spec, history.state.trials
    price: Callable[[Fidelity], float] = (
        Prices(history, history.hours.seconds, history.hours.seconds).of
        if len(spec.fidelities) > 1
        else lambda fidelity: training_seconds
    )
    if not (full_cost := price(spec.target_fidelity)):
        return None
    to_do = (
        num_confirmation_trials - sum(record.role == "confirmation" for record in records.values())
    ) * full_cost
    if history.confirmation is None:
        sweep = [record.fidelity for record in records.values() if record.role == "sweep"]
        first, chosen = (
            spec.initial_fidelities,
            [price(fidelity) for fidelity in sweep[spec.num_initial :]],
        )
        coming = first[len(sweep) :]
        to_do += sum(map(price, coming))
        to_do += max(0, spec.max_trials - len(sweep) - len(coming)) * (
            sum(chosen) / len(chosen) if chosen else full_cost
        )
    running = (record for record in records.values() if record.state == "running")
    return to_do + sum(
        price(record.fidelity) * max(0.0, 1 - max(record.points, default=0) / record.steps)
        for record in running
    )


def _num_confirmation_trials(history: SweepHistory) -> int:
    """Number of confirmation trials in total, including those from before a change."""
    confirmation = history.confirmation
    current = (
        max_confirmation_trials(history.spec)
        if confirmation is None
        else PAIRS * len(confirmation.mixtures)
    )
    if not history.changes:
        return current
    reused = {trial for trial, _, _ in confirmation_trials(history, planned_mixtures(history))}
    return current + sum(
        record.role == "confirmation" and name not in reused
        for name, record in history.state.trials.items()
    )
