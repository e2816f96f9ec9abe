"""`optimal_mixture` on laws fitted to planted losses, whose true optimum is known."""

from functools import cache

import numpy as np
import pytest
from scipy import optimize

from bimix_sweep.errors import OptimumError
from bimix_sweep.law.fitting.fit_law import fit_law
from bimix_sweep.law.optimum.optimal_mixture import optimal_mixture
from bimix_sweep.mixture.domains import DomainSet, Mixture
from bimix_sweep.mixture.table import LossTable

NAMES = ("books", "code", "math", "web")
HELP = np.array(
    [[1.0, 0.05, 0.1, 0.3], [0.02, 1.0, 0.2, 0.05], [0.05, 0.15, 1.0, 0.02], [0.4, 0.03, 0.05, 1.0]]
)
POWER = np.array([0.12, 0.25, 0.18, 0.1])
DOMAINS = DomainSet(names=NAMES)


def truth(proportions, steps):
    """(n, 4) planted losses."""
    useful = 0.02 + np.asarray(proportions) ** 0.9 @ HELP.T
    return 3 * useful**-POWER * (1 + 0.5 * (np.asarray(steps)[:, None] / 200) ** -0.5)


@cache
def planted_law(noise: float = 0.002, runs: int = 24):
    generator = np.random.default_rng(1)
    mixtures = np.concatenate(
        [
            generator.dirichlet(np.full(4, 0.6), runs // 2),
            generator.dirichlet(np.full(4, 2.0), runs - runs // 2),
        ]
    )
    steps = np.array([100.0, 200.0, 400.0, 800.0])
    rows, times = np.repeat(mixtures, 4, axis=0), np.tile(steps, runs)
    offsets = np.repeat(generator.normal(0, noise, (runs, 4)), 4, axis=0)
    losses = truth(rows, times) * np.exp(offsets + generator.normal(0, noise / 5, (runs * 4, 4)))
    missing = np.full(runs * 4, np.nan)
    table = LossTable(
        domains=NAMES,
        targets=NAMES,
        trials=tuple(f"run {i}" for i in range(runs) for _ in range(4)),
        steps=times,
        sizes=missing,
        seeds=missing,
        proportions=rows,
        losses=losses,
    )
    return fit_law(table)


def true_minimum(weights, upper=None):
    bounds = [(1e-6, 1.0 if upper is None else upper[i]) for i in range(4)]
    start = np.clip(np.full(4, 0.25), 0, [high for _, high in bounds])
    found = optimize.minimize(
        lambda x: float(truth(x[None], [800.0])[0] @ weights),
        start / start.sum(),
        method="SLSQP",
        bounds=bounds,
        constraints=[{"type": "eq", "fun": lambda x: x.sum() - 1}],
        options={"ftol": 1e-12},
    )
    return found.x, found.fun


@pytest.mark.parametrize("weights", [{}, {"code": 1.0, "web": 3.0}])
def test_the_optimum_of_a_fitted_law_costs_almost_nothing_against_the_true_one(weights):
    optimum = optimal_mixture(planted_law(), DOMAINS, weights=weights or None, step=800)
    values = np.array([weights.get(name, 0.0) for name in NAMES]) if weights else np.ones(4)
    values /= values.sum()
    regret = (
        float(truth([optimum.mixture.as_array()], [800.0])[0] @ values) / true_minimum(values)[1]
        - 1
    )
    assert regret <= 1e-3
    assert regret <= optimum.regret.upper95 + 1e-5
    assert 0 <= optimum.regret.expected <= optimum.regret.upper95


def test_a_law_without_process_is_certified_globally():
    optimum = optimal_mixture(planted_law(), DOMAINS)
    assert optimum.scope == ("local" if planted_law().has_discrepancy else "global")
    assert 0 <= optimum.gap <= 1e-6 * optimum.objective


def test_region_and_interval_hold_the_optimum_and_its_alternatives_are_as_good_as_promised():
    law = planted_law()
    optimum = optimal_mixture(law, DOMAINS, within=0.01)
    for name, share in optimum.mixture.as_dict().items():
        assert optimum.region[name][0] <= share <= optimum.region[name][1]
        assert optimum.interval[name][0] <= share + 1e-12
        assert share - 1e-12 <= optimum.interval[name][1]
    assert len(optimum.alternatives) >= 3
    for other in optimum.alternatives:
        losses = law.predict(other.as_array(NAMES)[None], np.array([law.steps[1]]))[0]
        assert losses.mean() <= optimum.objective * 1.0101


def test_the_interval_holds_the_true_optimum():
    best, _ = true_minimum(np.full(4, 0.25))
    optimum = optimal_mixture(planted_law(), DOMAINS, step=800)
    held = [
        optimum.interval[name][0] - 0.01 <= share <= optimum.interval[name][1] + 0.01
        for name, share in zip(NAMES, best, strict=True)
    ]
    assert sum(held) >= 3


def test_a_binding_cap_is_named_with_what_it_costs():
    law = planted_law()
    capped = DomainSet(names=NAMES, upper=(1.0, 0.15, 1.0, 1.0), lower=(0.0, 0.0, 0.0, 0.0))
    free, bound = optimal_mixture(law, DOMAINS), optimal_mixture(law, capped)
    assert bound.mixture.as_dict()["code"] == pytest.approx(0.15)
    assert [(binding.domain, binding.bound) for binding in bound.binding] == [("code", "max")]
    assert bound.binding[0].cost == pytest.approx(1 - free.objective / bound.objective, abs=1e-6)
    assert free.binding == ()


def test_the_stated_regret_of_the_worst_objective_covers_the_true_one():
    """At its optimum targets tie: a quadratic model of the unsmoothed maximum holds every drawn
    optimum where it is, and states next to no regret.
    """
    names, corners = ("a", "b", "c"), np.random.default_rng(0).dirichlet(np.ones(3), 200_000)
    hits, stated, true = [], [], []
    for seed in range(12):
        generator = np.random.default_rng(seed)
        help_, power = np.eye(3) + generator.uniform(0, 0.4, (3, 3)), generator.uniform(0.1, 0.3, 3)
        losses_at = lambda r, t=help_, a=power: 3 * (0.02 + r**0.9 @ t.T) ** -a  # noqa: E731
        best = corners[losses_at(corners).max(axis=1).argmin()]
        mixtures, missing = (
            np.concatenate(
                [generator.dirichlet(np.ones(3), 6), generator.dirichlet(30 * best + 1e-3, 12)]
            ),
            np.full(18, np.nan),
        )
        table = LossTable(
            domains=names,
            targets=names,
            trials=tuple(map(str, range(18))),
            steps=np.full(18, 100.0),
            sizes=missing,
            seeds=missing,
            proportions=mixtures,
            losses=losses_at(mixtures) * np.exp(generator.normal(0, 0.003, (18, 3))),
        )
        optimum = optimal_mixture(fit_law(table), DomainSet(names=names), objective="worst")
        found = losses_at(optimum.mixture.as_array()[None]).max() / losses_at(best[None]).max() - 1
        hits.append(found <= optimum.regret.upper95)
        stated.append(optimum.regret.expected)
        true.append(found)
    assert np.mean(hits) >= 0.9
    assert np.mean(stated) > np.mean(true) / 2


def test_the_worst_objective_lowers_the_largest_loss_below_that_of_the_mean_objective():
    law = planted_law()
    mean, worst = optimal_mixture(law, DOMAINS), optimal_mixture(law, DOMAINS, objective="worst")
    assert max(worst.predicted_losses.values()) < max(mean.predicted_losses.values())
    assert worst.objective == pytest.approx(max(worst.predicted_losses.values()))


def test_a_pull_moves_the_optimum_towards_the_prior():
    law = planted_law()
    prior = Mixture.from_array(NAMES, [0.7, 0.1, 0.1, 0.1])
    near = [
        np.abs(
            optimal_mixture(law, DOMAINS, prior=prior if kl else None, kl=kl).mixture.as_array()
            - prior.as_array()
        ).sum()
        for kl in (0, 0.1, 10)
    ]
    assert near[0] > near[1] > near[2]
    assert near[2] < 0.1


def test_extrapolation_is_said():
    law = planted_law()
    assert optimal_mixture(law, DOMAINS).extrapolation == {"step": 1.0, "size": 1.0}
    assert optimal_mixture(law, DOMAINS, step=8000).extrapolation["step"] == pytest.approx(10)


def test_the_same_call_gives_the_same_optimum_to_the_last_bit():
    assert optimal_mixture(planted_law(), DOMAINS) == optimal_mixture(planted_law(), DOMAINS)


def test_more_noise_widens_the_regret():
    quiet, loud = (
        optimal_mixture(planted_law(noise), DOMAINS).regret.upper95 for noise in (0.002, 0.02)
    )
    assert loud > 3 * quiet


def test_a_domain_left_out_of_the_set_is_at_zero():
    optimum = optimal_mixture(planted_law(), DomainSet(names=("books", "math", "web")))
    assert optimum.mixture.names == ("books", "math", "web")
    assert sum(optimum.mixture.proportions) == pytest.approx(1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": {"sport": 1.0}}, "weights name sport"),
        ({"weights": {"web": 0.0}}, "one of them above 0"),
        ({"weights": {"web": -1.0}}, ">= 0"),
        ({"objective": "median"}, 'need "mean" or "worst"'),
        ({"step": 0.0}, "step is 0"),
        ({"kl": 0.1}, "kl is given without a prior"),
        ({"kl": -0.1}, "kl is -0.1"),
        ({"kl": 1e300}, "kl is 1e\\+300"),
        ({"domains": DomainSet(names=("books", "sport"))}, "never seen sport"),
        (
            {
                "kl": 0.1,
                "prior": Mixture.from_array(NAMES, [1.0, 0, 0, 0]),
                "domains": DomainSet(names=NAMES, upper=(0.5, 1, 1, 1)),
            },
            "the prior gives nothing",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused_in_words(changes, message):
    arguments = {"domains": DOMAINS, **changes}
    with pytest.raises(OptimumError, match=message):
        optimal_mixture(planted_law(), **arguments)
