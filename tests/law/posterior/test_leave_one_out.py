"""What trainings left out miss, against conditioning on the others one training at a time, and what
it does to the width of the belief.
"""

import numpy as np
import pytest

from bimix_sweep.law.fitting.fit_law import fit_law
from bimix_sweep.law.model import transfer as tl
from bimix_sweep.law.model.law_inputs import LawInputs
from bimix_sweep.law.model.priors import free_columns
from bimix_sweep.law.optimum.decision_problem import DecisionProblem
from bimix_sweep.law.posterior.information import SegmentInformation
from bimix_sweep.law.posterior.leave_one_out import leave_one_out
from bimix_sweep.mixture.domains import DomainSet
from bimix_sweep.mixture.table import LossTable

NAMES = ("a", "b", "c")
HELP = np.array([[1.0, 0.2, 0.05], [0.1, 1.0, 0.3], [0.02, 0.25, 1.0]])
STEPS = np.array([100.0, 200.0, 400.0, 800.0])


def fitted(seed, *, count=16, noisy=None, missing=0.0):
    """A law of planted losses.

    Args:
        noisy: None, all trainings scatter by 0.003; else "good" or "bad", that half of them by 0.05
            and the other by 0.001.
        missing: chance that a training lacks a target.
    """
    generator = np.random.default_rng(seed)
    mixtures = generator.dirichlet(np.ones(3), count)
    useful = 0.03 + mixtures**0.9 @ HELP.T
    level = 3 * useful ** -np.array([0.3, 0.15, 0.2])
    mean = level.mean(axis=1)
    good = mean <= np.median(mean)
    scatter = (
        np.full(count, 0.003) if noisy is None else np.where(good == (noisy == "good"), 0.05, 0.001)
    )
    losses = level * np.exp(scatter[:, None] * generator.standard_normal((count, 3)))
    lacking = generator.random((count, 3)) < missing
    lacking[:, 0] = False
    losses[lacking] = np.nan
    curves = (
        losses[:, None]
        * (1 + 0.4 * (STEPS / 200) ** -0.6)[:, None]
        * np.exp(0.0005 * generator.standard_normal((count, 4, 3)))
    )
    nothing = np.full(4 * count, np.nan)
    law = fit_law(
        LossTable(
            domains=NAMES,
            targets=NAMES,
            trials=tuple(str(i) for i in range(count) for _ in STEPS),
            steps=np.tile(STEPS, count),
            sizes=nothing,
            seeds=nothing,
            proportions=np.repeat(mixtures, 4, axis=0),
            losses=curves.reshape(-1, 3),
        )
    )
    return law, lacking.T


@pytest.mark.parametrize("missing", [0.0, 0.25])
def test_what_is_left_out_is_predicted_from_the_others(missing):
    law, lacking = fitted(1, missing=missing)
    law, variances = law.conditioned, law.conditioned.variances
    left_out = leave_one_out(law)
    assert ((left_out.expected == 0) == lacking).all()
    columns = free_columns(law.precision**-0.5)
    inputs = LawInputs.of_trials(law.trials, *law.reference)
    at = tl.evaluate(law.params, inputs, columns).regrouped(law.segments.trial)
    information = SegmentInformation.of(at, law.segments, columns, law.params.shape[1], variances)
    counts, gp_inputs = information.counts, law.segments.gp_inputs(inputs)
    for group in law.groups:
        rows, members = group.segments, list(group.targets)
        trials = law.segments.trial[rows]
        correlation = law.kernel.correlation(gp_inputs.of(rows), gp_inputs.of(rows))
        noise = (
            (
                variances.point[members, None] / counts[members][:, rows]
                + variances.segment[members, None]
            )
            / variances.trial[members, None]
        ).mean(axis=0)
        for t in members:
            covariance = variances.discrepancy[t] * correlation + variances.trial[t] * (
                np.diag(noise) + (trials[:, None] == trials)
            )
            moves, residual = information.mean_jacobian[t][rows], law.residual[t, rows]
            for trial in np.unique(trials):
                out, rest = trials == trial, trials != trial
                inverse = np.linalg.inv(covariance[np.ix_(rest, rest)])
                belief = np.linalg.inv(
                    information.within[t]
                    + np.diag(law.precision[t])
                    + moves[rest].T @ inverse @ moves[rest]
                )
                move = belief @ moves[rest].T @ inverse @ residual[rest]
                gain = covariance[np.ix_(out, rest)] @ inverse
                error = (
                    residual[out] - moves[out] @ move - gain @ (residual[rest] - moves[rest] @ move)
                )
                left = moves[out] - gain @ moves[rest]
                variance = (
                    covariance[np.ix_(out, out)]
                    - gain @ covariance[np.ix_(rest, out)]
                    + left @ belief @ left.T
                )
                assert left_out.error[t, trial] == pytest.approx(error[-1], rel=1e-6, abs=1e-9)
                assert left_out.expected[t, trial] == pytest.approx(variance[-1, -1], rel=1e-6)


def test_a_decision_is_less_in_doubt_where_good_trials_hold_to_the_law_and_more_where_they_do_not():
    chi_square = {
        noisy: [
            DecisionProblem.of(
                fitted(seed, count=40, noisy=noisy)[0], DomainSet(names=NAMES)
            ).reduced_chi_square
            for seed in range(3)
        ]
        for noisy in ("good", "bad")
    }
    assert max(chi_square["bad"]) < 0.7
    assert min(chi_square["good"]) > 1.1
