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

import math
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bimix_sweep.design.fidelity import Fidelity
from bimix_sweep.design.initial_design import initial_mixture, repeated_mixture
from bimix_sweep.design.new_domains import NUM_JOINED, holding_mixture, lacking
from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.design.proposal_policy import ProposalPolicy
from bimix_sweep.design.refit_schedule import due, in_window
from bimix_sweep.design.stopping import Decision
from bimix_sweep.design.trial import CONFIRMATION, Proposal
from bimix_sweep.design.trial_record import SweepRecord
from bimix_sweep.law.fitting.warm_start import WarmStart
from bimix_sweep.law.optimum.optimal_mixture import Optimum, optimal_mixture
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.mixture.simplex import total_variation
from bimix_sweep.seeding import rng, seed_for


@dataclass(frozen=True, slots=True, kw_only=True)
class Refit:
    """Result of one fit to the points recorded so far."""

    num_points: int
    """Number of points recorded."""
    num_trials: int
    """Number of trials with at least one of these points."""
    law: FittedLaw | None
    """The fitted law; None where the points determine none, and in every refit but the last,
    because laws are large."""
    optimum: Optimum | None
    """Predicted optimum of the law; None without a law."""
    decision: Decision
    """Whether to stop."""
    seconds: float
    """Wall time of the refit, seconds."""


