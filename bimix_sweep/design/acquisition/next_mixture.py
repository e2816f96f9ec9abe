"""Chooses the next mixture and its fidelity by the acquisition score: one from each law, or a batch
from one law."""

import numpy as np

from bimix_sweep.design.acquisition.candidates import (
    NUM_BROAD,
    candidate_mixtures,
    in_law_order,
    replicate_reason,
)
from bimix_sweep.design.acquisition.optimality import optimality_criterion
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
    """
    order = [problem.law.domains.index(name) for name in domains.names]
    finished, running, failed = (
        in_law_order(rows, order, len(problem.law.domains)) for rows in (finished, running, failed)
    )
    criterion = optimality_criterion(problem, generator)
    known = np.concatenate([finished, running, failed])
    fresh, again = candidate_mixtures(
        problem, domains, order, criterion.near, known, finished, generator, NUM_BROAD
    )
    candidates = np.concatenate([fresh, again])
    everywhere, at = (
        np.tile(candidates, (len(fidelities.choices), 1)),
        fidelities.of(len(candidates)),
    )
    best, fall = choose(problem, criterion, everywhere, at, running, fidelities.running)
    mixture, fidelity = everywhere[best], at[best]
    repeats = best % len(candidates) >= len(fresh)
    same = domains.same(finished[:, order], mixture[order])
    why = replicate_reason(same, fidelity, fidelities) if repeats else ""
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
    ) -> None:
        """Makes the candidates and their joint belief; no proposal is made yet.

        Args:
            problem, domains, finished, running, failed, fidelities: as for `next_mixture`, at the
                time when the law was fitted.
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
        known = np.concatenate([finished, running, failed])
        fresh, again = candidate_mixtures(
            problem, domains, self._order, near, known, finished, generator, NUM_BROAD + size
        )
        self._candidates = np.concatenate([fresh, again])
        self._at = fidelities.of(len(self._candidates))
        self._finished, self._num_fresh = finished, len(fresh)
        self._taken = np.zeros(len(self._at), dtype=bool)
        everywhere = np.tile(self._candidates, (len(fidelities.choices), 1))
        self._posterior = conditioned_on(
            problem, self._criterion, everywhere, self._at, running, fidelities.running
        )
        self.made = 0
        """Number of proposals made."""

    def next(self, *, target_only: bool = False) -> tuple[Mixture, str, Fidelity]:
        """Returns the next mixture, the reason and its fidelity; later proposals take this mixture
        as measured.

        Args:
            target_only: only the target fidelity is allowed.
        """
        count = len(self._candidates)
        regret, explained = scores(
            self._problem, self._criterion, self._posterior, len(self._at), count
        )
        total = total_scores(regret, explained, costs(self._at), EXPLORATION)
        total[self._taken] = -np.inf
        if target_only:
            total[count:] = -np.inf
        best = int(np.argmax(total))
        self._posterior = self._posterior.conditioned(
            len(self._criterion.quadratic.difference_points) + best
        )
        self.made += 1
        mixture, fidelity = self._candidates[best % count], self._at[best]
        repeats = best % count >= self._num_fresh
        same = self._domains.same(self._finished[:, self._order], mixture[self._order])
        why = replicate_reason(same, fidelity, self._fidelities) if repeats else ""
        if not repeats:
            like = self._domains.same(self._candidates[:, self._order], mixture[self._order])
            self._taken[(best // count) * count + np.flatnonzero(like[: self._num_fresh])] = True
        return (
            Mixture.from_array(self._domains.names, mixture[self._order]),
            f"{why}regret -{regret[best]:.2g}",
            fidelity,
        )
