"""The convex solver against answers that come another way: scipy's SLSQP and trust-constr, a closed
form, and its own certificate.
"""

import numpy as np
import pytest
from scipy import optimize

from bimix_sweep.law.optimum.near_optimal_region import extreme_members
from bimix_sweep.law.optimum.objective import Objective
from bimix_sweep.law.optimum.quadratic_step import lowest_vertex, quadratic_step
from bimix_sweep.law.optimum.solver import minimise
from bimix_sweep.mixture.simplex import project


class Planted:
    """Convex losses c_k (e_k + sum_j t_kj r_j^g)^-a_k with known parameters, and random bounds."""

    def __init__(self, domains: int, targets: int, seed: int, *, bounded: bool = False) -> None:
        generator = np.random.default_rng(seed)
        self.t = np.exp(generator.normal(-2, 1.5, (targets, domains)))
        self.e, self.a, self.c = (
            generator.uniform(0.001, 0.05, targets),
            generator.uniform(0.05, 0.5, targets),
            generator.uniform(1, 4, targets),
        )
        weights = generator.uniform(0.2, 1, targets)
        self.weights, self.g = weights / weights.sum(), 0.7
        self.lower, self.upper = np.zeros(domains), np.ones(domains)
        if bounded:
            self.upper = np.minimum(1, generator.uniform(1.2 / domains, 6 / domains, domains))
            self.lower = np.where(generator.random(domains) < 0.3, 0.3 / domains, 0)

    def losses(self, points):
        inside = np.maximum(points, 1e-9)[:, None, :]
        u = self.e + (inside**self.g * self.t).sum(axis=2)
        loss = self.c * u**-self.a
        return loss, (-self.a * loss / u)[:, :, None] * self.t * self.g * inside ** (self.g - 1)

    def objective(self, **changes):
        return Objective(losses=self.losses, **{"weights": self.weights, **changes})

    def start(self):
        return np.full(len(self.lower), 1 / len(self.lower))


def slsqp(objective, planted, extra=()):
    one = {"type": "eq", "fun": lambda x: x.sum() - 1, "jac": np.ones_like}
    found = optimize.minimize(
        lambda x: float(objective.values(x[None])[0]),
        project(planted.start(), planted.lower, planted.upper),
        jac=lambda x: objective.gradients(x[None])[0],
        method="SLSQP",
        bounds=list(zip(planted.lower, planted.upper, strict=True)),
        constraints=[one, *extra],
        options={"maxiter": 500, "ftol": 1e-13},
    )
    return found.x, float(found.fun)


@pytest.mark.parametrize(
    ("domains", "targets", "seed"), [(2, 1, 0), (3, 3, 1), (7, 22, 2), (17, 13, 3), (17, 13, 4)]
)
@pytest.mark.parametrize("bounded", [False, True])
def test_the_minimum_agrees_with_slsqp(domains, targets, seed, bounded):
    planted = Planted(domains, targets, seed, bounded=bounded)
    ours = minimise(planted.objective(), planted.lower, planted.upper, planted.start())
    _, theirs = slsqp(planted.objective(), planted)
    assert ours.value == pytest.approx(theirs, rel=1e-8)
    assert ours.value <= theirs * (1 + 1e-10)
    assert ours.gap <= 1e-9
    assert ours.point.sum() == pytest.approx(1, abs=1e-12)
    assert (ours.point >= planted.lower).all()
    assert (ours.point <= planted.upper).all()


def test_the_minimum_agrees_with_trust_constr():
    planted = Planted(5, 6, 9, bounded=True)
    objective = planted.objective()
    found = optimize.minimize(
        lambda x: float(objective.values(x[None])[0]),
        project(planted.start(), planted.lower, planted.upper),
        method="trust-constr",
        jac=lambda x: objective.gradients(x[None])[0],
        hess=optimize.BFGS(),
        bounds=optimize.Bounds(planted.lower, planted.upper),
        constraints=optimize.LinearConstraint(np.ones(5), 1, 1),
        options={"gtol": 1e-10, "xtol": 1e-12, "maxiter": 2000},
    )
    assert minimise(
        objective, planted.lower, planted.upper, planted.start()
    ).value == pytest.approx(found.fun, rel=1e-7)


@pytest.mark.parametrize("seed", range(5))
def test_the_minimum_of_bimix_is_its_closed_form(seed):
    generator = np.random.default_rng(seed)
    domains = 7
    scale, power, weights = (
        generator.uniform(1, 4, domains),
        generator.uniform(0.05, 0.5, domains),
        generator.dirichlet(np.ones(domains)),
    )
    lower, upper = np.full(domains, 0.02), np.full(domains, 0.4)

    def losses(points):
        loss = scale * points**-power
        return loss, (-power * loss / points)[:, :, None] * np.eye(domains)

    def closed_form(m):
        return np.clip((weights * power * scale / m) ** (1 / (1 + power)), lower, upper)

    m = optimize.brentq(lambda m: closed_form(m).sum() - 1, 1e-9, 1e3, xtol=1e-15)
    ours = minimise(
        Objective(losses=losses, weights=weights), lower, upper, np.full(domains, 1 / domains)
    )
    assert ours.point == pytest.approx(closed_form(m), abs=1e-6)


