"""Dense curves wander: read as the means of their segments they give the law that was planted, and no
more certainty than they hold.
"""

import json
from dataclasses import replace

import numpy as np
import pytest

from bimix_sweep.law.fitting.fit_law import FittedLaw, fit_law
from bimix_sweep.law.model import segments
from bimix_sweep.law.model.observations import gather
from bimix_sweep.law.model.segments import END_WIDTH, MAX_POINTS, SEGMENT_WIDTH, binned
from bimix_sweep.law.posterior.drift import Drift
from bimix_sweep.mixture.table import LossTable

NAMES = ("web", "code", "books", "math")
HELP = np.array(
    [[3.0, 0.4, 0.8, 0.2], [0.3, 3.0, 0.1, 0.5], [1.0, 0.1, 3.0, 0.1], [0.3, 1.2, 0.1, 3.0]]
)
SLOPE = np.array([0.12, 0.2, 0.1, 0.15])
LAST = 4000.0
DENSE = np.linspace(200, LAST, 286)
ASKED = np.random.default_rng(7).dirichlet(np.full(4, 1.5), 40)


def truth(r, s):
    """(n, targets) log losses."""
    v = r**0.8 @ HELP.T + 0.02
    return (
        np.log([3.2, 2.4, 3.6, 2.9])
        - SLOPE * np.log(v)
        + np.log1p(0.2 * (s[:, None] / 1000) ** -0.6)
    )


def table_of(
    seed, steps=DENSE, *, count=18, offset=0.004, wander=0.0, reach=0.1, white=0.001, size=np.nan
):
    """Curves with an offset each, noise whose correlation falls by e over `reach` of the last step,
    and white noise.
    """
    generator = np.random.default_rng(seed)
    mixtures, rows = generator.dirichlet(np.ones(4), count), len(steps)
    root = np.linalg.cholesky(
        np.exp(-np.abs(steps[:, None] - steps) / (reach * LAST)) + 1e-9 * np.eye(rows)
    )
    noise = [
        offset * generator.standard_normal(4)
        + wander * root @ generator.standard_normal((rows, 4))
        + white * generator.standard_normal((rows, 4))
        for _ in mixtures
    ]
    r, s = np.repeat(mixtures, rows, axis=0), np.tile(steps, count)
    return LossTable(
        domains=NAMES,
        targets=NAMES,
        trials=tuple(f"{size}-{i}" for i in range(count) for _ in steps),
        steps=s,
        sizes=np.full(len(s), size),
        seeds=np.full(len(s), np.nan),
        proportions=r,
        losses=np.exp(truth(r, s) + np.concatenate(noise)),
    )


def changed(table, **fields):
    names = ("domains", "targets", "trials", "steps", "sizes", "seeds", "proportions", "losses")
    return LossTable(**{**{name: getattr(table, name) for name in names}, **fields})


def missed(law, step=LAST):
    """(mixtures, targets) log loss predicted minus planted."""
    steps = np.full(len(ASKED), step)
    return np.log(law.predict(ASKED, steps)) - truth(ASKED, steps)


def missed_progress(law, beyond=2.0):
    """(targets,) how far the mean fall of all mixtures from the last step on is missed, in the
    standard deviations that the law states of its own parameters, without the drift.
    """
    law = replace(law, drift=Drift(step=1e-9, size=1e-9))
    both, steps = np.concatenate([ASKED, ASKED]), np.repeat([LAST, beyond * LAST], len(ASKED))
    belief, share = law.posterior(both, steps), np.repeat([-1.0, 1.0], len(ASKED)) / len(ASKED)
    sd = np.sqrt(np.einsum("m,tmn,n->t", share, belief.covariance, share))
    return share @ (belief.mean - truth(both, steps)) / sd


@pytest.mark.parametrize("reach", [0.05, 0.2])
def test_curves_of_hundreds_of_points_that_wander_give_the_planted_law_and_say_how_well(reach):
    laws = [fit_law(table_of(seed, wander=0.004, reach=reach)) for seed in range(20)]
    error = np.sqrt(np.mean([missed(law) ** 2 for law in laws]))
    assert error < 0.0035  # point by point .0044 and .0099

    progress = np.array([missed_progress(law) for law in laws])
    assert 0.4 < np.sqrt((progress**2).mean()) < 1.3  # point by point 1.7 and 3.6
    assert (np.abs(progress) < 1.96).mean() > 0.87  # point by point .78 and .49
    for step in (0.3 * LAST, LAST, 2 * LAST):
        asked = np.full(len(ASKED), step)
        hits = [
            np.abs(np.log(loss) - truth(ASKED, asked)) < 1.96 * sd / loss
            for loss, sd in (law.predict_with_sd(ASKED, asked) for law in laws)
        ]
        assert 0.9 < np.mean(hits) <= 1


def test_dense_curves_of_white_noise_lose_nothing_by_being_read_as_means(monkeypatch):
    tables = [table_of(seed, white=0.003) for seed in range(6)]
    means = [fit_law(table) for table in tables]
    monkeypatch.setattr(segments, "MAX_POINTS", 10_000)
    single = [fit_law(table) for table in tables]
    for step in (0.3 * LAST, LAST, 2 * LAST):
        errors = [
            np.sqrt(np.mean([missed(law, step) ** 2 for law in laws])) for laws in (means, single)
        ]
        assert errors[0] < 1.05 * errors[1]
    assert 0.4 < np.sqrt(np.mean([missed_progress(law) ** 2 for law in means])) < 1.3


