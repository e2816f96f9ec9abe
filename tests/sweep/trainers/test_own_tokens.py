"""Sweeps of the built-in trainer with a user's own tokenizer, and on ready-made tokens."""

import ast
import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import yaml
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from typer.testing import CliRunner

from bimix_sweep.cli import app
from bimix_sweep.config import SweepConfig
from bimix_sweep.data.store import TokenStore
from bimix_sweep.errors import DataError, SweepError
from bimix_sweep.export.recipe import Recipe
from bimix_sweep.mixture.domains import Mixture
from bimix_sweep.sweep.history.rebuilding import replay
from bimix_sweep.sweep.run_checks import check_before_run
from bimix_sweep.sweep.trainers.base import TrialJob
from bimix_sweep.sweep.trainers.builtin import prepare_builtin
from bimix_sweep.sweep.trainers.texts import check_texts
from tests.support.builtin_texts import WORDS

PROXY = {"sizes": [2e4], "steps": 16, "context": 16, "batch": 2}


def python_files():
    files = Path(sysconfig.get_paths()["stdlib"]).glob("*.py")
    return [path.read_text(errors="ignore") for path in sorted(files)]


def docstrings():
    """Long descriptions of functions and classes in Python's library."""
    described = (ast.FunctionDef, ast.ClassDef, ast.Module)
    found = {
        ast.get_docstring(node)
        for text in python_files()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, described)
    }
    return sorted(text[:6000] for text in found if text and len(text) > 500)


def byte_level(texts, size):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def call(*words, code=0):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture
def own(tmp_path):
    """A folder with text of this machine under `content`, a held-out file and a tokenizer."""
    domains = {"code": [text[:6000] for text in python_files()], "prose": docstrings()}
    if min(map(len, domains.values())) < 40:
        pytest.skip("there is too little text on this machine: Python's library has no sources")
    held = [text for texts in domains.values() for text in texts[::10]]
    domains["held"] = held
    for name, texts in domains.items():
        lines = [
            json.dumps({"content": text}) + "\n"
            for text in texts
            if name == "held" or text not in held
        ]
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))
    tokenizer = byte_level([text for texts in domains.values() for text in texts], 1000)
    tokenizer.enable_truncation(64)  # as the file of a trained model may ask
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    content = {
        "domains": {
            name: {"path": f"{name}.jsonl", "field": "content", "tokens": 1e9}
            for name in ("code", "prose")
        },
        "targets": {"held": {"path": "held.jsonl", "field": "content", "unit": "bits_per_byte"}},
        "tokenizer": "tokenizer.json",
        "proxy": PROXY,
        "budget": {"trials": 12},
        "stop": {"tolerance": 1e-7},
        "out": str(tmp_path / "out"),
    }
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(content))
    return tmp_path


