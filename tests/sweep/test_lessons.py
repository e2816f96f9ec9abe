"""What the trials of a planted sweep taught, beside the refits in its journal."""

import json

import pytest
from typer.testing import CliRunner

from bimix_sweep.cli import app
from bimix_sweep.errors import SweepError
from bimix_sweep.sweep.history.rebuilding import replay
from bimix_sweep.sweep.lessons import in_words, lessons
from tests.support.in_process import config, losses, open_sweep, run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A sweep of 8 trials; t0003 measured a loss of code that is 3 % too high."""
    folder = tmp_path_factory.mktemp("sweep") / "s"
    actor = open_sweep(folder, config(9))
    run(actor, most=3)
    proposal = actor.propose("t0003")
    actor.start("t0003", "here")
    for step in (100, 200, 400):
        measured = losses(proposal.mixture, proposal.seed, step)
        actor.record("t0003", step, measured | {"code": measured["code"] * 1.03})
    actor.finish("t0003")
    run(actor, most=4)
    actor.close()
    return folder


def test_each_trial_has_the_regret_of_the_refits_around_its_end(folder):
    found, refits = lessons(str(folder)), replay(folder).refits
    assert [lesson.trial for lesson in found] == [f"t{n:04d}" for n in range(8)]
    known = {refit.num_over: refit.decision.regret_expected for refit in refits}
    assert len(known) > 4
    for place, lesson in enumerate(found):
        if place in known and place + 1 in known:
            assert lesson.regret_before == known[place]
            assert lesson.regret_after == known[place + 1]
            assert lesson.ended_with == ()


def test_a_trial_whose_loss_the_others_do_not_tell_names_its_target(folder):
    found = {lesson.trial: lesson for lesson in lessons(str(folder))}
    assert found["t0003"].surprises["code"] == pytest.approx(0.03, abs=0.015)
    assert set(found["t0003"].surprises) == {"code"}


def test_the_command_says_why_and_what_in_words(folder):
    done = CliRunner().invoke(app, ["explain", str(folder)])
    assert done.exit_code == 0, done.output
    assert "  why     the uniform mixture, where every sweep begins" in done.stdout
    assert "to lower the expected regret by" in done.stdout
    assert "differs from what the other trials tell: code" in done.stdout
    plain = CliRunner().invoke(app, ["explain", str(folder), "--json"])
    assert [one["trial"] for one in json.loads(plain.stdout)] == [f"t{n:04d}" for n in range(8)]


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("regret -8.9e-05", "to lower the expected regret by 0.01%"),
        (
            "replicate, regret -0.00036",
            "the same mixture with another seed, to lower the expected regret by 0.04%",
        ),
        ("initial: space-filling", "first mixtures, spread over all that is possible"),
        ("confirmation: predicted", "confirmation: predicted"),
    ],
)
def test_the_reason_of_a_proposal_has_words(reason, words):
    assert in_words(reason) == words


def test_a_sweep_without_an_ended_trial_teaches_nothing_yet(tmp_path):
    open_sweep(tmp_path / "s", config(5)).close()
    with pytest.raises(SweepError, match="no trial has ended"):
        lessons(str(tmp_path / "s"))
