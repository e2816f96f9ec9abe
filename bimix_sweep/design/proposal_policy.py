"""Proposal policy: chooses mixtures by the current law, through the law's decision problem and the
batch of proposals made from it.

The decision problem and the batch are kept, because their beliefs cost as much as a fit. After a
restart both are rebuilt from the record.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bimix_sweep.design.acquisition import Batch, Scales, dearest_due, next_mixture
from bimix_sweep.design.fidelity import Scale
from bimix_sweep.design.refit_schedule import LawChain, Moment, due, in_view
from bimix_sweep.design.trial_record import SweepRecord
from bimix_sweep.law.fitting.warm_start import WarmStart
from bimix_sweep.law.optimum.decision_problem import Question
from bimix_sweep.law.optimum.optimal_mixture import ask
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.seeding import rng


class Chooser:
    """Proposes mixtures for a record, which the policy reads and does not change."""

    def __init__(self, record: SweepRecord) -> None:
        """Makes a policy that has chosen nothing yet; the first fit starts cold."""
        self._record = record
        self.chain = LawChain(self._fit_of, record.spec.slots)
        """Refit schedule of the laws that proposals are made from."""
        self._asked: tuple[Moment, Question] | None = None
        self._batch: tuple[Moment, Batch] | None = None

    def law(self) -> tuple[Moment, FittedLaw] | None:
        """Returns the law to propose from and the record position that the law was fitted at; None
        while too few first mixtures have been measured."""
        measured = {record.mixture for record in self._record.evidence()}
        if len(measured) < max(2, self._record.spec.num_initial // 2):
            return None
        return self.chain.law(self._record.now())

    def choose(
        self, moment: Moment, law: FittedLaw, generator: np.random.Generator
    ) -> tuple[Mixture, str, Scale]:
        """Returns the next mixture, the reason and its fidelity.

        Args:
            moment, law: result of `law`.
            generator: for candidates.
        """
        record, dearest = self._record, self._dearest_next(len(self._record.proposals))
        if due(moment.num_over, record.spec.slots) > 1:
            return self._batch_of(moment, law).next(dearest=dearest)
        so_far = self._so_far(
            {trial: known.state for trial, known in record.trials.items()}, dearest=dearest
        )
        return next_mixture(
            self._question(moment, law), record.spec.domains, generator=generator, **so_far
        )

    def _fit_of(self, moment: Moment, previous: WarmStart | None) -> FittedLaw | None:
        return self._record.fit(
            "proposal fit", in_view(self._record.evidence_at(moment)), moment.num_points, previous
        )

    def _question(self, moment: Moment, law: FittedLaw) -> Question:
        """Returns the decision problem of this law."""
        if self._asked is None or self._asked[0] != moment:
            spec = self._record.spec
            question = ask(
                law,
                spec.domains,
                weights=spec.weights,
                objective=spec.objective,
                step=spec.steps,
                size=spec.size,
            )
            self._asked = (moment, question)
        return self._asked[1]

    def _batch_of(self, moment: Moment, law: FittedLaw) -> Batch:
        """Returns the batch of all proposals from this law, advanced to the number of proposals
        already made."""
        spec, proposals = self._record.spec, self._record.proposals
        if self._batch is None or self._batch[0] != moment:
            over = self._record.over_at(moment)
            states = {
                proposal.trial: over.get(proposal.trial, "running")
                for proposal in proposals[: moment.num_proposals]
            }
            batch = Batch(
                self._question(moment, law),
                spec.domains,
                generator=rng(spec.seed, "batch", moment.num_proposals),
                size=due(moment.num_over, spec.slots),
                **self._so_far(states),
            )
            self._batch = (moment, batch)
        batch = self._batch[1]
        # After a restart the batch is rebuilt and skips the proposals already made.
        while (number := moment.num_proposals + batch.made) < len(proposals):
            batch.next(dearest=self._dearest_next(number))
        return batch

    def _dearest_next(self, num_proposals: int) -> bool:
        """Tells whether the target fidelity is due after `num_proposals` proposals."""
        spec = self._record.spec
        return dearest_due(
            [spec.scale_of(proposal) for proposal in self._record.proposals[:num_proposals]],
            spec.asked,
        )

    def _so_far(self, states: Mapping[str, str], *, dearest: bool = False) -> dict[str, Any]:
        """Returns mixtures and fidelities of trials as arguments of `next_mixture`.

        Args:
            states: {trial: its state}.
            dearest: only the target fidelity is allowed.
        """
        record = self._record
        of = {
            state: [name for name in states if states[name] == state]
            for state in ("finished", "running", "failed")
        }
        scales = {
            state: [record.trials[name].scale for name in names] for state, names in of.items()
        }
        choices = (record.spec.asked,) if dearest else record.spec.scales[::-1]
        return {
            **{state: record.rows(names) for state, names in of.items()},
            "scales": Scales(
                choices=choices, finished=scales["finished"], running=scales["running"]
            ),
        }
