"""The planning loop of a sweep, without a cluster: it proposes trials, records their losses, refits
the law and decides when to stop.

A trial passes through three stages. `propose` names its mixture and seed, and the trial is running
from then on; `record` adds a point of its loss curve; `finish` or `abandon` ends the trial. `refit`
fits the law for a person, `decide` says whether to stop.

The loop is a function of the spec and of the sequence of calls. The warm-start state of each fit is
stored with the first proposal made from it (`design/refit_schedule.py`). Therefore a journal of
proposals, points and ends can be played back through `restore_proposal`, `record`, `finish` and
`abandon`, and the loop continues exactly as without an interruption. `refit` never changes the
refit schedule, so watching a sweep does not change it.
"""

import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from bimix_sweep.design.fidelity import Fidelity
from bimix_sweep.design.initial_policy import InitialPolicy
from bimix_sweep.design.new_domains import NUM_ADDED
from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.design.proposal_policy import ProposalPolicy
from bimix_sweep.design.refit import Refit, known_regret, optimum_of
from bimix_sweep.design.refit_schedule import due, in_window
from bimix_sweep.design.stopping import Decision
from bimix_sweep.design.trial import CONFIRMATION, Cause, Proposal, TrialRecord
from bimix_sweep.design.trial_record import SweepRecord
from bimix_sweep.law.fitting.warm_start import WarmStart
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.seeding import rng, seed_for


