"""The near-optimal region against straight lines from the optimum, and against the constrained
minimum for planted losses.
"""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from bimix_sweep.law.fitting.fit_law import fit_law
from bimix_sweep.law.optimum.decision_problem import DecisionProblem
from bimix_sweep.law.optimum.near_optimal_region import extreme_members
from bimix_sweep.law.optimum.objective import Objective
from bimix_sweep.law.optimum.optimal_mixture import optimal_mixture, solve
from bimix_sweep.law.optimum.quadratic_step import lowest_vertex
from bimix_sweep.law.optimum.solver import Solution, minimise
from bimix_sweep.mixture.domains import DomainSet
from bimix_sweep.mixture.table import LossTable

ROOT = Path(__file__).resolve().parents[3]
REGMIX = ROOT.parent / "shared" / "data" / "regmix"
VERTICES = 4
"""Random orders in which other domains fill a mixture that holds most or least of one domain."""


@dataclass
class Problem:
    objective: Objective
    best: Solution
    lower: np.ndarray
    upper: np.ndarray
    within: float

    @property
    def level(self):
        return self.best.value + self.within * abs(self.best.value)

    def members(self):
        return extreme_members(self.objective, self.best, self.level, self.lower, self.upper)


def planted(seed):
    """Convex losses c_k (e_k + sum_j t_kj r_j^g)^-a_k, of which some help a target and some none,
    so that domains end at 0.
    """
    generator = np.random.default_rng(seed)
    domains, targets = int(generator.choice([3, 4, 7, 12])), int(generator.choice([1, 2, 5]))
    t = np.exp(generator.normal(-2, 1.5, (targets, domains)))
    kind = {0: "worst", 1: "pull"}.get(seed % 5, "mean")
    t *= generator.random((targets, domains)) < generator.choice([0.3, 1.0])
    e, a = generator.uniform(0.001, 0.05, targets), generator.uniform(0.05, 0.5, targets)
    c, g = generator.uniform(1, 4, targets), generator.choice([0.4, 0.7, 0.9, 1.0])

    def losses(points):
        inside = np.maximum(points, 1e-9)[:, None, :]
        u = e + (inside**g * t).sum(axis=2)
        loss = c * u**-a
        return loss, (-a * loss / u)[:, :, None] * t * g * inside ** (g - 1)

    lower, upper = np.zeros(domains), np.ones(domains)
    if seed % 3 == 1:
        upper = np.minimum(1, generator.uniform(1.2 / domains, 6 / domains, domains))
        lower = np.where(generator.random(domains) < 0.3, 0.3 / domains, 0)
        if seed % 2:
            upper[0] = lower[0]
    upper = np.maximum(upper, 1.05 * upper / upper.sum()) if upper.sum() < 1.05 else upper
    prior = generator.dirichlet(np.ones(domains)) + 1e-3
    objective = Objective(
        losses=losses,
        weights=generator.dirichlet(np.full(targets, 0.5)) if kind != "worst" else np.ones(targets),
        worst=kind == "worst",
        prior=prior / prior.sum() if kind == "pull" else None,
        kl=0.02 if kind == "pull" else 0.0,
    )
    best = minimise(objective, lower, upper, np.full(domains, 1 / domains))
    within = float(generator.choice([0.001, 0.005, 0.02]))
    return Problem(objective=objective, best=best, lower=lower, upper=upper, within=within)


GRID = 20
"""Points of a line at which it is looked whether it has left the region."""


def lines(problem, generator):
    """Where straight lines from the optimum to extreme mixtures of every domain leave the region,
    at first, by a grid and bisection.
    """
    count, centre = len(problem.lower), problem.best.point
    orders = [problem.best.gradient, *generator.random((VERTICES, count))]
    ends = []
    for order in orders:
        for domain in range(count):
            for most in (True, False):
                first = np.where(np.arange(count) == domain, -np.inf if most else np.inf, order)
                ends.append(lowest_vertex(first, problem.lower, problem.upper))
    ends = np.array(ends)
    # the first crossing: with a discrepancy GP a line may leave the region and enter it again
    low, high = np.ones(len(ends)), np.ones(len(ends))
    for part in np.linspace(1, 0, GRID + 1)[:-1]:
        out = problem.objective.values(centre + part * (ends - centre)) > problem.level
        high = np.where(out, part, high)
        low = np.where(out, part - 1 / GRID, low)
    for _ in range(30):
        middle = (low + high) / 2
        points = centre + middle[:, None] * (ends - centre)
        fits = problem.objective.values(points) <= problem.level
        low, high = np.where(fits, middle, low), np.where(fits, high, middle)
    return centre + low[:, None] * (ends - centre)


