"""Tune's searcher: it owns the Optuna study, and the study is a view of the journal.

Tune asks `suggest` when a slot is free, in the loop that also hears of every training's reports. So a proposal that waits
for a fit is decided in a thread, and Tune is told to ask again. First come the trainings that an earlier driver left unfinished, then what the
sampler's planner proposes, then the final trainings; after them Tune is told that the search is finished. Nothing of it
is saved by Tune: a driver that starts again builds the study anew from the journal.
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
from bimix_sweep.sweep.history.history import PastTrial
from bimix_sweep.sweep.sampler import SHARE, MixtureSampler, Planner, suggest_mixture, trial_name
from bimix_sweep.sweep.workspace.redaction import masked

FINISHED = "FINISHED"
"""Tune's word for a search that has nothing more to suggest (`Searcher.FINISHED`)."""
TURNS = 3
"""Times in a row, none of which brought a point, that Tune is given a training before its word that it failed for good is taken. Where a worker
dies between two trainings, Tune fails the second one and tries nothing: it retries what is RUNNING, and that one is still PENDING (Ray 2.60). What the
record knows to be over ends at once."""
FIRST_SECONDS, AGAIN_SECONDS = 5.0, 0.02
"""How long Tune's loop waits for a proposal when it asks for it, and when it asks again. Where none is at hand when a training ends, Tune lets its worker
go, or has it take over a training whose own worker is starting and ends that one; and a start costs two seconds of a core. So the loop rather waits for a
fit, if not for a long one. With 64 instant trainings on two cores all workers were up after 107 s, and after 180 s where it waited for one second."""

MOST_WORDS = 300
"""Characters of Tune's error in the reason of a training's failure."""
SCOUTS, SCOUT_SECONDS = 4, 10.0
"""Trainings that begin alone, until one of them has a point or so long. Workers that start together on few cores come up together, late: resumed with 64
slots on two cores, the first of all began after 23 s."""


class SweepPlanner(Planner, Protocol):
    """A planner that also knows the end of a sweep."""

    def final(self, started: Collection[str]) -> Proposal | None:
        """The next final training that is not `started`; None when the running trainings must end first or there is no more."""
        ...

    def over(self) -> bool:
        """Every final training was decided."""
        ...


@dataclass(slots=True)
class _Turn:
    """One of Tune's trials for a training."""

    trial: optuna.Trial
    order: dict[str, Any]
    number: int = 1
    """Since its last point."""
    lost: str = ""
    """Of what the last of them ended with an error."""


class SweepSearcher(Searcher):  # type: ignore[misc]
    """Asks and tells one study."""

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
        self._running: dict[str, _Turn] = {}
        self._again: list[_Turn] = []
        self._unfinished = [trial for trial in past if trial.state == "running"]
        self._started = {trial.proposal.trial for trial in past}
        self._number = len(past) - len(
            self._unfinished
        )  # trials of the study, which copies all of them to count them
        self._deciding: concurrent.futures.Future[tuple[Proposal | None, str, bool]] | None = None
        self._over = False  # nothing is left to decide
        self._scouting_until = math.inf  # a time once the first training was given
        self.error: BimixSweepError | None = None
        """Why the search ended early."""
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.study = optuna.create_study(
            study_name=name, direction="minimize", sampler=self._sampler
        )
        for trial in past:
            if trial.state != "running":
                self.study.add_trial(self._frozen(trial))

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        try:
            return self._suggest(trial_id)
        except BimixSweepError as error:
            self.error = error
            return FINISHED

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self._scouting_until = 0.0
        if trial_id in self._running:
            self._running[trial_id].number = 0  # the next turn is the first without a point

    def lost(self, trial_id: str, words: str) -> None:
        """Said before `on_trial_complete` with an error, of which that is told nothing."""
        if trial_id in self._running:
            self._running[trial_id].lost = textwrap.shorten(
                masked(words), MOST_WORDS, placeholder=" ..."
            )

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        turn = self._running.pop(trial_id, None)
        if turn is None:
            return
        if error and turn.number < TURNS:
            turn.number += 1
            self._again.append(turn)
            return
        trial = turn.trial
        objective = (result or {}).get("objective")
        reason = (result or {}).get("failed")
        if error and reason is None:
            reason = "its worker failed too often" + (
                f", the last time with: {turn.lost}" if turn.lost else ""
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
        """Nothing: the journal is the record."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the journal is the record."""

    def _suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if self.error is not None:
            return FINISHED
        if self._slots is not None and len(self._running) >= self._slots():
            return None
        if len(self._running) >= SCOUTS and time.monotonic() < self._scouting_until:
            return None
        turn = self._again.pop(0) if self._again else self._new()
        if turn is None:
            return (
                FINISHED if self._over and not self._running else None
            )  # what runs may have to be given to Tune again
        self._running[trial_id] = turn
        if self._scouting_until == math.inf:
            self._scouting_until = time.monotonic() + SCOUT_SECONDS
        return dict(turn.order)

    def _new(self) -> _Turn | None:
        """A training that this driver has not given to Tune."""
        if self._over:
            return None
        if self._unfinished:
            past = self._unfinished.pop(0)
            proposal, role = past.proposal, past.role
        else:
            decided = self._decided()
            if decided is None:
                return None
            found, role, self._over = decided
            if found is None:
                return None
            proposal = found
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
        return _Turn(
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
        """What `_decide` found, None while it is at it."""
        seconds: float | None = AGAIN_SECONDS
        if self._deciding is None:
            self._deciding, seconds = concurrent.futures.Future(), FIRST_SECONDS
            threading.Thread(
                target=_settle, args=(self._deciding, self._decide), name="proposal", daemon=True
            ).start()
        if not self._running:  # nobody else needs Tune's loop
            seconds = None
        concurrent.futures.wait([self._deciding], timeout=seconds)
        if not self._deciding.done():
            return None
        decided, self._deciding = self._deciding, None
        return decided.result()

    def _decide(self) -> tuple[Proposal | None, str, bool]:
        """The next training and its role; where there is none, whether there never will be."""
        if (found := self._planner.propose(trial_name(self._number))) is not None:
            return found, "sweep", False
        found = self._planner.final(self._started)
        return found, "final", found is None and self._planner.over()

    def _frozen(self, past: PastTrial) -> optuna.trial.FrozenTrial:
        shares = past.proposal.mixture.as_array(self._domains).tolist()
        finished = past.state == "finished" and past.objective is not None
        return create_trial(
            state=TrialState.COMPLETE if finished else TrialState.FAIL,
            value=past.objective if finished else None,
            params=dict(zip(self._domains, shares, strict=True)),
            distributions=dict.fromkeys(self._domains, SHARE),
            user_attrs={
                "trial": past.proposal.trial,
                "role": past.role,
                "reason": past.proposal.reason,
                **past.proposal.at,
            },
        )


def _settle(future: "concurrent.futures.Future[Any]", call: Callable[[], Any]) -> None:
    """Give a future what a call returns or raises."""
    try:
        future.set_result(call())
    except Exception as error:  # noqa: BLE001 - it is raised where the future is read
        future.set_exception(error)
