"""Acquisition: chooses the next mixture and its fidelity. The chosen trial has the largest expected
fall of the decision's regret per cost.

The regret is the one of `aim`, tr(P S) / 2, where S is the covariance of the error of the
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
`Question.searching`. Falls of the regret can therefore be compared with each other, but not with
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
while the target fidelity has at least DEAREST_SHARE of the cost.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bimix_sweep.design.fidelity import Scale
from bimix_sweep.design.initial_design import random_mixtures
from bimix_sweep.design.optimality import Aim, aim_at
from bimix_sweep.law.optimum.decision_problem import Question, scattered
from bimix_sweep.law.posterior.gaussian import Posterior
from bimix_sweep.mixture.domains import DomainSet, Mixture
from bimix_sweep.mixture.simplex import Array, project

EXPLORATION = 0.3
"""Weight of the variance over all mixtures, relative to the regret (docs/evidence.md)."""
DEAREST_SHARE = 0.5
"""Smallest fraction of a sweep's cost that is spent at the target fidelity (docs/evidence.md)."""
NUM_BROAD = 60
"""Number of candidates from anywhere inside the bounds."""
NUM_REPLICATES = 12
"""Number of measured mixtures that are candidates for a replicate: the mixtures with the best
predicted objective."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scales:
    """Fidelities of a sweep's trials."""

    choices: tuple[Scale, ...]
    """Fidelities to choose from; the target fidelity is the first."""
    finished: Sequence[Scale]
    """Fidelities of the finished trials."""
    running: Sequence[Scale]
    """Fidelities of the running trials."""

    def of(self, candidates: int) -> list[Scale]:
        """Returns the fidelities of `candidates` mixtures at every choice: first all mixtures at
        the first fidelity, then all at the next."""
        return [scale for scale in self.choices for _ in range(candidates)]


def next_mixture(
    question: Question,
    domains: DomainSet,
    *,
    generator: np.random.Generator,
    finished: Array,
    running: Array,
    failed: Array,
    scales: Scales,
) -> tuple[Mixture, str, Scale]:
    """Chooses the next mixture inside `domains`; returns the mixture, the reason and the fidelity
    of the trial.

    Args:
        question: decision problem on the law of everything measured so far.
        domains: domains and bounds of the trials.
        generator: for candidates.
        finished, running, failed: (n, domains) mixtures of the trials so far, columns in the order
            of `domains`.
        scales: fidelities to choose from, and fidelities of these trials.
    """
    order = [question.law.domains.index(name) for name in domains.names]
    finished, running, failed = (
        _in_order(rows, order, len(question.law.domains)) for rows in (finished, running, failed)
    )
    aim = aim_at(question, generator)
    known = np.concatenate([finished, running, failed])
    fresh, again = _candidates(
        question, domains, order, aim.near, known, finished, generator, NUM_BROAD
    )
    candidates = np.concatenate([fresh, again])
    everywhere, at = np.tile(candidates, (len(scales.choices), 1)), scales.of(len(candidates))
    best, fall = choose(question, aim, everywhere, at, running, scales.running)
    mixture, scale = everywhere[best], at[best]
    repeats = best % len(candidates) >= len(fresh)
    same = domains.same(finished[:, order], mixture[order])
    why = _why(same, scale, scales) if repeats else ""
    return Mixture.from_array(domains.names, mixture[order]), f"{why}regret -{fall:.2g}", scale


