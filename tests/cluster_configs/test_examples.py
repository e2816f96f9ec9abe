"""The examples of trainers of one's own train as they stand."""

from pathlib import Path

import pytest

from bimix_sweep.errors import TryAgainError
from tests.support.attempt import Attempt

EXAMPLES = Path(__file__).resolve().parents[2] / "cluster_configs" / "examples"


@pytest.fixture
def texts(tmp_path):
    for name, words in (("web", "the cat sat on the mat "), ("code", "for x in y: print(x) ")):
        (tmp_path / f"{name}.txt").write_text(words * 2000)
    return {name: {"path": str(tmp_path / f"{name}.txt")} for name in ("web", "code")}


def test_the_example_of_a_function_trains_and_goes_on_where_it_was(tmp_path, texts):
    attempt = Attempt(
        tmp_path,
        {"function": "my_trainer:train", "folder": str(EXAMPLES)},
        domains=texts,
        proxy={"steps": 60},
    )
    points = dict(attempt.train())
    assert set(points) == set(attempt.trainer.facts.eval_steps)
    assert points[60]["web"] < points[min(points)]["web"]
    whole = tmp_path / "checkpoint" / "counts.npz"
    whole.unlink()
    attempt.preempted.set()
    with pytest.raises(TryAgainError):
        attempt.train()
    assert whole.exists()
    attempt.preempted.clear()
    attempt.points = {}
    assert attempt.train() == points


def test_the_example_of_torchrun_trains_in_two_processes(tmp_path, texts):
    words = ["torchrun", "--standalone", "--nproc-per-node=2", "torchrun_trainer.py", "{job}"]
    attempt = Attempt(
        tmp_path, {"command": words, "folder": str(EXAMPLES)}, domains=texts, proxy={"steps": 30}
    )
    points = attempt.train()
    assert set(points) == set(attempt.trainer.facts.eval_steps), attempt.log
    assert points[30]["web"] < points[min(points)]["web"]
