"""The optimum for the final run and that at the trials, on planted losses whose optimum moves."""

import math
from dataclasses import replace

import numpy as np
import pytest

from bimix_sweep.law.fitting.fit_law import fit_law
from bimix_sweep.law.model.repetition import worth
from bimix_sweep.law.optimum.answer import answer, not_tested
from bimix_sweep.law.posterior.problem_change import ProblemChange
from bimix_sweep.law.posterior.problem_statement import ProblemStatement
from bimix_sweep.mixture.domains import DomainSet
from bimix_sweep.mixture.final_run import FinalRun
from bimix_sweep.mixture.table import LossTable

NAMES = ("web", "code")
STEPS = np.geomspace(50, 1000, 9)
TOKENS_PER_STEP = 2000.0


def truth(r, s):
    """(n, targets) losses. The loss of code is large at first and falls far, so that of web decides
    more and more.
    """
    web = 2.0 * (0.05 + r[:, 0] ** 0.7) ** -0.15 * (1 + 0.2 * (s / 1000) ** -0.4)
    code = 0.5 * (0.05 + r[:, 1] ** 0.7) ** -0.15 * (1 + 8.0 * (s / 1000) ** -0.4)
    return np.stack([web, code], axis=1)


def best_web(step):
    grid = np.linspace(0.001, 0.999, 4001)
    r = np.stack([grid, 1 - grid], axis=1)
    return grid[truth(r, np.full(len(grid), step)).sum(axis=1).argmin()]


@pytest.fixture(scope="module")
def law():
    generator = np.random.default_rng(3)
    mixtures = generator.dirichlet(np.ones(2), 24)
    r, s = np.repeat(mixtures, len(STEPS), axis=0), np.tile(STEPS, len(mixtures))
    noise = 1e-4 * generator.standard_normal((len(s), 2))
    return fit_law(
        LossTable(
            domains=NAMES,
            targets=NAMES,
            trials=tuple(f"t{i}" for i in range(24) for _ in STEPS),
            steps=s,
            sizes=np.full(len(s), np.nan),
            seeds=np.full(len(s), np.nan),
            proportions=r,
            losses=truth(r, s) * np.exp(noise),
        )
    )


def problem(**fields):
    given = {"tokens_per_step": TOKENS_PER_STEP, "final": FinalRun(tokens=1e8, size=7e9)}
    return ProblemStatement(domains=DomainSet(names=NAMES), **given | fields)


def test_the_mixture_is_the_best_at_the_steps_of_the_final_run_and_that_of_the_trials_is_told(law):
    optimum = answer(law, problem())
    final, trials = best_web(1e8 / TOKENS_PER_STEP), best_web(1000.0)
    assert final - trials > 0.15  # they lie far apart here
    assert optimum.step == 1e8 / TOKENS_PER_STEP
    assert optimum.mixture.as_dict()["web"] == pytest.approx(final, abs=0.04)
    small = optimum.at_trials
    assert small.step == 1000
    assert small.mixture.as_dict()["web"] == pytest.approx(trials, abs=0.02)
    apart = optimum.mixture.as_dict()["web"] - small.mixture.as_dict()["web"]
    assert small.distance == pytest.approx(apart)
    assert small.regret.upper95 < optimum.regret.upper95
    said = " ".join(not_tested(optimum, law, problem(), measured=None).sentences)
    assert f"It lies {apart:.3f} (total variation) from the best one at the trials'" in said
    assert "The sizes of the trials are not known" in said
    assert "is assumed" in said


def test_without_the_tokens_of_a_step_or_of_the_final_run_the_trials_decide(law):
    for one in (problem(tokens_per_step=None), problem(final=None)):
        optimum = answer(law, one)
        assert optimum.at_trials is None
        assert optimum.step == 1000
        assert optimum.mixture.as_dict()["web"] == pytest.approx(best_web(1000.0), abs=0.02)


def test_a_stated_step_counts_instead_of_that_of_the_final_run(law):
    asked = ProblemChange(step=200.0).applied_to(problem())
    optimum = answer(law, asked)
    assert (optimum.step, optimum.at_trials) == (200, None)
    assert optimum.mixture.as_dict()["web"] == pytest.approx(best_web(200.0), abs=0.02)
    assert ProblemStatement.from_json(asked.to_json()) == asked


def test_a_final_run_smaller_than_the_trials_is_answered_at_its_own_steps(law):
    small = problem(final=FinalRun(tokens=2e5))
    optimum = answer(law, small)
    assert optimum.step == 100
    assert optimum.mixture.as_dict()["web"] == pytest.approx(best_web(100.0), abs=0.02)
    assert replace(optimum, at_trials=None) != optimum


def test_passes_of_the_final_run_are_weighed_against_new_text(law):
    def asked(tokens, **fields):
        scarce = DomainSet(names=NAMES, tokens=(math.inf, tokens))
        return replace(problem(final=FinalRun(tokens=1e8, **fields)), domains=scarce)

    plenty, scarce = asked(1e9), asked(1e6, max_epochs=1e6)
    free, weighed = (answer(law, one).mixture.as_dict()["code"] for one in (plenty, scarce))
    assert free == answer(law, problem()).mixture.as_dict()["code"]
    assert 0.01 < weighed < 0.8 * free
    # the best of many mixtures by the planted losses of effective proportions, R* = 15
    grid = np.linspace(0.001, 0.999, 4001)
    seen = np.stack([1 - grid, grid * worth(grid / 0.01, 15.0)], axis=1)
    at = truth(seen, np.full(len(grid), 1e8 / TOKENS_PER_STEP)).sum(axis=1)
    assert weighed == pytest.approx(grid[at.argmin()], rel=0.25)
    capped = answer(law, asked(1e6, max_epochs=2.0)).mixture.as_dict()["code"]
    assert capped == pytest.approx(0.02)
    said = " ".join(not_tested(answer(law, scarce), law, scarce, measured=None).sentences)
    assert f"The final run passes over code {weighed / 0.01:.1f} times" in said
    assert "R* = 15 (95 % interval 3.8 to 59), which rests on its prior alone" in said
    silent = " ".join(not_tested(answer(law, plenty), law, plenty, measured=None).sentences)
    assert "R*" not in silent
