"""The whole loop without a cluster: what was proposed, what was measured, what that says, what to run next.

The life of a trial: `propose` names its mixture and seed (it is running from then on), `record` adds a point of its curve,
`finish` or `abandon` ends it. `refit` looks at all of it for a person, `decide` says whether to stop.

Everything is a function of the spec and of the sequence of calls. Proposals carry the chain of their fits (`design/refit_schedule.py`); so
a journal of proposals, points and ends, played back through `restore_proposal`, `record`, `finish` and `abandon`, goes
on exactly as if nothing had happened. Refits never touch that chain, so watching a sweep does not change it.
"""

import math
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bimix_sweep.design.fidelity import Scale
from bimix_sweep.design.initial_design import initial_mixture, repeated_mixture
from bimix_sweep.design.new_domains import NUM_JOINED, holding_mixture, lacking
from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.design.proposal_policy import Chooser
from bimix_sweep.design.refit_schedule import due, in_view
from bimix_sweep.design.stopping import Decision
from bimix_sweep.design.trial import FINAL, Proposal
from bimix_sweep.design.trial_record import SweepRecord
from bimix_sweep.law.fitting.warm_start import WarmStart
from bimix_sweep.law.optimum.optimal_mixture import Optimum, optimal_mixture
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.mixture.simplex import total_variation
from bimix_sweep.seeding import rng, seed_for


@dataclass(frozen=True, slots=True, kw_only=True)
class Refit:
    """What the points recorded so far say."""

    num_points: int
    """Points recorded."""
    num_trials: int
    """Trainings with at least one of them."""
    law: FittedLaw | None
    """None while the points determine none; of the last refit only: laws are large."""
    optimum: Optimum | None
    """Of its law."""
    decision: Decision
    """Whether to stop."""
    seconds: float
    """Wall time it took."""


