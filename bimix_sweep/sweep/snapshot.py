"""A sweep at one moment, as plain values: for the progress view, and for whoever else watches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bimix_sweep.sweep.finals import MOST_FINALS, PAIRS
from bimix_sweep.sweep.history import SweepHistory


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A sweep at one moment."""

    name: str
    phase: str
    """In words: `sweep`, `final trainings`, `done`."""
    steps: int
    """Optimizer steps of a training."""
    trials: Sequence[TrialRow]
    max_trials: int
    num_finals: int
    """Final trainings there will be."""
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
    """The log of this epoch: one line for each refit and each training's end."""
    epoch: int
    """Of the journal's writer; one that began anew has a log of its own."""

    @property
    def seconds_left(self) -> float | None:
        """If no training is saved by stopping early; None before the first ended."""
        if not self.training_seconds:
            return None
        sweep = sum(row.role == "sweep" and row.state in ("finished", "failed") for row in self.trials)
        finals = sum(row.role == "final" and row.state in ("finished", "failed") for row in self.trials)
        to_do = (self.max_trials - sweep if self.phase == "sweep" else 0) + self.num_finals - finals
        partial = sum(row.step / self.steps for row in self.trials if row.state == "running")
        return max(0.0, to_do - partial) * self.training_seconds / self.slots


def describe(mixture: Mapping[str, float]) -> str:
    """`python .41 cpp .33 docs .26`."""
    return " ".join(f"{name} {share:.2f}".replace(" 0.", " .") for name, share in mixture.items())


def duration(seconds: float) -> str:
    """`48 s`, `3 min 20 s`, `5 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def snapshot_of(
    history: SweepHistory, *, elapsed_seconds: float, training_seconds: float, lines: Sequence[str], epoch: int
) -> Snapshot:  # fmt: skip
    """The snapshot of a history and of what only its driver knows."""
    rows = [
        TrialRow(
            trial=name, role=record.role, reason=history.proposals[name].reason, state=record.state, step=max(record.points, default=0),
            objective=history.objective(name), mixture=record.mixture.as_dict(),
        )
        for name, record in history.state.trials.items()
    ]  # fmt: skip
    finals = history.finals["mixtures"] if history.finals else None
    last = next((event for event in reversed(history.refits) if event["optimum"]), None)
    decision = history.decision.reason if history.decision else history.refits[-1]["decision"]["reason"] if history.refits else ""
    return Snapshot(
        name=history.first["name"], phase="done" if history.complete else "sweep" if finals is None else "final trainings",
        steps=history.spec.steps, trials=rows, max_trials=history.spec.max_trials,
        num_finals=MOST_FINALS if finals is None else PAIRS * len(finals), decision=decision,
        optimum=last["optimum"]["mixture"] if last else None, region=last["optimum"]["region"] if last else {},
        regret_expected=last["decision"]["regret_expected"] if last else None,
        regret_upper95=last["decision"]["regret_upper95"] if last else None, movement_tv=last["decision"]["movement_tv"] if last else None,
        elapsed_seconds=elapsed_seconds, training_seconds=training_seconds, slots=history.spec.slots, lines=lines, epoch=epoch,
    )  # fmt: skip
