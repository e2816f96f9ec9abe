"""Batches hold each domain's share at every step, and are a function of the step alone."""

from itertools import pairwise

import numpy as np
import pytest

from bimix_sweep.data.store_writing import Split, write_store
from bimix_sweep.data.stream import MixtureStream, badly_realised
from bimix_sweep.errors import DataError, MixtureError
from bimix_sweep.mixture.domains import Mixture

DOMAINS = ("web", "code", "math", "books")
CONTEXT = 16


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Token k of domain d is 10,000 d + k, so that a token tells where it came from."""
    splits = {
        name: Split(documents=np.split(10_000 * number + np.arange(5_000, dtype=np.uint16), 10))
        for number, name in enumerate(DOMAINS)
    }
    return write_store(
        tmp_path_factory.mktemp("stream") / "store",
        train=splits,
        validation=splits,
        vocabulary=2**16,
    )


def stream_of(store, proportions, **settings):
    mixture = Mixture.from_mapping(dict(zip(DOMAINS, proportions, strict=True)))
    return MixtureStream(store, mixture, **{"batch": 4, "context": CONTEXT, "seed": 0, **settings})


@pytest.mark.parametrize("seed", range(5))
def test_after_any_number_of_sequences_every_domain_is_within_one_of_its_share(store, seed):
    proportions = np.random.default_rng(seed).dirichlet(np.full(4, 0.5))
    stream = stream_of(store, proportions, batch=1)
    drawn = np.cumsum(
        [
            [int(stream.batch_at(step)[0, 0]) // 10_000 == d for d in range(4)]
            for step in range(600)
        ],
        axis=0,
    )
    exact = np.arange(1, 601)[:, None] * proportions
    assert np.abs(drawn - exact).max() < 1


def test_a_batch_is_the_same_whenever_it_is_asked_for(store):
    straight = stream_of(store, (0.4, 0.3, 0.2, 0.1))
    batches = [straight.batch_at(step) for step in range(50)]
    resumed = stream_of(store, (0.4, 0.3, 0.2, 0.1))
    for step in (49, 7, 30, 7, 0):
        np.testing.assert_array_equal(resumed.batch_at(step), batches[step])
    assert batches[0].shape == (4, CONTEXT + 1)
    assert batches[0].dtype == np.int64


def sequences(stream, domain, steps):
    rows = np.concatenate([stream.batch_at(step) for step in range(steps)])
    return [row[0] for row in rows if row[0] // 10_000 == DOMAINS.index(domain)]


def test_runs_of_one_seed_read_a_domain_in_the_same_order_whatever_their_mixtures(store):
    little, much = (
        sequences(stream_of(store, (0.1, 0.9, 0, 0)), "web", 100),
        sequences(stream_of(store, (0.7, 0.1, 0.1, 0.1)), "web", 100),
    )
    assert len(little) < len(much)
    assert much[: len(little)] == little
    assert sequences(stream_of(store, (0.7, 0.1, 0.1, 0.1), seed=1), "web", 100) != much


def test_an_epoch_takes_every_sequence_once_and_the_next_takes_them_in_another_order(store):
    windows = (5_000 - 1) // CONTEXT
    first, second = np.split(
        np.array(sequences(stream_of(store, (1, 0, 0, 0), batch=1), "web", 2 * windows)), 2
    )
    assert sorted(first) == sorted(second) == [CONTEXT * k for k in range(windows)]
    assert first.tolist() != second.tolist()


def test_epochs_count_passes_over_what_a_domain_may_use(store):
    stream = stream_of(store, (0.5, 0.5, 0, 0), limits={"code": 1_000})
    steps = 100
    assert stream.tokens_drawn(steps) == {"web": 3_200, "code": 3_200, "math": 0, "books": 0}
    assert stream.epochs(steps) == pytest.approx(
        {"web": 3_200 / 4_992, "code": 3_200 / 992, "math": 0, "books": 0}
    )


def test_a_limit_keeps_the_first_tokens_so_smaller_sets_lie_inside_larger(store):
    seen = {
        limit: set(sequences(stream_of(store, (1, 0, 0, 0), limits={"web": limit}), "web", 400))
        for limit in (500, 1_000, 2_000)
    }
    for small, large in pairwise(sorted(seen)):
        assert seen[small] < seen[large]
        assert max(seen[small]) < small


def test_a_domain_too_short_for_a_sequence_is_refused_only_where_it_has_a_share(store):
    stream_of(store, (1, 0, 0, 0), limits={"code": 3})
    with pytest.raises(DataError, match="domain code has 3 tokens to train on; need at least 17"):
        stream_of(store, (0.5, 0.5, 0, 0), limits={"code": 3})
    with pytest.raises(MixtureError, match="the mixture holds law"):
        MixtureStream(store, Mixture.from_mapping({"law": 1.0}), batch=1, context=8, seed=0)


@pytest.mark.parametrize("steps", [25, 100, 400, 2_000])
def test_a_proportion_that_a_run_cannot_realise_is_told_with_what_its_batches_hold(store, steps):
    proportions = (0.0005, 0.004, 0.3, 0.6955)
    stream = stream_of(store, proportions)
    starts = np.concatenate([stream.batch_at(step)[:, 0] for step in range(steps)]) // 10_000
    realised = np.bincount(starts, minlength=4) / (4 * steps)
    off = badly_realised(stream.mixture, 4 * steps)
    wrong = np.abs(realised / proportions - 1) > 0.1
    assert [*off] == [name for name, bad in zip(DOMAINS, wrong, strict=True) if bad]
    for name, (asked, got) in off.items():
        assert (asked, got) == (proportions[DOMAINS.index(name)], realised[DOMAINS.index(name)])
    assert (off.get("web") == (0.0005, 0.0)) == (steps in (25, 100))
