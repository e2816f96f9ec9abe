"""A sweep at one moment, as plain values: for the progress view, and for whoever else watches.

It is taken and sent every second while trainings record, so it holds what changes and the last of what does not: its size
and the time it takes hardly grow with the sweep.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bimix_sweep.design.fidelity import Scale
from bimix_sweep.sweep.history.confirmation_trials import (
    MOST_FINALS,
    PAIRS,
    final_trainings,
    reference_mixtures,
)
from bimix_sweep.sweep.history.cost_model import Prices
from bimix_sweep.sweep.history.history import SweepHistory
from bimix_sweep.text import printable

STATES = ("running", "finished", "failed")
RECENT = 20
"""Trainings decided last that are in a snapshot whether or not they run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRow:
    """One training."""

    trial: str
    role: str
    reason: str
    state: str
    step: int
    """Last step with a point; 0 before the first."""
    objective: float | None
    """Weighted loss there."""
    mixture: Mapping[str, float]
    steps: int
    """Optimizer steps when it is whole; only losses at one step compare."""
    size: float | None = None
    """Non-embedding parameters, where the sweep has several sizes: only losses of one size compare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A sweep at one moment."""

    name: str
    phase: str
    """In words: `sweep`, `final trainings`, `done`."""
    steps: int
    """Optimizer steps of a training, of the longest where there are several numbers."""
    trials: Sequence[TrialRow]
    """Those that run and the `RECENT` decided last, in order."""
    counts: Mapping[str, Mapping[str, int]]
    """{role: {state: all trainings in it}}."""
    max_trials: int
    num_finals: int
    """Final trainings there will be, those from before a change among them."""
    optimum: Mapping[str, float] | None
    """Predicted best mixture."""
    region: Mapping[str, Sequence[float]]
    """Ends of each domain over mixtures that are as good within the tolerance of the region."""
    regret_expected: float | None
    regret_upper95: float | None
    movement_tv: float | None
    decision: str
    """The last decision in words."""
    elapsed_seconds: float
    """Since this driver started."""
    training_seconds: float
    """Mean wall time of a finished training; 0 before the first."""
    slots: int
    lines: Sequence[str]
    """The log of this epoch, as far as it is kept: one line for each refit and each training's end."""
    num_lines: int
    """All that were said in this epoch."""
    epoch: int
    """Of the journal's writer; one that began anew has a log of its own."""
    extrapolation: Mapping[str, float]
    """{axis: how many times the final run lies beyond the trials}, 1 inside, known axes only."""
    not_tested: Sequence[str]
    """What no trial tests of the final run, in sentences."""
    seconds_to_do: float | None = None
    """Expected wall time of all trainings that run or are to come, one after another; None while no time is known."""

    @property
    def seconds_left(self) -> float | None:
        """If no training is saved by stopping early; None before the first ended."""
        if not self.training_seconds or self.seconds_to_do is None:
            return None
        return self.seconds_to_do / self.slots


def describe(mixture: Mapping[str, float]) -> str:
    """`python .41 cpp .33 docs .26`."""
    return " ".join(f"{name} {share:.2f}".replace(" 0.", " .") for name, share in mixture.items())


def percent(share: float) -> str:
    """`0.12%`; what would read as 0 is `<0.01%`."""
    return "<0.01%" if 0 <= share < 5e-5 else f"{share:.2%}"


def duration(seconds: float) -> str:
    """`48 s`, `3 min 20 s`, `5 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def snapshot_of(
    history: SweepHistory,
    *,
    elapsed_seconds: float,
    training_seconds: float,
    lines: Sequence[str],
    num_lines: int,
    epoch: int,
) -> Snapshot:
    """The snapshot of a history and of what only its driver knows."""
    records = history.state.trials
    counts: dict[str, dict[str, int]] = {}
    for record in records.values():
        states = counts.setdefault(record.role, dict.fromkeys(STATES, 0))
        states[record.state] += 1
    recent = set(itertools.islice(reversed(records), RECENT))
    rows = [
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
    finals = history.finals["mixtures"] if history.finals else None
    num_finals = (MOST_FINALS if finals is None else PAIRS * len(finals)) + _earlier_finals(history)
    last = next((event for event in reversed(history.refits) if event["optimum"]), None)
    decision = (
        history.decision.reason
        if history.decision
        else history.refits[-1]["decision"]["reason"]
        if history.refits
        else ""
    )
    beyond = history.spec.beyond
    return Snapshot(
        name=printable(history.first["name"]),
        phase="done" if history.complete else "sweep" if finals is None else "final trainings",
        steps=history.spec.steps,
        trials=rows,
        counts=counts,
        max_trials=history.spec.max_trials,
        num_finals=num_finals,
        decision=printable(decision),
        optimum=last["optimum"]["mixture"] if last else None,
        region=last["optimum"]["region"] if last else {},
        regret_expected=last["decision"]["regret_expected"] if last else None,
        regret_upper95=last["decision"]["regret_upper95"] if last else None,
        movement_tv=last["decision"]["movement_tv"] if last else None,
        elapsed_seconds=elapsed_seconds,
        training_seconds=training_seconds,
        slots=history.spec.slots,
        lines=[*map(printable, lines)],
        num_lines=num_lines,
        epoch=epoch,
        extrapolation=beyond.extrapolation,
        not_tested=beyond.sentences,
        seconds_to_do=_seconds_to_do(history, num_finals, training_seconds),
    )


def _seconds_to_do(history: SweepHistory, num_finals: int, training_seconds: float) -> float | None:
    """`Snapshot.seconds_to_do`.

    The first trainings' scales are known. After them one costs what those do that the law has chosen so far, and before it has chosen any
    as much as the dearest: it is an upper bound that is told. Where all trainings have one scale each takes the mean of those that
    finished under this driver: what earlier drivers saw, on other machines perhaps, is needed only to compare scales.
    """
    spec, records = history.spec, history.state.trials
    price: Callable[[Scale], float] = (
        Prices(history, history.hours.seconds, history.hours.seconds).of
        if len(spec.scales) > 1
        else lambda scale: training_seconds
    )
    if not (dearest := price(spec.asked)):
        return None
    to_do = (num_finals - sum(record.role == "final" for record in records.values())) * dearest
    if history.finals is None:
        sweep = [record.scale for record in records.values() if record.role == "sweep"]
        first, chosen = spec.initial_scales, [price(scale) for scale in sweep[spec.num_initial :]]
        coming = first[len(sweep) :]
        to_do += sum(map(price, coming))
        to_do += max(0, spec.max_trials - len(sweep) - len(coming)) * (
            sum(chosen) / len(chosen) if chosen else dearest
        )
    running = (record for record in records.values() if record.state == "running")
    return to_do + sum(
        price(record.scale) * max(0.0, 1 - max(record.points, default=0) / record.steps)
        for record in running
    )


def _earlier_finals(history: SweepHistory) -> int:
    """Final trainings from before a change that are not taken as they are."""
    if not history.changes:
        return 0
    planned = history.finals["mixtures"] if history.finals else reference_mixtures(history.spec)
    counted = {trial for trial, _, _ in final_trainings(history, planned)}
    return sum(
        record.role == "final" and name not in counted
        for name, record in history.state.trials.items()
    )
