"""Which mixture to run next, and at which scale: the run that is expected to lower the regret of the decision most per cost.

The regret is that of `aim`, tr(P S) / 2, S the covariance of the error of the objective's gradient at the predicted optimum r* under the joint
posterior of law and process.

A run at mixture c changes the belief about target k along  g_k = w_k L_k dC_k[., c]/dr (r*) / sqrt(C_k[c, c] + noise_k),  C_k the posterior
covariance, whatever its losses are (linear approximation; errors of different targets taken for independent): S falls by g_k g_k' and the
regret by  sum_k g_k' P g_k / 2.  As a share of the largest fall among the candidates this is added to EXPLORATION times the share of the
losses' variance over all mixtures that the run removes: what the belief is wrong about is often not where it looks. Running trials are
conditioned on first: their information does not depend on their results, so a batch is chosen one after another. Measured mixtures are
candidates too; running one again is a replicate. The belief is the wide one of `Question.searching`, so falls compare with one another, not
with the regret that a decision states.

Source: the design for the turning point of a regression (Chaloner 1989, Communications in Statistics: Theory and Methods 18) with several
responses. The knowledge gradient over a cloud of contenders, which it replaces, was judged by 48 draws in as many dimensions as targets, and chose
by their noise: regret at 32 runs, law-like world (10 seeds) .134 against .097 %, four others (5 seeds) .67 against .46, .44 and .44, .22 and .13, 1.04 and .85 %.

The decision is about the dearest scale: the largest size and the most steps. A smaller or shorter run moves the belief there by the joint
posterior between scales: the law's parameters are common to them, and so is what the law misses of a mixture. Both terms are divided by
the cost of the run, size x steps. Where all runs have one scale the cost divides out.

The belief knows of no misfit that is peculiar to a scale, so alone it would make cheap runs for ever where there is one, and
not notice. So a cheaper scale is a choice only while the dearest has had DEAREST_SHARE of the cost.
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
"""Weight of the variance over all mixtures beside the regret. Regret at 32 runs with .1, .2, .3 and .6: law-like .106, .098, .101, .120 %, alien .65, .55, .50, .48 %."""
DEAREST_SHARE = 0.5
"""Least share of a sweep's cost that goes to the dearest scale. Three planted domains, sizes 1 : 4, three seeds, mean regret after the cost of
8 large trainings, with shares of 0, .5, .67 and with the large size alone: .0017, .0011, .0028, .029 % where slopes and levels move with size;
.53, .26, .08, .03 % where the small size has bumps of 5.5 % on top, which the law cannot tell. On published curves, for the cost of 8 large
mixtures, 4 large and 42 small ones predict others as well as 5 and 30 or 6 and 20 do, and better than 8 large (`bench_sizes.py`)."""
NUM_BROAD = 60
"""Candidates from anywhere inside the bounds."""
NUM_REPLICATES = 12
"""Measured mixtures that may be run again: the ones predicted best."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scales:
    """Scales of a sweep's trainings."""

    choices: tuple[Scale, ...]
    """The one that the question asks about first."""
    finished: Sequence[Scale]
    """Of the finished trainings."""
    running: Sequence[Scale]
    """Of the running ones."""

    def of(self, candidates: int) -> list[Scale]:
        """Of so many candidates, each at every scale: all at the first, then all at the next."""
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
    """The next mixture inside `domains`, why, and the scale to run it at.

    Args:
        question: what the law of everything measured so far is asked.
        domains: where a run may be.
        generator: for candidates.
        finished, running, failed: (n, domains) mixtures of trials so far, columns in the order of `domains`.
        scales: to choose from, and of these trials.
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
    """Many proposals from one law: one aim and one set of candidates, their joint belief conditioned on each proposal made.

    A proposal then costs milliseconds, however many trainings the law has seen.
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
        """No proposal yet.

        Args:
            question, domains, finished, running, failed, scales: as for `next_mixture`, when the law was fitted.
            generator: for candidates.
            size: about how many proposals there will be; there are more than twice as many candidates.
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
        """Proposals made."""

    def next(self, *, dearest: bool = False) -> tuple[Mixture, str, Scale]:
        """The next mixture, why, and its scale; from then on it counts as seen.

        Args:
            dearest: only the dearest scale is a choice.
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
    """After runs at these scales the one asked about, the dearest, has had less than its share of the cost."""
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
    """Index of the candidate with the largest score per cost, and its fall of the expected regret (a fraction of the objective).

    Args:
        aim: of that question.
        candidates: (m, domains).
        at: (m,) their scales; first those at the question's.
        running: (r, domains) trials whose losses are not known yet.
        running_at: (r,) their scales.
        exploration: weight of the variance over all candidates at the question's scale beside the regret.
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
    """The belief around the optimum at the question's scale and about candidates at theirs, first in what is returned, after the runs that go on.

    Args:
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
    """(n,) of runs at these scales, in units of one at the first."""
    return np.array([scale.cost for scale in at]) / at[0].cost


def scores(
    question: Question, aim: Aim, posterior: Posterior, num_candidates: int, num_asked: int
) -> tuple[Array, Array]:
    """Of each candidate: fall of the expected regret (fraction of the objective), and share of the candidates' variance removed.

    Args:
        posterior: at the aim's stencil, of candidates and anything more, in this order.
        num_asked: the first so many candidates are at the scale asked about, and the variance is theirs.
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
    """Mixtures inside the bounds that no trial has tried, near the optimum and anywhere, and finished ones to repeat.

    Where no mixture of the first kind is left and none finished, all there are near and anywhere.
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
    """Measured mixtures that may be run again: bounds may have been others when they were chosen."""
    again = np.unique(finished[domains.holds(finished[:, order])], axis=0)
    if not len(again):
        return again
    size = np.full(len(again), np.nan if question.size is None else question.size)
    losses = question.law.losses(again, np.full(len(again), question.step), size)
    return again[np.argsort(question.objective(losses))[:NUM_REPLICATES]]


def _why(same: npt.NDArray[np.bool_], scale: Scale, scales: Scales) -> str:
    """What it means to run a measured mixture again; `same` says which finished trials have it."""
    known = {other for other, is_same in zip(scales.finished, same, strict=True) if is_same}
    if scale in known:
        return "replicate, "
    return (
        "for another number of steps, "
        if scale.size in {other.size for other in known}
        else "at another size, "
    )


def _in_order(rows: Array, order: list[int], count: int) -> Array:
    """Columns moved to the law's order; a domain that only the law knows is at 0."""
    out = np.zeros((len(rows), count))
    out[:, order] = rows
    return out
