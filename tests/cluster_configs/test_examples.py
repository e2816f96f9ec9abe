"""The examples of trainers of one's own train as they stand."""

import importlib.util
import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

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


@pytest.mark.parametrize(
    ("package", "trainer"),
    [
        ("transformers", {"function": "hf_trainer:train"}),
        ("litgpt", {"command": [sys.executable, "litgpt_trainer.py", "{job}"]}),
    ],
)
def test_the_examples_of_well_known_trainers_go_on_after_kill_9(tmp_path, package, trainer):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed; it is too large for the tests")
    content = {
        "trainer": trainer | {"folder": str(EXAMPLES)},
        "domains": records(tmp_path, {"web": "the cat sat on the mat", "code": "for x in y do x"}),
        "tokenizer": str(tmp_path / "tokenizer.json"),
        "proxy": {"steps": 40, "context": 16, "batch": 4, "sizes": [2e4]},
    }
    with started(tmp_path / "whole", content) as process:
        whole = dict(points(process))
    last = max(whole, default=0)
    assert (last, len(whole)) == (40, 8)
    assert whole[last]["web"] < whole[min(whole)]["web"]
    with started(tmp_path / "cut", content) as process:
        before = dict(itertools.islice(points(process), 4))
        process.kill()
    with started(tmp_path / "cut", content) as process:
        after = dict(points(process))
    assert min(before) < min(after)  # it went on from a checkpoint
    assert {*before, *after} == {*whole}
    for step, losses in (*before.items(), *after.items()):
        assert losses == pytest.approx(whole[step], rel=1e-5)


def records(folder, sentences):
    """Domains of JSON lines, and a tokenizer of their words; the order of the words is random."""
    generator, words, domains = np.random.default_rng(0), set(), {}
    for name, sentence in sentences.items():
        texts = (" ".join(generator.choice(sentence.split(), 40)) for _ in range(200))
        lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
        (folder / f"{name}.jsonl").write_text(lines)
        domains[name] = {"path": str(folder / f"{name}.jsonl")}
        words |= {*sentence.split()}
    ids = {word: place for place, word in enumerate(["?", "</s>", *sorted(words)])}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="?"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["</s>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    return domains


def started(folder, content):
    folder.mkdir(exist_ok=True)
    words = [sys.executable, "-m", "tests.support.printed_attempt", str(folder)]
    return subprocess.Popen([*words, json.dumps(content)], stdout=subprocess.PIPE, text=True)


def points(process):
    """[step, losses] of each point, as it is reported."""
    for line in process.stdout:
        if line.startswith("["):
            yield json.loads(line)
