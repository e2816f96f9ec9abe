"""A domain joins, or gets new text, under the built-in trainer: its tokens come into the sweep's
store, whole or not at all.
"""

import json

import numpy as np
import pytest
from tokenizers import Tokenizer

from bimix_sweep.config import SweepConfig
from bimix_sweep.data.extend import extend
from bimix_sweep.data.prepare import prepare
from bimix_sweep.data.sampling.identity import identify
from bimix_sweep.data.sources import Source
from bimix_sweep.data.store import TokenStore
from bimix_sweep.errors import DataError, SweepError
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.sweep.config_staging import check_change, settle, stage, stage_store, take_up
from bimix_sweep.sweep.coordinator.actor import LawActor
from bimix_sweep.sweep.history.rebuilding import replay
from bimix_sweep.sweep.history.spec import first_event, sweep_spec
from bimix_sweep.sweep.trainers.base import TrialJob
from bimix_sweep.sweep.trainers.builtin import prepare_builtin
from bimix_sweep.sweep.trainers.texts import NEXT_TEXTS, check_texts
from bimix_sweep.sweep.workspace.paths import CONFIG

WORDS = {
    "latin": "lorem ipsum dolor sit amet consectetur",
    "digits": "one two three four five six",
    "tones": "do re mi fa so la ti",
}


