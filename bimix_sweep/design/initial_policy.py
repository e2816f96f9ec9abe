"""Initial policy: chooses mixtures and fidelities where no law chooses, which are the first trials,
and the trials that must hold added domains."""

import numpy as np

from bimix_sweep.design.fidelity import Fidelity
from bimix_sweep.design.initial_design import (
    initial_mixture,
    initial_mixture_of_pool,
    repeated_mixture,
)
from bimix_sweep.design.new_domains import holding_mixture, lacking
from bimix_sweep.design.trial_record import SweepRecord
from bimix_sweep.mixture.domains import Mixture


class InitialPolicy:
    """Proposes mixtures for a record without a law. The policy reads the record and does not change
    it."""

    def __init__(self, record: SweepRecord) -> None:
        self._record = record

    def fidelity(self) -> Fidelity | None:
        """Returns the fidelity of the next trial where it is one of the first trials or must hold
        added domains; None where the law chooses the fidelity."""
        record = self._record
        if self.lacking("running", "finished"):
            return record.spec.fidelities[0]
        order = record.spec.initial_fidelities
        return order[record.num_proposed] if record.num_proposed < len(order) else None

    def choose(self, generator: np.random.Generator) -> tuple[Mixture, str, Fidelity]:
        """Returns the next mixture, the reason and its fidelity.

        A law may also be missing after the first trials: too few of them were measured, or their
        losses do not determine a law. In this case the next mixture of the initial design is
        trained at the cheapest fidelity. `SweepState.next_fidelity` returns the target fidelity
        there: the budget check reads it before any fit and must reserve enough.
        """
        record, spec = self._record, self._record.spec
        cheapest = spec.fidelities[0]
        fidelity, seen = self.fidelity() or cheapest, record.rows(record.trials)
        if names := tuple(self.lacking("running", "finished")):
            return *holding_mixture(spec.domains, names, seen, generator), fidelity
        pool = None
        if record.pool is not None:
            fidelity = record.pool.nearest_fidelity(fidelity)
            pool = record.pool.at(fidelity)
        if fidelity == cheapest:
            return *(
                initial_mixture(spec.domains, seen, generator, spec.first)
                if pool is None
                else initial_mixture_of_pool(spec.domains, pool, seen, generator)
            ), fidelity
        first, there = (
            record.rows(
                n for n, r in record.trials.items() if r.role == "sweep" and r.fidelity == f
            )
            for f in (cheapest, fidelity)
        )
        return (
            repeated_mixture(spec.domains, first, there, pool),
            f"initial: again {fidelity.beyond(cheapest)}",
            fidelity,
        )

    def lacking(self, *states: str) -> dict[str, int]:
        """Returns the added domains that too few of the sweep's trials in these states hold:
        {domain: number of trials that hold it}."""
        record = self._record
        return lacking(
            record.spec.domains,
            record.added,
            (r for r in record.trials.values() if r.role == "sweep" and r.state in states),
        )
