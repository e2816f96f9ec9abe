import math

import numpy as np
import pytest

from bimix_sweep.design.initial_design import moved_references
from bimix_sweep.errors import MixtureError
from bimix_sweep.mixture.domains import DomainSet, Mixture

DOMAINS = DomainSet(names=("web", "code", "math"), tokens=(6e9, 3e9, 1e9))


def test_the_natural_mixture_follows_the_tokens():
    assert DOMAINS.natural().as_array() == pytest.approx([0.6, 0.3, 0.1])


def test_caps_are_epochs_times_tokens_over_the_run():
    capped = DOMAINS.capped(run_tokens=2e10, max_epochs=4)
    assert capped.upper == pytest.approx((1.0, 0.6, 0.2))


def test_caps_that_leave_no_mixture_say_how_much_text_is_missing():
    with pytest.raises(MixtureError, match=r"need 2.5e\+10 tokens of text"):
        DOMAINS.capped(run_tokens=1e11, max_epochs=4)


def test_unknown_token_counts_cap_nothing_and_make_natural_uniform():
    domains = DomainSet(names=("a", "b"))
    assert domains.tokens == (math.inf, math.inf)
    assert domains.capped(1e12, 4).upper == (1.0, 1.0)
    assert domains.natural() == domains.uniform()


def test_a_min_above_what_the_tokens_allow_is_named_with_both():
    with pytest.raises(
        MixtureError, match=r"domain a has min 0\.5, and 4 epochs of its 1e\+09 tok"
    ):
        DomainSet(names=("a", "b"), lower=(0.5, 0), tokens=(1e9, 1e12)).capped(1e10, 4)


def test_reference_mixtures_that_break_bounds_are_named():
    domains = DomainSet(names=("a", "b", "c"), upper=(0.1, 1, 1), tokens=(1.0, 8.0, 11.0))
    assert domains.moved == {"uniform": ("a",)}
    assert DomainSet(names=("a", "b", "c"), upper=(0.0, 1, 1)).moved == {}
    assert "the uniform mixture breaks the bounds of a (0 to 0.1)" in moved_references(domains)
    assert moved_references(DomainSet(names=("a", "b"))) is None


def test_room_is_what_the_other_bounds_leave_and_decides_what_is_the_same_mixture():
    domains = DomainSet(names=("a", "b", "c"), lower=(0.5, 0.48, 0.0), upper=(1, 1, 0.001))
    assert domains.room == pytest.approx([0.02, 0.02, 0.001])
    base = np.array([0.51, 0.489, 0.001])
    moved = base + np.array([[1, -1, 0], [1e-5, -1e-5, 0], [1e-5, 0, -1e-5]]) * [[1e-3], [1], [1]]
    assert domains.same(moved, base).tolist() == [False, True, False]
    assert domains.holds(np.array([base, [0.49, 0.51, 0]])).tolist() == [True, False]


def test_uniform_moves_into_the_bounds():
    domains = DomainSet(names=("a", "b", "c"), upper=(0.1, 1, 1))
    assert domains.uniform().as_array() == pytest.approx([0.1, 0.45, 0.45])


def test_a_mixture_is_read_by_name_not_by_position():
    mixture = Mixture.from_mapping({"code": 0.25, "web": 0.75})
    assert mixture.as_array(("web", "code", "math")).tolist() == [0.75, 0.25, 0.0]
    with pytest.raises(MixtureError, match="holds code"):
        mixture.as_array(("web",))


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"a": 0.5, "b": 0.4}, "sum to 0.9; need 1"),
        ({"a": -0.1, "b": 1.1}, "domain a has proportion -0.1"),
        ({"a": math.nan, "b": 1}, "domain a has proportion nan"),
        ({"a\nb": 1.0}, r"name 'a\\nb' is not usable"),
        ({"": 1.0}, "name '' is not usable"),
    ],
)
def test_a_bad_mixture_is_refused_with_its_domain_and_value(shares, message):
    with pytest.raises(MixtureError, match=message):
        Mixture.from_mapping(shares)


def test_domains_named_twice_or_without_tokens_are_refused():
    with pytest.raises(MixtureError, match="domain a is named twice"):
        DomainSet(names=("a", "a"))
    with pytest.raises(MixtureError, match="domain b has 0 tokens"):
        DomainSet(names=("a", "b"), tokens=(1.0, 0.0))
    with pytest.raises(MixtureError, match="1 values of tokens for 2 domains"):
        DomainSet(names=("a", "b"), tokens=(1.0,))


def test_the_nearest_mixture_keeps_the_sum():
    assert sum(DOMAINS.nearest(np.array([0.9, 0.9, 0.9])).proportions) == pytest.approx(
        1, abs=1e-12
    )