class Batch:
    """Makes many proposals from one law: the quadratic model and the candidates are computed once,
    and the joint belief is conditioned on each proposal made.

    A proposal then costs milliseconds, however many trials the law was fitted to.
    """

    def __init__(
        self,
        question: Question,
        domains: DomainSet,
        *,
        generator: np.random.Generator,
        finished: Array,
        running: Array,
        failed: Array,
        size: int,
        scales: Scales,
    ) -> None:
        """Makes the candidates and their joint belief; no proposal is made yet.

        Args:
            question, domains, finished, running, failed, scales: as for `next_mixture`, at the time
                when the law was fitted.
            generator: for candidates.
            size: expected number of proposals; more than twice as many candidates are made.
        """
        self._question, self._domains, self._scales = question, domains, scales
        self._order = [question.law.domains.index(name) for name in domains.names]
        finished, running, failed = (
            _in_order(rows, self._order, len(question.law.domains))
            for rows in (finished, running, failed)
        )
        self._aim = aim_at(question, generator)
        near = np.concatenate(
            [self._aim.near, scattered(question, self._aim.near[0], generator, size)]
        )
        known = np.concatenate([finished, running, failed])
        fresh, again = _candidates(
            question, domains, self._order, near, known, finished, generator, NUM_BROAD + size
        )
        self._candidates = np.concatenate([fresh, again])
        self._at = scales.of(len(self._candidates))
        self._finished, self._num_fresh = finished, len(fresh)
        self._taken = np.zeros(len(self._at), dtype=bool)
        everywhere = np.tile(self._candidates, (len(scales.choices), 1))
        self._posterior = conditioned_on(
            question, self._aim, everywhere, self._at, running, scales.running
        )
        self.made = 0
        """Number of proposals made."""

    def next(self, *, dearest: bool = False) -> tuple[Mixture, str, Scale]:
        """Returns the next mixture, the reason and its fidelity; later proposals take this mixture
        as measured.

        Args:
            dearest: only the target fidelity is allowed.
        """
        count = len(self._candidates)
        regret, share = scores(self._question, self._aim, self._posterior, len(self._at), count)
        total = _total(regret, share, costs(self._at), EXPLORATION)
        total[self._taken] = -np.inf
        if dearest:
            total[count:] = -np.inf
        best = int(np.argmax(total))
        self._posterior = self._posterior.conditioned(len(self._aim.bowl.stencil) + best)
        self.made += 1
        mixture, scale = self._candidates[best % count], self._at[best]
        repeats = best % count >= self._num_fresh
        same = self._domains.same(self._finished[:, self._order], mixture[self._order])
        why = _why(same, scale, self._scales) if repeats else ""
        if not repeats:
            like = self._domains.same(self._candidates[:, self._order], mixture[self._order])
            self._taken[(best // count) * count + np.flatnonzero(like[: self._num_fresh])] = True
        return (
            Mixture.from_array(self._domains.names, mixture[self._order]),
            f"{why}regret -{regret[best]:.2g}",
            scale,
        )


def dearest_due(scales: Sequence[Scale], asked: Scale) -> bool:
    """Tells whether the target fidelity `asked` has less than DEAREST_SHARE of the cost of trials
    at these fidelities."""
    return sum(scale.cost for scale in scales if scale == asked) < DEAREST_SHARE * sum(
        scale.cost for scale in scales
    )


def choose(
    question: Question,
    aim: Aim,
    candidates: Array,
    at: Sequence[Scale],
    running: Array,
    running_at: Sequence[Scale],
    exploration: float = EXPLORATION,
) -> tuple[int, float]:
    """Returns the index of the candidate with the largest score per cost, and its fall of the
    expected regret (a fraction of the objective).

    Args:
        aim: quadratic model of the question's objective at the predicted optimum.
        candidates: (m, domains).
        at: (m,) fidelities of the candidates; candidates at the question's fidelity come first.
        running: (r, domains) mixtures of trials whose losses are not known yet.
        running_at: (r,) fidelities of the running trials.
        exploration: weight of the variance over all candidates at the question's fidelity, relative
            to the regret.
    """
    posterior = conditioned_on(question, aim, candidates, at, running, running_at)
    regret, share = scores(question, aim, posterior, len(at), sum(scale == at[0] for scale in at))
    best = int(np.argmax(_total(regret, share, costs(at), exploration)))
    return best, float(regret[best])


def conditioned_on(
    question: Question,
    aim: Aim,
    candidates: Array,
    at: Sequence[Scale],
    running: Array,
    running_at: Sequence[Scale],
) -> Posterior:
    """Computes the joint belief at the finite-difference points around the optimum, at the
    candidates and at the running trials, conditioned on the running trials. The points come first
    in the result and have the question's fidelity; the candidates follow.

    Args:
        question: the decision problem.
        aim, candidates, at, running, running_at: as for `choose`.
    """
    asked = Scale(size=np.nan if question.size is None else question.size, steps=question.step)
    scales = [*[asked] * len(aim.bowl.stencil), *at, *running_at]
    points = np.concatenate([aim.bowl.stencil, candidates, running])
    posterior = question.searching(
        points, np.array([float(s.steps) for s in scales]), np.array([s.size for s in scales])
    )
    for index in range(len(points) - len(running), len(points)):
        posterior = posterior.conditioned(index)
    return posterior


def costs(at: Sequence[Scale]) -> Array:
    """Returns the (n,) costs of trials at these fidelities, in units of one trial at the first
    fidelity."""
    return np.array([scale.cost for scale in at]) / at[0].cost


def scores(
    question: Question, aim: Aim, posterior: Posterior, num_candidates: int, num_asked: int
) -> tuple[Array, Array]:
    """Returns two (candidates,) arrays: the fall of the expected regret (a fraction of the
    objective), and the fraction of the candidates' variance that a trial removes.

    Args:
        question, aim: as for `choose`.
        posterior: belief at the finite-difference points of `aim`, then at the candidates, then at
            any other points.
        num_candidates: number of candidates.
        num_asked: number of candidates at the target fidelity, which come first; the variance is
            computed over these.
    """
    here = slice(0, len(aim.bowl.stencil))
    there = slice(len(aim.bowl.stencil), len(aim.bowl.stencil) + num_candidates)
    asked = slice(len(aim.bowl.stencil), len(aim.bowl.stencil) + num_asked)
    variance = np.einsum("tmm->tm", posterior.covariance)
    moves = (
        posterior.covariance[:, :, there]
        / np.sqrt(variance[:, there] + np.diag(posterior.run_noise)[:, None])[:, None, :]
    )
    slopes = aim.bowl.slopes(
        moves[:, here] * question.sensitivity(posterior.mean[here]).T[:, :, None]
    )
    fall = 0.5 * np.einsum("tdc,tdc->c", slopes, np.matmul(aim.price, slopes))
    relevance = question.weights > 0
    share = (moves[relevance][:, asked] ** 2).mean(axis=(0, 1)) / np.maximum(
        variance[relevance][:, asked].mean(), 1e-300
    )
    return np.maximum(fall, 0.0) / float(question.objective(np.exp(posterior.mean[:1]))[0]), share


def _total(regret: Array, share: Array, cost: Array, exploration: float) -> Array:
    regret, share = regret / cost, share / cost
    return np.asarray(
        regret / max(float(regret.max()), 1e-12)
        + exploration * share / max(float(share.max()), 1e-300)
    )


def _candidates(
    question: Question,
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
        np.stack([domains.lower, domains.upper]), order, len(question.law.domains)
    )
    broad = _in_order(
        random_mixtures(domains, generator, num_broad), order, len(question.law.domains)
    )
    fresh = np.concatenate([project(near, lower, upper), broad])
    tried = np.array([domains.same(known[:, order], row).any() for row in fresh[:, order]])
    again = _again(question, domains, order, finished)
    return (fresh if tried.all() and not len(again) else fresh[~tried]), again


def _again(question: Question, domains: DomainSet, order: list[int], finished: Array) -> Array:
    """Returns the measured mixtures inside the current bounds that are candidates for a replicate.
    A measured mixture can lie outside, because a change of the sweep may change the bounds."""
    again = np.unique(finished[domains.holds(finished[:, order])], axis=0)
    if not len(again):
        return again
    size = np.full(len(again), np.nan if question.size is None else question.size)
    losses = question.law.losses(again, np.full(len(again), question.step), size)
    return again[np.argsort(question.objective(losses))[:NUM_REPLICATES]]


def _why(same: npt.NDArray[np.bool_], scale: Scale, scales: Scales) -> str:
    """Returns the reason for a second trial on a measured mixture; `same` tells which finished
    trials have this mixture."""
    known = {other for other, is_same in zip(scales.finished, same, strict=True) if is_same}
    if scale in known:
        return "replicate, "
    return (
        "for another number of steps, "
        if scale.size in {other.size for other in known}
        else "at another size, "
    )


def _in_order(rows: Array, order: list[int], count: int) -> Array:
    """Moves columns to the law's order; a domain that only the law knows gets proportion 0."""
    out = np.zeros((len(rows), count))
    out[:, order] = rows
    return out
