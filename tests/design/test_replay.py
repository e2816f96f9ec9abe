from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from bimix_sweep.design.replay import replay
from bimix_sweep.errors import SweepError
from bimix_sweep.mixture.table import LossTable


@cache
def planted(runs=120, seed=0):
    """Finished runs of a planted transfer law, 5 domains and targets."""
    generator = np.random.default_rng(seed)
    names = tuple("abcde")
    useful = np.exp(np.random.default_rng(1).normal(-3, 1, (5, 5)))
    np.fill_diagonal(useful, 1)
    mixtures = generator.dirichlet(np.full(5, 0.4), runs)
    losses = 3 * (0.05 + mixtures**0.9 @ useful.T) ** -np.array([0.1, 0.15, 0.2, 0.25, 0.3]) * np.exp(generator.normal(0, 0.003, (runs, 5)))
    missing = np.full(runs, np.nan)
    return LossTable(
        domains=names, targets=names, trials=tuple(map(str, range(runs))), steps=np.full(runs, 1000.0), sizes=missing, seeds=missing,
        proportions=mixtures, losses=losses,
    )  # fmt: skip


@pytest.mark.parametrize("policy", ["informative", "random"])
def test_a_planted_law_is_learnt_from_few_of_the_runs(policy):
    rows = replay(planted(), runs=24, start=8, policy=policy, slots=4)
    assert [row.runs for row in rows] == [8, 12, 16, 20, 24]
    assert {row.policy for row in rows} == {policy}
    assert rows[-1].spearman >= 0.97
    assert rows[-1].mre <= 1.5
    assert 0 <= rows[-1].regret <= 0.01
    assert rows[-1].mre < rows[0].mre


def test_the_same_seed_repeats_and_another_differs():
    assert replay(planted(), runs=10, start=8, seed=1) == replay(planted(), runs=10, start=8, seed=1)
    assert replay(planted(), runs=8, start=8, policy="random", seed=1) != replay(planted(), runs=8, start=8, policy="random", seed=2)


def test_a_held_out_table_may_name_its_columns_in_another_order():
    table, other = planted(), planted(seed=5)
    turned = LossTable(
        domains=other.domains[::-1], targets=other.targets[::-1], trials=other.trials, steps=other.steps, sizes=other.sizes, seeds=other.seeds,
        proportions=other.proportions[:, ::-1], losses=other.losses[:, ::-1],
    )  # fmt: skip
    straight, reverse = (replay(table, runs=12, start=12, heldout=heldout)[0] for heldout in (other, turned))
    assert reverse.spearman == pytest.approx(straight.spearman)
    assert reverse.mre == pytest.approx(straight.mre)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"runs": 10, "policy": "clever"}, "policy 'clever' is not known"),
        ({"runs": 500}, "do not fit a table of 120 runs"),
        ({"runs": 4, "start": 8}, "start 8 and runs 4"),
        ({"runs": 10, "slots": 0}, "slots is 0"),
        ({"runs": 120, "start": 4}, "none is left"),
    ],
)
def test_what_cannot_be_replayed_is_refused_in_words(arguments, message):
    with pytest.raises(SweepError, match=message):
        replay(planted(), **arguments)


def test_held_out_runs_of_other_domains_or_targets_are_refused():
    table, other = planted(), planted(runs=6, seed=3)
    with pytest.raises(SweepError, match="lack loss_e"):
        replay(table, runs=10, heldout=replace(other, targets=tuple("abcd"), losses=other.losses[:, :4]))
    with pytest.raises(SweepError, match="hold z"):
        replay(table, runs=10, heldout=replace(other, domains=(*"abcd", "z")))