def test_curves_without_noise_are_still_the_planted_law_where_they_end():
    law = fit_law(table_of(0, offset=0.0, white=0.0, count=24), law="transfer")
    assert np.abs(missed(law)).mean() < 2e-4


def test_the_order_of_mixtures_is_that_of_the_ends_of_curves_where_it_changes_there(monkeypatch):
    """As under a learning rate that decays: the last point moves, another way for each mixture."""
    steps = np.array([500.0, 1000, 1500, 2000, 2500, 2900, 3200, 3500, 3750, LAST])
    turns = 0.02 * np.sin(3 * ASKED @ np.array([1.0, 2.0, -1.0, 0.5]))
    errors = []
    for width in (END_WIDTH, SEGMENT_WIDTH):
        monkeypatch.setattr(segments, "END_WIDTH", width)
        for seed in range(4):
            table = table_of(seed, steps, count=30, white=0.0005, offset=0.001)
            moved = 0.02 * np.sin(3 * table.proportions @ np.array([1.0, 2.0, -1.0, 0.5]))
            moved = np.where(table.steps == LAST, moved, 0.0)
            law = fit_law(changed(table, losses=table.losses * np.exp(moved)[:, None]))
            errors.append(np.sqrt(np.mean((missed(law) - turns[:, None]) ** 2)))
    own, shared = np.mean(errors[:4]), np.mean(errors[4:])
    assert own < 0.6 * shared


def test_curves_of_few_points_are_fitted_point_by_point():
    few = np.linspace(200, LAST, 24)
    trials, y, notes = gather(table_of(0, few), None)
    unchanged = binned(trials, y)
    assert unchanged[0] is trials
    assert unchanged[1] is y
    assert unchanged[2] == notes == ()


def test_a_mean_stands_for_each_segment_and_the_steps_stay_those_of_the_curves():
    law = fit_law(table_of(0))
    assert law.steps == (200.0, LAST)
    assert any(
        note.startswith("curves of up to 286 points were read as up to 10 means")
        for note in law.notes
    )
    assert np.bincount(law.trials.trial).tolist() == [10] * 18
    assert len(law.conditioned.segments.trial) == 10 * 18
    at = law.trials.steps[law.trials.stage[:10]]
    assert (at[:9] > LAST / SEGMENT_WIDTH ** np.arange(9, 0, -1)).all()
    assert (at[:8] < LAST / SEGMENT_WIDTH ** np.arange(8, 0, -1)).all()
    assert at[8] < LAST / END_WIDTH < at[9] < LAST
    again = FittedLaw.from_json(json.loads(json.dumps(law.to_json())))
    assert again.digest == law.digest
    assert (
        again.predict(ASKED, np.full(40, LAST)).tolist()
        == law.predict(ASKED, np.full(40, LAST)).tolist()
    )


def test_a_segment_of_one_point_stays_at_its_step():
    """Beside one dense curve those of few points are segments of one, the last step among them."""
    table = table_of(0)
    few = np.isin(table.steps, DENSE[[0, 40, 80, 160, 285]]) | np.array(
        [trial == "nan-0" for trial in table.trials]
    )
    law = fit_law(table.select(few))
    assert law.steps == (200.0, LAST)
    assert set(DENSE[[40, 80, 160]]) <= set(law.trials.steps)


def test_a_target_measured_now_and_then_has_its_mean_where_the_others_have_theirs():
    table = table_of(0, offset=0.0, white=0.0)
    losses = table.losses.copy()
    losses[np.arange(len(table)) % len(DENSE) % 10 != 9, 1] = np.nan
    losses[table.steps > LAST / SEGMENT_WIDTH, 2] = np.nan
    trials, y, _ = binned(*gather(changed(table, losses=losses), None)[:2])
    whole, expected, _ = binned(*gather(table, None)[:2])
    assert (trials.steps == whole.steps).all()
    assert (trials.present[2] == (whole.steps[whole.stage] <= LAST / SEGMENT_WIDTH)).all()
    assert trials.present[1].mean() > 0.8
    between = trials.present & (
        trials.steps[trials.stage] > 400
    )  # not where the second is first measured at step 320
    assert np.abs(y - expected)[between].max() < 2e-3
    law = fit_law(changed(table, losses=losses), law="transfer")
    assert np.abs(missed(law)).mean() < 1e-3


def test_unequal_curves_several_sizes_and_warm_refits_are_read_alike():
    small, large = (
        table_of(1, wander=0.004, size=1e6),
        table_of(2, DENSE[::7], wander=0.004, size=4e6),
    )
    both = LossTable(
        domains=NAMES,
        targets=NAMES,
        trials=small.trials + large.trials,
        **{
            name: np.concatenate([getattr(t, name) for t in (small, large)])
            for name in ("steps", "sizes", "seeds", "proportions", "losses")
        },
    )
    ended = np.array([trial in ("1000000.0-3", "1000000.0-4") for trial in both.trials]) & (
        both.steps > 900
    )
    table = both.select(~ended)
    law = fit_law(table)
    assert law.sizes == (1e6, 4e6)
    assert law.num_trials == 36
    assert np.bincount(law.trials.trial).max() <= MAX_POINTS + 2
    assert np.sqrt((missed(law) ** 2).mean()) < 0.006
    warm = fit_law(table, previous=law)
    asked = ASKED, np.full(40, LAST), np.full(40, 4e6)
    assert warm.predict(*asked) == pytest.approx(law.predict(*asked), rel=3e-3)