class SweepState(SweepRecord):
    """The loop of a sweep. It plans, it does not run anything."""

    def __init__(self, spec: SweepSpec) -> None:
        super().__init__(spec)
        self.history: list[Refit] = []
        self.stopped: Decision | None = None
        self._chooser = Chooser(self)
        self._num_counted = 0  # trainings over at the last refit that counted
        self._watched: WarmStart | None = None  # of that refit

    # what happened

    def restore_proposal(self, proposal: Proposal) -> None:
        """Take in a proposal made earlier, from the journal. Nothing is computed."""
        self.add_trial(proposal, "sweep")
        if proposal.fit:
            over = int(proposal.fit.get("num_over", self.num_over))
            self._chooser.chain.link(
                self.moment(proposal.num_points, over, len(self.proposals)), proposal.fit
            )
        self.proposals.append(proposal)

    def restore_decision(self, decision: Decision) -> None:
        """Take in a decision made earlier, from the journal."""
        self.stopped = decision if decision.stop else None

    def forget_refits(self) -> None:
        """Before the earlier refits are restored, perhaps judged anew."""
        self.history, self._num_counted = [], 0

    def restore_refit(self, refit: Refit, num_over: int, *, counted: bool) -> None:
        """Take in a refit made earlier, from the journal, so that the streak goes on where it was.

        Args:
            refit: without law and optimum.
            num_over: trainings that had ended then.
            counted: it was made to decide, not to watch.
        """
        self.history.append(refit)
        if counted:
            self._num_counted = max(self._num_counted, num_over)

    def retry(self, trial: str, *, reopens: bool = True) -> None:
        """Run a failed trial again from its beginning. Where the loop proposed it, the next fit starts cold.

        Args:
            reopens: a decision to stop is open again.

        Raises:
            SweepError: as of `SweepRecord.retry`.
        """
        super().retry(trial)
        if self.trials[trial].role == FINAL:
            return
        self._chooser, self._watched = Chooser(self), None
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
        """Go on with another spec, from a sweep in any state. The next fit starts cold, and what was decided is open again.

        Args, Raises: as of `SweepRecord.change`.
        """
        super().change(spec, renamed=renamed, dropped=dropped, ended=ended)
        self.history, self.stopped = [], None
        self._chooser, self._watched, self._num_counted = Chooser(self), None, 0

    # what it says

    @property
    def next_scale(self) -> Scale:
        """Of the training proposed next; the one asked about, the dearest, where the law will choose it."""
        return self._first_scale() or self.spec.asked

    def propose(self, trial: str) -> Proposal | None:
        """The next training, from now on running; None when the sweep stopped or its budget is spent.

        Asked again for a name it already proposed, it answers the same.
        """
        if trial in self.trials:
            return next((proposal for proposal in self.proposals if proposal.trial == trial), None)
        if self.stopped or self.num_proposed >= self.spec.max_trials:
            return None
        generator = rng(self.spec.seed, "proposal", len(self.proposals))
        found = self._chooser.law() if self._first_scale() is None else None
        fit: dict[str, Any] = {}
        if found is None:
            mixture, reason, scale = self._first_mixture(generator)
        else:
            fit = self._chooser.chain.carried(*found)
            mixture, reason, scale = self._chooser.choose(*found, generator)
        proposal = Proposal(
            trial=trial,
            mixture=mixture,
            reason=reason,
            seed=self._seed(mixture, scale),
            num_points=self.num_points,
            fit=fit,
            size=scale.size if self.spec.smaller else None,
            steps=int(scale.steps) if self.spec.shorter else None,
        )
        self.restore_proposal(proposal)
        return proposal

    def refit(self, *, watching: bool = False, anew: bool = False) -> Refit:
        """Fit the law to all points, find its optimum and judge whether to stop; appended to `history`.

        Args:
            watching: for a person's eyes: it does not count in the streak that stops the sweep.
            anew: start from no earlier fit and see all trainings (`chain.in_view`), so that the law is a function of the points alone, whatever a sweep went through.
        """
        evidence = self.evidence()
        law = self.fit(
            "refit",
            evidence if anew else in_view(evidence),
            self.num_points,
            None if anew else self._watched,
        )
        return self._judged(law, watching=watching)

    def decide(self) -> Decision:
        """Whether to stop, by the last refit; refits first where as many trainings ended since as are due. A stop is final.

        The law is the one that proposals are made from (`design/refit_schedule.py`): one fit serves both, and a restart decides alike.
        """
        if self.stopped:
            return self.stopped
        spent = self.num_over >= self.spec.max_trials
        needed = 1 if spent else due(self.num_over, self.spec.slots)
        if not self.history or self.num_over - self._num_counted >= needed:
            found = self._chooser.chain.law_of(self.now())
            refit = self._judged(found[1] if found else None)
        else:
            refit = self.history[-1]
        if refit.decision.stop:
            self.stopped = refit.decision
        return refit.decision

    # parts

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
            }  # what overflowed is not known
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
                f"{name} joined and is held by {count} of {NUM_JOINED} finished trainings"
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

    def _first_scale(self) -> Scale | None:
        """Of the next training where it is one of the first, or holds domains that joined; None where the law chooses it."""
        if self._lacking("running", "finished"):
            return self.spec.scales[0]
        order = self.spec.initial_scales
        return order[self.num_proposed] if self.num_proposed < len(order) else None

    def _first_mixture(self, generator: np.random.Generator) -> tuple[Mixture, str, Scale]:
        """A mixture, why, and its scale, where no law chooses.

        There may be none after the first trainings, too: too few of them were measured, or their losses determine none. Then the cheapest one
        more is run. `next_scale` says the dearest there, for it is asked by the budget before anyone fits, and what it tells must be enough.
        """
        cheapest = self.spec.scales[0]
        scale, seen = self._first_scale() or cheapest, self.rows(self.trials)
        if names := tuple(self._lacking("running", "finished")):
            return *holding_mixture(self.spec.domains, names, seen, generator), scale
        if scale == cheapest:
            return *initial_mixture(self.spec.domains, seen, generator), scale
        first, there = (
            self.rows(n for n, r in self.trials.items() if r.role == "sweep" and r.scale == s)
            for s in (cheapest, scale)
        )
        return (
            repeated_mixture(self.spec.domains, first, there),
            f"initial: again {scale.beyond(cheapest)}",
            scale,
        )

    def _lacking(self, *states: str) -> dict[str, int]:
        """Domains that joined and that too few of the sweep's trainings in these states hold, and how many do."""
        return lacking(
            self.spec.domains,
            self.joined,
            (r for r in self.trials.values() if r.role == "sweep" and r.state in states),
        )

    def _seed(self, mixture: Mixture, scale: Scale) -> int:
        at_scale = [name for name, record in self.trials.items() if record.scale == scale]
        shares = mixture.as_array(self.spec.domains.names)
        earlier = int(self.spec.domains.same(self.rows(at_scale), shares).sum())
        return seed_for(self.spec.seed, "training", earlier)
