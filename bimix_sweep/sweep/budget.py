"""The budget in hours, a hard limit: what trainings have used, what is promised, what another one would cost.

A further mixture is proposed only if its expected hours fit under the limit together with what was used, with what running
trainings will use, and with a reserve for the final trainings. A training is expected to cost the mean of those that
finished, in proportion to its size and steps; before any did, what the longest running one comes to if it goes on like this. A further one is
reckoned at the largest size for the most steps, those of the final ones. Where running trainings pass
the limit nevertheless they are ended, and the sweep ends with what it has.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from bimix_sweep.sweep.finals import MOST_FINALS, final_trainings, reference_mixtures
from bimix_sweep.sweep.history import SweepHistory

UNITS = ("core", "GPU")
"""Of what the hours are; `budget.core_hours`, `budget.gpu_hours`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """Hours of one unit."""

    unit: str
    limit: float
    spent: float
    """By all attempts at all trainings, until now."""
    promised: float
    """Further hours that running trainings are expected to use."""
    expected: float
    """Of one more training of the largest size for the most steps; 0 while nothing is known."""
    num_finals: int
    """Final trainings still to be proposed, at most."""

    @property
    def over(self) -> str | None:
        """What to say where the limit is passed."""
        return f"the budget of {self.limit:g} {self.unit}-hours is spent" if self.spent >= self.limit else None

    def refusal(self, further: int) -> str | None:
        """Why so many further trainings do not fit; None where they do."""
        if self.over:
            return self.over
        if self.spent + self.promised + further * self.expected <= self.limit:
            return None
        parts = (
            [f"{self.spent:.3g} used", f"{self.promised:.3g} promised to running trainings"]
            if self.promised
            else [f"{self.spent:.3g} used"]
        )
        return (
            f"the budget of {self.limit:g} {self.unit}-hours is spent: {', '.join(parts)}, and {further} more of about {self.expected:.3g} each "
            "do not fit"
        )


def bills(history: SweepHistory, now: float) -> Iterator[Bill]:
    """One for each unit that is limited.

    Args:
        now: seconds since 1970.
    """
    limits = (history.spec.core_hours, history.spec.gpu_hours)
    if limits == (None, None):
        return
    records, running = history.state.trials, history.running()
    since = history.hours.since_last_sign(now)
    planned = reference_mixtures(history.spec) if history.finals is None else history.finals["mixtures"]
    decided = [trial for trial, _, _ in final_trainings(history, planned) if trial in records]
    num_finals = (MOST_FINALS if history.finals is None else sum(1 for _ in final_trainings(history, planned))) - len(decided)
    for index, (unit, limit) in enumerate(zip(UNITS, limits, strict=True)):
        if limit is None:
            continue
        used = {name: hours[index] for name, hours in history.hours.trials.items()}
        for name in running:
            used[name] = used.get(name, 0.0) + since.get(name, (0.0, 0.0))[index]
        cost = {name: history.spec.cost_of(record.scale) for name, record in records.items()}
        finished = [name for name, record in records.items() if record.state == "finished" and name in used]
        if finished:
            expected = sum(used[name] for name in finished) / sum(cost[name] for name in finished)
        else:
            done = {name: max(records[name].points, default=records[name].steps) / records[name].steps for name in running}
            expected = max((used[name] / cost[name] / done[name] for name in running), default=0.0)
        promised = sum(max(0.0, expected * cost[name] - used[name]) for name in running)
        yield Bill(
            unit=unit, limit=limit, spent=sum(used.values()), promised=promised, expected=expected, num_finals=num_finals
        )  # fmt: skip


def no_more(history: SweepHistory, now: float) -> str | None:
    """Why no further mixture fits, the final trainings kept in mind; None where one does."""
    return next((reason for bill in bills(history, now) if (reason := bill.refusal(1 + bill.num_finals))), None)


def no_final(history: SweepHistory, now: float) -> str | None:
    """Why no further final training fits; None where one does."""
    return next((reason for bill in bills(history, now) if (reason := bill.refusal(1))), None)


def overspent(history: SweepHistory, now: float) -> str | None:
    """That a limit is passed, in words; None where none is."""
    return next((bill.over for bill in bills(history, now) if bill.over), None)
