"""Proposal policy: chooses mixtures by the current law, through the law's decision problem and the
batch of proposals made from it.

The decision problem and the batch are kept, because their beliefs cost as much as a fit. After a
restart both are rebuilt from the record.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bimix_sweep.design.acquisition.next_mixture import Batch, next_mixture
from bimix_sweep.design.fidelity import Fidelities, Fidelity, target_fidelity_due
from bimix_sweep.design.refit_schedule import RecordPosition, RefitSchedule, due, in_window
from bimix_sweep.design.trial_record import SweepRecord
from bimix_sweep.law.fitting.warm_start import WarmStart
from bimix_sweep.law.optimum.decision_problem import DecisionProblem
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.seeding import rng


class ProposalPolicy:
    """Proposes mixtures for a record, which the policy reads and does not change."""

    def __init__(self, record: SweepRecord) -> None:
        """Makes a policy that has chosen nothing yet; the first fit starts cold."""
        self._record = record
        self.refits = RefitSchedule(self._fit_of, record.spec.slots)
        """Refit schedule of the laws that proposals are made from."""
        self._decision_problem: tuple[RecordPosition, DecisionProblem] | None = None
        self._batch: tuple[RecordPosition, Batch] | None = None

    def law(self) -> tuple[RecordPosition, FittedLaw] | None:
        """Returns the law to propose from and the record position that the law was fitted at; None
        while too few first mixtures have been measured."""
        measured = {record.mixture for record in self._record.evidence()}
        if len(measured) < max(2, self._record.spec.num_initial // 2):
            return None
        return self.refits.law(self._record.now())

    def choose(
        self, position: RecordPosition, law: FittedLaw, generator: np.random.Generator
    ) -> tuple[Mixture, str, Fidelity]:
        """Returns the next mixture, the reason and its fidelity.

        Args:
            position, law: result of `law`.
            generator: for candidates.
        """
        record, target_only = self._record, self._target_fidelity_next(len(self._record.proposals))
        if due(position.num_over, record.spec.slots) > 1:
            return self._batch_of(position, law).next(target_only=target_only)
        so_far = self._so_far(
            {trial: known.state for trial, known in record.trials.items()}, target_only=target_only
        )
        return next_mixture(
            self._problem(position, law), record.spec.domains, generator=generator, **so_far
        )

    def _fit_of(self, position: RecordPosition, previous: WarmStart | None) -> FittedLaw | None:
        return self._record.fit(
            "proposal fit",
            in_window(self._record.evidence_at(position)),
            position.num_points,
            previous,
        )

    def _problem(self, position: RecordPosition, law: FittedLaw) -> DecisionProblem:
        """Returns the decision problem of this law."""
        if self._decision_problem is None or self._decision_problem[0] != position:
            self._decision_problem = (position, self._record.spec.decision_problem(law))
        return self._decision_problem[1]

    def _batch_of(self, position: RecordPosition, law: FittedLaw) -> Batch:
        """Returns the batch of all proposals from this law, advanced to the number of proposals
        already made."""
        spec, proposals = self._record.spec, self._record.proposals
        if self._batch is None or self._batch[0] != position:
            over = self._record.over_at(position)
            states = {
                proposal.trial: over.get(proposal.trial, "running")
                for proposal in proposals[: position.num_proposals]
            }
            batch = Batch(
                self._problem(position, law),
                spec.domains,
                generator=rng(spec.seed, "batch", position.num_proposals),
                size=due(position.num_over, spec.slots),
                **self._so_far(states),
            )
            self._batch = (position, batch)
        batch = self._batch[1]
        # After a restart the batch is rebuilt and skips the proposals already made.
        while (number := position.num_proposals + batch.made) < len(proposals):
            batch.next(target_only=self._target_fidelity_next(number))
        return batch

    def _target_fidelity_next(self, num_proposals: int) -> bool:
        """Tells whether the target fidelity is due after `num_proposals` proposals."""
        spec = self._record.spec
        return target_fidelity_due(
            [spec.fidelity_of(proposal) for proposal in self._record.proposals[:num_proposals]],
            spec.target_fidelity,
        )

    def _so_far(self, states: Mapping[str, str], *, target_only: bool = False) -> dict[str, Any]:
        """Returns mixtures and fidelities of trials as arguments of `next_mixture`.

        Args:
            states: {trial: its state}.
            target_only: only the target fidelity is allowed.
        """
        record = self._record
        of = {
            state: [name for name in states if states[name] == state]
            for state in ("finished", "running", "failed")
        }
        fidelities = {
            state: [record.trials[name].fidelity for name in names] for state, names in of.items()
        }
        choices = (record.spec.target_fidelity,) if target_only else record.spec.fidelities[::-1]
        return {
            **{state: record.rows(names) for state, names in of.items()},
            "fidelities": Fidelities(
                choices=choices, finished=fidelities["finished"], running=fidelities["running"]
            ),
            "pool": record.pool,
        }
