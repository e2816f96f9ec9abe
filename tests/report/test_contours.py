import numpy as np
import pytest

from bimix_sweep.report.figures.contours import sublevel_loops, triangle_grid


def area(loop):
    """Area of a loop as a fraction of the triangle's."""
    x, y = loop[:, 0], loop[:, 1]
    return abs(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]))


@pytest.mark.parametrize("level", [0.1, 0.35, 0.5, 0.999])
def test_a_linear_function_cuts_off_a_trapezium_of_known_area(level):
    values = triangle_grid(20)[:, 0]
    (loop,) = sublevel_loops(values, 20, level)
    assert area(loop) == pytest.approx(1 - (1 - level) ** 2, abs=1e-6)
    assert (loop[0] == loop[-1]).all()
    np.testing.assert_allclose(loop.sum(axis=1), 1, atol=1e-8)


def test_a_bowl_has_one_round_outline_and_two_bowls_have_two():
    grid = triangle_grid(60)
    quadratic = ((grid - [0.4, 0.3, 0.3]) ** 2).sum(axis=1)
    (loop,) = sublevel_loops(quadratic, 60, 0.02)
    np.testing.assert_allclose(((loop - [0.4, 0.3, 0.3]) ** 2).sum(axis=1), 0.02, rtol=0.03)
    twin = np.minimum(
        ((grid - [0.7, 0.2, 0.1]) ** 2).sum(axis=1), ((grid - [0.1, 0.2, 0.7]) ** 2).sum(axis=1)
    )
    assert len(sublevel_loops(twin, 60, 0.01)) == 2


def test_bounds_cut_the_outline():
    (loop,) = sublevel_loops(np.zeros(231), 20, 1.0, lower=(0.13, 0, 0), upper=(1, 0.47, 1))
    assert loop[:, 0].min() == pytest.approx(0.13)
    assert loop[:, 1].max() == pytest.approx(0.47)
    assert area(loop) == pytest.approx(0.87**2 - (0.87 - 0.47) ** 2, abs=1e-6)


def test_the_whole_triangle_and_nothing():
    (loop,) = sublevel_loops(np.zeros(231), 20, 1.0)
    assert area(loop) == pytest.approx(1)
    assert sublevel_loops(np.ones(231), 20, 0.5) == []