class SweepState:
    """State of a sweep: the record of its trials, the policies that propose further ones, and the
    refits. It plans trials and runs none."""

    def __init__(self, spec: SweepSpec, record: SweepRecord | None = None) -> None:
        """Makes the state of a sweep that has no trial yet; `record` is the empty record to keep
        its trials in, by default a `SweepRecord`."""
        self.trial_record = SweepRecord(spec) if record is None else record
        """The trials and their points."""
        self.history: list[Refit] = []
        """Refits, the last one with its law."""
        self.stopped: Decision | None = None
        """Decision to stop; None while the sweep goes on."""
        self._initial_policy = InitialPolicy(self.trial_record)
        self._policy = ProposalPolicy(self.trial_record)
        self._num_counted = 0  # ended trials at the last counting refit
        self._watched: WarmStart | None = None  # of the last counting refit

    @property
    def spec(self) -> SweepSpec:
        """Specification of the sweep."""
        return self.trial_record.spec

    @property
    def trials(self) -> dict[str, TrialRecord]:
        """{name: trial}, in the order in which they were added."""
        return self.trial_record.trials

    @property
    def proposals(self) -> list[Proposal]:
        """Proposals of the planning loop, in the order in which they were made."""
        return self.trial_record.proposals

    # state changes

    def add_trial(self, proposal: Proposal, role: str) -> None:
        """Adds a trial that the planning loop did not propose, as `SweepRecord.add_trial`."""
        self.trial_record.add_trial(proposal, role)

    def record(self, trial: str, step: int, losses: Mapping[str, float]) -> bool:
        """Adds one point of a loss curve, as `SweepRecord.record`."""
        return self.trial_record.record(trial, step, losses)

    def finish(self, trial: str) -> None:
        """Marks the trial as finished."""
        self.trial_record.finish(trial)

    def abandon(self, trial: str, reason: str, cause: Cause = "outside") -> None:
        """Marks the trial as failed, as `SweepRecord.abandon`."""
        self.trial_record.abandon(trial, reason, cause)

    def restore_proposal(self, proposal: Proposal) -> None:
        """Adds a proposal read from the journal. Nothing is computed."""
        record = self.trial_record
        record.add_trial(proposal, "sweep")
        if proposal.fit:
            over = int(proposal.fit.get("num_over", record.num_over))
            self._policy.refits.append(
                record.position(proposal.num_points, over, len(record.proposals)), proposal.fit
            )
        record.proposals.append(proposal)

    def restore_decision(self, decision: Decision) -> None:
        """Adds a decision read from the journal."""
        self.stopped = decision if decision.stop else None

    def forget_refits(self) -> None:
        """Removes all refits, so that the earlier ones can be restored, perhaps with new
        decisions."""
        self.history, self._num_counted = [], 0

    def restore_refit(self, refit: Refit, num_over: int, *, counted: bool) -> None:
        """Adds a refit read from the journal, so that the streak of `StoppingRule` continues.

        Args:
            refit: refit without law and optimum.
            num_over: number of trials that had ended at this refit.
            counted: the refit was made to decide, not to watch.
        """
        self.history.append(refit)
        if counted:
            self._num_counted = max(self._num_counted, num_over)

    def retry(self, trial: str, *, reopens: bool = True) -> None:
        """Starts a failed trial again from its beginning. Where the trial is not a confirmation
        trial, the next fit starts cold.

        Args:
            trial: name of the trial.
            reopens: whether a decision to stop is withdrawn.

        Raises:
            SweepError: as for `SweepRecord.retry`.
        """
        self.trial_record.retry(trial)
        if self.trials[trial].role == CONFIRMATION:
            return
        self._policy, self._watched = ProposalPolicy(self.trial_record), None
        if reopens:
            self.stopped = None

    def change(
        self,
        spec: SweepSpec,
        *,
        renamed: Mapping[str, str],
        dropped: Collection[str],
        ended: Mapping[str, str],
    ) -> None:
        """Continues with another spec, from any state of the sweep. The next fit starts cold, and a
        decision to stop is withdrawn.

        Arguments and errors as for `SweepRecord.change`.
        """
        self.trial_record.change(spec, renamed=renamed, dropped=dropped, ended=ended)
        self.history, self.stopped = [], None
        self._policy = ProposalPolicy(self.trial_record)
        self._watched, self._num_counted = None, 0

    # proposals and decisions

    @property
    def next_fidelity(self) -> Fidelity:
        """Fidelity of the next proposal; the target fidelity, the most expensive one, where the law
        will choose it."""
        return self._initial_policy.fidelity() or self.spec.target_fidelity

    def propose(self, trial: str) -> Proposal | None:
        """Returns the next trial, which is running from now on; None when the sweep stopped or its
        budget is spent.

        A second call with the same name returns the same proposal.
        """
        record, spec = self.trial_record, self.spec
        if trial in record.trials:
            return next(
                (proposal for proposal in record.proposals if proposal.trial == trial), None
            )
        if self.stopped or record.num_proposed >= spec.max_trials:
            return None
        generator = rng(spec.seed, "proposal", len(record.proposals))
        law = self._policy.law() if self._initial_policy.fidelity() is None else None
        fit: dict[str, Any] = {}
        if law is None:
            mixture, reason, fidelity = self._initial_policy.choose(generator)
        else:
            fit = self._policy.refits.warm_start(*law)
            mixture, reason, fidelity = self._policy.choose(*law, generator)
        proposal = Proposal(
            trial=trial,
            mixture=mixture,
            reason=reason,
            seed=self._seed(mixture, fidelity),
            num_points=record.num_points,
            fit=fit,
            size=fidelity.size if spec.smaller else None,
            steps=int(fidelity.steps) if spec.shorter else None,
        )
        self.restore_proposal(proposal)
        return proposal

    def refit(self, *, watching: bool = False, anew: bool = False) -> Refit:
        """Fits the law to all points, finds its optimum and judges whether to stop; the result is
        appended to `history`.

        Args:
            watching: the refit is for a person and does not count in the streak that stops the
                sweep.
            anew: the fit starts cold and uses all trials (without the window of
                `refit_schedule.in_window`), so that the law is a function of the points alone,
                whatever happened in the sweep.
        """
        evidence = self.trial_record.evidence()
        law = self.trial_record.fit(
            "refit",
            evidence if anew else in_window(evidence),
            self.trial_record.num_points,
            None if anew else self._watched,
        )
        return self._judged(law, watching=watching)

    def decide(self) -> Decision:
        """Says whether to stop, by the last refit. It refits first where enough trials have ended
        since then (`refit_schedule.due`). A decision to stop is final.

        The law is the one that proposals are made from (`design/refit_schedule.py`): one fit serves
        both, and a restart gives the same decision.
        """
        if self.stopped:
            return self.stopped
        record = self.trial_record
        spent = record.num_over >= self.spec.max_trials
        needed = 1 if spent else due(record.num_over, self.spec.slots)
        if not self.history or record.num_over - self._num_counted >= needed:
            current = self._policy.refits.law_of(record.now())
            refit = self._judged(current[1] if current else None)
        else:
            refit = self.history[-1]
        if refit.decision.stop:
            self.stopped = refit.decision
        return refit.decision

    # helpers

    def _judged(self, law: FittedLaw | None, *, watching: bool = False) -> Refit:
        """Makes a refit from a law, its optimum and the decision; appends it to `history`."""
        start, record = time.perf_counter(), self.trial_record
        over = [r for r in record.trials.values() if r.role == "sweep" and r.state != "running"]
        before = self.history[-1] if self.history else None
        optimum = optimum_of(self.spec, law, record.num_points) if law else None
        counts = len(over) > self._num_counted and not watching
        missing = self._initial_policy.lacking("finished")
        decision = self.spec.rule.judge(
            before.decision if before else None,
            num_finished=sum(trial.state == "finished" for trial in over),
            num_over=len(over),
            counts=counts,
            **({} if missing else known_regret(optimum, before)),
        )
        if missing:
            reason = ", ".join(
                f"{name} added and is held by {count} of {NUM_ADDED} finished trials"
                for name, count in missing.items()
            )
            decision = replace(
                decision, reason=f"{decision.reason}; {reason}" if decision.stop else reason
            )
        if counts:
            self._num_counted, self._watched = len(over), WarmStart.of(law) if law else None
        refit = Refit(
            num_points=record.num_points,
            num_trials=len(record.evidence()),
            law=law,
            optimum=optimum,
            decision=decision,
            seconds=time.perf_counter() - start,
        )
        if before is not None:
            self.history[-1] = replace(before, law=None)
        self.history.append(refit)
        return refit

    def _seed(self, mixture: Mixture, fidelity: Fidelity) -> int:
        """Returns the seed of the next trial with this mixture: the number of earlier trials with
        the same mixture and fidelity, hashed with the seed of the sweep."""
        record, domains = self.trial_record, self.spec.domains
        alike = [name for name, trial in record.trials.items() if trial.fidelity == fidelity]
        proportions = mixture.as_array(domains.names)
        earlier = int(domains.same(record.rows(alike), proportions).sum())
        return seed_for(self.spec.seed, "training", earlier)
