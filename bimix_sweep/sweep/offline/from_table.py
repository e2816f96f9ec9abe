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
from bimix_sweep.law.fitting.fit_law import fit_law
from bimix_sweep.law.optimum.optimal_mixture import ask
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
    runs = table
    for name in (*(lower or {}), *(upper or {})):
        if name not in runs.domains:
            raise TableError(f"the table has no domain {name}; it has {', '.join(runs.domains)}")
    own = {target: target for target in runs.targets if target in runs.domains}
    law = fit_law(runs, own=own, generator=rng(seed, "proposal fit", 0))
    domains = DomainSet(
        names=runs.domains,
        lower=tuple((lower or {}).get(name, 0.0) for name in runs.domains),
        upper=tuple((upper or {}).get(name, 1.0) for name in runs.domains),
    )
    measured, finished = runs.proportions[runs.last_rows()], fidelities_of(runs)
    *others, target = kinds_of(finished)
    sizes, lengths = (
        {*found}
        for found in zip(
            *((fidelity.size, round(fidelity.steps)) for fidelity in (*others, target)), strict=True
        )
    )
    problem = ask(law, domains, step=target.steps, size=None if law.sizes is None else target.size)
    new: list[Proposal] = []
    running: list[Fidelity] = []
    names = (name for number in range(10**9) if (name := f"p{number:04d}") not in runs.trials)
    while len(new) < count:
        chosen = np.reshape(
            [proposal.mixture.as_array(runs.domains) for proposal in new], (-1, len(runs.domains))
        )
        choices = (
            (target,)
            if target_fidelity_due([*finished, *running], target)
            else (target, *others[::-1])
        )
        mixture, reason, fidelity = next_mixture(
            problem,
            domains,
            generator=rng(seed, "proposal", len(new)),
            finished=measured,
            running=chosen,
            failed=np.zeros((0, len(runs.domains))),
            fidelities=Fidelities(choices=choices, finished=finished, running=running),
        )
        same = domains.same(np.concatenate([measured, chosen]), mixture.as_array(runs.domains))
        earlier = sum(
            bool(is_same) and other == fidelity
            for is_same, other in zip(same, [*finished, *running], strict=True)
        )
        new.append(
            Proposal(
                trial=next(names),
                mixture=mixture,
                reason=reason,
                seed=seed_for(seed, "training", earlier),
                size=fidelity.size if len(sizes) > 1 else None,
                steps=round(fidelity.steps) if len(lengths) > 1 else None,
            )
        )
        running.append(fidelity)
    return TrialTable(
        open=[],
        new=new,
        domains=runs.domains,
        lengths=tuple(sorted(lengths)),
        sizes=tuple(sorted(sizes)),
        notes=[
            *law.notes,
            "every target counts alike, and no final run caps a domain; for weights and caps of "
            "your own begin a sweep with a configuration",
        ],
    )


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
