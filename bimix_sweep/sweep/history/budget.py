"""The budget in hours, a hard limit: what trainings have used, what is promised, what another one would cost.

A further mixture is proposed only if its expected hours fit under the limit together with what was used, with what running
trainings will use, and with a reserve for the final trainings (`prices` says what a training is expected to use). It is reckoned at the
scale that it will have where that is known already, as the first trainings' is, else at the one asked about, that of the final ones.
Until a training at the scale asked about has shown what it takes, what cheaper ones tell about it is no reason to end a search, only
hours really used are. Where running trainings pass the limit nevertheless they are ended, and the sweep ends with what it has.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from bimix_sweep.sweep.history.confirmation_trials import (
    MOST_FINALS,
    final_trainings,
    reference_mixtures,
)
from bimix_sweep.sweep.history.cost_model import Prices
from bimix_sweep.sweep.history.history import SweepHistory

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
    """Of one training of the largest size for the most steps; 0 while nothing is known."""
    expected_next: float
    """Of the next mixture's training."""
    measured: bool
    """A training of the largest size for the most steps has recorded a point, so that `expected` rests on one."""
    num_finals: int
    """Final trainings still to be proposed, at most."""

    @property
    def over(self) -> str | None:
        """What to say where the limit is passed."""
        return (
            f"the budget of {self.limit:g} {self.unit}-hours is spent"
            if self.spent >= self.limit
            else None
        )

    def no_more(self) -> str | None:
        """Why no further mixture fits, the final trainings kept in mind; None where one does."""
        if self.expected_next == self.expected:
            return self._refusal(
                self.expected * (1 + self.num_finals),
                f"{1 + self.num_finals} more of about {self.expected:.3g} each",
            )
        return self._refusal(
            self.expected_next + self.expected * self.num_finals,
            f"1 more of about {self.expected_next:.3g} and {self.num_finals} final ones of about {self.expected:.3g} each",
        )

    def no_final(self) -> str | None:
        """Why no further final training fits; None where one does."""
        return self._refusal(self.expected, f"1 more of about {self.expected:.3g} each")

    def _refusal(self, needed: float, what: str) -> str | None:
        if self.over:
            return self.over
        if not self.measured or self.spent + self.promised + needed <= self.limit:
            return None
        promised = f", {self.promised:.3g} promised to running trainings" if self.promised else ""
        return f"the budget of {self.limit:g} {self.unit}-hours is spent: {self.spent:.3g} used{promised}, and {what} do not fit"


def bills(history: SweepHistory, now: float) -> Iterator[Bill]:
    """One for each unit that is limited.

    Args:
        now: seconds since 1970.
    """
    if not history.spec.limited:
        return
    limits = (history.spec.core_hours, history.spec.gpu_hours)
    records, running = history.state.trials, history.running()
    since = history.hours.since_last_sign(now)
    planned = (
        reference_mixtures(history.spec) if history.finals is None else history.finals["mixtures"]
    )
    decided = [trial for trial, _, _ in final_trainings(history, planned) if trial in records]
    num_finals = (
        MOST_FINALS if history.finals is None else sum(1 for _ in final_trainings(history, planned))
    ) - len(decided)
    for index, (unit, limit) in enumerate(zip(UNITS, limits, strict=True)):
        if limit is None:
            continue
        used = {name: hours[index] for name, hours in history.hours.trials.items()}
        for name in running:
            used[name] = used.get(name, 0.0) + since.get(name, (0.0, 0.0))[index]
        prices = Prices(
            history, used, {name: hours[index] for name, hours in history.hours.trials.items()}
        )
        promised = sum(
            max(0.0, prices.of(records[name].scale) - used.get(name, 0.0)) for name in running
        )
        yield Bill(
            unit=unit,
            limit=limit,
            spent=history.hours.lost[index] + sum(used.values()),
            promised=promised,
            expected=prices.of(history.spec.asked),
            expected_next=prices.of(history.state.next_scale),
            measured=prices.measured(history.spec.asked),
            num_finals=num_finals,
        )


def no_more(history: SweepHistory, now: float) -> str | None:
    """Why no further mixture fits, the final trainings kept in mind; None where one does."""
    return next((reason for bill in bills(history, now) if (reason := bill.no_more())), None)


def no_final(history: SweepHistory, now: float) -> str | None:
    """Why no further final training fits; None where one does."""
    return next((reason for bill in bills(history, now) if (reason := bill.no_final())), None)


def overspent(history: SweepHistory, now: float) -> str | None:
    """That a limit is passed, in words; None where none is."""
    return next((bill.over for bill in bills(history, now) if bill.over), None)
