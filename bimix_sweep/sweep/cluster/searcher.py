"""Tune's searcher, which owns the Optuna study; the study is computed from the journal.

Tune calls `suggest` when a slot is free, in the same loop that receives the reports of all trials.
A proposal that waits for a fit is therefore decided in a thread, and Tune is told to ask again. The
searcher gives first the trials that an earlier driver left unfinished, then the proposals of the
sampler's planner, then the confirmation trials; afterwards the searcher tells Tune that the search
is finished. Tune saves nothing of the searcher: a driver that starts again builds the study anew
from the journal.
"""

import concurrent.futures
import math
import textwrap
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import optuna
from optuna.trial import TrialState, create_trial
from ray.tune.search import Searcher

from bimix_sweep.design.trial import Proposal
from bimix_sweep.errors import BimixSweepError
from bimix_sweep.sweep.coordinator.past_trials import PastTrial
from bimix_sweep.sweep.sampler import (
    PROPORTION,
    MixtureSampler,
    Planner,
    suggest_mixture,
    trial_name,
)
from bimix_sweep.sweep.workspace.redaction import masked

FINISHED = "FINISHED"
"""Tune's constant for a search that has nothing more to suggest (`Searcher.FINISHED`)."""
MAX_ATTEMPTS = 3
"""Number of times in a row, none with a new point, that Tune is given a trial before Tune's report
that the trial failed for good is accepted. Where a worker dies between two trials, Tune fails the
second one without a retry, because Tune retries only a trial that is RUNNING, and the second one is
still PENDING (Ray 2.60). A trial that is over according to the record ends at once."""
FIRST_SECONDS, AGAIN_SECONDS = 5.0, 0.02
"""Seconds that Tune's loop waits for a proposal at the first request, and at further requests. If
no proposal is ready when a trial ends, Tune releases its worker, or gives it a trial whose own
worker is starting and ends that worker, and a start costs CPU time. The loop therefore waits for a
fit, but not for a long one (docs/evidence.md)."""

MAX_WORDS = 300
"""Maximum number of characters of Tune's error in the reason of a trial's failure."""
RAMP_UP_TRIALS, RAMP_UP_SECONDS = 4, 10.0
"""Number of trials that begin alone, until one of them has a point or for at most so many seconds.
Workers that start together on few cores all become ready late (docs/evidence.md)."""


class SweepPlanner(Planner, Protocol):
    """A planner that also decides the end of a sweep."""

    def final(self, started: Collection[str]) -> Proposal | None:
        """Returns the next confirmation trial that is not in `started`.

        Returns:
            the proposal; None when running trials must end first, or when no confirmation trial is
            left.
        """
        ...

    def over(self) -> bool:
        """Returns whether every confirmation trial was decided."""
        ...


@dataclass(slots=True)
class _Attempt:
    """A trial that is given to Tune, after an error again while `number` < `MAX_ATTEMPTS`."""

    trial: optuna.Trial
    order: dict[str, Any]
    number: int = 1
    """Number of attempts since the last point of the trial."""
    lost: str = ""
    """The error with which the last attempt ended; "" without one."""


