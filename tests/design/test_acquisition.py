"""The choice of the next mixture against what can be known beforehand."""

from functools import cache

import numpy as np
import pytest

from bimix_sweep.design.acquisition.next_mixture import next_mixture
from bimix_sweep.design.acquisition.optimality import OptimalityCriterion, optimality_criterion
from bimix_sweep.design.acquisition.scores import choose, scores
from bimix_sweep.design.fidelity import Fidelities, Fidelity
from bimix_sweep.law.fitting.fit_law import fit_law
from bimix_sweep.law.optimum.candidates import QuadraticModel
from bimix_sweep.law.optimum.decision_problem import DecisionProblem
from bimix_sweep.law.optimum.objective import Objective
from bimix_sweep.law.optimum.optimal_mixture import solve
from bimix_sweep.law.optimum.solver import minimise
from bimix_sweep.law.posterior.gaussian import Posterior
from bimix_sweep.mixture.domains import DomainSet
from bimix_sweep.mixture.table import LossTable

NAMES = ("a", "b", "c")
DOMAINS = DomainSet(names=NAMES)
MIXTURES = np.array(
    [
        [0.8, 0.1, 0.1],
        [0.7, 0.2, 0.1],
        [0.6, 0.1, 0.3],
        [0.75, 0.15, 0.1],
        [0.65, 0.2, 0.15],
        [0.7, 0.1, 0.2],
        [0.85, 0.1, 0.05],
    ]
)

ONE = Fidelity(size=1.0, steps=500)


@cache
def law():
    """A law that has seen only mixtures with much of domain a."""
    generator = np.random.default_rng(0)
    losses = (
        3
        * (0.05 + MIXTURES**0.9) ** -np.array([0.2, 0.15, 0.25])
        * np.exp(generator.normal(0, 0.002, (len(MIXTURES), 3)))
    )
    missing = np.full(len(MIXTURES), np.nan)
    return fit_law(
        LossTable(
            domains=NAMES,
            targets=NAMES,
            trials=tuple(map(str, range(len(MIXTURES)))),
            steps=np.full(len(MIXTURES), 500.0),
            sizes=missing,
            seeds=missing,
            proportions=MIXTURES,
            losses=losses,
        )
    )


def proposed(**changes):
    nothing = np.zeros((0, 3))
    given = {"finished": MIXTURES, "running": nothing, "failed": nothing, **changes}
    fidelities = Fidelities(
        choices=(ONE,),
        finished=[ONE] * len(given["finished"]),
        running=[ONE] * len(given["running"]),
    )
    return next_mixture(
        DecisionProblem.of(law(), DOMAINS, step=500),
        DOMAINS,
        generator=np.random.default_rng(1),
        fidelities=fidelities,
        **given,
    )[0].as_array()


def test_it_goes_where_nothing_was_measured():
    assert proposed()[0] < 0.5


def test_a_running_trial_is_not_proposed_again():
    first = proposed()
    second = proposed(running=first[None])
    assert np.abs(first - second).sum() / 2 > 0.1


def test_a_mixture_that_failed_is_not_proposed_again():
    first = proposed()
    assert np.abs(proposed(failed=first[None]) - first).max() > 1e-6


