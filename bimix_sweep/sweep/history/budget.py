"""The budget in hours, a hard limit: hours used, hours reserved, and the expected cost of a trial.

A further mixture is proposed only if its expected hours fit under the limit together with three
other amounts: the hours used, the hours that running trials will use, and a reserve for the
confirmation trials. `cost_model` estimates the cost of a trial. The next trial is priced at its own
fidelity if that is already known, as it is for the initial trials, and otherwise at the target
fidelity, which is the fidelity of the confirmation trials.

An estimate from cheaper trials never ends a search. Until a trial at the target fidelity has shown
its cost, only hours that were really used count. Trials still running when the limit is reached are
stopped, and the sweep ends with the results that it has.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from bimix_sweep.sweep.history.confirmation_trials import (
    confirmation_trials,
    max_confirmation_trials,
    planned_mixtures,
)
from bimix_sweep.sweep.history.cost_model import Prices
from bimix_sweep.sweep.history.history import SweepHistory

UNITS = ("core", "GPU")
"""Units of the hours, for `budget.core_hours` and `budget.gpu_hours`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """The budget in hours of one unit."""

    unit: str
    limit: float
    spent: float
    """Hours that all attempts at all trials have used until now."""
    promised: float
    """Further hours that running trials are expected to use."""
    expected: float
    """Expected hours of one trial at the target fidelity; 0 while nothing is known."""
    expected_next: float
    """Expected hours of the trial of the next mixture."""
    measured: bool
    """Whether a trial at the target fidelity has recorded a point, so `expected` is measured."""
    num_confirmation_trials: int
    """Largest number of confirmation trials that are still to be proposed."""

    @property
    def over(self) -> str | None:
        """Message that the limit is reached; None if it is not."""
        return (
            f"the budget of {self.limit:g} {self.unit}-hours is spent"
            if self.spent >= self.limit
            else None
        )

    def no_more(self) -> str | None:
        """Why no further mixture fits into the budget; None if one fits.

        The confirmation trials still to come are reserved.
        """
        if self.expected_next == self.expected:
            return self._refusal(
                self.expected * (1 + self.num_confirmation_trials),
                f"{1 + self.num_confirmation_trials} more of about {self.expected:.3g} each",
            )
        return self._refusal(
            self.expected_next + self.expected * self.num_confirmation_trials,
            f"1 more of about {self.expected_next:.3g} and {self.num_confirmation_trials} "
            f"confirmation trials of about {self.expected:.3g} each",
        )

    def no_final(self) -> str | None:
        """Why no further confirmation trial fits into the budget; None if one fits."""
        return self._refusal(self.expected, f"1 more of about {self.expected:.3g} each")

    def _refusal(self, needed: float, what: str) -> str | None:
        if self.over:
            return self.over
        if not self.measured or self.spent + self.promised + needed <= self.limit:
            return None
        promised = f", {self.promised:.3g} promised to running trials" if self.promised else ""
        return (
            f"the budget of {self.limit:g} {self.unit}-hours is spent: {self.spent:.3g} "
            f"used{promised}, and {what} do not fit"
        )


def bills(history: SweepHistory, now: float) -> Iterator[Bill]:
    """Yields one bill for each unit that has a limit.

    Args:
        history: history of the sweep.
        now: seconds since 1970.
    """
    if not history.spec.limited:
        return
    limits = (history.spec.core_hours, history.spec.gpu_hours)
    records, running = history.state.trials, history.running()
    since = history.hours.since_last_sign(now)
    planned = planned_mixtures(history)
    decided = [trial for trial, _, _ in confirmation_trials(history, planned) if trial in records]
    num_confirmation_trials = (
        max_confirmation_trials(history.spec)
        if history.confirmation is None
        else sum(1 for _ in confirmation_trials(history, planned))
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
            max(0.0, prices.of(records[name].fidelity) - used.get(name, 0.0)) for name in running
        )
        yield Bill(
            unit=unit,
            limit=limit,
            spent=history.hours.lost[index] + sum(used.values()),
            promised=promised,
            expected=prices.of(history.spec.target_fidelity),
            expected_next=prices.of(history.state.next_fidelity),
            measured=prices.measured(history.spec.target_fidelity),
            num_confirmation_trials=num_confirmation_trials,
        )


def no_more(history: SweepHistory, now: float) -> str | None:
    """Why no further mixture fits into the budget; None if one fits.

    The confirmation trials still to come are reserved.
    """
    return next((reason for bill in bills(history, now) if (reason := bill.no_more())), None)


def no_final(history: SweepHistory, now: float) -> str | None:
    """Why no further confirmation trial fits into the budget; None if one fits."""
    return next((reason for bill in bills(history, now) if (reason := bill.no_final())), None)


def overspent(history: SweepHistory, now: float) -> str | None:
    """Message that a limit is reached; None if no limit is."""
    return next((bill.over for bill in bills(history, now) if bill.over), None)
