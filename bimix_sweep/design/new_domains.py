"""Domains that join a sweep by a change: no training so far holds them, so the next ones do, before the law is asked again."""

from collections.abc import Collection, Iterable

import numpy as np

from bimix_sweep.design.initial_design import most_informative, random_mixtures, unlike
from bimix_sweep.design.trial import TrialRecord
from bimix_sweep.mixture.domains import DomainSet, Mixture
from bimix_sweep.mixture.simplex import Array, project

NUM_JOINED = 4
"""Trainings that must hold a domain which joins later. On 17 published domains 4 of them beside 40 runs without the domain ranked unseen
mixtures that hold it about as well as 48 fresh runs (rank correlation .977 against .983; 2 of them: .973, none: .87)."""


def holding_floor(domains: DomainSet, names: tuple[str, ...]) -> Array:
    """(domains,) the lower bounds, raised for `names` to half an equal share where bounds allow it: with that a mixture holds them."""
    floor, upper = domains.lower_array, domains.upper_array
    room = max(0.0, 1 - float(floor.sum())) / (2 * len(names))
    for name in names:
        index = domains.names.index(name)
        floor[index] = min(
            upper[index], max(floor[index], min(0.5 / len(domains), floor[index] + room))
        )
    return floor


def holding_mixture(
    domains: DomainSet,
    names: tuple[str, ...],
    seen: Array,
    generator: np.random.Generator,
    count: int = 400,
) -> tuple[Mixture, str]:
    """The next mixture that holds domains which joined a sweep, and why.

    Args:
        domains, seen, generator, count: as for `initial_mixture`; `seen` is at 0 in domains that were not there.
        names: the domains to hold.
    """
    candidates = project(
        random_mixtures(domains, generator, count),
        holding_floor(domains, names),
        domains.upper_array,
    )
    candidates = unlike(domains, candidates, seen)
    best = most_informative(candidates, seen)
    return Mixture.from_array(domains.names, candidates[best]), f"joined: holds {', '.join(names)}"


def lacking(
    domains: DomainSet, joined: Collection[str], records: Iterable[TrialRecord]
) -> dict[str, int]:
    """Domains that joined and that too few of some trainings hold, and how many do.

    Args:
        domains: names and bounds; one that may hold nothing lacks nothing.
        joined: domains that joined by a change.
        records: the trainings.
    """
    held = {
        name: 0
        for name, high in zip(domains.names, domains.upper, strict=True)
        if name in joined and high > 0
    }
    if not held:
        return {}
    least = dict(zip(domains.names, holding_floor(domains, tuple(held)), strict=True))
    for record in records:
        shares = record.mixture.as_dict()
        for name in held:
            held[name] += shares.get(name, 0.0) >= least[name] * 0.999
    return {name: count for name, count in held.items() if count < NUM_JOINED}