def test_among_copies_of_a_candidate_a_running_one_makes_the_others_worth_less():
    problem = DecisionProblem.of(law(), DOMAINS)
    candidates = np.array([[0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])
    criterion = optimality_criterion(problem, np.random.default_rng(0))
    first, _ = choose(problem, criterion, candidates, [ONE] * 2, np.zeros((0, 3)), ())
    second, _ = choose(problem, criterion, candidates, [ONE] * 2, candidates[[first]], [ONE])
    assert {first, second} == {0, 1}


def planted(noise: float, prior2: tuple[float, ...]):
    """One target whose log loss is log 3 + b.(r - r*) + |r - r*|^2 / 2 with unknown slopes b of
    these variances: everything in closed form.
    """
    problem = DecisionProblem.of(law(), DOMAINS, weights={"a": 1.0})
    problem = type(problem)(
        law=problem.law,
        weights=np.ones(1),
        worst=False,
        step=1.0,
        size=None,
        lower=problem.lower,
        upper=problem.upper,
    )
    best = np.full(3, 1 / 3)
    difference_step = np.full(3, 1e-4)
    difference_points = np.concatenate([best[None], best + 1e-4 * np.eye(3)])
    price = (np.eye(3) - 1 / 3) / 3.0  # the inverse of 3 times the identity, on sums of zero
    quadratic = QuadraticModel(
        point=best,
        gradient=np.zeros(3),
        hessian=3.0 * np.eye(3),
        difference_points=difference_points,
        difference_step=difference_step,
    )
    criterion = OptimalityCriterion(quadratic=quadratic, inverse_hessian=price, near=best[None])
    candidates = np.array([[0.8, 0.1, 0.1], [0.4, 0.3, 0.3], [1 / 3, 1 / 3, 1 / 3]])
    apart = np.concatenate([difference_points, candidates]) - best
    covariance = (apart * np.array(prior2)) @ apart.T
    posterior = Posterior(
        mean=np.full((len(apart), 1), np.log(3.0)),
        covariance=covariance[None],
        trial_noise=np.array([[noise]]),
        noise_factors=np.ones(len(apart)),
    )
    return problem, criterion, posterior, candidates - best


@pytest.mark.parametrize("noise", [1e-6, 1e-2])
def test_the_fall_of_regret_is_that_of_the_regret_itself_in_a_world_of_one_bowl(noise):
    """Regret tr(P S) / 2 before a run less that after it, with S of the slopes updated by Kalman's
    rule.
    """
    prior = np.diag([4e-2, 1e-2, 3e-2])
    problem, criterion, posterior, apart = planted(noise, tuple(np.diag(prior)))
    fall, _ = scores(problem, criterion, posterior, 3, 3)
    for row, found in zip(apart, fall, strict=True):
        after = prior - np.outer(prior @ row, row @ prior) / (row @ prior @ row + noise)
        assert found == pytest.approx(
            0.5 * np.trace(9 * criterion.inverse_hessian @ (prior - after)) / 3.0,
            rel=1e-6,
            abs=1e-12,
        )
    assert fall[0] > fall[1] > fall[2] == pytest.approx(0, abs=1e-12)


def test_the_price_of_a_wrong_gradient_is_what_the_moved_optimum_gains():
    """F + s.r has its minimum elsewhere; for small s staying costs s' P s / 2, of random s against
    the solver.
    """
    problem = DecisionProblem.of(law(), DOMAINS)
    generator = np.random.default_rng(0)
    best, _ = solve(problem, generator, num_starts=1)
    criterion, goal = (
        optimality_criterion(problem, generator),
        problem.objective_function(parametric=False),
    )
    for _ in range(5):
        slope = generator.normal(0, 1e-3, 3)

        def tilted(points, slope=slope):
            losses, slopes = goal.losses(points)
            return (losses @ goal.weights + points @ slope)[:, None], (
                np.einsum("nkd,k->nd", slopes, goal.weights) + slope
            )[:, None, :]

        moved = minimise(
            Objective(losses=tilted, weights=np.ones(1)),
            problem.lower,
            problem.upper,
            best.point,
            1e-14,
        )
        gained = best.value + best.point @ slope - moved.value
        assert gained == pytest.approx(slope @ criterion.inverse_hessian @ slope / 2, rel=0.05)


@pytest.mark.parametrize("seed", range(3))
def test_losses_without_noise_whose_optimum_is_a_vertex_leave_a_choice(seed):
    """Covariances of what is known exactly are singular but for rounding, which may leave them no
    root.
    """
    shares = np.random.default_rng(seed).beta(1, 1, 40)
    mixtures = np.stack([shares, 1 - shares], axis=1)
    r, steps = np.repeat(mixtures, 4, axis=0), np.tile([100.0, 200.0, 400.0, 800.0], 40)
    losses = 3 * (0.03 + r @ [1.05, 0.05]) ** -0.2 * (1 + 0.4 * (steps / 200) ** -0.6)
    missing = np.full(len(r), np.nan)
    exact = fit_law(
        LossTable(
            domains=("a", "b"),
            targets=("a",),
            trials=tuple(str(i) for i in range(40) for _ in range(4)),
            steps=steps,
            sizes=missing,
            seeds=missing,
            proportions=r,
            losses=losses[:, None],
        )
    )
    criterion = optimality_criterion(
        DecisionProblem.of(exact, DomainSet(names=("a", "b"))), np.random.default_rng(0)
    )
    assert criterion.near[0] == pytest.approx([1, 0], abs=1e-6)
    assert np.isfinite(criterion.inverse_hessian).all()
