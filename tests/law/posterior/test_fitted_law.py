"""What a fitted law promises: convexity, bounds, exact JSON, gradients, calibrated joint
uncertainty.
"""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from bimix_sweep.errors import LawError
from bimix_sweep.law.fitting.fit_data import FitData
from bimix_sweep.law.fitting.fit_law import FittedLaw, fit_law
from bimix_sweep.law.fitting.normal_equations import Noise, normal_equations
from bimix_sweep.law.model import columns as col
from bimix_sweep.law.model import jacobian
from bimix_sweep.law.model import transfer as tl
from bimix_sweep.law.model.law_inputs import LawInputs
from bimix_sweep.law.model.observations import gather
from bimix_sweep.law.model.priors import Problems
from bimix_sweep.law.model.shared_values import expected
from bimix_sweep.mixture.table import LossTable
from tests.support.parametric import parametric_losses

HELP = np.array([[4.0, 0.5, 0.2], [0.3, 4.0, 0.6], [0.8, 0.2, 4.0]])
NAMES = ("web", "code", "math")


def lawful(r, s):
    return (
        np.log(3.0)
        - 0.15 * np.log(r**0.8 @ HELP.T + 0.02)
        + np.log1p(0.2 * (s / 500) ** -0.6)[:, None]
    )


def bumpy(r, s):
    return lawful(r, s) + 0.03 * np.sin(6 * r[:, [1]]) * np.cos(5 * r[:, [2]])


def table_of(
    truth, count, *, steps=(300.0, 600.0, 1000.0), offset=0.003, point=0.001, seed=0, size=np.nan
):
    generator = np.random.default_rng(seed)
    mixtures = generator.dirichlet(np.ones(3), count)
    r, s = np.repeat(mixtures, len(steps), axis=0), np.tile(steps, count)
    noise = np.repeat(
        offset * generator.standard_normal((count, 3)), len(steps), axis=0
    ) + point * generator.standard_normal((len(r), 3))
    return LossTable(
        domains=NAMES,
        targets=NAMES,
        trials=tuple(f"t{i}" for i in range(count) for _ in steps),
        steps=s,
        sizes=np.full(len(r), size),
        seeds=np.full(len(r), np.nan),
        proportions=r,
        losses=np.exp(truth(r, s) + noise),
    )


LAWFUL = fit_law(table_of(lawful, 80), law="transfer")
BUMPY = fit_law(table_of(bumpy, 60), law="transfer")
POINTS = np.random.default_rng(5).dirichlet(np.ones(3), 12)


def test_the_discrepancy_vanishes_where_the_law_suffices_and_carries_what_it_misses():
    assert not LAWFUL.has_discrepancy
    assert BUMPY.has_discrepancy
    truth, steps = np.exp(bumpy(POINTS, np.full(12, 1000.0))), np.full(12, 1000.0)
    error = lambda loss: np.abs(loss / truth - 1).mean()  # noqa: E731
    assert error(BUMPY.predict(POINTS, steps)) < 0.5 * error(
        parametric_losses(BUMPY, POINTS, steps)
    )


def test_the_parametric_law_is_convex_in_the_mixture():
    pairs = np.random.default_rng(2).dirichlet(np.full(3, 0.4), (200, 2))
    steps = np.full(200, 1000.0)
    ends = (
        parametric_losses(BUMPY, pairs[:, 0], steps) + parametric_losses(BUMPY, pairs[:, 1], steps)
    ) / 2
    assert (parametric_losses(BUMPY, pairs.mean(axis=1), steps) <= ends + 1e-12).all()