@pytest.mark.cluster
def test_a_sweep_with_an_own_tokenizer_goes_from_doctor_to_an_export(
    own, ray_environment, ray_address, monkeypatch
):
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", ray_environment["RAY_AUTH_TOKEN_PATH"])
    sweep = own / "sweep.yaml"
    found = json.loads(call("doctor", sweep, "--json"))
    said = {finding["what"]: finding["message"] for finding in found["findings"]}
    assert found["problems"] == 0
    assert said["tokenizer"] == "1000 tokens; '</s>' ends a document"
    assert "6.4e4 parameters of embeddings beside" in said["vocabulary"]
    assert "vocabulary: 1,000 tokens" in call("plan", sweep, "--hours", 1, "--seconds", 0)
    command = [str(Path(sys.executable).with_name("bimix-sweep")), "run", sweep]
    done = subprocess.run(
        [*command, "--address", ray_address],
        env=ray_environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    history = replay(str(own / "out"))
    assert history.complete
    assert sum(trial.role == "sweep" for trial in history.state.trials.values()) == 12
    tokenizer = Recipe.read(own / "out" / "RECIPE.json").provenance["tokenizer"]
    assert tokenizer["end_of_text"] == "</s>"
    assert tokenizer["sha256"] == TokenStore.open(own / "out" / "store").tokenizer["sha256"]
    call("export", own / "out", "--to", "megatron-lm", "--names", "-o", own / "blend.txt")
    assert "code" in (own / "blend.txt").read_text()


def token_files(folder, vocabulary=300):
    """Writes a raw file of tokens for each of two domains; no document is much like another."""
    for number, name in enumerate(WORDS):
        drawn = np.random.default_rng(number).integers(3, 40 - number, (72, 400))
        documents = [[*document.tolist(), vocabulary - 1] for document in drawn]
        np.concatenate(documents).astype("<u2").tofile(folder / f"{name}.bin")
    return {name: {"path": str(folder / f"{name}.bin")} for name in WORDS}


def parsed(folder, domains, **keys):
    proxy = {"proxy": PROXY | {"vocabulary": 300}}
    return SweepConfig.parse(
        {"domains": domains, "out": str(folder / "out")} | proxy | keys, where="sweep.yaml"
    )


def losses(trainer, folder):
    points = {}
    trainer.train(
        TrialJob(
            trial="t0000",
            mixture=Mixture.from_mapping(dict.fromkeys(WORDS, 0.5)),
            seed=1,
            checkpoint_dir=folder / "t0000",
            precision={"dtype": "float32"},
        ),
        points.__setitem__,
    )
    return points[16]


def test_ready_made_tokens_are_trained_on_and_counted_by_their_files(tmp_path):
    domains = token_files(tmp_path)
    stated = {"vocabulary": 300, "end_of_text": 299}
    config = parsed(tmp_path, domains, tokens=stated)
    check_before_run(config)
    said = []
    trainer = prepare_builtin(config, str(tmp_path / "out"), said.append)
    assert "the files hold tokens; losses are in nats per token" in said[0]
    sizes = {name: (tmp_path / f"{name}.bin").stat().st_size // 2 for name in WORDS}
    assert trainer.facts.domain_tokens == sizes
    store = TokenStore.open(tmp_path / "out" / "store")
    kept = {name: store.num_train_tokens(name) for name in WORDS}
    assert max(kept.values()) == config.proxy.tokens < min(sizes.values())
    assert all(0 < loss < np.log(300) + 0.5 for loss in losses(trainer, tmp_path).values())


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, r"latin holds tokens, and nothing says how many .* state tokens: {vocabulary: N}"),
        (
            {"tokens": {"vocabulary": 299, "end_of_text": 298}},
            r"latin\.bin holds token 299 \(token \d+, byte \d+\); need ids from 0 to 298",
        ),
        (
            {
                "tokens": {"vocabulary": 300},
                "targets": {"latin": {"domain": "latin", "unit": "bits_per_byte"}},
            },
            r"targets\.latin\.unit is bits_per_byte, and .*latin\.bin holds tokens whose bytes are "
            r"not known; state the byte-level tokenizer",
        ),
        (
            {"tokens": {"vocabulary": 300}, "targets": {"exam": {"path": "exam.txt"}}},
            r"latin holds tokens and exam holds text; need one tokenizer for all",
        ),
    ],
)
def test_tokens_that_cannot_be_trained_on_are_refused_before_the_sweep(
    tmp_path, monkeypatch, keys, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "exam.txt").write_text("a text")
    with pytest.raises(DataError, match=message):
        check_before_run(parsed(tmp_path, token_files(tmp_path), **keys))


def test_a_sweep_does_not_go_on_with_a_tokenizer_that_changed(text, tmp_path):
    texts = {name: {"path": str(text / f"{name}.jsonl")} for name in WORDS}
    words = [" ".join(words) for words in WORDS.values()]
    file = tmp_path / "tokenizer.json"
    byte_level(words, 300).save(str(file))
    config = parsed(tmp_path, texts, tokenizer=str(file))
    prepare_builtin(config, str(tmp_path / "out"), lambda _: None)
    said = []
    check_texts(str(tmp_path / "out"), config, (), said.append)
    assert said == []
    byte_level(words[:1], 280).save(str(file))
    with pytest.raises(
        SweepError,
        match=r"the tokenizer at .* changed since the store was made "
        r"\(SHA-256 .* bring the file back",
    ):
        check_texts(str(tmp_path / "out"), config, (), said.append)
    file.unlink()
    check_texts(str(tmp_path / "out"), config, (), said.append)
    (line,) = said
    assert "cannot be read" in line
    assert "goes on with the tokenizer in its store" in line


def test_a_vocabulary_of_a_quarter_of_a_million_is_taken_with_four_bytes_a_token(text, tmp_path):
    spec = json.loads(byte_level([" ".join(w) for w in WORDS.values()], 300).to_str())
    spec["model"]["vocab"]["<last>"] = 2**18 - 1
    (tmp_path / "tokenizer.json").write_text(json.dumps(spec))
    texts = {name: {"path": str(text / f"{name}.jsonl"), "tokens": 1e6} for name in WORDS}
    config = parsed(
        tmp_path, texts, tokenizer=str(tmp_path), targets={"latin": {"domain": "latin"}}
    )
    trainer = prepare_builtin(config, str(tmp_path / "out"), lambda _: None)
    (proxy,) = trainer.specs
    assert proxy.vocabulary == 2**18
    assert proxy.embedding_parameters == 2 * 2**18 * proxy.width
    store = TokenStore.open(tmp_path / "out" / "store")
    assert store.train("latin").dtype == np.uint32
