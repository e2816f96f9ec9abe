"""Acquisition score of a trial: its expected fall of the decision's regret per cost. The trial with
the largest score is chosen.

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
`DecisionProblem.searching`. Falls of the regret can therefore be compared with each other, but not
with the regret that a decision states.

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

import numpy as np

from bimix_sweep.design.acquisition.optimality import OptimalityCriterion
from bimix_sweep.design.fidelity import Fidelity
from bimix_sweep.law.optimum.decision_problem import DecisionProblem
from bimix_sweep.law.posterior.gaussian import Posterior
from bimix_sweep.mixture.simplex import Array

EXPLORATION = 0.3
"""Weight of the variance over all mixtures, relative to the regret (docs/evidence.md)."""


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
    regret, explained = scores(
        problem, criterion, posterior, len(at), sum(fidelity == at[0] for fidelity in at)
    )
    best = int(np.argmax(total_scores(regret, explained, costs(at), exploration)))
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
        posterior: belief at the finite-difference points of `criterion`, then at the candidates,
            then at any other points.
        num_candidates: number of candidates.
        num_at_target: number of candidates at the target fidelity, which come first; the variance
            is computed over these.
    """
    first = len(criterion.quadratic.difference_points)
    here, there = slice(0, first), slice(first, first + num_candidates)
    at_target = slice(first, first + num_at_target)
    variance = np.einsum("tmm->tm", posterior.covariance)
    noise = np.diag(posterior.trial_noise)[:, None] * posterior.noise_factors[there]
    moves = posterior.covariance[:, :, there] / np.sqrt(variance[:, there] + noise)[:, None, :]
    slopes = criterion.quadratic.slopes(
        moves[:, here] * problem.sensitivity(posterior.mean[here]).T[:, :, None]
    )
    fall = 0.5 * np.einsum("tdc,tdc->c", slopes, np.matmul(criterion.inverse_hessian, slopes))
    relevance = problem.weights > 0
    explained = (moves[relevance][:, at_target] ** 2).mean(axis=(0, 1)) / np.maximum(
        variance[relevance][:, at_target].mean(), 1e-300
    )
    return np.maximum(fall, 0.0) / float(
        problem.objective(np.exp(posterior.mean[:1]))[0]
    ), explained


def total_scores(regret: Array, explained: Array, cost: Array, exploration: float) -> Array:
    """Computes the (candidates,) scores of the module's docstring from the two results of `scores`.

    Args:
        regret, explained: (candidates,) results of `scores`.
        cost: (candidates,) costs of the trials.
        exploration: weight of `explained`, relative to `regret`.
    """
    regret, explained = regret / cost, explained / cost
    return np.asarray(
        regret / max(float(regret.max()), 1e-12)
        + exploration * explained / max(float(explained.max()), 1e-300)
    )