@pytest.mark.parametrize("law", [LAWFUL, BUMPY], ids=["law", "discrepancy"])
def test_gradients_agree_with_differences(law):
    direction = np.array([1.0, -2.0, 1.0])
    r = 0.8 * POINTS + 0.2 / 3
    for function, gradient in (
        (partial(parametric_losses, law), law.law_gradient),
        (law.predict, law.gradient),
    ):
        value, slope = gradient(r, 1000.0)
        steps, move = np.full(len(r), 1000.0), 1e-5 * direction
        assert value == pytest.approx(function(r, steps), rel=1e-12)
        difference = (function(r + move, steps) - function(r - move, steps)) / 2e-5
        assert slope @ direction == pytest.approx(difference, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("size", [1e6, 5e7])
def test_gradients_agree_with_differences_at_every_size(size):
    def truth(r, s):
        return lawful(r * np.array([1.0, 0.5, 1.5]), s) - 0.1

    tables = [table_of(lawful, 12, size=1e6), table_of(truth, 6, size=1e7, seed=1)]
    both = {
        name: np.concatenate([getattr(t, name) for t in tables])
        for name in ("steps", "sizes", "seeds", "proportions", "losses")
    }
    trials = tuple(f"{t.sizes[0]:g} {name}" for t in tables for name in t.trials)
    law = fit_law(LossTable(domains=NAMES, targets=NAMES, trials=trials, **both), law="transfer")
    direction, r = np.array([1.0, -2.0, 1.0]), 0.8 * POINTS + 0.2 / 3
    steps, sizes, move = np.full(len(r), 1000.0), np.full(len(r), size), 1e-5 * direction
    value, slope = law.law_gradient(r, 1000.0, size)
    assert value == pytest.approx(parametric_losses(law, r, steps, sizes), rel=1e-12)
    difference = (
        parametric_losses(law, r + move, steps, sizes)
        - parametric_losses(law, r - move, steps, sizes)
    ) / 2e-5
    assert slope @ direction == pytest.approx(difference, rel=1e-4, abs=1e-6)


def test_no_prediction_leaves_the_range_of_the_trials_by_much():
    few = fit_law(table_of(lawful, 4, seed=3))
    corners = np.eye(3)
    loss = few.predict(corners, np.full(3, 1000.0))
    assert np.isfinite(loss).all()
    assert loss.max() < 2 * np.exp(lawful(few.trials.proportions, np.full(4, 1000.0))).max()


def test_json_gives_the_same_law_to_the_last_bit():
    again = FittedLaw.from_json(json.loads(json.dumps(BUMPY.to_json())))
    steps = np.full(12, 800.0)
    assert (again.predict(POINTS, steps) == BUMPY.predict(POINTS, steps)).all()
    assert all(
        (a == b).all()
        for a, b in zip(
            again.predict_with_sd(POINTS, steps), BUMPY.predict_with_sd(POINTS, steps), strict=True
        )
    )
    assert (
        again.posterior(POINTS, 800.0).covariance == BUMPY.posterior(POINTS, 800.0).covariance
    ).all()
    assert again.digest == BUMPY.digest


def with_variance(data, name, value):
    return {**data, "variances": {**data["variances"], name: [value] * 3}}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: [],
        lambda d: {**d, "format": "pickle"},
        lambda d: {k: v for k, v in d.items() if k != "params"},
        lambda d: {**d, "params": "x"},
        lambda d: {**d, "params": d["params"][:1]},
        lambda d: with_variance(d, "trial", float("nan")),
        lambda d: with_variance(d, "trial", -1.0),
        lambda d: {**d, "params": (np.array(d["params"]) * 0 - 1e308).tolist()},
        lambda d: {
            **d,
            "params": (
                np.array(d["params"]) + 20 * (np.arange(len(d["params"][0])) == col.SLOPE)
            ).tolist(),
        },
        lambda d: {**d, "precision": (np.array(d["precision"]) * 1e-300).tolist()},
        lambda d: with_variance(d, "point", 1e-300),
        lambda d: with_variance(d, "trial", 1e300),
        lambda d: {**d, "inflation": [1e300] * 3},
        lambda d: {**d, "correlation": np.zeros((3, 3)).tolist()},
        lambda d: {**d, "kernel": {"lengthscale": 1e-300}},
        lambda d: {**d, "kernel": {"lengthscale": 0.5, "step_lengthscale": -1.0}},
        lambda d: {**d, "reference": [1e300, 1.0]},
        lambda d: {
            **d,
            "trials": {**d["trials"], "stages": [[1e300, None] for _ in d["trials"]["stages"]]},
        },
        lambda d: {**d, "kernel": {"lengthscale": "long"}},
        lambda d: {**d, "kernel": {"size_lengthscale": 1.0}},
        lambda d: {**d, "reference": [0, 0]},
        lambda d: {**d, "trials": {**d["trials"], "points": [[99]] * 80}},
        lambda d: {**d, "trials": {**d["trials"], "missing": [[77, 0]]}},
        lambda d: {**d, "trials": {**d["trials"], "proportions": [[-1, 1, 1]] * 80}},
        lambda d: {**d, "trials": {**d["trials"], "stages": []}},
        lambda d: {**d, "trials": None},
        lambda d: {**d, "targets": ["web", "web", "code"]},
        lambda d: {**d, "choice": {"web": "bimix"}},
        lambda d: {**d, "hyper": 3},
        lambda d: {**d, "hyper": {**d["hyper"], "transfer_weights": [0.0]}},
        lambda d: {**d, "hyper": {**d["hyper"], "spread": float("inf")}},
    ],
)
def test_a_damaged_law_file_is_refused(spoil):
    with pytest.raises(LawError, match="law file"):
        FittedLaw.from_json(spoil(LAWFUL.to_json()))


