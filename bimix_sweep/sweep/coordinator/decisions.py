"""Makes the decisions of a sweep from all recorded points.

The decisions are the next trial, whether to stop, the confirmation trials, and background refits
for viewers. Only one decision is computed at a time. Its result is entered in the journal before
the caller gets it.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, replace

from bimix_sweep.design.stopping import Decision
from bimix_sweep.design.trial import FINAL, Proposal
from bimix_sweep.errors import BimixSweepError, SweepError
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.sweep.coordinator.progress_log import SweepLog
from bimix_sweep.sweep.coordinator.replicas import Copies
from bimix_sweep.sweep.history.budget import no_final, no_more
from bimix_sweep.sweep.history.confirmation_trials import (
    PAIRS,
    final_mixtures,
    final_trainings,
    reference_mixtures,
    stands_for,
)
from bimix_sweep.sweep.history.events import proposal_event, refit_event
from bimix_sweep.sweep.history.history import SweepHistory
from bimix_sweep.sweep.history.retries import advice
from bimix_sweep.sweep.history.snapshot import describe

REFIT_GROWTH = 0.01
"""Proportion of new points from which a background refit is worth its place in the journal."""


class Decider:
    """Makes the decisions of one sweep."""

    def __init__(self, copies: Copies, log: SweepLog, folder: str) -> None:
        self._copies, self._log, self._folder = copies, log, folder
        self._told = len(copies.brain.state.history)  # number of refits in the journal
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
        with self._copies.thinking() as brain:
            if trial in brain.proposals:
                return brain.proposals[trial]
            if len(self.failures) >= max(3, brain.spec.slots):
                raise SweepError(
                    f"the last {len(self.failures)} trials failed, the last with: "
                    f"{self.failures[-1].rstrip('.')}; {advice(brain, self._folder)}"
                )
            decision = brain.state.decide()
            self._tell_refits("proposal")
            if not decision.stop and (reason := self._told_of_budget(no_more)):
                decision = replace(decision, stop=True, reason=f"{reason}; {decision.reason}")
                brain.state.restore_decision(decision)
            if decision.stop and brain.decision is None:
                self._copies.enter({"kind": "decision", "decision": asdict(decision)})
                self._log.say(f"no more mixtures: {decision.reason}")
            proposal = brain.state.propose(trial)
            if proposal is not None:
                self._copies.enter(proposal_event(proposal, "sweep"))
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
        with self._copies.thinking() as brain:
            decided, ran = brain.finals is not None, brain.running(FINAL)
            for trial in sorted(trials, key=lambda name: brain.state.trials[name].role == FINAL):
                record = brain.state.trials[trial]
                reopened = decided and brain.finals is None
                if record.state != "failed" or (reopened and record.role == FINAL):
                    continue
                if reason := self._told_of_budget(no_final if record.role == FINAL else no_more):
                    self._log.say(f"{trial} is not tried again: {reason}")
                    continue
                self._copies.enter({"kind": "retry", "trial": trial, "reopens": reopens})
                self._copies.catch_up()
                tried.append(trial)
            if decided and brain.finals is None and ran:
                self._log.say(
                    "the end of the sweep is decided anew, so the final trials "
                    f"{', '.join(ran)} are ended; losses of them are not taken any more"
                )
        return tried

    def decide(self) -> Decision:
        """Decides from all recorded points whether to stop."""
        with self._copies.thinking() as brain:
            decision = brain.state.decide()
            self._tell_refits("proposal")
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
        with self._copies.thinking() as brain:
            if brain.finals is None and not brain.running("sweep"):
                self._settle_finals()
            planned = (
                reference_mixtures(brain.spec) if brain.finals is None else brain.finals["mixtures"]
            )
            for trial, seed, entry in final_trainings(brain, planned):
                if trial in started:
                    continue
                if trial not in brain.proposals:
                    proposal = Proposal(
                        trial=trial,
                        mixture=Mixture.from_mapping(entry["mixture"]),
                        reason=f"final: {', '.join(entry['labels'])}",
                        seed=seed,
                        num_points=brain.num_points,
                    )
                    reason = self._told_of_budget(no_final)
                    self._copies.enter(proposal_event(proposal, "final"))
                    if reason is not None:
                        ended = {"state": "failed", "reason": reason, "cause": "budget"}
                        self._copies.enter({"kind": "end", "trial": trial, **ended})
                        self._log.fail(trial, reason)
                    self._copies.catch_up()
                    if reason is not None:
                        continue
                return brain.proposals[trial]
            return None

    def refit_between(self) -> float:
        """Fits a law for viewers if enough points are new.

        Returns:
            Duration of the refit in seconds; 0 if there was none.
        """
        seconds = 0.0
        try:
            with self._copies.thinking() as brain:
                seen = brain.state.history[-1].num_points if brain.state.history else 0
                if brain.finals is None and brain.num_points >= seen + max(
                    1.0, REFIT_GROWTH * seen
                ):
                    seconds = brain.state.refit(watching=True).seconds
                    self._tell_refits("watch")
        except BimixSweepError as error:  # the next proposal raises the same error
            self._log.say(f"no refit: {error}")
        return seconds

    # internal parts

    def _told_of_budget(self, question: Callable[[SweepHistory, float], str | None]) -> str | None:
        """Answer of a function of `budget` for the present state; None without limits in hours."""
        with self._copies.looking() as front:
            return question(front, front.clock.now()) if front.spec.limited else None

    def _tell_refits(self, by: str) -> None:
        """Journals and logs the refits of `brain` that were not yet; called inside `thinking`."""
        history = self._copies.brain.state.history
        for number in range(self._told, len(history)):
            self._log.refit(number + 1, history[number])
            self._copies.enter(refit_event(history[number], self._copies.brain.num_over, by))
        self._told = len(history)

    def _settle_finals(self) -> None:
        brain = self._copies.brain
        # a fit from scratch gives the same law for the same points, whatever happened before
        refit = brain.state.refit(anew=True)
        self._tell_refits("end")
        law, optimum = refit.law, refit.optimum
        if law is None or optimum is None:
            trials = [r for r in brain.state.trials.values() if r.role == "sweep"]
            finished = sum(record.state == "finished" for record in trials)
            raise SweepError(
                f"{finished} of {len(trials)} trials finished, too few for a law; "
                f"{advice(brain, self._folder)}"
            )
        mixtures = final_mixtures(brain, optimum.mixture)
        optimum_said = f"the predicted optimum {describe(optimum.mixture.as_dict())}"
        if (distance := stands_for(brain, mixtures, optimum.mixture)) is None:
            self._log.say(f"{optimum_said} is trained beside the others, {PAIRS} seeds each")
        else:
            self._log.say(
                f"{optimum_said} is not trained anew: earlier final trainings stand for it, "
                f"distance {distance:.3f}"
            )
        self._copies.enter(
            {
                "kind": "finals",
                "law": law.to_json(),
                "num_points": refit.num_points,
                "mixtures": mixtures,
            }
        )
        self._copies.catch_up()