def check(problem, seed):
    members = problem.members()
    reached = lines(problem, np.random.default_rng(seed))
    assert (problem.objective.values(members) <= problem.level * (1 + 1e-9)).all()
    assert members.sum(axis=1) == pytest.approx(1)
    assert (members >= problem.lower - 1e-12).all()
    assert (members <= problem.upper + 1e-12).all()
    slack = 2e-4 * (reached.max(axis=0) - reached.min(axis=0)) + 1e-9
    assert (members.max(axis=0) >= reached.max(axis=0) - slack).all()
    assert (members.min(axis=0) <= reached.min(axis=0) + slack).all()


@pytest.mark.parametrize("block", range(8))
def test_no_straight_line_from_the_optimum_reaches_farther_in_planted_problems(block):
    for seed in range(20 * block, 20 * block + 20):
        check(planted(seed), seed)


def columns(name):
    """(names, {index: values}) of a file of `regmix/`."""
    with (REGMIX / name).open() as stream:
        header, *rows = csv.reader(stream)
    return header[1:], {row[0]: [float(value) for value in row[1:]] for row in rows}


@cache
def published_law(runs):
    """The law of some of the published runs of 17 domains and 13 targets."""
    if not REGMIX.exists():
        pytest.skip("the published runs of regmix are not beside the checkout")
    domains, mixtures = columns("train_mixture_1m.csv")
    targets, losses = columns("train_pile_loss_1m.csv")
    chosen = np.random.default_rng(runs).permutation([i for i in mixtures if i in losses])[:runs]
    proportions, missing = np.array([mixtures[i] for i in chosen]), np.full(runs, np.nan)
    table = LossTable(
        domains=tuple(name.removeprefix("train_the_pile_") for name in domains),
        targets=tuple(
            n.removeprefix("metric/the_pile_").removesuffix("_val_loss") for n in targets
        ),
        trials=tuple(chosen),
        steps=np.full(runs, 1000.0),
        sizes=missing,
        seeds=missing,
        proportions=proportions / proportions.sum(axis=1, keepdims=True),
        losses=np.array([losses[i] for i in chosen]),
    )
    return fit_law(table)


@pytest.mark.parametrize("runs", [24, 64])
def test_no_straight_line_from_the_optimum_reaches_farther_in_published_swarms(runs):
    law, count = published_law(runs), 17
    for seed in range(20):
        generator = np.random.default_rng(seed)
        lower, upper = np.zeros(count), np.ones(count)
        if seed % 4 == 1:
            upper = np.minimum(1, generator.uniform(1.2 / count, 6 / count, count))
            lower = np.where(generator.random(count) < 0.3, 0.3 / count, 0)
        weights = generator.dirichlet(np.full(len(law.targets), 0.2))
        problem = DecisionProblem.of(
            law,
            DomainSet(names=law.domains, lower=tuple(lower), upper=tuple(upper)),
            weights=dict(zip(law.targets, map(float, weights), strict=True)),
        )
        best, scope = solve(problem, generator)
        problem = Problem(
            objective=problem.objective_function(parametric=scope == "global"),
            best=best,
            lower=problem.lower,
            upper=problem.upper,
            within=0.005,
        )
        check(problem, seed)