@pytest.mark.parametrize(
    ("proportions", "steps", "message"),
    [
        (np.ones((2, 2)) / 2, np.ones(2), "have 2 proportions; need 3"),
        (np.array([[1.5, -0.5, 0.0]]), np.ones(1), "negative or not a number"),
        (np.array([[np.nan, 0.5, 0.5]]), np.ones(1), "negative or not a number"),
        (np.eye(3), np.ones(2), "steps are not 3 numbers"),
        (np.eye(3), np.zeros(3), "steps are not 3 numbers > 0"),
    ],
)
def test_what_cannot_be_predicted_is_refused(proportions, steps, message):
    with pytest.raises(LawError, match=message):
        LAWFUL.predict(proportions, steps)


def test_conditioning_the_posterior_is_gaussian_conditioning():
    posterior = BUMPY.posterior(POINTS, 1000.0)
    after = posterior.conditioned(3)
    assert (after.mean == posterior.mean).all()
    for target in range(3):
        sigma, noise = posterior.covariance[target], posterior.trial_noise[target, target]
        information = np.linalg.inv(sigma + 1e-12 * np.eye(12))
        information[3, 3] += 1 / noise
        assert after.covariance[target] == pytest.approx(
            np.linalg.inv(information), rel=1e-3, abs=1e-9
        )


def test_draws_have_the_posterior_mean_and_covariance():
    posterior = BUMPY.posterior(POINTS[:4], 1000.0)
    draws = posterior.draws(np.random.default_rng(0), 40_000)
    assert draws.shape == (40_000, 4, 3)
    assert np.abs(draws.mean(axis=0) - posterior.mean).max() < 1e-3
    assert np.cov(draws[:, :, 1].T) == pytest.approx(posterior.covariance[1], rel=0.1, abs=2e-7)


def test_the_posterior_and_the_standard_deviation_of_a_prediction_agree():
    posterior = BUMPY.posterior(POINTS, 1000.0)
    mean, sd = BUMPY.predict_with_sd(POINTS, np.full(12, 1000.0))
    assert np.exp(posterior.mean) == pytest.approx(mean, rel=1e-12)
    assert np.sqrt(np.einsum("tmm->mt", posterior.covariance)) * mean == pytest.approx(sd, rel=1e-6)


def test_intervals_cover_although_points_of_a_trial_share_an_offset():
    hits = []
    for seed in range(30):
        law = fit_law(
            table_of(
                lawful,
                14,
                seed=100 + seed,
                steps=tuple(np.linspace(300, 1000, 12)),
                offset=0.01,
                point=0.001,
            ),
            law="transfer",
        )
        mean, sd = law.predict_with_sd(POINTS, np.full(12, 1000.0))
        hits.append(np.abs(mean - np.exp(lawful(POINTS, np.full(12, 1000.0)))) < 1.96 * sd)
    assert 0.88 <= np.mean(hits) <= 1.0


def test_trial_noise_holds_the_correlation_between_targets():
    generator = np.random.default_rng(4)
    table = table_of(lawful, 80, offset=0.0, steps=(1000.0,), point=0.0)
    shared = 0.01 * generator.standard_normal((80, 1)) + 0.004 * generator.standard_normal((80, 3))
    noisy = LossTable(
        domains=NAMES,
        targets=NAMES,
        trials=table.trials,
        steps=table.steps,
        sizes=table.sizes,
        seeds=table.seeds,
        proportions=table.proportions,
        losses=table.losses * np.exp(shared),
    )
    noise = fit_law(noisy, law="transfer").posterior(POINTS, 1000.0).trial_noise
    assert np.sqrt(np.diag(noise)) == pytest.approx(np.full(3, np.hypot(0.01, 0.004)), rel=0.35)
    assert noise[0, 1] / np.sqrt(noise[0, 0] * noise[1, 1]) > 0.5


