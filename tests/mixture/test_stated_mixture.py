import math

import numpy as np
import pytest

from bimix_sweep.errors import MixtureError
from bimix_sweep.mixture.domains import DomainSet
from bimix_sweep.mixture.stated_mixture import StatedMixture, divergence, natural_mixture

DOMAINS = DomainSet(
    names=("web", "code", "old"), tokens=(6e9, 2e9, 1e9), lower=(0, 0.5, 0), upper=(1, 1, 0)
)


@pytest.mark.parametrize(
    ("stated", "expected", "said"),
    [
        ({"web": 0.7, "code": 0.3}, [0.7, 0.3, 0], None),
        ({"code": 0.3, "web": 0.7}, [0.7, 0.3, 0], None),
        ({"web": 3e9, "code": 1e9}, [0.75, 0.25, 0], "sums to 4e+09, so its numbers count as"),
        ({"web": 75, "code": 25}, [0.75, 0.25, 0], "sums to 100, so its numbers count as"),
        ({"web": 1, "code": 1}, [0.5, 0.5, 0], "sums to 2, so its numbers count as"),
        ({"web": 0.696, "code": 0.3}, [0.696 / 0.996, 0.3 / 0.996, 0], "sums to 0.996 and was"),
        ({"web": 0.704, "code": 0.3}, [0.704 / 1.004, 0.3 / 1.004, 0], "sums to 1.004 and was"),
        ({"web": 1.0}, [1, 0, 0], "does not name code; a domain not named counts as 0"),
    ],
)
def test_a_clear_mixture_is_normalised_and_what_was_changed_is_said(stated, expected, said):
    read = StatedMixture.of("today", stated, DOMAINS)
    assert read.mixture.as_array(DOMAINS.names) == pytest.approx(expected, abs=1e-12)
    assert sum(read.mixture.proportions) == pytest.approx(1, abs=1e-15)
    assert len(read.notes) == (said is not None)
    assert said is None or said in read.notes[0]


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"web": 0.6, "code": 0.3}, "today sums to 0.9; need proportions with the sum 1"),
        ({"web": 0.7, "code": 0.5}, "today sums to 1.2; need"),
        ({"web": 0.695, "code": 0.3}, "today sums to 0.995; need"),
        ({"web": 0.9, "code": 0.9, "old": 0.9}, "today sums to 2.7; need"),
        ({}, "today sums to 0; need"),
        ({"web": -0.1, "code": 1.1}, "today gives web the value -0.1; need a number from 0"),
        ({"web": math.nan, "code": 1.0}, "today gives web the value nan"),
        ({"web": math.inf, "code": 1.0}, "today gives web the value inf"),
        ({"wbe": 1.0}, "today names wbe; the domains are web, code, old"),
    ],
)
def test_a_mixture_that_is_not_clear_is_refused_by_name_and_number(stated, message):
    with pytest.raises(MixtureError, match=message.replace("(", r"\(")):
        StatedMixture.of("today", stated, DOMAINS)


def test_the_natural_mixture_of_today_has_the_parts_of_the_tokens_whatever_the_bounds():
    assert natural_mixture("today", DOMAINS).as_array() == pytest.approx([0.75, 0.25, 0])
    unknown = DomainSet(names=("web", "code"), tokens=(1e9, math.inf))
    with pytest.raises(MixtureError, match="today is natural, and the tokens of code are not"):
        natural_mixture("today", unknown)


def test_the_divergence_is_that_of_the_definition():
    assert divergence(np.array([0.5, 0.5, 0]), np.array([0.25, 0.25, 0.5])) == pytest.approx(
        math.log(2)
    )
    assert divergence(np.array([1.0, 0]), np.array([1.0, 0])) == 0
    assert divergence(np.array([0.5, 0.5]), np.array([1.0, 0])) == math.inf
