"""Candidates for the next trial: untried mixtures near the optimum and anywhere, and measured
mixtures to repeat; or the mixtures of a pool."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bimix_sweep.design.acquisition.pool import Pool
from bimix_sweep.design.fidelity import Fidelities, Fidelity
from bimix_sweep.design.initial_design import random_mixtures
from bimix_sweep.law.optimum.decision_problem import DecisionProblem
from bimix_sweep.mixture.domains import DomainSet
from bimix_sweep.mixture.simplex import Array, project

NUM_BROAD = 60
"""Number of candidates from anywhere inside the bounds."""
NUM_REPLICATES = 12
"""Number of measured mixtures that are candidates for a replicate: the mixtures with the best
predicted objective."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Candidates for the next trial."""

    mixtures: Array
    """(n, law's domains) mixtures."""
    at: list[Fidelity]
    """(n,) fidelities; the candidates at the target fidelity come first."""
    repeats: npt.NDArray[np.bool_]
    """(n,) whether the candidate is a finished mixture to repeat."""


def candidate_trials(
    problem: DecisionProblem,
    domains: DomainSet,
    order: list[int],
    near: Array,
    known: Array,
    finished: Array,
    generator: np.random.Generator,
    num_broad: int,
    fidelities: Fidelities,
    pool: Pool | None,
) -> Candidates:
    """Returns the candidates: untried mixtures inside the bounds, near the optimum and anywhere, and
    finished mixtures to repeat, each at every fidelity to choose from; or the trials of a pool.

    Where every mixture of the first kind was tried and no finished mixture is inside the bounds,
    the tried mixtures are candidates, too.

    Args:
        problem: decision problem on the current law.
        domains: domains and bounds of the trials.
        order: index of each of `domains` among the law's domains.
        near: (n, law's domains) mixtures near the optimum.
        known, finished: (n, law's domains) mixtures of all trials, and of the finished ones.
        generator: for the mixtures that may be anywhere.
        num_broad: number of mixtures that may be anywhere.
        fidelities: fidelities to choose from.
        pool: trials to choose among; None: every mixture inside the bounds is possible.
    """
    if pool is not None:
        return _of_pool(pool, problem, domains, order, finished, fidelities)
    num_domains = len(problem.law.domains)
    lower, upper = in_law_order(np.stack([domains.lower, domains.upper]), order, num_domains)
    broad = in_law_order(random_mixtures(domains, generator, num_broad), order, num_domains)
    fresh = np.concatenate([project(near, lower, upper), broad])
    tried = np.array([domains.same(known[:, order], row).any() for row in fresh[:, order]])
    again = _replicates(problem, domains, order, finished)
    if len(again) or not tried.all():
        fresh = fresh[~tried]
    mixtures, times = np.concatenate([fresh, again]), len(fidelities.choices)
    return Candidates(
        mixtures=np.tile(mixtures, (times, 1)),
        at=fidelities.of(len(mixtures)),
        repeats=np.tile(np.arange(len(mixtures)) >= len(fresh), times),
    )


def _of_pool(
    pool: Pool,
    problem: DecisionProblem,
    domains: DomainSet,
    order: list[int],
    finished: Array,
    fidelities: Fidelities,
) -> Candidates:
    """Returns the trials of a pool at the fidelities to choose from, or all where none has such a
    fidelity."""
    choices = [choice for choice in fidelities.choices if choice in pool.fidelities] or sorted(
        {*pool.fidelities}, key=lambda other: (other.size, other.steps), reverse=True
    )
    mixtures = np.concatenate([pool.at(choice) for choice in choices])
    known = finished[:, order]
    return Candidates(
        mixtures=in_law_order(mixtures, order, len(problem.law.domains)),
        at=[choice for choice in choices for _ in pool.at(choice)],
        repeats=np.array([domains.same(known, row).any() for row in mixtures]),
    )


def _replicates(
    problem: DecisionProblem, domains: DomainSet, order: list[int], finished: Array
) -> Array:
    """Returns the measured mixtures inside the current bounds that are candidates for a replicate.
    A measured mixture can lie outside, because a change of the sweep may change the bounds."""
    measured = np.unique(finished[domains.holds(finished[:, order])], axis=0)
    if not len(measured):
        return measured
    size = np.full(len(measured), np.nan if problem.size is None else problem.size)
    losses = problem.law.losses(measured, np.full(len(measured), problem.step), size)
    values = problem.objective(losses) + problem.pull(measured)
    return measured[np.argsort(values)[:NUM_REPLICATES]]


def replicate_reason(
    same: npt.NDArray[np.bool_], fidelity: Fidelity, fidelities: Fidelities
) -> str:
    """Returns the reason for a second trial on a measured mixture; `same` tells which finished
    trials have this mixture."""
    known = {other for other, is_same in zip(fidelities.finished, same, strict=True) if is_same}
    if fidelity in known:
        return "replicate, "
    return (
        "for another number of steps, "
        if fidelity.size in {other.size for other in known}
        else "at another size, "
    )


def in_law_order(rows: Array, order: list[int], count: int) -> Array:
    """Moves columns to the law's order; a domain that only the law knows gets proportion 0."""
    out = np.zeros((len(rows), count))
    out[:, order] = rows
    return out
