"""Entropies against closed forms, and against chains whose entropy rate is planted."""

import numpy as np
import pytest

from bimix_sweep.data import entropy
from bimix_sweep.data.store import TokenStore
from bimix_sweep.errors import DataError
from tests.support.markov_domains import MarkovDomain, planted_store


def test_a_uniform_text_has_the_logarithm_of_its_vocabulary():
    tokens = np.tile(np.arange(16, dtype=np.uint16), 500)
    assert entropy.shannon_entropy(tokens) == pytest.approx(np.log(16))
    assert entropy.conditional_entropy(tokens) == pytest.approx(
        0, abs=1e-3
    )  # each token tells the next
    assert entropy.joint_entropy(tokens) == pytest.approx(np.log(16), abs=1e-3)


def test_independent_tokens_have_a_joint_entropy_of_twice_the_single_one():
    tokens = (
        np.random.default_rng(0)
        .choice(4, size=200_000, p=[0.5, 0.25, 0.125, 0.125])
        .astype(np.uint16)
    )
    assert entropy.shannon_entropy(tokens) == pytest.approx(1.75 * np.log(2), rel=2e-3)
    assert entropy.joint_entropy(tokens) == pytest.approx(3.5 * np.log(2), rel=2e-3)
    assert entropy.conditional_entropy(tokens) == pytest.approx(1.75 * np.log(2), rel=3e-3)


def test_a_chain_of_two_states_has_the_entropy_rate_of_the_textbook():
    leave = np.array([0.1, 0.4])
    chain = MarkovDomain(transition=np.array([[0.9, 0.1], [0.4, 0.6]]))
    np.testing.assert_allclose(chain.stationary(), [0.8, 0.2], atol=1e-12)
    by_hand = -(
        np.array([0.8, 0.2]) * (leave * np.log(leave) + (1 - leave) * np.log(1 - leave))
    ).sum()
    assert chain.entropy_rate() == pytest.approx(by_hand)


def test_the_conditional_entropy_of_a_planted_chain_is_its_entropy_rate():
    generator = np.random.default_rng(1)
    chain = MarkovDomain.random(generator, vocabulary=24, successors=4)
    tokens = chain.draw(generator, documents=200, length=1_000)
    assert entropy.conditional_entropy(tokens.ravel()) == pytest.approx(
        chain.entropy_rate(), rel=0.01
    )
    np.testing.assert_allclose(
        np.bincount(tokens.ravel(), minlength=24) / tokens.size, chain.stationary(), atol=3e-3
    )


@pytest.mark.parametrize(("shape", "expected"), [((5, 40), np.log(5)), ((40, 5), np.log(5))])
def test_samples_along_k_orthogonal_directions_have_a_von_neumann_entropy_of_log_k(shape, expected):
    embeddings = np.eye(5, shape[1]) if shape[0] == 5 else np.tile(3.0 * np.eye(5), (8, 1))
    assert entropy.embedding_entropy(embeddings) == pytest.approx(expected)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    assert entropy.von_neumann_entropy(unit @ unit.T) == pytest.approx(expected)


def test_the_von_neumann_entropy_of_two_samples_follows_their_cosine():
    for cosine in (0.0, 0.3, 0.99):
        high, low = (1 + cosine) / 2, (1 - cosine) / 2
        assert entropy.von_neumann_entropy(np.array([[1, cosine], [cosine, 1]])) == pytest.approx(
            -high * np.log(high) - low * np.log(low)
        )
    assert entropy.von_neumann_entropy(np.ones((7, 7))) == pytest.approx(0, abs=1e-12)


def test_a_mixture_weighs_domains_by_the_exponential_of_their_entropy():
    mixture = entropy.entropy_mixture(
        {"web": np.log(6.0) + 900, "code": np.log(3.0) + 900, "math": 900.0}
    )
    assert mixture.as_dict() == pytest.approx({"web": 0.6, "code": 0.3, "math": 0.1})


def test_a_store_gives_the_domain_with_more_to_learn_the_larger_share(tmp_path):
    generator = np.random.default_rng(2)
    chains = {
        name: MarkovDomain.random(generator, vocabulary=32, successors=k)
        for name, k in (("plain", 2), ("rich", 8))
    }
    planted_store(tmp_path / "store", chains, train_tokens=60_000, validation_tokens=1_000, seed=0)
    found = entropy.DomainEntropies.of(TokenStore.open(tmp_path / "store"))
    mixture = found.mixtures["CE"].as_dict()
    assert max(found.single_pairs.values()) < 0.005  # 60,415 pairs, 117 of them between documents
    assert found.num_tokens == 60_416  # whole documents of 512 tokens
    for name, joint in found.values["JE"].items():
        assert joint == pytest.approx(found.values["SE"][name] + found.values["CE"][name], abs=1e-3)
    odds = np.exp(chains["rich"].entropy_rate() - chains["plain"].entropy_rate())
    assert mixture["rich"] / mixture["plain"] == pytest.approx(odds, rel=0.02)


def test_kernels_and_embeddings_that_are_none_are_refused():
    with pytest.raises(DataError, match="need a symmetric square with a diagonal of ones"):
        entropy.von_neumann_entropy(np.array([[1.0, 0.5], [0.2, 1.0]]))
    with pytest.raises(DataError, match="need one finite non-zero row a sample"):
        entropy.embedding_entropy(np.array([[1.0, 0.0], [0.0, 0.0]]))
    with pytest.raises(DataError, match="0 tokens; need at least 1"):
        entropy.shannon_entropy(np.zeros(0, dtype=np.uint16))
    with pytest.raises(DataError, match="need a square of distributions"):
        MarkovDomain(transition=np.array([[0.5, 0.4], [0.5, 0.5]]))
