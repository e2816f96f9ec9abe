"""`bimix-sweep entropy` on text whose entropies are known: each word depends on the word before it
alone, with planted probabilities.
"""

import json

import numpy as np
import pytest
import yaml
from tokenizers import Tokenizer, models, pre_tokenizers
from typer.testing import CliRunner

from bimix_sweep.cli import app
from bimix_sweep.config import SweepConfig
from bimix_sweep.sweep.history.spec import sweep_spec
from bimix_sweep.sweep.history.stored_spec import StoredSpec
from bimix_sweep.sweep.trainers.builtin import prepare_builtin
from tests.support.markov_domains import MarkovDomain

WORDS, LENGTH = 32, 300


@pytest.fixture(scope="module")
def chains(tmp_path_factory):
    """A folder with text of three chains, and {domain: chain}."""
    folder, generator = tmp_path_factory.mktemp("chains"), np.random.default_rng(3)
    found = {
        name: MarkovDomain.random(generator, vocabulary=WORDS, successors=count)
        for name, count in (("plain", 4), ("middling", 8), ("rich", 16))
    }
    ids = {"?": 0, "</s>": 1} | {f"w{number}": number + 2 for number in range(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="?"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["</s>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    for name, chain in found.items():
        texts = (
            " ".join(f"w{token}" for token in row)
            for row in chain.draw(generator, documents=300, length=LENGTH).tolist()
        )
        lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
        (folder / f"{name}.jsonl").write_text(lines)
    return folder, found


def written(folder, chains, out, **keys):
    content = {
        "domains": {name: {"path": f"{name}.jsonl"} for name in chains},
        "tokenizer": "tokenizer.json",
        "data": {"validation_tokens": 1024},
        "proxy": {"sizes": [2e4], "steps": 200, "context": 16, "batch": 32},
        "out": str(out),
    }
    path = folder / f"{out.parent.name}.yaml"
    path.write_text(yaml.safe_dump(content | keys, sort_keys=False))
    return path


def call(*words, code=0):
    done = CliRunner().invoke(app, ["entropy", *map(str, words)])
    assert done.exit_code == code, done.output
    return done


def test_the_mixtures_follow_the_planted_entropies_and_a_sweep_takes_the_same(chains, tmp_path):
    folder, planted = chains
    keys = {"today": "entropy", "first": ["entropy"], "prior": {"mixture": "entropy", "kl": 0.1}}
    path = written(folder, planted, tmp_path / "sweep", **keys)
    told = json.loads(call(path, "--json").stdout)
    assert 60_000 < told["tokens"] < 300 * (LENGTH + 1)
    assert max(told["single_pairs"].values()) < 1e-3
    for name, chain in planted.items():
        frequencies = chain.stationary()
        shannon = -(frequencies * np.log(frequencies)).sum()
        # the end of a document is one token in 301, and any word may follow it
        assert told["entropies"]["CE"][name] == pytest.approx(chain.entropy_rate(), abs=0.04)
        assert told["entropies"]["SE"][name] == pytest.approx(shannon, abs=0.04)
        joint = chain.entropy_rate() + shannon
        assert told["entropies"]["JE"][name] == pytest.approx(joint, abs=0.08)
    for short, entropies in told["entropies"].items():
        odds = np.exp([*entropies.values()])
        assert [*told["mixtures"][short].values()] == pytest.approx(odds / odds.sum())
    config = SweepConfig.load(path)
    trainer = prepare_builtin(config, config.out, lambda _: None)
    spec = StoredSpec.of(sweep_spec(config, trainer.facts)).spec()
    for mixture in (spec.today, spec.prior, *spec.first):
        assert mixture.as_dict() == pytest.approx(told["mixtures"]["CE"])
    assert len(spec.first) == 1


def test_with_a_users_trainer_nothing_stays_behind_and_the_line_can_be_pasted(chains, tmp_path):
    folder, planted = chains
    path = written(folder, planted, tmp_path / "sweep", trainer="mine:train")
    said = call(path).stdout
    assert "CE mixture" in said
    line = said.splitlines()[-1].partition("sweep.yaml: ")[2]
    assert [*yaml.safe_load(line)] == [*planted]
    assert not (tmp_path / "sweep").exists()
    pasted = SweepConfig.parse(yaml.safe_load(path.read_text()) | {"today": yaml.safe_load(line)})
    assert pasted.stated_mixtures().today is not None


def test_a_domain_without_text_is_refused(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text("domains: {web: {}, code: {}}\ntrainer: mine:train\n")
    assert "domain web has no path; need its text" in call(path, code=1).output
