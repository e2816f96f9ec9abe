"""References of targets: nats and an accuracy weighed by relative improvement."""

import numpy as np
import pytest
import scipy.optimize

from bimix_sweep.config import SweepConfig
from bimix_sweep.law.fitting.fit_law import fit_law
from bimix_sweep.law.optimum.optimal_mixture import optimal_mixture
from bimix_sweep.mixture.table import LossTable
from tests.support.planted_tables import mixtures_of

DOMAINS = ("web", "code", "books", "math")
STEP = 1000.0
HELP = np.array([[3.0, 0.3, 1.0, 0.2], [0.2, 1.0, 0.2, 3.0]])


def truth(r):
    """(web's loss in nats, loss of the accuracy) of one mixture: 4 and 0.4 where v is 1."""
    v = HELP @ r**0.8 + 0.02
    return np.array([4.0, 0.4]) * v ** np.array([-0.1, -0.2])


def true_optimum(weights):
    best = scipy.optimize.minimize(
        lambda r: weights @ truth(np.abs(r)),
        np.full(4, 0.25),
        bounds=[(1e-6, 1)] * 4,
        constraints={"type": "eq", "fun": lambda r: r.sum() - 1},
        options={"ftol": 1e-12},
    )
    return np.abs(best.x)


@pytest.fixture(scope="module")
def law():
    mixtures = mixtures_of(24)
    generator = np.random.default_rng(0)
    losses = np.array([truth(r) for r in mixtures])
    losses *= np.exp(0.001 * generator.standard_normal(losses.shape))
    table = LossTable(
        domains=DOMAINS,
        targets=("web", "arc"),
        trials=tuple(f"t{number}" for number in range(24)),
        steps=np.full(24, STEP),
        sizes=np.full(24, np.nan),
        seeds=np.full(24, np.nan),
        proportions=mixtures,
        losses=np.stack([losses[:, 0], 1 - (losses[:, 1] - 0.01)], axis=1),
        goals=configured(None).goals(),
    )
    return fit_law(table)


def configured(references, **extra):
    """A configuration whose targets web and arc have these references; None: no references."""
    web, arc = ({"reference": value} for value in references) if references else ({}, {})
    return SweepConfig.parse(
        {
            "domains": {name: {} for name in DOMAINS},
            "targets": {"web": web, "arc": {"goal": "max", "range": [0, 1], **arc}},
            "trainer": {"command": ["true", "{job}"]},
            **extra,
        }
    )


def chosen(law, config):
    found = optimal_mixture(
        law, config.domain_set(), weights=config.weights(), objective=config.objective
    )
    return found.mixture.as_array(DOMAINS)


def test_the_optimum_of_relative_weights_is_that_of_the_truth(law):
    uniform = truth(np.full(4, 0.25))
    config = configured((float(uniform[0]), float(1 - (uniform[1] - 0.01))))
    relative, plain = true_optimum(1 / uniform), true_optimum(np.ones(2))
    assert np.abs(relative - plain).max() > 0.2  # the question differs
    assert (1 / uniform) @ truth(chosen(law, config)) == pytest.approx(
        (1 / uniform) @ truth(relative), rel=0.002
    )
    assert np.abs(chosen(law, config) - relative).max() < 0.1
    assert np.abs(chosen(law, configured(None)) - plain).max() < 0.1


def test_the_worst_relative_loss_is_balanced(law):
    """With `worst` the losses over their references are equal at an inner optimum."""
    config = configured((3.6, 0.66), objective="worst")
    ratio = truth(chosen(law, config)) / np.array([3.6, 0.35])
    assert ratio[0] == pytest.approx(ratio[1], rel=0.01)
