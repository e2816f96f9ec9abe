"""Mixtures for added domains. No trial so far holds a domain that a change adds to a sweep, so the
next trials hold it before the law chooses mixtures again."""

from collections.abc import Collection, Iterable

import numpy as np

from bimix_sweep.design.initial_design import most_informative, random_mixtures, unlike
from bimix_sweep.design.trial import TrialRecord
from bimix_sweep.mixture.domains import DomainSet, Mixture
from bimix_sweep.mixture.simplex import Array, project

NUM_ADDED = 4
"""Number of trials that must hold an added domain (docs/evidence.md)."""


def holding_floor(domains: DomainSet, names: tuple[str, ...]) -> Array:
    """Returns the (domains,) lower bounds, raised for `names` to half of the uniform proportion
    where the bounds allow it. A mixture above these bounds holds the named domains."""
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
    """Returns the next mixture that holds added domains, and the reason.

    Args:
        domains, seen, generator, count: as for `initial_mixture`; `seen` has proportion 0 in
            domains that did not exist then.
        names: the domains to hold.
    """
    candidates = project(
        random_mixtures(domains, generator, count),
        holding_floor(domains, names),
        domains.upper_array,
    )
    candidates = unlike(domains, candidates, seen)
    best = most_informative(candidates, seen)
    return Mixture.from_array(domains.names, candidates[best]), f"added: holds {', '.join(names)}"


def lacking(
    domains: DomainSet, added: Collection[str], records: Iterable[TrialRecord]
) -> dict[str, int]:
    """Returns the added domains that fewer than NUM_ADDED of the given trials hold: {domain:
    number of trials that hold it}.

    Args:
        domains: names and bounds; a domain with max 0 is never returned.
        added: domains that a change added.
        records: the trials.
    """
    held = {
        name: 0
        for name, high in zip(domains.names, domains.upper, strict=True)
        if name in added and high > 0
    }
    if not held:
        return {}
    least = dict(zip(domains.names, holding_floor(domains, tuple(held)), strict=True))
    for record in records:
        proportions = record.mixture.as_dict()
        for name in held:
            held[name] += proportions.get(name, 0.0) >= least[name] * 0.999
    return {name: count for name, count in held.items() if count < NUM_ADDED}
