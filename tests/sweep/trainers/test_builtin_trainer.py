import json

import numpy as np
import pytest

from bimix_sweep.errors import DataError
from bimix_sweep.journal.writer import Journal
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.sweep.trainers.base import TrialJob
from bimix_sweep.sweep.trainers.builtin import prepare_builtin
from tests.support.builtin_texts import WORDS, config


def train(trainer, folder, trial="t0000", latin=0.7, **settings):
    points = {}
    job = TrialJob(
        trial=trial,
        mixture=Mixture.from_mapping({"latin": latin, "digits": 1 - latin}),
        seed=1,
        checkpoint_dir=folder / trial,
        precision={"dtype": "float32"},
        **settings,
    )
    trainer.train(job, points.__setitem__)
    return points


def test_it_reports_every_target_at_every_evaluation_the_same_each_time_and_again_after_a_restart(
    text, tmp_path
):
    trainer = prepare_builtin(config(text), tmp_path, lambda _: None)
    points = train(trainer, tmp_path)
    assert tuple(points) == trainer.facts.eval_steps
    assert all(set(losses) == {"latin", "digits", "mixed"} for losses in points.values())
    assert train(trainer, tmp_path, "t0001") == points
    assert train(trainer, tmp_path) == points  # from the checkpoint of its last step


def test_a_proportion_of_less_than_half_a_sequence_is_told_in_the_trials_log(text, tmp_path):
    said = []
    trainer = prepare_builtin(config(text), tmp_path, said.append)
    assert any(line.startswith("latin: read 0.") and "400 documents" in line for line in said)
    log = []
    train(trainer, tmp_path, latin=0.99, say=log.append)
    assert log == [
        "t0000 asks for a proportion of 0.01 of digits, and a trial of 32 sequences realises 0; "
        "more steps or a larger batch come nearer"
    ]
    log.clear()
    train(trainer, tmp_path, "t0001", latin=0.5, say=log.append)
    assert log == []


def test_bits_per_byte_are_nats_per_token_over_ln_2_and_bytes_per_token(text, tmp_path):
    plain = (
        config(text).targets["mixed"].model_copy(update={"unit": "nats_per_token", "weight": 1.0})
    )
    nats = prepare_builtin(
        config(text, targets={"mixed": plain.model_dump(exclude_none=True)}),
        tmp_path / "nats",
        lambda _: None,
    )
    bits = prepare_builtin(config(text), tmp_path / "bits", lambda _: None)
    from bimix_sweep.data.store import TokenStore

    store = TokenStore.open(tmp_path / "nats" / "store")
    expected = (
        train(nats, tmp_path / "nats")[16]["mixed"] / np.log(2) / store.bytes_per_token("mixed")
    )
    assert train(bits, tmp_path / "bits")[16]["mixed"] == pytest.approx(expected, rel=1e-6)


def test_a_domain_too_short_to_repeat_like_the_final_run_is_named_before_anything_runs(
    text, tmp_path
):
    short = config(text, final={"tokens": 1e13})
    with pytest.raises(
        DataError, match=r"domain latin keeps 1 tokens .* set final\.match_epochs: false"
    ):
        prepare_builtin(short, tmp_path, lambda _: None)


def test_a_target_shorter_than_a_sequence_is_refused_once_its_tokens_are_counted(text, tmp_path):
    words = np.random.default_rng(0).choice(WORDS["latin"], 1200)
    line = {"text": " ".join(words), "more": "x" * 20_000}  # more bytes than there are of text
    (tmp_path / "exam.jsonl").write_text(json.dumps(line) + "\n")
    given = config(
        text,
        targets={"exam": {"path": str(tmp_path / "exam.jsonl")}},
        proxy={"sizes": [2e4], "steps": 16, "context": 4096, "batch": 1, "vocabulary": 300},
    )
    with pytest.raises(DataError, match=r"target exam has \d+ tokens; need at least 4097, one seq"):
        prepare_builtin(given, tmp_path / "sweep", lambda _: None)


def test_missing_text_is_a_data_error(text, tmp_path):
    lacking = config(
        text,
        domains={
            "latin": {"path": str(text / "latin.jsonl")},
            "digits": {"path": str(text / "nothing.jsonl")},
        },
    )
    with pytest.raises(DataError, match=r"nothing\.jsonl"):
        prepare_builtin(lacking, tmp_path, lambda _: None)


def test_a_sweep_that_goes_on_needs_its_store_and_not_the_text(text, tmp_path):
    begun = prepare_builtin(config(text), tmp_path, lambda _: None)
    journal, _ = Journal.open(tmp_path / "journal")
    journal.write({"kind": "sweep"})
    journal.close()
    gone = config(
        text, domains={name: {"path": str(text / "moved" / f"{name}.jsonl")} for name in WORDS}
    )
    assert prepare_builtin(gone, tmp_path, lambda _: None) == begun