class SweepSearcher(Searcher):  # type: ignore[misc]
    """Asks one Optuna study for trials, gives these to Tune, and tells the study their results.

    Args:
        planner: proposes trials and decides the end of the sweep.
        domains: names of the domains.
        name: name of the study.
        past: all trials of the journal; the unfinished ones are given to Tune first.
        slots: returns how many trials may run at a time; None for no limit.
    """

    def __init__(
        self,
        planner: SweepPlanner,
        domains: Sequence[str],
        name: str,
        past: Sequence[PastTrial] = (),
        slots: Callable[[], int] | None = None,
    ) -> None:
        super().__init__()
        self._planner, self._slots = planner, slots
        self._domains = tuple(domains)
        self._sampler = MixtureSampler(planner, domains)
        self._running: dict[str, _Attempt] = {}
        self._again: list[_Attempt] = []
        self._unfinished = [trial for trial in past if trial.state == "running"]
        self._started = {trial.proposal.trial for trial in past}
        # The number of trials in the study; the study itself would copy all of them to count them.
        self._number = len(past) - len(self._unfinished)
        self._deciding: concurrent.futures.Future[tuple[Proposal | None, str, bool]] | None = None
        self._over = False  # True: nothing is left to decide
        self._ramp_up_until = math.inf  # a finite time once the first trial was given
        self.error: BimixSweepError | None = None
        """The error that ended the search early; None without one."""
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.study = optuna.create_study(
            study_name=name, direction="minimize", sampler=self._sampler
        )
        for trial in past:
            if trial.state != "running":
                self.study.add_trial(self._frozen(trial))

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Returns the order of a trial, None if Tune shall ask again, or `FINISHED`.

        An error of this package is kept in `error` and finishes the search.
        """
        try:
            return self._suggest(trial_id)
        except BimixSweepError as error:
            self.error = error
            return FINISHED

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Notes that a trial has a new point; this also ends the wait for the first point."""
        self._ramp_up_until = 0.0
        if trial_id in self._running:
            self._running[trial_id].number = 0  # the next attempt is number 1 without a point

    def lost(self, trial_id: str, words: str) -> None:
        """Keeps the error of a trial.

        The scheduler calls it just before Tune calls `on_trial_complete` without the text of the
        error.
        """
        if trial_id in self._running:
            self._running[trial_id].lost = textwrap.shorten(
                masked(words), MAX_WORDS, placeholder=" ..."
            )

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tells the study the result of a trial, or keeps the trial for another attempt."""
        attempt = self._running.pop(trial_id, None)
        if attempt is None:
            return
        if error and attempt.number < MAX_ATTEMPTS:
            attempt.number += 1
            self._again.append(attempt)
            return
        trial = attempt.trial
        objective = (result or {}).get("objective")
        reason = (result or {}).get("failed")
        if error and reason is None:
            reason = "its worker failed too often" + (
                f", the last time with: {attempt.lost}" if attempt.lost else ""
            )
        try:
            if reason is None and objective is not None:
                self.study.tell(trial, objective)
            else:
                trial.set_user_attr("failed", reason or "it ended without a point")
                self.study.tell(trial, state=TrialState.FAIL)
        except BimixSweepError as problem:
            self.error = problem

    def save(self, checkpoint_path: str) -> None:
        """Saves nothing, because the journal is the record."""

    def restore(self, checkpoint_path: str) -> None:
        """Restores nothing, because the journal is the record."""

    def _suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if self.error is not None:
            return FINISHED
        if self._slots is not None and len(self._running) >= self._slots():
            return None
        if len(self._running) >= RAMP_UP_TRIALS and time.monotonic() < self._ramp_up_until:
            return None
        attempt = self._again.pop(0) if self._again else self._new()
        if attempt is None:
            # A running trial may have to be given to Tune again, so the search is not finished.
            return FINISHED if self._over and not self._running else None
        self._running[trial_id] = attempt
        if self._ramp_up_until == math.inf:
            self._ramp_up_until = time.monotonic() + RAMP_UP_SECONDS
        return dict(attempt.order)

    def _new(self) -> _Attempt | None:
        """Returns a trial that this driver has not given to Tune yet; None if there is none now."""
        if self._over:
            return None
        if self._unfinished:
            past = self._unfinished.pop(0)
            proposal, role = past.proposal, past.role
        else:
            decided = self._decided()
            if decided is None:
                return None
            following, role, self._over = decided
            if following is None:
                return None
            proposal = following
        self._sampler.give(proposal)
        trial = self.study.ask()
        mixture = suggest_mixture(trial, self._domains)
        for key, value in {
            "trial": proposal.trial,
            "role": role,
            "reason": proposal.reason,
            **proposal.at,
        }.items():
            trial.set_user_attr(key, value)
        self._started.add(proposal.trial)
        self._number += 1
        return _Attempt(
            trial=trial,
            order={
                "trial": proposal.trial,
                "role": role,
                "seed": proposal.seed,
                "mixture": mixture.as_dict(),
                **proposal.at,
            },
        )

    def _decided(self) -> tuple[Proposal | None, str, bool] | None:
        """Returns the result of `_decide`, which runs in a thread; None while it is not ready."""
        seconds: float | None = AGAIN_SECONDS
        if self._deciding is None:
            self._deciding, seconds = concurrent.futures.Future(), FIRST_SECONDS
            threading.Thread(
                target=_fulfil, args=(self._deciding, self._decide), name="proposal", daemon=True
            ).start()
        if not self._running:  # no trial needs Tune's loop, so wait without a limit
            seconds = None
        concurrent.futures.wait([self._deciding], timeout=seconds)
        if not self._deciding.done():
            return None
        decided, self._deciding = self._deciding, None
        return decided.result()

    def _decide(self) -> tuple[Proposal | None, str, bool]:
        """Returns the next proposal (or None), its role, and whether nothing is left to decide."""
        if (proposal := self._planner.propose(trial_name(self._number))) is not None:
            return proposal, "sweep", False
        proposal = self._planner.final(self._started)
        return proposal, "confirmation", proposal is None and self._planner.over()

    def _frozen(self, past: PastTrial) -> optuna.trial.FrozenTrial:
        """Returns a past trial as a trial of the study that has ended."""
        proportions = past.proposal.mixture.as_array(self._domains).tolist()
        finished = past.state == "finished" and past.objective is not None
        return create_trial(
            state=TrialState.COMPLETE if finished else TrialState.FAIL,
            value=past.objective if finished else None,
            params=dict(zip(self._domains, proportions, strict=True)),
            distributions=dict.fromkeys(self._domains, PROPORTION),
            user_attrs={
                "trial": past.proposal.trial,
                "role": past.role,
                "reason": past.proposal.reason,
                **past.proposal.at,
            },
        )


def _fulfil(future: "concurrent.futures.Future[Any]", call: Callable[[], Any]) -> None:
    """Gives a future the value that a call returns, or the error that it raises."""
    try:
        future.set_result(call())
    except Exception as error:  # noqa: BLE001 - it is raised where the future is read
        future.set_exception(error)
