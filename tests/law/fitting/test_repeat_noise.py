"""Repeated trials estimate how noise differs between mixtures."""

from dataclasses import replace

import numpy as np
import pytest

from bimix_sweep.law.fitting.fit_law import fit_law
from bimix_sweep.law.fitting.repeat_noise import repeat_noise
from bimix_sweep.law.model.observations import gather
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.mixture.table import LossTable
from tests.support.planted_tables import DOMAINS, mixtures_of, transfer_truth

QUIET, LOUD, OTHERS, REPEATS, SINGLES = 0.0016, 0.041, 0.005, 4, 12
STEPS = np.array([400.0, 1000.0])


def planted(sds, others=OTHERS, seed=0, repeats=REPEATS):
    """A table of SINGLES mixtures with noise `others`, and repeated mixtures with noises `sds`."""
    generator = np.random.default_rng(seed)
    mixtures = mixtures_of(SINGLES + len(sds), seed=seed + 1)
    plan = [(r, others) for r in mixtures[:SINGLES]]
    plan += [(r, sd) for r, sd in zip(mixtures[SINGLES:], sds, strict=True) for _ in range(repeats)]
    losses = []
    for r, sd in plan:
        shift = sd * generator.standard_normal(len(DOMAINS))
        losses += [transfer_truth(r, s) + shift for s in STEPS]
    num = len(losses)
    table = LossTable(
        domains=DOMAINS,
        targets=DOMAINS,
        trials=tuple(f"t{trial}" for trial in range(len(plan)) for _ in STEPS),
        steps=np.tile(STEPS, len(plan)),
        sizes=np.full(num, np.nan),
        seeds=np.full(num, np.nan),
        proportions=np.repeat([r for r, _ in plan], len(STEPS), axis=0),
        losses=np.exp(losses),
    )
    return table, mixtures


def noise_of(law, mixtures):
    """(mixtures,) stated relative standard deviation of one more trial, mean over targets."""
    steps = np.full(len(mixtures), STEPS[-1])
    mean, sd = law.predict_with_sd(mixtures, steps)
    _, total = law.predict_with_sd(mixtures, steps, noise=True)
    return np.sqrt(((total**2 - sd**2) / mean**2).mean(axis=1))


def test_the_noise_of_a_quiet_and_of_a_loud_mixture_is_stated():
    ratios, errors = [], []
    for seed in range(4):
        table, mixtures = planted((QUIET, LOUD), seed=seed)
        law = fit_law(table)
        ratios.append(noise_of(law, mixtures[SINGLES:]) / (QUIET, LOUD))
        truth = np.exp([transfer_truth(r, STEPS[-1]) for r in mixtures[SINGLES:]])
        errors.append(np.abs(law.predict(mixtures[SINGLES:], np.full(2, STEPS[-1])) / truth - 1))
    middle = np.exp(np.median(np.log(ratios), axis=0))
    assert ((middle > 1 / 1.5) & (middle < 1.5)).all(), ratios
    # The loud mixture pulls nothing away: the quiet one is known within its own noise.
    assert np.mean([each[0].mean() for each in errors]) < QUIET


def test_a_law_with_factors_survives_its_file_and_a_refit(tmp_path):
    table, mixtures = planted((QUIET, LOUD), seed=3)
    law = fit_law(table)
    assert any("noise differs between mixtures" in note for note in law.notes)
    read = FittedLaw.from_json(law.to_json())
    assert read.digest == law.digest
    assert (noise_of(read, mixtures) == noise_of(law, mixtures)).all()
    again = noise_of(fit_law(table, previous=law), mixtures[SINGLES:])
    assert again == pytest.approx(noise_of(law, mixtures[SINGLES:]), rel=0.3)
    posterior = law.posterior(mixtures[-2:], STEPS[-1])
    assert posterior.noise_factors[1] / posterior.noise_factors[0] > 100


def test_equal_noise_is_found_equal():
    found = []
    for seed in range(20):
        trials, y, _ = gather(planted((0.003,) * 5, others=0.003, seed=seed, repeats=3)[0], None)
        found.append(repeat_noise(trials, y) is not None)
    assert sum(found) <= 1


def test_what_is_no_repeat_says_nothing():
    table, _ = planted((QUIET, LOUD), repeats=1)
    trials, y, _ = gather(table, None)
    assert repeat_noise(trials, y) is None
    copies, _ = planted((0.0, 0.0))  # equal losses: copies of one trial
    trials, y, _ = gather(copies, None)
    assert repeat_noise(trials, y) is None
    # One repeated mixture alone has nothing to differ from.
    trials, y, _ = gather(planted((LOUD,))[0], None)
    assert repeat_noise(trials, y) is None


def test_the_factors_are_those_of_an_unequal_world():
    """Thirty repeats of each mixture leave little to the prior."""
    sds = np.array([0.001, 0.004, 0.016])
    trials, y, _ = gather(planted(tuple(sds), repeats=30)[0], None)
    noise = repeat_noise(trials, y)
    factors = np.sqrt(noise.factors[noise.repeated][::30])
    assert factors == pytest.approx(sds / 0.004, rel=0.2)
    assert (noise.factors[~noise.repeated] == 1).all()


def test_dense_algebra_of_unequal_noise():
    """The discrepancy GP's posterior equals that of a plain Gaussian process."""
    law = fit_law(planted((QUIET, LOUD), seed=2)[0]).conditioned
    (group,) = law.groups
    variances, trial = law.variances, law.segments.trial
    same = (trial[:, None] == trial) * variances.factors[trial]
    relative = (variances.segment + variances.point)[:, None] / variances.trial[:, None]
    noise = np.maximum(relative.mean(), 1e-4) * np.diag(variances.factors[trial])
    at = law.segment_inputs
    for target in group.targets:
        dense = variances.discrepancy[target] * law.kernel.correlation(at, at)
        dense += variances.trial[target] * (same + noise)
        basis, weights = group.spectrum.basis, group.weights[target]
        assert (basis * weights) @ basis.T == pytest.approx(
            np.linalg.inv(dense), rel=1e-5, abs=1e-3 * np.abs(np.linalg.inv(dense)).max()
        )


def test_trials_that_pass_over_their_text_more_often_are_no_repeats():
    table, _ = planted((OTHERS,) * 3)
    repeated = np.arange(SINGLES * len(STEPS), (SINGLES + REPEATS) * len(STEPS))
    passes = np.repeat([1.0, 4.0, 16.0, 64.0], len(STEPS))
    losses, epochs = table.losses.copy(), np.full(table.proportions.shape, 0.5)
    losses[repeated] *= (1 + 0.1 * np.log(passes))[:, None]
    epochs[repeated, 0] = passes
    table = replace(table, losses=losses)
    assert repeat_noise(*gather(table, None)[:2]) is not None  # their differences look like noise
    assert repeat_noise(*gather(replace(table, epochs=epochs), None)[:2]) is None
