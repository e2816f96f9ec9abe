"""Proposes the next mixtures for finished runs that belong to no sweep.

Both input and output are tables; no state is kept.
"""

from collections.abc import Mapping

import numpy as np

from bimix_sweep.design.acquisition.next_mixture import next_mixture
from bimix_sweep.design.fidelity import (
    Fidelities,
    Fidelity,
    fidelities_of,
    kinds_of,
    target_fidelity_due,
)
from bimix_sweep.design.trial import Proposal
from bimix_sweep.errors import TableError
from bimix_sweep.law.fitting.fit_law import FittedLaw, fit_law
from bimix_sweep.law.optimum.decision_problem import DecisionProblem
from bimix_sweep.mixture.domains import DomainSet
from bimix_sweep.mixture.table import LossTable
from bimix_sweep.seeding import rng, seed_for
from bimix_sweep.sweep.offline.trial_table import TrialTable


def propose_from_table(
    table: LossTable,
    count: int,
    *,
    lower: Mapping[str, float] | None = None,
    upper: Mapping[str, float] | None = None,
    seed: int = 0,
) -> TrialTable:
    """Proposes the next mixtures for finished runs that belong to no sweep; no state is kept.

    Where the runs have several sizes or last steps, each mixture is for one pair of size and steps.
    The pair is chosen by its information per cost, as in a sweep.

    Args:
        table: finished runs; every target has the same weight.
        count: number of mixtures; each is chosen as if the ones before it were running at the same
            time.
        lower, upper: bounds of domains; default: 0 and 1.
        seed: seed from which all randomness follows.

    Raises:
        TableError: a bound names a domain that the table lacks.
        LawError: the table determines no law.
        MixtureError: the bounds leave no mixture.
    """
    for name in (*(lower or {}), *(upper or {})):
        if name not in table.domains:
            raise TableError(f"the table has no domain {name}; it has {', '.join(table.domains)}")
    own = {target: target for target in table.targets if target in table.domains}
    law = fit_law(table, own=own, generator=rng(seed, "proposal fit", 0))
    domains = DomainSet(
        names=table.domains,
        lower=tuple((lower or {}).get(name, 0.0) for name in table.domains),
        upper=tuple((upper or {}).get(name, 1.0) for name in table.domains),
    )
    proposer = _Proposer(table, law, domains, seed)
    return TrialTable(
        open=[],
        new=[proposer.next() for _ in range(count)],
        domains=table.domains,
        lengths=proposer.lengths,
        sizes=proposer.sizes,
        notes=[
            *law.notes,
            "every target counts alike, and no final run caps a domain; for weights and caps of "
            "your own begin a sweep with a configuration",
        ],
    )


class _Proposer:
    """Proposes mixtures one after another, each as if the ones before it were running."""

    def __init__(self, table: LossTable, law: FittedLaw, domains: DomainSet, seed: int) -> None:
        self._domains, self._seed = domains, seed
        self._measured = table.proportions[table.last_rows()]
        self._finished = fidelities_of(table)
        *self._others, self._target = kinds_of(self._finished)
        kinds = (*self._others, self._target)
        self.sizes = tuple(sorted({fidelity.size for fidelity in kinds}))
        """Sizes of the finished runs, rising."""
        self.lengths = tuple(sorted({round(fidelity.steps) for fidelity in kinds}))
        """Last steps of the finished runs, rising."""
        self._problem = DecisionProblem.of(
            law,
            domains,
            step=self._target.steps,
            size=None if law.sizes is None else self._target.size,
        )
        self._names = (
            name for number in range(10**9) if (name := f"p{number:04d}") not in table.trials
        )
        self._new: list[Proposal] = []
        self._running: list[Fidelity] = []

    def next(self) -> Proposal:
        """Proposes one more mixture."""
        names = self._domains.names
        chosen = np.reshape(
            [proposal.mixture.as_array(names) for proposal in self._new], (-1, len(names))
        )
        fidelities = [*self._finished, *self._running]
        choices = (
            (self._target,)
            if target_fidelity_due(fidelities, self._target)
            else (self._target, *self._others[::-1])
        )
        mixture, reason, fidelity = next_mixture(
            self._problem,
            self._domains,
            generator=rng(self._seed, "proposal", len(self._new)),
            finished=self._measured,
            running=chosen,
            failed=np.zeros((0, len(names))),
            fidelities=Fidelities(choices=choices, finished=self._finished, running=self._running),
        )
        same = self._domains.same(np.concatenate([self._measured, chosen]), mixture.as_array(names))
        earlier = sum(
            bool(is_same) and other == fidelity
            for is_same, other in zip(same, fidelities, strict=True)
        )
        proposal = Proposal(
            trial=next(self._names),
            mixture=mixture,
            reason=reason,
            seed=seed_for(self._seed, "training", earlier),
            size=fidelity.size if len(self.sizes) > 1 else None,
            steps=round(fidelity.steps) if len(self.lengths) > 1 else None,
        )
        self._new.append(proposal)
        self._running.append(fidelity)
        return proposal


def propose(
    table: LossTable,
    count: int,
    *,
    lower: Mapping[str, float] | None = None,
    upper: Mapping[str, float] | None = None,
    seed: int = 0,
) -> list[Proposal]:
    """Proposes the next mixtures to train after finished runs, most informative first.

    Arguments and errors are those of `propose_from_table`.
    """
    return list(propose_from_table(table, count, lower=lower, upper=upper, seed=seed).new)
