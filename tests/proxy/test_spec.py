"""A wanted size gives the nearest shape, and the points of a curve are where they should be."""

import itertools

import numpy as np
import pytest

from bimix_sweep.errors import ConfigError
from bimix_sweep.proxy import model
from bimix_sweep.proxy.spec import ProxySpec


@pytest.mark.parametrize(
    ("size", "width", "layers"),
    [(1e5, 64, 2), (2e5, 96, 2), (4e5, 128, 2), (1e6, 160, 3), (3e6, 256, 4), (1e8, 800, 13)],
)
def test_width_and_depth_grow_together_with_the_size(size, width, layers):
    spec = ProxySpec.for_size(size, vocabulary=2048)
    assert (spec.width, spec.layers) == (width, layers)
    assert spec.size == pytest.approx(size, rel=0.12)
    assert spec.learning_rate == pytest.approx(8e-3 * 64 / width)


def test_the_size_counts_every_parameter_but_the_embeddings():
    spec = ProxySpec.for_size(1e5, vocabulary=300)
    assert model.num_parameters(spec) - spec.size == 2 * 300 * spec.width


@pytest.mark.parametrize("steps", [1, 3, 30, 400, 800, 100_000])
def test_the_points_of_a_curve_rise_evenly_in_the_logarithm_and_end_at_the_last_step(steps):
    points = ProxySpec(vocabulary=10, steps=steps).eval_steps()
    assert points[-1] == steps
    assert all(a < b for a, b in itertools.pairwise(points))
    if steps >= 400:
        assert len(points) == 8
        assert points[0] == steps // 4
        np.testing.assert_allclose(np.diff(np.log(points)), np.log(4) / 7, atol=0.02)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 50}, r"proxy\.width is 50; need a multiple of 32"),
        ({"steps": 0}, r"proxy\.steps is 0; need a whole number of at least 1"),
        (
            {"steps": 10**30},
            r"proxy\.steps is 10{30}; need a whole number of at least 1 and at most 1000000000",
        ),
        ({"batch": 1.5}, r"proxy\.batch is 1\.5"),
        ({"learning_rate": float("nan")}, r"learning_rate nan"),
        ({"ema_share": 0.7}, r"ema_share in \(0, \.5\)"),
    ],
)
def test_a_spec_that_cannot_train_is_refused_by_field(settings, message):
    with pytest.raises(ConfigError, match=message):
        ProxySpec(vocabulary=10, **settings)
    with pytest.raises(ConfigError, match="need from 2e4 to 1e9"):
        ProxySpec.for_size(0, vocabulary=10)
