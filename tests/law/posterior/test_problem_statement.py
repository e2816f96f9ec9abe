import json
from dataclasses import replace

import pytest

from bimix_sweep.errors import MixtureError, OptimumError
from bimix_sweep.law.posterior.problem_change import ProblemChange
from bimix_sweep.law.posterior.problem_statement import ProblemStatement
from bimix_sweep.mixture.domains import DomainSet, Mixture
from bimix_sweep.mixture.final_run import FinalRun

NAMES = ("web", "code", "math")
PROBLEM = ProblemStatement(
    sweep="pile-3",
    domains=DomainSet(names=NAMES, tokens=(1e12, float("inf"), 2e10), upper=(1.0, 0.5, 1.0)),
    weights={"web": 0.5, "math": 0.5},
    objective="worst",
    step=800.0,
    size=2e5,
    tokens_per_step=1024.0,
    as_configured=True,
    final=FinalRun(tokens=1e12, size=7e9, max_epochs=2.0),
    prior=Mixture.from_mapping({"web": 0.5, "code": 0.25, "math": 0.25}),
    kl=0.1,
    seed=3,
    num_points=40,
    confirmation_result="They do not differ.",
)


def test_a_problem_reads_back_as_it_was_written():
    assert ProblemStatement.from_json(json.loads(json.dumps(PROBLEM.to_json()))) == PROBLEM


def test_the_final_run_caps_a_scarce_domain_at_its_epochs():
    assert PROBLEM.final_domains.upper == (1.0, 0.5, 0.04)
    assert PROBLEM.domains.upper == (1.0, 0.5, 1.0)


def test_only_what_differs_is_told_and_weights_count_relative_to_each_other():
    targets = ("web", "code", "math")
    doubled = replace(PROBLEM, weights={"web": 1.0, "code": 0.0, "math": 1.0})
    assert doubled.differences(PROBLEM, targets) == ()
    other = ProblemChange(upper={"code": 0.5, "math": 0.01}, final={"size": 1e9}).applied_to(
        PROBLEM
    )
    assert other.differences(PROBLEM, targets) == (
        "max of math is 0.01 instead of 1",
        "size of the final run is 1e+09 instead of 7e+09",
    )
    heavier = ProblemChange(weights={"web": 1.0}).applied_to(PROBLEM).differences(PROBLEM, targets)
    assert heavier == ("weight of web is 1 instead of 0.5", "weight of math is 0 instead of 0.5")


def test_a_change_keeps_every_other_part():
    other = ProblemChange(final={"max_epochs": 4.0}).applied_to(PROBLEM)
    assert other.final == FinalRun(tokens=1e12, size=7e9, max_epochs=4.0)
    assert replace(other, final=PROBLEM.final) == PROBLEM


@pytest.mark.parametrize(
    ("parts", "error", "message"),
    [
        ({"upper": {"wbe": 0.1}}, OptimumError, "wbe is not a domain of the law"),
        ({"available": {"web": 1e9}}, OptimumError, "--domain-tokens is given without"),
        ({"kl": 0.1}, OptimumError, "--prior and --kl go together"),
        ({"kl": -1.0, "prior": {"web": 1.0}}, OptimumError, "--kl is -1; need a number from 0"),
        ({"step": 0.0}, OptimumError, "step is 0; need a number above 0"),
        ({"lower": {"web": 0.8, "code": 0.8}}, MixtureError, "min sum to 1.6"),
    ],
)
def test_parts_that_cannot_be_are_refused(parts, error, message):
    free = ProblemStatement(domains=DomainSet(names=NAMES))
    with pytest.raises(error, match=message):
        ProblemChange(**parts).applied_to(free)
