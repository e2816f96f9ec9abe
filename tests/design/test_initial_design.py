import numpy as np
import pytest

from bimix_sweep.design.initial_design import initial_mixture, num_initial
from bimix_sweep.mixture.domains import DomainSet, Mixture


def first(domains, count, seed=0, stated=()):
    """(count, domains) the first mixtures, and their reasons."""
    seen, reasons = np.zeros((0, len(domains))), []
    for turn in range(count):
        generator = np.random.default_rng([seed, turn])
        mixture, reason = initial_mixture(domains, seen, generator, stated)
        seen, reasons = np.concatenate([seen, mixture.as_array()[None]]), [*reasons, reason]
    return seen, reasons


def named(count, **bounds):
    return DomainSet(names=tuple(f"d{i}" for i in range(count)), **bounds)


def test_uniform_and_natural_come_first():
    seen, reasons = first(named(3, tokens=(1.0, 3.0, 6.0)), 3)
    assert reasons == ["initial: uniform", "initial: natural", "initial: space-filling"]
    assert seen[:2] == pytest.approx(np.array([[1 / 3] * 3, [0.1, 0.3, 0.6]]))


def test_natural_is_not_run_twice_where_it_is_uniform():
    assert first(named(3), 3)[1] == [
        "initial: uniform",
        "initial: space-filling",
        "initial: space-filling",
    ]


def test_stated_mixtures_come_next_each_once():
    mixtures = ({"d0": 0.2, "d1": 0.3, "d2": 0.5}, {"d0": 0.1, "d1": 0.3, "d2": 0.6})
    stated = [Mixture.from_mapping(mixture) for mixture in mixtures]
    seen, reasons = first(named(3, tokens=(1.0, 3.0, 6.0)), 4, stated=stated)
    assert reasons[1:] == ["initial: natural", "initial: stated", "initial: space-filling"]
    assert seen[2] == pytest.approx([0.2, 0.3, 0.5])


@pytest.mark.parametrize("domains", [3, 7, 17])
def test_every_domain_is_varied_over_a_factor_of_ten_and_none_is_at_zero(domains):
    seen, _ = first(named(domains), domains + 3)
    assert (seen.max(axis=0) / seen.min(axis=0) >= 10).all()
    assert (seen > 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_first_mixtures_determine_a_linear_law_better_than_as_many_random_ones(seed):
    domains = 7
    seen, _ = first(named(domains), domains + 3, seed)
    random = np.random.default_rng(seed).dirichlet(np.ones(domains), (200, domains + 3))
    assert np.linalg.slogdet(seen.T @ seen)[1] > np.quantile(
        np.linalg.slogdet(random.transpose(0, 2, 1) @ random)[1], 0.8
    )


def test_the_bounds_hold():
    domains = named(4, lower=(0.1, 0.0, 0.0, 0.2), upper=(0.5, 0.05, 1.0, 0.6))
    seen, _ = first(domains, 8)
    assert (seen >= domains.lower_array - 1e-12).all()
    assert (seen <= domains.upper_array + 1e-12).all()


def test_bounds_that_leave_one_mixture_give_it():
    seen, _ = first(named(2, lower=(0.3, 0.7), upper=(0.3, 0.7)), 3)
    assert seen == pytest.approx(np.tile([0.3, 0.7], (3, 1)))


@pytest.mark.parametrize(
    ("domains", "budget", "count"), [(3, 12, 5), (17, 200, 10), (3, 2, 2), (40, 60, 21)]
)
def test_the_first_mixtures_are_half_of_what_determines_the_law_within_the_budget(
    domains, budget, count
):
    assert num_initial(domains, budget) == count
