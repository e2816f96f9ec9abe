"""Acquisition: chooses the next mixture and its fidelity. The chosen trial has the largest expected
fall of the decision's regret per cost.

The regret is the one of `criterion`, tr(P S) / 2, where S is the covariance of the error of the
objective's gradient at the predicted optimum r* under the joint posterior of law and discrepancy
GP.

A trial at mixture c changes the belief about target k along

    g_k = w_k L_k dC_k[., c]/dr (r*) / sqrt(C_k[c, c] + noise_k)

where C_k is the posterior covariance. The change does not depend on the losses of the trial (linear
approximation; errors of different targets are taken as independent). S falls by g_k g_k' and the
regret by  sum_k g_k' P g_k / 2.  The score divides this fall by the largest fall among the
candidates. It adds EXPLORATION times a second term: the fraction of the losses' variance over all
mixtures that the trial removes. The second term is needed because errors of the belief are often
far from the predicted optimum.

The posterior is first conditioned on the running trials: their information does not depend on their
results, so the proposals of a batch are chosen one after another. Measured mixtures are candidates,
too; a second trial on one of them is a replicate. The belief is the wide one of
`DecisionProblem.searching`. Falls of the regret can therefore be compared with each other, but not with
the regret that a decision states.

Source: the design for the turning point of a regression (Chaloner 1989, Communications in
Statistics: Theory and Methods 18) with several responses. This criterion replaces a knowledge
gradient over candidates (docs/evidence.md).

The decision is made for the target fidelity: the largest size and the most steps. A trial of
smaller size or with fewer steps changes the belief at the target fidelity through the joint
posterior over fidelities: the fidelities have the law's parameters in common, and the discrepancy
of a mixture as well. Both terms of the score are divided by the cost of the trial, size x steps.
Where all trials have one fidelity the cost has no effect.

The belief has no discrepancy that is specific to one fidelity. Where such a discrepancy exists, the
score alone would choose cheap trials without end. Therefore a cheaper fidelity is allowed only
while the target fidelity has at least TARGET_FIDELITY_SHARE of the cost.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bimix_sweep.design.fidelity import Fidelity
from bimix_sweep.design.initial_design import random_mixtures
from bimix_sweep.design.optimality import OptimalityCriterion, optimality_criterion
from bimix_sweep.law.optimum.candidates import scattered
from bimix_sweep.law.optimum.decision_problem import DecisionProblem
from bimix_sweep.law.posterior.gaussian import Posterior
from bimix_sweep.mixture.domains import DomainSet, Mixture
from bimix_sweep.mixture.simplex import Array, project

EXPLORATION = 0.3
"""Weight of the variance over all mixtures, relative to the regret (docs/evidence.md)."""
TARGET_FIDELITY_SHARE = 0.5
"""Smallest fraction of a sweep's cost that is spent at the target fidelity (docs/evidence.md)."""
NUM_BROAD = 60
"""Number of candidates from anywhere inside the bounds."""
NUM_REPLICATES = 12
"""Number of measured mixtures that are candidates for a replicate: the mixtures with the best
predicted objective."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelities:
    """Fidelities of a sweep's trials."""

    choices: tuple[Fidelity, ...]
    """Fidelities to choose from; the target fidelity is the first."""
    finished: Sequence[Fidelity]
    """Fidelities of the finished trials."""
    running: Sequence[Fidelity]
    """Fidelities of the running trials."""

    def of(self, candidates: int) -> list[Fidelity]:
        """Returns the fidelities of `candidates` mixtures at every choice: first all mixtures at
        the first fidelity, then all at the next."""
        return [fidelity for fidelity in self.choices for _ in range(candidates)]


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
        _in_order(rows, order, len(problem.law.domains)) for rows in (finished, running, failed)
    )
    criterion = optimality_criterion(problem, generator)
    known = np.concatenate([finished, running, failed])
    fresh, again = _candidates(
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
    why = _why(same, fidelity, fidelities) if repeats else ""
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
            problem, domains, finished, running, failed, fidelities: as for `next_mixture`, at the time
                when the law was fitted.
            generator: for candidates.
            size: expected number of proposals; more than twice as many candidates are made.
        """
        self._problem, self._domains, self._fidelities = problem, domains, fidelities
        self._order = [problem.law.domains.index(name) for name in domains.names]
        finished, running, failed = (
            _in_order(rows, self._order, len(problem.law.domains))
            for rows in (finished, running, failed)
        )
        self._aim = optimality_criterion(problem, generator)
        near = np.concatenate(
            [self._aim.near, scattered(problem, self._aim.near[0], generator, size)]
        )
        known = np.concatenate([finished, running, failed])
        fresh, again = _candidates(
            problem, domains, self._order, near, known, finished, generator, NUM_BROAD + size
        )
        self._candidates = np.concatenate([fresh, again])
        self._at = fidelities.of(len(self._candidates))
        self._finished, self._num_fresh = finished, len(fresh)
        self._taken = np.zeros(len(self._at), dtype=bool)
        everywhere = np.tile(self._candidates, (len(fidelities.choices), 1))
        self._posterior = conditioned_on(
            problem, self._aim, everywhere, self._at, running, fidelities.running
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
        regret, share = scores(self._problem, self._aim, self._posterior, len(self._at), count)
        total = _total(regret, share, costs(self._at), EXPLORATION)
        total[self._taken] = -np.inf
        if target_only:
            total[count:] = -np.inf
        best = int(np.argmax(total))
        self._posterior = self._posterior.conditioned(
            len(self._aim.quadratic.difference_points) + best
        )
        self.made += 1
        mixture, fidelity = self._candidates[best % count], self._at[best]
        repeats = best % count >= self._num_fresh
        same = self._domains.same(self._finished[:, self._order], mixture[self._order])
        why = _why(same, fidelity, self._fidelities) if repeats else ""
        if not repeats:
            like = self._domains.same(self._candidates[:, self._order], mixture[self._order])
            self._taken[(best // count) * count + np.flatnonzero(like[: self._num_fresh])] = True
        return (
            Mixture.from_array(self._domains.names, mixture[self._order]),
            f"{why}regret -{regret[best]:.2g}",
            fidelity,
        )


def target_fidelity_due(fidelities: Sequence[Fidelity], target: Fidelity) -> bool:
    """Tells whether the target fidelity `target` has less than TARGET_FIDELITY_SHARE of the cost of trials
    at these fidelities."""
    return sum(
        fidelity.cost for fidelity in fidelities if fidelity == target
    ) < TARGET_FIDELITY_SHARE * sum(fidelity.cost for fidelity in fidelities)


def choose(
    problem: DecisionProblem,
    criterion: OptimalityCriterion,
    candidates: Array,
    at: Sequence[Fidelity],
    running: Array,
    running_at: Sequence[Fidelity],
    exploration: float = EXPLORATION,
) -> tuple[int, float]:
    """Returns the index of the candidate with the largest score per cost, and its fall of the
    expected regret (a fraction of the objective).

    Args:
        criterion: quadratic model of the problem's objective at the predicted optimum.
        candidates: (m, domains).
        at: (m,) fidelities of the candidates; candidates at the problem's fidelity come first.
        running: (r, domains) mixtures of trials whose losses are not known yet.
        running_at: (r,) fidelities of the running trials.
        exploration: weight of the variance over all candidates at the problem's fidelity, relative
            to the regret.
    """
    posterior = conditioned_on(problem, criterion, candidates, at, running, running_at)
    regret, share = scores(
        problem, criterion, posterior, len(at), sum(fidelity == at[0] for fidelity in at)
    )
    best = int(np.argmax(_total(regret, share, costs(at), exploration)))
    return best, float(regret[best])


def conditioned_on(
    problem: DecisionProblem,
    criterion: OptimalityCriterion,
    candidates: Array,
    at: Sequence[Fidelity],
    running: Array,
    running_at: Sequence[Fidelity],
) -> Posterior:
    """Computes the joint belief at the finite-difference points around the optimum, at the
    candidates and at the running trials, conditioned on the running trials. The points come first
    in the result and have the problem's fidelity; the candidates follow.

    Args:
        problem: the decision problem.
        criterion, candidates, at, running, running_at: as for `choose`.
    """
    target = Fidelity(size=np.nan if problem.size is None else problem.size, steps=problem.step)
    fidelities = [*[target] * len(criterion.quadratic.difference_points), *at, *running_at]
    points = np.concatenate([criterion.quadratic.difference_points, candidates, running])
    posterior = problem.searching(
        points,
        np.array([float(s.steps) for s in fidelities]),
        np.array([s.size for s in fidelities]),
    )
    for index in range(len(points) - len(running), len(points)):
        posterior = posterior.conditioned(index)
    return posterior


def costs(at: Sequence[Fidelity]) -> Array:
    """Returns the (n,) costs of trials at these fidelities, in units of one trial at the first
    fidelity."""
    return np.array([fidelity.cost for fidelity in at]) / at[0].cost


def scores(
    problem: DecisionProblem,
    criterion: OptimalityCriterion,
    posterior: Posterior,
    num_candidates: int,
    num_at_target: int,
) -> tuple[Array, Array]:
    """Returns two (candidates,) arrays: the fall of the expected regret (a fraction of the
    objective), and the fraction of the candidates' variance that a trial removes.

    Args:
        problem, criterion: as for `choose`.
        posterior: belief at the finite-difference points of `criterion`, then at the candidates, then at
            any other points.
        num_candidates: number of candidates.
        num_at_target: number of candidates at the target fidelity, which come first; the variance is
            computed over these.
    """
    here = slice(0, len(criterion.quadratic.difference_points))
    there = slice(
        len(criterion.quadratic.difference_points),
        len(criterion.quadratic.difference_points) + num_candidates,
    )
    at_target = slice(
        len(criterion.quadratic.difference_points),
        len(criterion.quadratic.difference_points) + num_at_target,
    )
    variance = np.einsum("tmm->tm", posterior.covariance)
    moves = (
        posterior.covariance[:, :, there]
        / np.sqrt(variance[:, there] + np.diag(posterior.trial_noise)[:, None])[:, None, :]
    )
    slopes = criterion.quadratic.slopes(
        moves[:, here] * problem.sensitivity(posterior.mean[here]).T[:, :, None]
    )
    fall = 0.5 * np.einsum("tdc,tdc->c", slopes, np.matmul(criterion.price, slopes))
    relevance = problem.weights > 0
    share = (moves[relevance][:, at_target] ** 2).mean(axis=(0, 1)) / np.maximum(
        variance[relevance][:, at_target].mean(), 1e-300
    )
    return np.maximum(fall, 0.0) / float(problem.objective(np.exp(posterior.mean[:1]))[0]), share


def _total(regret: Array, share: Array, cost: Array, exploration: float) -> Array:
    regret, share = regret / cost, share / cost
    return np.asarray(
        regret / max(float(regret.max()), 1e-12)
        + exploration * share / max(float(share.max()), 1e-300)
    )


def _candidates(
    problem: DecisionProblem,
    domains: DomainSet,
    order: list[int],
    near: Array,
    known: Array,
    finished: Array,
    generator: np.random.Generator,
    num_broad: int,
) -> tuple[Array, Array]:
    """Returns two arrays: untried mixtures inside the bounds, near the optimum and anywhere; and
    finished mixtures to repeat.

    Where every mixture of the first kind was tried and no finished mixture is inside the bounds,
    the first array holds the tried mixtures, too.
    """
    lower, upper = _in_order(
        np.stack([domains.lower, domains.upper]), order, len(problem.law.domains)
    )
    broad = _in_order(
        random_mixtures(domains, generator, num_broad), order, len(problem.law.domains)
    )
    fresh = np.concatenate([project(near, lower, upper), broad])
    tried = np.array([domains.same(known[:, order], row).any() for row in fresh[:, order]])
    again = _again(problem, domains, order, finished)
    return (fresh if tried.all() and not len(again) else fresh[~tried]), again


def _again(
    problem: DecisionProblem, domains: DomainSet, order: list[int], finished: Array
) -> Array:
    """Returns the measured mixtures inside the current bounds that are candidates for a replicate.
    A measured mixture can lie outside, because a change of the sweep may change the bounds."""
    again = np.unique(finished[domains.holds(finished[:, order])], axis=0)
    if not len(again):
        return again
    size = np.full(len(again), np.nan if problem.size is None else problem.size)
    losses = problem.law.losses(again, np.full(len(again), problem.step), size)
    return again[np.argsort(problem.objective(losses))[:NUM_REPLICATES]]


def _why(same: npt.NDArray[np.bool_], fidelity: Fidelity, fidelities: Fidelities) -> str:
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


def _in_order(rows: Array, order: list[int], count: int) -> Array:
    """Moves columns to the law's order; a domain that only the law knows gets proportion 0."""
    out = np.zeros((len(rows), count))
    out[:, order] = rows
    return out