def documents(name, seed=0, count=300):
    generator = np.random.default_rng([len(name), seed])
    return tuple(
        " ".join(generator.choice(WORDS[name].split(), 200)) + f" {number}"
        for number in range(count)
    )


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    for name in WORDS:
        for version in (0, 1):
            lines = (json.dumps({"text": document}) for document in documents(name, version))
            (folder / f"{name}-{version}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def config(text, domains=("latin", "digits"), trials=8, versions=(), **changes):
    content = {
        "domains": {
            name: {"path": str(text / f"{name}-{int(name in versions)}.jsonl")}
            | ({"version": "new"} if name in versions else {})
            for name in domains
        },
        "proxy": {"sizes": [2e4], "steps": 16, "context": 16, "batch": 2, "vocabulary": 300},
        "budget": {"trials": trials},
    }
    return SweepConfig.parse(content | changes)


def changed(given, **domains):
    """The same with other entries of its domains."""
    content = given.model_dump(mode="json")
    for name, entry in domains.items():
        content["domains"][name] |= entry
    return SweepConfig.parse(content)


def begin(folder, given):
    trainer = prepare_builtin(given, folder, lambda _: None)
    (folder / CONFIG).write_text(given.model_copy(update={"out": str(folder)}).to_yaml())
    actor = LawActor(
        str(folder),
        first_event(given, trainer.facts.data, sweep_spec(given, trainer.facts), 1),
        lock_seconds=0,
    )
    actor.ready()
    return trainer, actor


def go_on(folder, given, crash=None):
    """As `resume_sweep` does it, up to the trainings."""
    history = replay(folder)
    change = take_up(str(folder), history, given)
    stage_store(str(folder), change, lambda _: None)
    trainer = prepare_builtin(change.config, folder, lambda _: None)
    spec = sweep_spec(change.config, trainer.facts)
    check_change(history, change, spec, trainer.facts.data)
    stage(str(folder), change)
    if crash == "before":
        return None, None
    first = first_event(change.config, trainer.facts.data, spec, 1)
    actor = LawActor(str(folder), first, lock_seconds=0, change=change.event(first))
    actor.ready()
    if crash == "after":
        actor.close()
        return None, None
    settle(str(folder), first)
    return trainer, actor


def train(trainer, folder, mixture):
    points = {}
    job = TrialJob(
        trial="t0000",
        mixture=Mixture.from_mapping(mixture),
        seed=1,
        checkpoint_dir=folder / "here",
        precision={"dtype": "float32"},
    )
    trainer.train(job, points.__setitem__)
    return points


def test_a_domain_that_joins_is_tokenised_with_the_sweep_s_tokenizer_and_old_trials_come_out_the_same(
    text, tmp_path
):
    folder = tmp_path / "sweep"
    trainer, actor = begin(folder, config(text))
    actor.close()
    before = train(trainer, tmp_path / "a", {"latin": 0.7, "digits": 0.3})
    old = TokenStore.open(folder / "store")
    tokenizer = (folder / "store" / "tokenizer.json").read_bytes()
    trainer, actor = go_on(folder, config(text, domains=("latin", "digits", "tones"), trials=20))
    actor.close()
    new = TokenStore.open(folder / "store")
    assert new.domains == ("latin", "digits", "tones")
    assert (folder / "store" / "tokenizer.json").read_bytes() == tokenizer
    assert new.digest != old.digest
    assert replay(folder).first.data["store"] == new.digest
    assert not (folder / "store.next").exists()
    after = train(trainer, tmp_path / "b", {"latin": 0.7, "digits": 0.3})
    assert after == before  # targets and batches are those of before
    assert set(train(trainer, tmp_path / "c", {"latin": 0.2, "digits": 0.3, "tones": 0.5})[16]) == {
        "latin",
        "digits",
    }


def test_a_new_version_s_text_takes_the_name_and_the_old_text_stays_under_another(text, tmp_path):
    folder = tmp_path / "sweep"
    _, actor = begin(folder, config(text))
    actor.close()
    old = TokenStore.open(folder / "store")
    validation, train_tokens = old.validation("latin").copy(), old.train("latin").copy()
    trainer, actor = go_on(folder, config(text, versions=("latin",), trials=20))
    actor.close()
    new = TokenStore.open(folder / "store")
    assert new.domains == ("latin@first", "digits", "latin")
    assert np.array_equal(new.validation("latin@first"), validation)
    assert np.array_equal(new.train("latin@first"), train_tokens)
    assert not np.array_equal(new.train("latin")[:1000], train_tokens[:1000])
    assert trainer.sources == {
        "latin": "latin@first",
        "digits": "digits",
    }  # the target is the same text as before


@pytest.mark.parametrize("crash", ["before", "after"])
def test_a_crash_leaves_the_old_store_or_the_new_one(text, tmp_path, crash):
    folder = tmp_path / "sweep"
    _, actor = begin(folder, config(text))
    actor.close()
    old = TokenStore.open(folder / "store").digest
    wanted = config(text, domains=("latin", "digits", "tones"), trials=20)
    go_on(folder, wanted, crash=crash)
    assert (folder / "store.next").exists()
    change = take_up(str(folder), replay(folder), None)
    assert not change.what
    store = TokenStore.open(folder / "store")
    assert not (folder / "store.next").exists()
    assert (
        store.domains
        == {"before": ("latin", "digits"), "after": ("latin", "digits", "tones")}[crash]
    )
    assert (store.digest == old) == (crash == "before")
    assert SweepConfig.load(folder / CONFIG).budget.trials == {"before": 8, "after": 20}[crash]


def test_text_that_cannot_be_used_changes_nothing(text, tmp_path):
    folder = tmp_path / "sweep"
    _, actor = begin(folder, config(text))
    actor.close()
    names = sorted(path.name for path in folder.rglob("*"))
    short = text / "short.jsonl"
    short.write_text(json.dumps({"text": "do re mi"}) + "\n")
    lacking = config(text, domains=("latin", "digits", "tones"), trials=20).model_dump(mode="json")
    for path, message in (
        (short, "domain tones has 1 different documents"),
        (text / "nothing.jsonl", r"nothing\.jsonl"),
    ):
        lacking["domains"]["tones"]["path"] = str(path)
        with pytest.raises(DataError, match=message):
            go_on(folder, SweepConfig.parse(lacking))
        assert sorted(path.name for path in folder.rglob("*")) == names
    assert not replay(folder).changes


def test_a_document_that_is_held_out_is_not_trained_on_in_a_domain_that_joins(tmp_path):
    quick = {"vocabulary": 300, "validation_tokens": 256, "context": 16}
    first = documents("latin")
    store = prepare({"latin": Source(documents=first)}, out=tmp_path / "one", **quick)
    new = extend(
        store, {"copy": Source(documents=(*first, *documents("tones")))}, out=tmp_path / "two"
    )
    tokenizer = Tokenizer.from_file(str(tmp_path / "one" / "tokenizer.json"))
    trained = {
        tuple(part[:-1]) for part in np.split(new.train("copy"), new.documents("copy")[1:-1])
    }
    by_key = {f"{identify(document).key:016x}": document for document in first}
    held_out = {by_key[key] for key in store.manifest["notes"]["held_out"][0]["latin"]}
    assert len(held_out) > 10
    assert not any(tuple(tokenizer.encode(document).ids) in trained for document in held_out)
    assert sum(tuple(tokenizer.encode(document).ids) in trained for document in first) > 200
    with pytest.raises(DataError, match=r"domain latin is in .* already; rename it"):
        extend(store, {"latin": Source(documents=first)}, out=tmp_path / "four")


def test_a_new_text_that_did_not_come_about_is_noticed_when_the_old_version_goes_on(text, tmp_path):
    (tmp_path / "text").mkdir()
    for name in WORDS:
        (tmp_path / "text" / f"{name}-0.jsonl").write_text((text / f"{name}-0.jsonl").read_text())
    folder = tmp_path / "sweep"
    given = config(tmp_path / "text")
    begin(folder, given)[1].close()
    (tmp_path / "text" / "latin-0.jsonl").write_text((text / "latin-1.jsonl").read_text())
    newer = changed(config(tmp_path / "text", trials=20), latin={"version": "new"})
    go_on(folder, newer, crash="before")
    change = take_up(str(folder), replay(folder), given)
    with pytest.raises(SweepError, match=r"text of domain latin at .* is not what the store was"):
        check_texts(str(folder), change.config, change.added, lambda _: None)
    go_on(folder, newer)[1].close()
    said = []
    check_texts(str(folder), newer, (), said.append)  # now it came about
    assert said == []
    assert not [*folder.glob(NEXT_TEXTS.format("*"))]


def test_unchanged_text_goes_on_after_a_domain_joined_that_shares_documents_with_it(text, tmp_path):
    (tmp_path / "text").mkdir()
    lines = {name: (text / f"{name}-0.jsonl").read_text() for name in WORDS}
    lines["tones"] += lines["digits"]
    for name in WORDS:
        (tmp_path / "text" / f"{name}-0.jsonl").write_text(lines[name])
    folder = tmp_path / "sweep"
    begin(folder, config(tmp_path / "text"))[1].close()
    given = config(tmp_path / "text", domains=("latin", "digits", "tones"), trials=20)
    go_on(folder, given)[1].close()
    held_out = TokenStore.open(folder / "store").manifest["notes"]["held_out"]
    keys = {f"{identify(document).key:016x}" for document in documents("digits")}
    assert keys & {*held_out[-1]["tones"]}  # of which digits trains on some
    said = []
    for name in WORDS:  # the same documents in another order
        backwards = "".join(reversed(lines[name].splitlines(keepends=True)))
        (tmp_path / "text" / f"{name}-0.jsonl").write_text(backwards)
    check_texts(str(folder), given, (), said.append)
    assert [line.split(" changed")[0] for line in said] == [
        f"the files of domain {name}" for name in given.domains
    ]


def test_a_store_holds_what_a_trial_can_use_after_a_max_is_raised(text, tmp_path):
    given = changed(config(text), digits={"tokens": 1e9, "max": 0.25})
    prepare_builtin(given, str(tmp_path), lambda _: None)
    store = TokenStore.open(tmp_path / "store")
    assert store.num_train_tokens("digits") == 16 * 16 * 2


def test_tokens_do_not_join_text(tmp_path):
    store = prepare(
        {"latin": Source(documents=documents("latin"))},
        out=tmp_path / "one",
        vocabulary=300,
        validation_tokens=256,
    )
    np.save(tmp_path / "tokens.npy", np.arange(4000, dtype=np.uint16) % 300)
    with pytest.raises(
        DataError, match=r"domain more holds another kind of data than .*; need text"
    ):
        extend(
            store,
            {"more": Source(path=tmp_path / "tokens.npy", vocabulary=300)},
            out=tmp_path / "two",
        )
    assert not (tmp_path / "two").exists()