def test_the_worst_target_of_a_published_swarm_with_a_discrepancy_has_nearly_its_whole_region():
    law, count, seed = published_law(64), 17, 5
    generator = np.random.default_rng(seed)
    upper = np.minimum(1, generator.uniform(1.2 / count, 6 / count, count))
    lower = np.where(generator.random(count) < 0.3, 0.3 / count, 0)
    weights = generator.dirichlet(np.full(len(law.targets), 0.2)) + 1e-9
    problem = DecisionProblem.of(
        law,
        DomainSet(names=law.domains, lower=tuple(lower), upper=tuple(upper)),
        weights=dict(zip(law.targets, map(float, weights), strict=True)),
        objective="worst",
    )
    best, scope = solve(problem, generator)
    assert scope == "local"
    whole = Problem(
        objective=problem.objective_function(parametric=False),
        best=best,
        lower=problem.lower,
        upper=problem.upper,
        within=0.005,
    )
    members, reached = whole.members(), lines(whole, np.random.default_rng(seed))
    assert (whole.objective.values(members) <= whole.level * (1 + 1e-9)).all()
    width = reached.max(axis=0) - reached.min(axis=0)
    found = members.max(axis=0) - members.min(axis=0)
    assert (found >= 0.9 * width).all()


def test_a_domain_of_a_published_swarm_that_the_optimum_leaves_out_has_its_true_reach():
    law = published_law(64)
    optimum = optimal_mixture(law, DomainSet(names=law.domains), weights={"pile_cc": 1.0})
    best = optimum.mixture.as_array()
    github = np.eye(17)[law.domains.index("github")]
    shares = np.linspace(0, 0.2, 401)
    rows = best + shares[:, None] * (github - best)
    loss = law.predict(rows, np.full(401, 1000.0))[:, law.targets.index("pile_cc")]
    reachable = shares[loss <= loss[0] * 1.005].max()
    assert optimum.mixture.as_dict()["github"] < 0.001
    assert reachable > 0.02
    assert optimum.region["github"][1] >= reachable - 0.001


def test_a_domain_at_zero_reaches_as_far_as_the_laws_own_predictions_allow():
    """The law's curvature at a domain it leaves out is nearly infinite, and says nothing of what
    lies beyond it.
    """
    generator = np.random.default_rng(0)
    r = generator.dirichlet(np.full(4, 0.6), 30)
    a, b, c, _ = r.T
    losses = [
        3 * (0.05 + a**0.5 + 0.3 * b**0.5) ** -0.2 * (1 + 0.03 * c**0.5),
        2.5 * (0.05 + b**0.5 + 0.2 * a**0.5) ** -0.2,
    ]
    missing = np.full(30, np.nan)
    table = LossTable(
        domains=("a", "b", "c", "d"),
        targets=("x", "y"),
        trials=tuple(map(str, range(30))),
        steps=np.full(30, 100.0),
        sizes=missing,
        seeds=missing,
        proportions=r,
        losses=np.stack(losses, axis=1) * np.exp(generator.normal(0, 0.002, (30, 2))),
    )
    law = fit_law(table)
    optimum = optimal_mixture(law, DomainSet(names=law.domains))
    best = optimum.mixture.as_array()
    rows = best + np.linspace(0, 0.2, 401)[:, None] * (np.eye(4)[2] - best)
    mean = law.predict(rows, np.full(401, 100.0)).mean(axis=1)
    assert best[2] < 0.001
    reachable = rows[mean <= optimum.objective * 1.005, 2].max()
    assert reachable > 0.01
    assert optimum.region["c"][1] >= reachable - 0.001


@pytest.mark.parametrize("seed", [7, 13, 22, 37])
def test_members_of_a_convex_region_hold_nearly_as_much_as_any_mixture_can(seed):
    """The truth by another way: the largest r_j at which the minimum over all other proportions
    keeps within the level.
    """
    problem = planted(seed)
    members, centre = problem.members(), problem.best.point
    for domain in range(min(4, len(centre))):
        for most in (True, False):
            lower, upper = problem.lower.copy(), problem.upper.copy()
            inside, outside = centre[domain], (upper if most else lower)[domain]
            for _ in range(14):
                middle = (inside + outside) / 2
                lower[domain] = upper[domain] = middle
                fits = upper.sum() >= 1 >= lower.sum() and (
                    minimise(problem.objective, lower, upper, centre, 1e-8).value <= problem.level
                )
                inside, outside = (middle, outside) if fits else (inside, middle)
            found = members[:, domain].max() if most else members[:, domain].min()
            true = abs(inside - centre[domain])
            assert abs(found - centre[domain]) >= 0.97 * true - 1e-3
