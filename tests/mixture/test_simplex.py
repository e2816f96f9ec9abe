import numpy as np
import pytest
from scipy.optimize import minimize

from bimix_sweep.errors import MixtureError
from bimix_sweep.mixture.simplex import apportion, check_bounds, project, sample, total_variation
from bimix_sweep.seeding import rng, seed_for


def random_bounds(generator, size):
    centre = generator.dirichlet(np.ones(size))
    return centre * generator.uniform(0, 1, size), np.minimum(
        1, centre + generator.uniform(0, 0.5, size)
    )


@pytest.mark.parametrize("case", range(10))
def test_projection_agrees_with_a_general_solver(case):
    generator = rng(case, "project")
    size = int(generator.integers(2, 9))
    lower, upper = random_bounds(generator, size)
    point = generator.normal(size=size)
    solved = minimize(
        lambda x: ((x - point) ** 2).sum(),
        (lower + upper) / 2,
        jac=lambda x: 2 * (x - point),
        bounds=list(zip(lower, upper, strict=True)),
        constraints={"type": "eq", "fun": lambda x: x.sum() - 1, "jac": lambda x: np.ones(size)},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    mine = project(point, lower, upper)
    assert mine.sum() == pytest.approx(1, abs=1e-12)
    assert ((mine >= lower) & (mine <= upper)).all()
    assert ((mine - point) ** 2).sum() <= solved.fun + 1e-9


def test_projection_leaves_a_mixture_alone():
    points = rng(0, "inside").dirichlet(np.ones(5), size=20)
    assert project(points, np.zeros(5), np.ones(5)) == pytest.approx(points, abs=1e-15)


def test_projection_with_all_freedom_taken_gives_the_only_mixture():
    fixed = np.array([0.2, 0.3, 0.5])
    assert project(np.array([9.0, -3.0, 0.0]), fixed, fixed) == pytest.approx(fixed)


def test_samples_lie_in_the_bounds_and_have_the_asked_mean():
    centre = np.array([0.5, 0.3, 0.2])
    points = sample(rng(0, "sample"), 4000, centre, 20.0, np.zeros(3), np.ones(3))
    assert points.sum(axis=1) == pytest.approx(1)
    assert points.mean(axis=0) == pytest.approx(centre, abs=0.01)
    bounded = sample(
        rng(0, "sample"), 500, centre, 1.0, np.array([0.1, 0, 0]), np.array([1, 0.4, 1.0])
    )
    assert bounded[:, 0].min() >= 0.1
    assert bounded[:, 1].max() <= 0.4


@pytest.mark.parametrize("total", [0, 1, 7, 1000])
def test_whole_shares_sum_exactly_and_are_within_one(total):
    proportions = rng(total, "apportion").dirichlet(np.ones(6))
    counts = apportion(proportions, total)
    assert counts.sum() == total
    assert (np.abs(counts - proportions * total) < 1).all()


def test_total_variation_of_disjoint_mixtures_is_one():
    assert total_variation(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == 1


@pytest.mark.parametrize(
    ("lower", "upper", "message"),
    [
        ([0.6, 0.6], [1, 1], "min sum to 1.2"),
        ([0, 0], [0.4, 0.4], "max sum to 0.8"),
        ([0.5, 0], [0.4, 1], "domain a has bounds"),
        ([-0.1, 0], [1, 1], "domain a has bounds"),
    ],
)
def test_bounds_that_leave_no_mixture_are_refused(lower, upper, message):
    with pytest.raises(MixtureError, match=message):
        check_bounds(np.array(lower), np.array(upper), ("a", "b"))


def test_streams_of_two_purposes_differ_and_each_repeats():
    assert seed_for(1, "order", 2) == seed_for(1, "order", 2)
    assert (
        len(
            {
                seed_for(1, "order", 2),
                seed_for(1, "order", 3),
                seed_for(2, "order", 2),
                seed_for(1, "init", 2),
            }
        )
        == 4
    )
    assert rng(1, "order").random() == rng(1, "order").random()
