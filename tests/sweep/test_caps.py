"""The token caps of the final run bound everything that a sweep trains, in one process, offline and
in the plan.
"""

import numpy as np
import pytest

from bimix_sweep.data.store_writing import Split, write_store
from bimix_sweep.data.stream import MixtureStream
from bimix_sweep.errors import MixtureError
from bimix_sweep.law.posterior.fitted_law import FittedLaw
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.sweep.history.rebuilding import replay
from bimix_sweep.sweep.history.spec import sweep_spec
from bimix_sweep.sweep.offline import offline
from bimix_sweep.sweep.preflight.plan import make_plan
from bimix_sweep.sweep.trainers.builtin import unique_tokens
from tests.support.in_process import Planted, config, open_sweep, run, whole

NAMES = ("web", "code", "books")
RUN, EPOCHS = 4e9, 4.0
TOKENS = {"web": 4e9, "code": 8e7, "books": 2e9}
CAPS = {"web": 1.0, "code": 0.08, "books": 1.0}
"""Four passes over the tokens of each, as parts of the final run."""


def capped(trials=12, **changes):
    tokens = {f"domains__{name}__tokens": count for name, count in TOKENS.items()}
    final = {"final__tokens": RUN, "final__max_epochs": EPOCHS}
    return config(trials, **{**tokens, **final, **changes})


def shares(history, names, domain="code"):
    return np.array([history.proposals[name].mixture.as_dict()[domain] for name in names])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A sweep with a scarce domain that the planted losses want more of, run to its end."""
    return whole(tmp_path_factory.mktemp("caps") / "sweep", capped())


def test_first_mixtures_proposals_and_confirmation_trials_keep_to_the_caps(finished):
    ran, history = finished
    for name, cap in CAPS.items():
        assert (shares(history, ran, name) <= cap + 1e-9).all()
    assert shares(history, ran).max() == pytest.approx(0.08)  # it is wanted up to the cap
    labels = {label for entry in history.confirmation.mixtures for label in entry.labels}
    assert {"uniform", "natural", "predicted"} <= labels
    first = history.proposals["t0000"]
    assert first.reason == "initial: uniform, moved into the bounds"
    assert first.mixture.proportions == pytest.approx((0.46, 0.08, 0.46))


def test_without_a_final_run_the_same_losses_want_more_of_the_scarce_domain(tmp_path):
    ran, history = whole(tmp_path / "sweep", config(12))
    assert shares(history, ran).max() > 0.2


def test_a_trial_passes_over_no_domain_more_often_than_the_final_run_may(finished, tmp_path):
    ran, history = finished
    steps, context, batch = 400, 8, 16
    given = capped(proxy={"steps": steps, "context": context, "batch": batch})
    limits = given.subsample()
    assert limits["code"] < 0.05 * given.proxy.tokens
    splits = {
        name: Split(documents=[np.arange(limits[name] + 1, dtype=np.uint16)]) for name in NAMES
    }
    store = write_store(tmp_path / "store", train=splits, validation=splits, vocabulary=2**16)
    for name in ran:
        mixture = history.proposals[name].mixture
        stream = MixtureStream(store, mixture, batch=batch, context=context, seed=0, limits=limits)
        for domain, passes in stream.epochs(steps).items():
            one_sequence = 2 * context / limits[domain]  # of the proxy, and of what it may read
            assert passes <= EPOCHS * (1 + one_sequence) + one_sequence


def test_a_changed_final_run_caps_what_is_proposed_from_then_on(tmp_path):
    folder = tmp_path / "sweep"
    actor = open_sweep(folder, capped(20, final__tokens=RUN / 4))
    before = run(actor, most=9)
    actor.close()
    assert shares(replay(folder), before).max() > 0.1
    actor = open_sweep(folder, capped(20))
    after = run(actor)
    actor.close()
    history = replay(folder)
    assert len(after) > 8
    assert shares(history, after).max() <= 0.08 + 1e-9
    assert history.spec.domains.upper[1] == pytest.approx(0.08)


def test_mixtures_handed_out_to_another_scheduler_keep_to_the_caps_and_say_what_was_moved(tmp_path):
    given = capped(12, trainer={"command": ["train", "{job}"]})
    folder = offline.begin(given, str(tmp_path / "sweep"))
    asked = offline.propose(folder, 8)
    assert max(proposal.mixture.as_dict()["code"] for proposal in asked.new) <= 0.08 + 1e-9
    said = "the uniform mixture breaks the bounds of code (0 to 0.08)"
    assert any(note.startswith(said) for note in asked.notes)


def test_the_plan_says_that_the_uniform_mixture_is_moved():
    given = capped(12, trainer={"command": ["train", "{job}"]})
    assert "uniform mixture breaks the bounds of code" in make_plan(given, hours=1, seconds=0).moved


def test_caps_by_the_tokens_of_the_text_that_leave_no_mixture_are_refused_before_a_trial(tmp_path):
    given = config(12, final__tokens=RUN, final__max_epochs=EPOCHS)
    scarce = Planted(domain_tokens=dict.fromkeys(NAMES, 1e8))
    with pytest.raises(MixtureError, match=r"need 1e\+09 tokens of text; .* give 3e\+08"):
        sweep_spec(given, scarce)


def test_each_trial_records_its_passes_and_the_law_sees_them(finished):
    _, history = finished
    given = capped()
    limits, table = given.subsample(), history.state.trial_record.table()
    assert history.spec.unique_tokens == limits
    code = table.domains.index("code")
    drawn = table.proportions[:, code] * table.steps * given.proxy.context * given.proxy.batch
    assert table.epochs[:, code] == pytest.approx(drawn / limits["code"])
    assert 3 < table.epochs[:, code].max() <= EPOCHS * 1.001
    law = FittedLaw.from_json(history.confirmation.law)
    assert law.repetition.repeated
    problem = history.spec.decision_problem(law)
    assert problem.law.unique.tolist() == pytest.approx([1.0, 0.02, 0.5])


def test_passes_are_those_of_the_stream_of_the_built_in_trainer(tmp_path):
    tokens, limits, steps = {"web": 5000.0, "code": 700.0}, {"web": 1000}, 40
    splits = {
        name: Split(documents=[np.arange(int(count), dtype=np.uint16)])
        for name, count in tokens.items()
    }
    store = write_store(tmp_path / "store", train=splits, validation=splits, vocabulary=2**16)
    mixture = Mixture.from_mapping({"web": 0.75, "code": 0.25})
    stream = MixtureStream(store, mixture, batch=16, context=8, seed=0, limits=limits)
    unique = unique_tokens(tokens, limits, 8)
    for name, passes in stream.epochs(steps).items():
        drawn = mixture.as_dict()[name] * steps * 16 * 8
        assert passes == pytest.approx(drawn / unique[name], abs=8 / unique[name])
