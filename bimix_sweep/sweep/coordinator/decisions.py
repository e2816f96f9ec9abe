"""Makes the decisions of a sweep from all recorded points.

The decisions are the next trial, whether to stop, the confirmation trials, and background refits
for viewers. Only one decision is computed at a time. Its result is entered in the journal before
the caller gets it.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from bimix_sweep.design.stopping import Decision
from bimix_sweep.design.trial import CONFIRMATION, Proposal
from bimix_sweep.errors import BimixSweepError, SweepError
from bimix_sweep.law.optimum.answer import best_mixture
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.sweep.coordinator.progress_log import SweepLog
from bimix_sweep.sweep.coordinator.replicas import Replicas
from bimix_sweep.sweep.history.budget import no_final, no_more
from bimix_sweep.sweep.history.confirmation_trials import (
    PAIRS,
    confirmation_mixtures,
    confirmation_trials,
    nearest_confirmation,
    planned_mixtures,
)
from bimix_sweep.sweep.history.event_fields import ConfirmationMixture, RefitPurpose, StoredDecision
from bimix_sweep.sweep.history.events import (
    ConfirmationEvent,
    DecisionEvent,
    EndEvent,
    ProposalEvent,
    RefitEvent,
    RetryEvent,
)
from bimix_sweep.sweep.history.history import SweepHistory
from bimix_sweep.sweep.history.retries import advice
from bimix_sweep.sweep.history.snapshot import describe

REFIT_GROWTH = 0.01
"""Proportion of new points from which a background refit is worth its place in the journal."""


class Decisions:
    """Makes the decisions of one sweep."""

    def __init__(self, replicas: Replicas, log: SweepLog, folder: str) -> None:
        self._replicas, self._log, self._folder = replicas, log, folder
        # number of refits that are in the journal
        self._num_recorded = len(replicas.planning_replica.state.history)
        self.failures: list[str] = []
        """Reasons of the failures since the last trial that finished."""

    def propose(self, trial: str) -> Proposal | None:
        """Decides the next trial from all recorded points.

        Args:
            trial: its name; a name that has a proposal gets the same proposal again.

        Returns:
            The proposal; None if the sweep is settled or its budget is spent.

        Raises:
            SweepError: too many consecutive trials failed.
        """
        with self._replicas.planning() as planning_replica:
            if trial in planning_replica.proposals:
                return planning_replica.proposals[trial]
            if len(self.failures) >= max(3, planning_replica.spec.slots):
                raise SweepError(
                    f"the last {len(self.failures)} trials failed, the last with: "
                    f"{self.failures[-1].rstrip('.')}; {advice(planning_replica, self._folder)}"
                )
            decision = planning_replica.state.decide()
            self._record_refits("proposal")
            if not decision.stop and (reason := self._over_budget(no_more)):
                decision = replace(decision, stop=True, reason=f"{reason}; {decision.reason}")
                planning_replica.state.restore_decision(decision)
            if decision.stop and planning_replica.decision is None:
                self._replicas.enter(DecisionEvent(decision=StoredDecision.of(decision)))
                self._log.say(f"no more mixtures: {decision.reason}")
            proposal = planning_replica.state.propose(trial)
            if proposal is not None:
                self._replicas.enter(ProposalEvent.of(proposal, "sweep"))
            return proposal

    def retry(self, trials: Sequence[str], *, reopens: bool) -> list[str]:
        """Runs failed trials again, as far as a budget in hours allows.

        Args:
            trials: names of trials; trials that have not failed are skipped.
            reopens: if a trial of the search runs again, confirmation trials that were decided are
                decided again.

        Returns:
            Names of the trials that run from now on.
        """
        tried: list[str] = []
        with self._replicas.planning() as planning_replica:
            decided, ran = (
                planning_replica.confirmation is not None,
                planning_replica.running(CONFIRMATION),
            )
            for trial in sorted(
                trials, key=lambda name: planning_replica.state.trials[name].role == CONFIRMATION
            ):
                record = planning_replica.state.trials[trial]
                reopened = decided and planning_replica.confirmation is None
                if record.state != "failed" or (reopened and record.role == CONFIRMATION):
                    continue
                if reason := self._over_budget(
                    no_final if record.role == CONFIRMATION else no_more
                ):
                    self._log.say(f"{trial} is not tried again: {reason}")
                    continue
                self._replicas.enter(RetryEvent(trial=trial, reopens=reopens))
                self._replicas.catch_up()
                tried.append(trial)
            if decided and planning_replica.confirmation is None and ran:
                self._log.say(
                    "the end of the sweep is decided again, so the confirmation trials "
                    f"{', '.join(ran)} are ended; their losses are no longer recorded"
                )
        return tried

    def decide(self) -> Decision:
        """Decides from all recorded points whether to stop."""
        with self._replicas.planning() as planning_replica:
            decision = planning_replica.state.decide()
            self._record_refits("proposal")
            return decision

    def final(self, started: Collection[str]) -> Proposal | None:
        """The next confirmation trial that is not in `started`.

        The uniform and the natural mixture do not depend on the outcome, so their trials fill slots
        while the last trials of the search run.

        Args:
            started: names of the trials that the caller has started; an answer that was lost with
                this process is given again.

        Returns:
            The proposal; None while trials of the search must end first, or if there are no more.

        Raises:
            SweepError: no law could be fitted.
        """
        with self._replicas.planning() as planning_replica:
            if planning_replica.confirmation is None and not planning_replica.running("sweep"):
                self._record_confirmation()
            planned = planned_mixtures(planning_replica)
            for trial, seed, entry in confirmation_trials(planning_replica, planned):
                if trial in started:
                    continue
                if trial in planning_replica.proposals or self._record_trial(trial, seed, entry):
                    return planning_replica.proposals[trial]
            return None

    def refit_between(self) -> float:
        """Fits a law for viewers if enough points are new.

        Returns:
            Duration of the refit in seconds; 0 if there was none.
        """
        seconds = 0.0
        try:
            with self._replicas.planning() as planning_replica:
                seen = (
                    planning_replica.state.history[-1].num_points
                    if planning_replica.state.history
                    else 0
                )
                if (
                    planning_replica.confirmation is None
                    and planning_replica.state.trial_record.num_points
                    >= seen + max(1.0, REFIT_GROWTH * seen)
                ):
                    seconds = planning_replica.state.refit(watching=True).seconds
                    self._record_refits("watch")
        except BimixSweepError as error:  # the next proposal raises the same error
            self._log.say(f"no refit: {error}")
        return seconds

    # internal parts

    def _record_trial(self, trial: str, seed: int, entry: ConfirmationMixture) -> bool:
        """Records a confirmation trial; False if the budget ends it at once.

        Called inside `planning`.
        """
        proposal = Proposal(
            trial=trial,
            mixture=Mixture.from_mapping(entry.mixture),
            reason=f"confirmation: {', '.join(entry.labels)}",
            seed=seed,
            num_points=self._replicas.planning_replica.state.trial_record.num_points,
        )
        reason = self._over_budget(no_final)
        self._replicas.enter(ProposalEvent.of(proposal, "confirmation"))
        if reason is not None:
            self._replicas.enter(
                EndEvent(trial=trial, state="failed", reason=reason, cause="budget")
            )
            self._log.fail(trial, reason)
        self._replicas.catch_up()
        return reason is None

    def _over_budget(self, judge: Callable[[SweepHistory, float], str | None]) -> str | None:
        """Answer of a function of `budget` for the present state; None without limits in hours."""
        with self._replicas.reading() as write_replica:
            return (
                judge(write_replica, write_replica.clock.now())
                if write_replica.spec.limited
                else None
            )

    def _record_refits(self, by: RefitPurpose) -> None:
        """Journals and logs the refits of `planning_replica` that were not yet; called inside `planning`."""
        history = self._replicas.planning_replica.state.history
        for number in range(self._num_recorded, len(history)):
            self._log.refit(number + 1, history[number])
            self._replicas.enter(
                RefitEvent.of(
                    history[number], self._replicas.planning_replica.state.trial_record.num_over, by
                )
            )
        self._num_recorded = len(history)

    def _record_confirmation(self) -> None:
        planning_replica = self._replicas.planning_replica
        # a fit from scratch gives the same law for the same points, whatever happened before
        refit = planning_replica.state.refit(anew=True)
        self._record_refits("end")
        law = refit.law
        if law is None or refit.optimum is None:
            trials = [r for r in planning_replica.state.trials.values() if r.role == "sweep"]
            finished = sum(record.state == "finished" for record in trials)
            raise SweepError(
                f"{finished} of {len(trials)} trials finished, too few for a law; "
                f"{advice(planning_replica, self._folder)}"
            )
        problem = planning_replica.spec.problem(planning_replica.first.name, refit.num_points)
        chosen = best_mixture(law, problem).mixture
        mixtures = confirmation_mixtures(planning_replica, chosen)
        what = f"the predicted optimum {describe(chosen.as_dict())}"
        if (distance := nearest_confirmation(planning_replica, mixtures, chosen)) is None:
            self._log.say(f"{what} is trained beside the others, {PAIRS} seeds each")
        else:
            self._log.say(
                f"{what} is not trained again: earlier confirmation trials are reused for it, "
                f"distance {distance:.3f}"
            )
        self._replicas.enter(
            ConfirmationEvent(law=law.to_json(), num_points=refit.num_points, mixtures=mixtures)
        )
        self._replicas.catch_up()