class SweepState(SweepRecord):
    """State of a sweep and the planner on top of it. It plans trials and runs none."""

    def __init__(self, spec: SweepSpec) -> None:
        super().__init__(spec)
        self.history: list[Refit] = []
        self.stopped: Decision | None = None
        self._policy = ProposalPolicy(self)
        self._num_counted = 0  # ended trials at the last counting refit
        self._watched: WarmStart | None = None  # of the last counting refit

    # state changes

    def restore_proposal(self, proposal: Proposal) -> None:
        """Adds a proposal read from the journal. Nothing is computed."""
        self.add_trial(proposal, "sweep")
        if proposal.fit:
            over = int(proposal.fit.get("num_over", self.num_over))
            self._policy.refits.append(
                self.position(proposal.num_points, over, len(self.proposals)), proposal.fit
            )
        self.proposals.append(proposal)

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
        super().retry(trial)
        if self.trials[trial].role == CONFIRMATION:
            return
        self._policy, self._watched = ProposalPolicy(self), None
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
        super().change(spec, renamed=renamed, dropped=dropped, ended=ended)
        self.history, self.stopped = [], None
        self._policy, self._watched, self._num_counted = ProposalPolicy(self), None, 0

    # proposals and decisions

    @property
    def next_fidelity(self) -> Fidelity:
        """Fidelity of the next proposal; the target fidelity, the most expensive one, where the law
        will choose it."""
        return self._first_fidelity() or self.spec.target_fidelity

    def propose(self, trial: str) -> Proposal | None:
        """Returns the next trial, which is running from now on; None when the sweep stopped or its
        budget is spent.

        A second call with the same name returns the same proposal.
        """
        if trial in self.trials:
            return next((proposal for proposal in self.proposals if proposal.trial == trial), None)
        if self.stopped or self.num_proposed >= self.spec.max_trials:
            return None
        generator = rng(self.spec.seed, "proposal", len(self.proposals))
        found = self._policy.law() if self._first_fidelity() is None else None
        fit: dict[str, Any] = {}
        if found is None:
            mixture, reason, fidelity = self._first_mixture(generator)
        else:
            fit = self._policy.refits.warm_start(*found)
            mixture, reason, fidelity = self._policy.choose(*found, generator)
        proposal = Proposal(
            trial=trial,
            mixture=mixture,
            reason=reason,
            seed=self._seed(mixture, fidelity),
            num_points=self.num_points,
            fit=fit,
            size=fidelity.size if self.spec.smaller else None,
            steps=int(fidelity.steps) if self.spec.shorter else None,
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
        evidence = self.evidence()
        law = self.fit(
            "refit",
            evidence if anew else in_window(evidence),
            self.num_points,
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
        spent = self.num_over >= self.spec.max_trials
        needed = 1 if spent else due(self.num_over, self.spec.slots)
        if not self.history or self.num_over - self._num_counted >= needed:
            found = self._policy.refits.law_of(self.now())
            refit = self._judged(found[1] if found else None)
        else:
            refit = self.history[-1]
        if refit.decision.stop:
            self.stopped = refit.decision
        return refit.decision

    # helpers

    def _judged(self, law: FittedLaw | None, *, watching: bool = False) -> Refit:
        start, optimum = time.perf_counter(), None
        over = [
            record
            for record in self.trials.values()
            if record.role == "sweep" and record.state != "running"
        ]
        before = self.history[-1] if self.history else None
        figures: dict[str, float] = {}
        if law:
            optimum = optimal_mixture(
                law,
                self.spec.domains,
                weights=self.spec.weights,
                objective=self.spec.objective,
                step=self.spec.steps,
                size=self.spec.size,
                generator=rng(self.spec.seed, "optimum", self.num_points),
            )
            regret = {
                "regret_expected": optimum.regret.expected,
                "regret_upper95": optimum.regret.upper95,
            }
            figures = {
                name: value for name, value in regret.items() if math.isfinite(value)
            }  # a value that overflowed is not known
            if before and before.optimum:
                figures["movement_tv"] = total_variation(
                    optimum.mixture.as_array(), before.optimum.mixture.as_array()
                )
        counts, missing = len(over) > self._num_counted and not watching, self._lacking("finished")
        decision = self.spec.rule.judge(
            before.decision if before else None,
            num_finished=sum(record.state == "finished" for record in over),
            num_over=len(over),
            counts=counts,
            **({} if missing else figures),
        )
        if missing:
            said = ", ".join(
                f"{name} added and is held by {count} of {NUM_JOINED} finished trainings"
                for name, count in missing.items()
            )
            decision = replace(
                decision, reason=f"{decision.reason}; {said}" if decision.stop else said
            )
        if counts:
            self._num_counted, self._watched = len(over), WarmStart.of(law) if law else None
        refit = Refit(
            num_points=self.num_points,
            num_trials=len(self.evidence()),
            law=law,
            optimum=optimum,
            decision=decision,
            seconds=time.perf_counter() - start,
        )
        if before is not None:
            self.history[-1] = replace(before, law=None)
        self.history.append(refit)
        return refit

    def _first_fidelity(self) -> Fidelity | None:
        """Returns the fidelity of the next trial where it is one of the first trials or must hold
        added domains; None where the law chooses the fidelity."""
        if self._lacking("running", "finished"):
            return self.spec.fidelities[0]
        order = self.spec.initial_fidelities
        return order[self.num_proposed] if self.num_proposed < len(order) else None

    def _first_mixture(self, generator: np.random.Generator) -> tuple[Mixture, str, Fidelity]:
        """Returns a mixture, the reason and the fidelity, where no law chooses.

        A law may also be missing after the first trials: too few of them were measured, or their
        losses do not determine a law. In this case the next mixture of the initial design is
        trained at the cheapest fidelity. `next_fidelity` returns the target fidelity there: the budget
        check calls it before any fit and must reserve enough.
        """
        cheapest = self.spec.fidelities[0]
        fidelity, seen = self._first_fidelity() or cheapest, self.rows(self.trials)
        if names := tuple(self._lacking("running", "finished")):
            return *holding_mixture(self.spec.domains, names, seen, generator), fidelity
        if fidelity == cheapest:
            return *initial_mixture(self.spec.domains, seen, generator), fidelity
        first, there = (
            self.rows(n for n, r in self.trials.items() if r.role == "sweep" and r.fidelity == s)
            for s in (cheapest, fidelity)
        )
        return (
            repeated_mixture(self.spec.domains, first, there),
            f"initial: again {fidelity.beyond(cheapest)}",
            fidelity,
        )

    def _lacking(self, *states: str) -> dict[str, int]:
        """Returns the added domains that too few of the sweep's trials in these states hold:
        {domain: number of trials that hold it}."""
        return lacking(
            self.spec.domains,
            self.added,
            (r for r in self.trials.values() if r.role == "sweep" and r.state in states),
        )

    def _seed(self, mixture: Mixture, fidelity: Fidelity) -> int:
        at_scale = [name for name, record in self.trials.items() if record.fidelity == fidelity]
        shares = mixture.as_array(self.spec.domains.names)
        earlier = int(self.spec.domains.same(self.rows(at_scale), shares).sum())
        return seed_for(self.spec.seed, "training", earlier)
