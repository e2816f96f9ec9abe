"""Text that changed while a sweep stood still, and a token store that was lost; real text, no
Ray.
"""

import json
import os
import shutil

import numpy as np
import pytest

from bimix_sweep.config import SweepConfig
from bimix_sweep.errors import SweepError
from bimix_sweep.sweep.api import resume_sweep
from bimix_sweep.sweep.coordinator.actor import LawActor
from bimix_sweep.sweep.history.rebuilding import replay
from bimix_sweep.sweep.history.spec import first_event, sweep_spec
from bimix_sweep.sweep.trainers.builtin import prepare_builtin
from bimix_sweep.sweep.trainers.texts import check_texts, restore_store
from bimix_sweep.sweep.workspace.paths import CONFIG

WORDS = {
    "latin": ("lorem", "ipsum", "dolor", "sit", "amet", "consectetur"),
    "digits": ("one", "two", "three", "four", "five", "six"),
    "exam": ("lorem", "two", "dolor", "four"),
}


@pytest.fixture
def sweep(tmp_path):
    """A sweep of the built-in trainer that has begun: its folder, its text in one file a domain."""
    for name, words in WORDS.items():
        (tmp_path / name).mkdir()
        generator = np.random.default_rng(len(name))
        lines = [
            json.dumps({"text": " ".join(generator.choice(words, 150)) + f" {number}"}) + "\n"
            for number in range(200)
        ]
        (tmp_path / name / "part.jsonl").write_text("".join(lines))
    config = SweepConfig.parse(
        {
            "domains": {name: {"path": str(tmp_path / name)} for name in ("latin", "digits")},
            "targets": {"latin": {"domain": "latin"}, "exam": {"path": str(tmp_path / "exam")}},
            "proxy": {"sizes": [2e4], "steps": 16, "context": 16, "batch": 2, "vocabulary": 300},
            "budget": {"trials": 6},
            "out": str(tmp_path / "sweep"),
        }
    )
    folder = tmp_path / "sweep"
    trainer = prepare_builtin(config, str(folder), lambda line: None)
    (folder / CONFIG).write_text(config.to_yaml())
    spec = sweep_spec(config, trainer.facts)
    actor = LawActor(str(folder), first_event(config, trainer.facts.data, spec, 1), lock_seconds=0)
    actor.ready()
    actor.propose("t0000")
    actor.close()
    return folder


def compared(folder):
    """What is said when the sweep goes on with text that did not change."""
    said = []
    check_texts(str(folder), SweepConfig.load(folder / CONFIG), (), said.append)
    return said


def rewrite(folder, change):
    path = folder / "part.jsonl"
    path.write_text("".join(change(path.read_text().splitlines(keepends=True))))


def shout(line):
    return json.dumps({"text": json.loads(line)["text"].upper()}) + "\n"


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: [shout(line) for line in lines],
        lambda lines: lines[:150],
        lambda lines: [*lines, *(line.replace("six", "seven") for line in lines)],
        lambda lines: lines[:5],
    ],
)
def test_text_that_changed_under_the_same_version_is_refused(sweep, change):
    rewrite(sweep.parent / "digits", change)
    before = sorted(path.name for path in sweep.iterdir())
    with pytest.raises(SweepError, match=r"the text of domain digits at .* a new version"):
        resume_sweep(sweep)
    assert sorted(path.name for path in sweep.iterdir()) == before


def test_the_same_documents_in_other_files_are_no_change(sweep):
    assert compared(sweep) == []
    digits = sweep.parent / "digits"
    lines = (digits / "part.jsonl").read_text().splitlines(keepends=True)
    (digits / "part.jsonl").unlink()
    for number in range(7):
        (digits / f"{number}.jsonl").write_text("".join(lines[number::7]))
    os.utime(sweep.parent / "exam" / "part.jsonl", (1, 1))
    assert compared(sweep) == [
        "the files of domain digits changed; comparing their text with the store's"
    ]
    assert compared(sweep) == []  # and need not be compared again


def test_another_exam_is_refused_because_losses_on_it_do_not_compare(sweep):
    rewrite(sweep.parent / "exam", lambda lines: [shout(line) for line in lines])
    with pytest.raises(SweepError, match=r"the text of target exam at .* do not compare"):
        resume_sweep(sweep)


def test_text_that_is_gone_is_said(sweep):
    shutil.rmtree(sweep.parent / "latin")
    (said,) = compared(sweep)
    assert said.startswith("note: the text of domain latin is not at")


def test_a_lost_store_is_made_again_from_the_same_text(sweep):
    digest = replay(sweep).first.data["store"]
    shutil.rmtree(sweep / "store")
    restore_store(str(sweep), replay(sweep), lambda line: None)
    assert json.loads((sweep / "store" / "manifest.json").read_text())["digest"] == digest
    assert not (sweep / "store.check").exists()


@pytest.mark.parametrize("gone", [False, True])
def test_a_lost_store_is_not_made_of_other_text(sweep, gone):
    shutil.rmtree(sweep / "store")
    if gone:
        shutil.rmtree(sweep.parent / "digits")
    else:
        rewrite(sweep.parent / "digits", lambda lines: [shout(line) for line in lines])
    with pytest.raises(SweepError, match=r"its token store is lost.* start a new sweep"):
        resume_sweep(sweep)
    assert not (sweep / "store").exists()
    assert not (sweep / "store.check").exists()
