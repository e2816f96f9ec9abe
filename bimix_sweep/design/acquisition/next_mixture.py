"""Chooses the next mixture and its fidelity by the acquisition score: one from each law, or a batch
from one law."""

import numpy as np

from bimix_sweep.design.acquisition.candidates import (
    NUM_BROAD,
    candidate_trials,
    in_law_order,
    replicate_reason,
)
from bimix_sweep.design.acquisition.optimality import optimality_criterion
from bimix_sweep.design.acquisition.pool import Pool
from bimix_sweep.design.acquisition.scores import (
    EXPLORATION,
    choose,
    conditioned_on,
    costs,
    scores,
    total_scores,
)
from bimix_sweep.design.fidelity import Fidelities, Fidelity
from bimix_sweep.law.optimum.candidates import scattered
from bimix_sweep.law.optimum.decision_problem import DecisionProblem
from bimix_sweep.mixture.domains import DomainSet, Mixture
from bimix_sweep.mixture.simplex import Array


def next_mixture(
    problem: DecisionProblem,
    domains: DomainSet,
    *,
    generator: np.random.Generator,
    finished: Array,
    running: Array,
    failed: Array,
    fidelities: Fidelities,
    pool: Pool | None = None,
) -> tuple[Mixture, str, Fidelity]:
    """Chooses the next mixture inside `domains`; returns the mixture, the reason and the fidelity
    of the trial.

    Args:
        problem: decision problem on the law of everything measured so far.
        domains: domains and bounds of the trials.
        generator: for candidates.
        finished, running, failed: (n, domains) mixtures of the trials so far, columns in the order
            of `domains`.
        fidelities: fidelities to choose from, and fidelities of these trials.
        pool: the trials to choose among; None: every mixture inside `domains`, at every fidelity.
    """
    order = [problem.law.domains.index(name) for name in domains.names]
    finished, running, failed = (
        in_law_order(rows, order, len(problem.law.domains)) for rows in (finished, running, failed)
    )
    criterion = optimality_criterion(problem, generator)
    candidates = candidate_trials(
        problem,
        domains,
        order,
        criterion.near,
        np.concatenate([finished, running, failed]),
        finished,
        generator,
        NUM_BROAD,
        fidelities,
        pool,
    )
    best, fall = choose(
        problem,
        criterion,
        candidates.mixtures,
        candidates.at,
        running,
        fidelities.running,
        EXPLORATION if pool is None else pool.exploration,
    )
    mixture, fidelity = candidates.mixtures[best], candidates.at[best]
    same = domains.same(finished[:, order], mixture[order])
    why = replicate_reason(same, fidelity, fidelities) if candidates.repeats[best] else ""
    return Mixture.from_array(domains.names, mixture[order]), f"{why}regret -{fall:.2g}", fidelity


class Batch:
    """Makes many proposals from one law: the quadratic model and the candidates are computed once,
    and the joint belief is conditioned on each proposal made.

    A proposal then costs milliseconds, however many trials the law was fitted to.
    """

    def __init__(
        self,
        problem: DecisionProblem,
        domains: DomainSet,
        *,
        generator: np.random.Generator,
        finished: Array,
        running: Array,
        failed: Array,
        size: int,
        fidelities: Fidelities,
        pool: Pool | None = None,
    ) -> None:
        """Makes the candidates and their joint belief; no proposal is made yet.

        Args:
            problem, domains, finished, running, failed, fidelities, pool: as for `next_mixture`, at
                the time when the law was fitted.
            generator: for candidates.
            size: expected number of proposals; more than twice as many candidates are made.
        """
        self._problem, self._domains, self._fidelities = problem, domains, fidelities
        self._order = [problem.law.domains.index(name) for name in domains.names]
        finished, running, failed = (
            in_law_order(rows, self._order, len(problem.law.domains))
            for rows in (finished, running, failed)
        )
        self._criterion = optimality_criterion(problem, generator)
        near = np.concatenate(
            [self._criterion.near, scattered(problem, self._criterion.near[0], generator, size)]
        )
        self._candidates = candidate_trials(
            problem,
            domains,
            self._order,
            near,
            np.concatenate([finished, running, failed]),
            finished,
            generator,
            NUM_BROAD + size,
            fidelities,
            pool,
        )
        at = self._candidates.at
        self._at_target = np.array([fidelity == at[0] for fidelity in at])
        self._finished, self._once = finished, pool is not None
        self._exploration = EXPLORATION if pool is None else pool.exploration
        self._taken = np.zeros(len(at), dtype=bool)
        self._posterior = conditioned_on(
            problem, self._criterion, self._candidates.mixtures, at, running, fidelities.running
        )
        self.made = 0
        """Number of proposals made."""

    def next(self, *, target_only: bool = False) -> tuple[Mixture, str, Fidelity]:
        """Returns the next mixture, the reason and its fidelity; later proposals take this mixture
        as measured.

        Args:
            target_only: only the target fidelity is allowed.
        """
        at, repeats = self._candidates.at, self._candidates.repeats
        regret, explained = scores(
            self._problem, self._criterion, self._posterior, len(at), int(self._at_target.sum())
        )
        total = total_scores(regret, explained, costs(at), self._exploration)
        total[self._taken] = -np.inf
        if target_only and not self._taken[self._at_target].all():
            total[~self._at_target] = -np.inf
        best = int(np.argmax(total))
        self._posterior = self._posterior.conditioned(
            len(self._criterion.quadratic.difference_points) + best
        )
        self.made += 1
        mixture, fidelity = self._candidates.mixtures[best, self._order], at[best]
        same = self._domains.same(self._finished[:, self._order], mixture)
        why = replicate_reason(same, fidelity, self._fidelities) if repeats[best] else ""
        if self._once:
            self._taken[best] = True
        elif not repeats[best]:
            like = self._domains.same(self._candidates.mixtures[:, self._order], mixture)
            self._taken |= like & ~repeats & np.array([other == fidelity for other in at])
        return (
            Mixture.from_array(self._domains.names, mixture),
            f"{why}regret -{regret[best]:.2g}",
            fidelity,
        )