@pytest.mark.parametrize("worst", [False, True])
@pytest.mark.parametrize("kl", [0.0, 0.05])
def test_the_gap_bounds_the_distance_to_the_minimum_at_any_point(worst, kl):
    planted = Planted(6, 8, 5, bounded=True)
    objective = planted.objective(worst=worst, prior=np.full(6, 1 / 6), kl=kl)
    best = minimise(objective, planted.lower, planted.upper, planted.start()).value
    generator = np.random.default_rng(0)
    for point in project(generator.dirichlet(np.ones(6), 200), planted.lower, planted.upper):
        assert (
            objective.gap(point, planted.lower, planted.upper)
            >= float(objective.values(point[None])[0]) - best - 1e-9
        )


@pytest.mark.parametrize(("domains", "seed"), [(3, 0), (3, 2), (7, 1), (17, 3)])
def test_the_worst_target_is_minimised_as_slsqp_does_on_the_epigraph(domains, seed):
    planted = Planted(domains, domains + 2, seed, bounded=bool(seed % 2))
    planted.weights = np.ones(domains + 2)
    objective = planted.objective(worst=True)
    ours = minimise(objective, planted.lower, planted.upper, planted.start())
    start = project(planted.start(), planted.lower, planted.upper)
    found = optimize.minimize(
        lambda x: x[-1],
        np.append(start, objective.values(start[None])[0]),
        method="SLSQP",
        jac=lambda x: np.append(np.zeros(domains), 1.0),
        bounds=[*zip(planted.lower, planted.upper, strict=True), (None, None)],
        constraints=[
            {"type": "eq", "fun": lambda x: x[:-1].sum() - 1},
            {"type": "ineq", "fun": lambda x: x[-1] - planted.losses(x[None, :-1])[0][0]},
        ],
        options={"maxiter": 500, "ftol": 1e-12},
    )
    assert ours.value == pytest.approx(found.fun, rel=1e-6)
    assert 0 <= ours.gap <= 1e-6 * ours.value


def test_a_strong_pull_ends_at_the_prior_and_a_weak_one_between():
    planted = Planted(4, 5, 6)
    prior = np.array([0.4, 0.3, 0.2, 0.1])
    free = minimise(planted.objective(), planted.lower, planted.upper, planted.start()).point
    pulled = [
        minimise(
            planted.objective(prior=prior, kl=kl), planted.lower, planted.upper, planted.start()
        ).point
        for kl in (0.01, 0.1, 1000.0)
    ]
    assert pulled[-1] == pytest.approx(prior, abs=1e-3)
    divergence = [
        float((point * np.log(np.maximum(point, 1e-300) / prior)).sum())
        for point in (free, *pulled)
    ]
    assert divergence == sorted(divergence, reverse=True)


def test_the_pull_to_a_prior_agrees_with_slsqp():
    planted = Planted(6, 4, 8, bounded=True)
    objective = planted.objective(prior=np.array([0.05, 0.1, 0.15, 0.2, 0.25, 0.25]), kl=0.05)
    ours = minimise(objective, planted.lower, planted.upper, planted.start())
    assert ours.value == pytest.approx(slsqp(objective, planted)[1], rel=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_a_quadratic_step_is_where_no_feasible_direction_descends(seed):
    generator = np.random.default_rng(seed)
    root = generator.normal(size=(8, 8))
    hessian, gradient = root @ root.T + 1e-3 * np.eye(8), 3 * generator.normal(size=8)
    lower, upper = np.zeros(8), np.full(8, 0.4)
    point = project(generator.dirichlet(np.ones(8)), lower, upper)
    end = quadratic_step(hessian, gradient, point, lower, upper)
    slope = gradient + hessian @ (end - point)
    assert slope @ (end - lowest_vertex(slope, lower, upper)) <= 1e-8


def test_the_lowest_vertex_fills_the_cheapest_domains_first():
    vertex = lowest_vertex(
        np.array([3.0, -1.0, 2.0]), np.array([0.1, 0.0, 0.0]), np.array([1.0, 0.5, 1.0])
    )
    assert vertex == pytest.approx([0.1, 0.5, 0.4])


@pytest.mark.parametrize(("domains", "seed"), [(3, 1), (7, 1), (5, 3)])
def test_extreme_members_lie_in_the_region_and_reach_as_far_as_slsqp(domains, seed):
    planted = Planted(domains, 10, seed, bounded=True)
    objective = planted.objective()
    best = minimise(objective, planted.lower, planted.upper, planted.start())
    level = best.value * 1.005
    members = extreme_members(objective, best, level, planted.lower, planted.upper)
    assert (objective.values(members) <= level * (1 + 1e-12)).all()
    inside = {
        "type": "ineq",
        "fun": lambda x: level - objective.values(x[None])[0],
        "jac": lambda x: -objective.gradients(x[None])[0],
    }
    one = {"type": "eq", "fun": lambda x: x.sum() - 1, "jac": np.ones_like}
    checked = 0
    for sign, rows in ((1.0, members[:domains]), (-1.0, members[domains:])):
        for domain, member in enumerate(rows):
            direction = sign * np.eye(domains)[domain]
            found = optimize.minimize(
                lambda x, d=direction: float(d @ x),
                best.point,
                jac=lambda x, d=direction: d,
                method="SLSQP",
                constraints=[one, inside],
                bounds=list(zip(planted.lower, planted.upper, strict=True)),
                options={"maxiter": 300, "ftol": 1e-10},
            )
            if found.success and objective.values(found.x[None])[0] <= level * (1 + 1e-7):
                checked += 1
                reach, theirs = (
                    abs(member[domain] - best.point[domain]),
                    abs(found.x[domain] - best.point[domain]),
                )
                assert reach >= 0.97 * theirs - 1e-6
    assert checked >= domains