def _problem(size, repeated=False):
    table = table_of(lawful, 6, size=size)
    if not np.isnan(size):
        other = table_of(lawful, 6, size=2 * size, seed=1)
        both = {
            name: np.concatenate([getattr(table, name), getattr(other, name)])
            for name in ("steps", "sizes", "seeds", "proportions", "losses")
        }
        table = LossTable(
            domains=NAMES,
            targets=NAMES,
            trials=table.trials + tuple(f"u{t}" for t in other.trials),
            **both,
        )
    if repeated:  # the last domain is scarce
        scarce = np.array([0.0, 0.0, 1.0])
        epochs = 6 * scarce * table.proportions * table.steps[:, None] / table.steps.max()
        table = replace(table, epochs=epochs)
    trials, y, _ = gather(table, None)
    problems = Problems(
        level=y.mean(axis=1),
        own=np.arange(3),
        bimix=np.array([False, True, False]),
        floor=np.zeros(3, dtype=bool),
        pivot=np.full(3, 0.3),
        determined=np.zeros(3),
        num_domains=3,
        step_terms=2,
        num_sizes=0 if np.isnan(size) else 2,
        reference_size=1e6,
    )
    return trials, y, problems.prior(expected(3, 1e6)), LawInputs.of_trials(trials, 500.0, 1e6)


KINDS = pytest.mark.parametrize(
    ("size", "repeated"), [(np.nan, False), (1e6, False), (np.nan, True), (1e6, True)]
)


@KINDS
def test_the_jacobian_agrees_with_differences(size, repeated):
    _, _, prior, inputs = _problem(size, repeated)
    assert inputs.by_row == repeated
    params = prior.mean + np.where(prior.sd > 1e-5, 0.2, 0.0) * np.random.default_rng(
        0
    ).standard_normal(prior.mean.shape)
    dense = tl.evaluate(params, inputs).jacobian(inputs, col.OUTER_COLUMNS)
    for column in range(params.shape[1]):
        if column == col.PIVOT:
            continue
        move = np.zeros_like(params)
        move[:, column] = 1e-6
        difference = (
            tl.evaluate(params + move, inputs).log_loss
            - tl.evaluate(params - move, inputs).log_loss
        ) / 2e-6
        assert dense[:, :, column] == pytest.approx(difference, rel=1e-4, abs=1e-7)


@KINDS
def test_normal_equations_equal_dense_algebra(size, repeated):
    trials, y, prior, inputs = _problem(size, repeated)
    weight = np.ones_like(y)
    weight[1, ::5] = 0
    noise = Noise(trial=np.full(3, 4e-5), point=np.full(3, 1e-6))
    data = FitData(trials=trials, inputs=inputs, y=y, weight=weight)
    state = normal_equations(
        prior.mean, tl.evaluate(prior.mean, inputs, prior.columns), prior, noise, data
    )
    law = tl.evaluate(prior.mean, inputs)
    dense = law.jacobian(inputs, col.OUTER_COLUMNS)
    same = (trials.trial[:, None] == trials.trial[None, :]).astype(float)
    for k in range(3):
        rows = weight[k] > 0
        precision = (
            np.linalg.inv(4e-5 * same + 1e-6 * np.eye(len(same)))[np.ix_(rows, rows)]
            if rows.all()
            else np.linalg.inv((4e-5 * same + 1e-6 * np.eye(len(same)))[np.ix_(rows, rows)])
        )
        j, free = dense[k][rows], prior.sd[k] > 1e-5
        expected_hessian = j.T @ precision @ j + np.diag(prior.sd[k] ** -2)
        assert state.hessian[k][np.ix_(free, free)] == pytest.approx(
            expected_hessian[np.ix_(free, free)], rel=1e-6, abs=1e-3
        )
        residual = (y - law.log_loss)[k][rows]
        assert state.gradient[k][free] == pytest.approx(
            -(j.T @ precision @ residual)[free], rel=1e-6, abs=1e-4
        )
        assert state.cost[k] == pytest.approx(0.5 * residual @ precision @ residual, rel=1e-9)
    assert jacobian.means(law, trials, col.OUTER_COLUMNS, prior.mean.shape[1], weight)[
        0, 2
    ] == pytest.approx(dense[0][trials.trial == 2].mean(axis=0))
