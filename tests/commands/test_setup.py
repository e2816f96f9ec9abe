"""What comes before a sweep: init, doctor, plan."""

import bz2
import gzip
import json
import re

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from bimix_sweep.cli import app
from bimix_sweep.config import SweepConfig
from bimix_sweep.data.store import TokenStore
from bimix_sweep.design.initial_design import random_mixtures
from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.design.simulation import World, simulate
from bimix_sweep.errors import DataError
from bimix_sweep.mixture.domains import DomainSet
from bimix_sweep.seeding import rng
from bimix_sweep.sweep.preflight.plan import make_plan
from bimix_sweep.sweep.preflight.sweep_checks import check_targets, check_texts
from bimix_sweep.sweep.trainers.prepare import prepare_trainer


def bimix(*words, code=0):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture
def texts(tmp_path):
    generator = rng(0, "texts")
    for name, letters in (("web pages", "abcdefgh"), ("código", "ijklmnop")):
        words = ["".join(generator.choice(list(letters), 5)) for _ in range(300)]
        folder = tmp_path / name
        folder.mkdir()
        with (folder / "part.jsonl").open("w") as stream:
            for number in range(400):
                stream.write(
                    json.dumps({"text": f"{number} {' '.join(generator.choice(words, 150))}"})
                    + "\n"
                )
    return tmp_path


def test_init_writes_a_file_that_loads_prepares_and_says_what_it_found(texts, monkeypatch):
    monkeypatch.chdir(texts)
    said = bimix("init", "web pages", "código", "-o", "sweep.yaml")
    assert "web-pages: about 1" in said
    config = SweepConfig.load("sweep.yaml")
    assert list(config.domains) == ["web-pages", "c-digo"]
    assert yaml.safe_load((texts / "sweep.yaml").read_text())["domains"]["web-pages"] == {
        "path": "web pages"
    }  # relative to the file
    smallest = 400 * 900 / 3.5
    assert 100 <= config.proxy.steps <= 800
    assert config.proxy.tokens <= 2.5 * smallest
    trainer = prepare_trainer(config, str(texts / "sweep"), lambda line: None)
    assert all(tokens > 10_000 for tokens in trainer.facts.domain_tokens.values())


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        (["web pages"], "need at least two domains"),
        (["web pages", "web pages"], "one path is given twice"),
        (["web pages", "nowhere"], "nowhere was not found"),
    ],
)
def test_init_refuses_what_makes_no_sweep_and_writes_nothing(texts, monkeypatch, paths, said):
    monkeypatch.chdir(texts)
    assert said in bimix("init", *paths, code=1)
    assert not (texts / "sweep.yaml").exists()


def test_init_finds_the_field_of_the_text(texts, monkeypatch):
    monkeypatch.chdir(texts)
    lines = (texts / "código" / "part.jsonl").read_text().splitlines()
    (texts / "code.json").write_text("".join(f'{{"doc": {line}}}\n' for line in lines))
    bimix("init", "web pages", "code.json", "-o", "sweep.yaml")
    domains = SweepConfig.load("sweep.yaml").domains
    assert [domains[name].field for name in ("web-pages", "code")] == ["text", "doc.text"]
    assert len([*domains["code"].as_source().texts()]) == 400


def test_init_overwrites_nothing(texts, monkeypatch):
    monkeypatch.chdir(texts)
    (texts / "sweep.yaml").write_text("mine")
    assert "will not be overwritten" in bimix("init", "web pages", "código", code=1)
    assert (texts / "sweep.yaml").read_text() == "mine"


def test_prepare_makes_the_store_that_run_and_other_sweeps_use(texts, monkeypatch):
    monkeypatch.chdir(texts)
    raw = {
        "domains": {"web": {"path": "web pages"}, "code": {"path": "código"}},
        "proxy": {"steps": 20},
        "out": "runs/a",
    }
    (texts / "a.yaml").write_text(yaml.safe_dump(raw))
    said = json.loads(bimix("prepare", "a.yaml", "--json").partition("\n{")[2].join(["{", ""]))
    assert said["store"] == str(texts / "runs" / "a" / "store")
    assert said["domains"]["web"]["kept"] == 20 * 128 * 8
    told = []
    trainer = prepare_trainer(SweepConfig.load("a.yaml"), str(texts / "runs" / "a"), told.append)
    assert told == []  # no text was read
    assert trainer.facts.data["store"] == said["digest"]
    assert trainer.facts.domain_tokens["web"] == said["domains"]["web"]["tokens"]
    for name, steps in (("b", 20), ("c", 10)):
        shared = raw | {"data": {"store": "shared"}, "proxy": {"steps": steps}, "out": name}
        (texts / f"{name}.yaml").write_text(yaml.safe_dump(shared))
    assert "the store is at" in bimix("prepare", "b.yaml")
    told.clear()
    prepare_trainer(SweepConfig.load("c.yaml"), str(texts / "c"), told.append)
    assert told == [f"the tokens are those of the store at {texts / 'shared'}"]
    stores = [TokenStore.open(texts / name) for name in ("shared", "b/store", "c/store")]
    assert {store.digest for store in stores} == {said["digest"]}


def test_doctor_finds_nothing_in_the_way_and_names_what_is(texts, monkeypatch):
    monkeypatch.chdir(texts)
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    bimix("init", "web pages", "código")
    well = json.loads(bimix("doctor", "sweep.yaml", "--json"))
    states = {finding["what"]: finding["state"] for finding in well["findings"]}
    assert well["problems"] == 0
    assert (
        states["python"]
        == states["packages"]
        == states["configuration"]
        == states["domain web-pages"]
        == "ok"
    )

    raw = yaml.safe_load((texts / "sweep.yaml").read_text())
    raw["domains"]["c-digo"]["path"] = "gone"
    raw["out"] = "/proc/no/sweep"
    raw["resources"] = {"gpu": 1, "cpu": 100_0}
    (texts / "ill.yaml").write_text(yaml.safe_dump(raw, allow_unicode=True))
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(texts / "no-token"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    ill = json.loads(
        bimix("doctor", "ill.yaml", "--address", "http://127.0.0.1:1", "--json", code=1)
    )
    problems = {
        finding["what"]: finding["message"]
        for finding in ill["findings"]
        if finding["state"] == "problem"
    }
    assert set(problems) == {"token", "out", "domain c-digo", "cluster"}
    assert "gone was not found" in problems["domain c-digo"]
    alone = json.loads(bimix("doctor", "ill.yaml", "--json", code=1))
    assert {"cores", "gpu"} <= {
        finding["what"] for finding in alone["findings"] if finding["state"] == "problem"
    }
    assert "problem  configuration  nothing.yaml cannot be read" in bimix(
        "doctor", "nothing.yaml", code=1
    )


def test_doctor_tells_what_a_tracker_needs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (tmp_path / "sweep.yaml").write_text(
        "domains: {a: {}, b: {}}\ntrainer: {command: ['true', '{job}']}\n"
        "tracking: {wandb: {project: mixtures}}\n"
    )
    findings = json.loads(bimix("doctor", "sweep.yaml", "--json", code=1))["findings"]
    [found] = [finding for finding in findings if finding["what"] == "tracking"]
    assert found["state"] == "problem"
    assert found["message"].startswith(
        "tracking.wandb: the package wandb is not installed here; install it with: pip install "
        "'bimix-sweep[tracking]'"
    )


def test_doctor_warns_of_targets_in_different_units_until_references_are_stated():
    def found(**reference):
        raw = {
            "domains": {"web": {}, "code": {}},
            "targets": {
                "exam": dict.fromkeys(reference, 2.5),
                "arc": {"goal": "max", "range": [0, 1], **dict.fromkeys(reference, 0.51)},
            },
            "trainer": {"command": ["true", "{job}"]},
        }
        return [(one.state, one.message) for one in check_targets(SweepConfig.parse(raw))]

    [shares, units] = found()
    assert shares == ("ok", "number of targets: 2, each of the same weight")
    assert units[0] == "warning"
    assert units[1].startswith(
        "the targets have different units (exam is in nats_per_token, arc is a metric with a range)"
    )
    assert found(reference=True) == [
        (
            "ok",
            "weights of the targets: exam 0.167, arc 0.833; each is divided by the loss of the "
            "target's reference",
        )
    ]


def test_doctor_and_plan_tell_the_weights_that_groups_of_targets_give(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    targets = {"exam": {}, "python": {"group": "code"}, "rust": {"group": "code"}}
    targets["law"] = {"group": "cdoe"}
    raw = {
        "domains": {"web": {}, "code": {}},
        "targets": targets,
        "trainer": {"command": ["true", "{job}"], "folder": str(tmp_path)},
    }
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(raw))
    words = "weights of the targets: exam 0.333, law 0.333, python 0.167, rust 0.167"
    findings = json.loads(bimix("doctor", "sweep.yaml", "--json"))["findings"]
    said = {f["message"]: f["state"] for f in findings if f["what"] == "targets"}
    lone = "group 'cdoe' has one target, so it changes nothing; if a name is misspelt, correct it"
    assert said == {words: "ok", lone: "warning"}
    assert words in bimix("plan", "sweep.yaml", "--seconds", 0)
    planned = json.loads(bimix("plan", "sweep.yaml", "--seconds", 0, "--json"))
    assert planned["weights"]["python"] == pytest.approx(1 / 6)
    del raw["targets"]
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(raw))
    assert "number of targets: 2, each of the same weight" in bimix(
        "plan", "sweep.yaml", "--seconds", 0
    )


def _one_document(folder):
    lines = (folder / "código" / "part.jsonl").read_text().splitlines()
    whole = " ".join(json.loads(line)["text"] for line in lines)
    (folder / "código" / "part.jsonl").write_text(json.dumps({"text": whole}) + "\n")


def _tokens(folder):
    (folder / "código" / "part.jsonl").unlink()
    np.save(folder / "código" / "part.npy", np.arange(30_000, dtype=np.uint16) % 500)


def _copies(folder):
    """11 documents, 3 of them once more with white space around them."""
    lines = (folder / "código" / "part.jsonl").read_text().splitlines()[:11]
    texts = [json.loads(line)["text"] for line in lines]
    texts += [f"  {text}\n" for text in texts[:3]]
    written = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    (folder / "código" / "part.jsonl").write_text(written)


def _short_exam(folder):
    """Fewer tokens than one sequence, by its size as by the tokenizer."""
    (folder / "exam.txt").write_text("a " * 1500)


@pytest.mark.parametrize(
    ("changes", "spoil", "said"),
    [
        ({}, _copies, "domain c-digo has 11 different documents; need at least 12"),
        (
            # 102,400 tokens a proxy of 1e12 are 1.024e-7 of the run, and so 31 of 3e8 tokens
            {"tokens": 3e8, "final": {"tokens": 1e12, "max_epochs": 1e6}},
            None,
            "domain c-digo keeps 31 tokens for a proxy to repeat as often as the final run would; "
            "need more than the context 128",
        ),
        ({}, _one_document, "domain c-digo has 1 different documents; need at least 12"),
        ({}, _tokens, "c-digo holds tokens and web-pages holds text; need one tokenizer for all"),
        (
            {"proxy": {"steps": 20, "batch": 1, "context": 8193}},
            None,
            "proxy.context is 8193 and data.validation_tokens is 8192; need a context of at most",
        ),
    ],
)
def test_what_run_refuses_doctor_and_plan_refuse_with_the_same_sentence(
    texts, monkeypatch, changes, spoil, said
):
    monkeypatch.chdir(texts)
    raw = {
        "domains": {"web-pages": {"path": "web pages"}, "c-digo": {"path": "código"}},
        "proxy": {"steps": 100},
    } | {key: value for key, value in changes.items() if key != "tokens"}
    if "tokens" in changes:
        raw["domains"]["c-digo"]["tokens"] = changes["tokens"]
        raw["domains"]["web-pages"]["tokens"] = 1e12
    (texts / "sweep.yaml").write_text(yaml.safe_dump(raw, allow_unicode=True))
    if spoil is not None:
        spoil(texts)
    with pytest.raises(DataError) as refused:
        prepare_trainer(SweepConfig.load("sweep.yaml"), str(texts / "sweep"), lambda line: None)
    sentence = str(refused.value)
    assert said in sentence
    assert not (texts / "sweep").exists()
    findings = json.loads(bimix("doctor", "sweep.yaml", "--json", code=1))["findings"]
    assert sentence in [f["message"] for f in findings if f["state"] == "problem"]
    planned = bimix("plan", "sweep.yaml", "--hours", 1, "--seconds", 0, code=1)
    assert sentence in " ".join(planned.split())
    if spoil is None:  # of the configuration alone: nothing of the text need be seen
        proposed = bimix("propose", "sweep.yaml", "--count", 1, "-o", "m.csv", code=1)
        assert sentence in " ".join(proposed.split())


def test_a_target_shorter_than_one_sequence_is_refused_by_run_and_by_estimate_before(
    texts, monkeypatch
):
    monkeypatch.chdir(texts)
    _short_exam(texts)
    raw = {
        "domains": {"web-pages": {"path": "web pages"}, "c-digo": {"path": "código"}},
        "proxy": {"context": 2048, "batch": 1, "vocabulary": 300},
        "targets": {"exam": {"path": "exam.txt"}},
    }
    (texts / "sweep.yaml").write_text(yaml.safe_dump(raw, allow_unicode=True))
    refusal = r"target exam has \d+ tokens; need at least 2049, one sequence of the context 2048"
    with pytest.raises(DataError, match=refusal):
        prepare_trainer(SweepConfig.load("sweep.yaml"), str(texts / "sweep"), lambda line: None)
    findings = json.loads(bimix("doctor", "sweep.yaml", "--json", code=1))["findings"]
    assert any(re.search(refusal, f["message"]) for f in findings if f["state"] == "problem")
    planned = bimix("plan", "sweep.yaml", "--hours", 1, "--seconds", 0, code=1)
    assert re.search(refusal, " ".join(planned.split()))


def test_plan_counts_domains_whose_tokens_nobody_stated_by_their_bytes(tmp_path):
    for name, size in (("web", 3_500_000), ("rare", 35_000)):
        lines = [json.dumps({"text": f"{n} " + "x" * 300}) for n in range(size // 320)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    content = {
        "domains": {name: {"path": str(tmp_path / f"{name}.jsonl")} for name in ("web", "rare")},
        "proxy": {"steps": 10, "context": 16, "batch": 4},
    }
    made = make_plan(SweepConfig.parse(content), hours=1, seconds=0)
    assert made.moved is None
    (said,) = made.realised  # 40 sequences of 1 to 100
    assert "of rare, and a trial of 40 sequences realises 0;" in said
    # 10,000 tokens four times are 0.1 of this run
    content["final"] = {"tokens": 4e5, "match_epochs": False}
    assert "rare" in make_plan(SweepConfig.parse(content), hours=1, seconds=0).moved


def test_doctor_counts_a_function_that_run_would_refuse_as_in_the_way(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "good.py").write_text("def train(mixture, report, context): ...\n")
    (tmp_path / "bad.py").write_text(
        "import nowhere_at_all\n\n\ndef train(mixture, report, context): ...\n"
    )
    for name, problems in (("good", 0), ("bad", 1), ("absent", 1)):
        (tmp_path / "sweep.yaml").write_text(
            yaml.safe_dump({"domains": {"web": {}, "code": {}}, "trainer": f"{name}:train"})
        )
        said = json.loads(bimix("doctor", "sweep.yaml", "--json", code=problems))
        found = next(finding for finding in said["findings"] if finding["what"] == "trainer")
        assert (said["problems"], found["state"]) == (problems, "problem" if problems else "ok")
    assert "absent:train: its module cannot be imported" in found["message"]


def test_plan_names_text_that_is_not_there(texts, monkeypatch):
    monkeypatch.chdir(texts)
    bimix("init", "web pages", "código")
    raw = yaml.safe_load((texts / "sweep.yaml").read_text())
    raw["domains"]["c-digo"]["path"] = "gone"
    (texts / "sweep.yaml").write_text(yaml.safe_dump(raw, allow_unicode=True))
    said = bimix("plan", "sweep.yaml", "--hours", 1, "--seconds", 0, code=1)
    assert said.startswith("error: domain c-digo: ")
    assert "gone was not found; need a file, a folder, a glob or a URI" in said
    assert said.count("\n") == 1


def test_a_sweep_of_a_blend_a_list_and_a_held_out_file_is_planned_and_prepared(texts, monkeypatch):
    monkeypatch.chdir(texts)
    lines = (texts / "código" / "part.jsonl").read_text().splitlines()
    with gzip.open("a.json.gz", "wt") as stream:
        stream.writelines(line.replace('"text"', '"content"') + "\n" for line in lines[:150])
    with bz2.open("b.jsonl.bz2", "wt") as stream:
        stream.writelines(f'{{"doc": {line}}}\n' for line in lines[150:300])
    (texts / "exam.csv").write_text("id;body\n" + "".join(
        f"{n};{json.loads(line)['text']}\n" for n, line in enumerate(lines[300:])
    ))  # fmt: skip
    (texts / "web.txt").write_text("web pages/*.jsonl\n")
    (texts / "sweep.yaml").write_text(
        "domains:\n"
        "  web: {path: '@web.txt'}\n"
        "  mix:\n"
        "    sources:\n"
        "      - {path: a.json.gz, proportion: 0.7, field: content}\n"
        "      - {path: [b.jsonl.bz2], proportion: 0.3, field: doc.text}\n"
        "targets: {exam: {path: exam.csv, field: body}, web: {domain: web}}\n"
        "proxy: {steps: 40}\n"
    )
    config = SweepConfig.load("sweep.yaml")
    found = {finding.what: finding.state for finding in check_texts(config)}
    assert found == dict.fromkeys(("domain web", "domain mix", "target exam"), "ok")
    bimix("plan", "sweep.yaml", "--hours", 1, "--seconds", 0)
    trainer = prepare_trainer(config, str(texts / "sweep"), lambda line: None)
    assert set(trainer.facts.domain_tokens) == {"web", "mix"}
    store = TokenStore.open(texts / "sweep" / "store")
    assert store.validation_rows("exam", 128).shape == (64, 129)
    record = store.manifest["notes"]["domains"]["mix"]
    assert [one["documents"] for one in record["sources"]] == [150, 150]

    text = (texts / "sweep.yaml").read_text()
    for old, new, message in (
        ("field: content", "field: text", "has no field 'text'; it has content; probably meant is"),
        ("'@web.txt'", "'{web pages,gone}/*.jsonl'", "gone/*.jsonl was not found"),
        ("path: exam.csv", "path: exam.dat", "exam.dat was not found; need a file"),
    ):
        (texts / "sweep.yaml").write_text(text.replace(old, new))
        said = bimix("plan", "sweep.yaml", "--hours", 1, "--seconds", 0, code=1)
        assert message in said
        assert said.count("\n") == 1


def test_plan_says_on_how_many_simulated_sweeps_its_figures_rest(texts, monkeypatch):
    monkeypatch.chdir(texts)
    bimix("init", "web pages", "código")
    raw = yaml.safe_load((texts / "sweep.yaml").read_text()) | {"budget": {"trials": 9}}
    (texts / "sweep.yaml").write_text(yaml.safe_dump(raw, allow_unicode=True))
    assert "no simulated sweep reached a result in 0.001 s; give more --seconds" in bimix(
        "plan", "sweep.yaml", "--hours", 1, "--seconds", 0.001
    )
    said = bimix("plan", "sweep.yaml", "--hours", 1, "--seconds", 2)
    assert re.search(
        r"these numbers come from \d simulated sweeps? only, so they say little; "
        "give more --seconds",
        said,
    )
    assert ("worst %" in said) == ("come from 1 simulated sweep only" not in said)
    figures = re.findall(
        r"\d\.\d+", said.partition("simulated sweep")[2].partition("numbers come from")[0]
    )
    assert figures
    assert all(len(figure.replace(".", "").lstrip("0")) <= 2 for figure in figures)


def test_plan_says_how_far_the_final_run_lies_beyond_the_trials(texts, monkeypatch):
    monkeypatch.chdir(texts)
    bimix("init", "web pages", "código")
    raw = yaml.safe_load((texts / "sweep.yaml").read_text())
    raw |= {
        "proxy": {"sizes": [2e5], "steps": 800, "context": 128, "batch": 8},
        "final": {"tokens": 8.192e9, "size": 7e9, "max_epochs": 1e6, "match_epochs": False},
    }
    (texts / "sweep.yaml").write_text(yaml.safe_dump(raw, allow_unicode=True))
    said = " ".join(bimix("plan", "sweep.yaml", "--hours", 1, "--seconds", 0).split())
    assert "All trials had one size, 2e5 parameters: " in said
    assert "holds at 7e9 parameters (35,000 times as many) is assumed" in said
    assert "holds at 8.19e9 tokens (10,000 times as many) is assumed" in said


def test_init_prints_json_when_asked(texts, monkeypatch):
    monkeypatch.chdir(texts)
    said = json.loads(bimix("init", "web pages", "código", "--json"))
    assert said["config"] == "sweep.yaml"
    assert said["domains"]["web-pages"]["tokens"] > 10_000


def test_plan_multiplies_what_a_trial_takes(texts, monkeypatch):
    monkeypatch.chdir(texts)
    bimix("init", "web pages", "código")
    raw = yaml.safe_load((texts / "sweep.yaml").read_text())
    raw |= {"budget": {"trials": 20, "core_hours": 7}, "resources": {"cpu": 2, "slots": 4}}
    (texts / "sweep.yaml").write_text(yaml.safe_dump(raw, allow_unicode=True))
    plan = json.loads(bimix("plan", "sweep.yaml", "--hours", 0.5, "--seconds", 0, "--json"))
    assert (plan["trials"], plan["confirmation_trials"], plan["slots"]) == (20, 8, 4)
    assert (plan["core_hours"], plan["gpu_hours"], plan["wall_hours"]) == (
        28 * 0.5 * 2,
        0,
        (5 + 2) * 0.5,
    )
    assert plan["limits"] == ["budget.core_hours is 7, which pays for about 7 of 28 trials"]
    assert not plan["measured"]
    assert (
        plan["earliest_stop"] == 2 + 3 + 3 - 1
    )  # the first training that settles at the earliest, and two more that agree
    timed = json.loads(bimix("plan", "sweep.yaml", "--seconds", 0, "--json"))
    assert timed["measured"]
    assert 0 < timed["trial_hours"] < 1
    assert "need the wall time of one trial" in bimix("plan", "sweep.yaml", "--hours", 0, code=1)


@pytest.mark.parametrize(
    "proxy", [{"steps": [16, 10**9]}, {"steps": [16, 64], "sizes": [1e3, 1e15]}]
)
def test_plan_simulates_absurdly_different_scales_too(tmp_path, proxy):
    content = {
        "domains": {"web": {}, "code": {}},
        "trainer": {"command": ["true", "{job}"]},
        "proxy": proxy,
        "budget": {"trials": 12},
    }
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(content))
    plan = json.loads(
        bimix("plan", tmp_path / "sweep.yaml", "--seconds", 2, "--hours", 1, "--slots", 4, "--json")
    )
    assert plan["regret"][-1]["trials"] == 12
    assert np.isfinite(plan["regret"][-1]["mean"])


def test_too_few_trainings_for_one_at_the_scale_asked_about_are_said_with_how_many_it_takes(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for trials, said in ((5, True), (6, False)):
        content = {
            "domains": {name: {} for name in ("web", "code", "math")},
            "trainer": {"command": ["true", "{job}"]},
            "proxy": {"steps": [16, 64]},
            "budget": {"trials": trials},
            "out": str(tmp_path / f"sweep-{trials}"),
        }
        (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(content))
        wanted = (
            f"budget.trials is {trials}, so all trials but the confirmation trials are of the "
            "smallest size and the fewest steps"
        )
        for words in (
            ("plan", "sweep.yaml", "--seconds", 0),
            ("doctor", "sweep.yaml"),
            ("propose", "sweep.yaml", "--count", 1, "-o", "m.csv"),
        ):
            answer = bimix(*words)
            assert (wanted in answer) == said
            assert ("need at least 6 for one there, 8 for the 3 that show" in answer) == said
        if said:
            assert json.loads(bimix("plan", "sweep.yaml", "--seconds", 0, "--json"))[
                "warning"
            ].startswith(wanted)


@pytest.mark.parametrize(
    ("slots", "rounds"), [(1, 9.5 + 8), (4, 1 + 8.5 / 4 + 2), (64, 1 + 8.5 / 12 + 1)]
)
def test_the_longest_a_sweep_of_several_scales_can_take_has_a_dear_training_after_the_others(
    tmp_path, slots, rounds
):
    content = {
        "domains": {name: {} for name in ("web", "code", "math")},
        "trainer": {"command": ["true", "{job}"]},
        "proxy": {"steps": [200, 400]},
        "budget": {"trials": 12},
    }
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(content))
    words = (
        "plan",
        tmp_path / "sweep.yaml",
        "--seconds",
        0,
        "--hours",
        0.5,
        "--slots",
        slots,
        "--json",
    )
    assert json.loads(bimix(*words))["wall_hours"] == pytest.approx(0.5 * rounds)


@pytest.fixture
def spec():
    names = ("web", "code", "math")
    domains = DomainSet(
        names=names, tokens=(float("inf"),) * 3, lower=(0.0, 0.1, 0.0), upper=(1.0, 1.0, 0.3)
    )
    return SweepSpec(
        domains=domains,
        targets=names,
        weights=dict.fromkeys(names, 1.0),
        own={name: name for name in names},
        steps=400,
        size=1e5,
        max_trials=12,
        slots=2,
    )


def test_a_drawn_world_has_its_optimum_inside_the_bounds_and_nothing_below_it(spec):
    for number in range(3):
        world = World.draw(spec, 0.003, rng(number, "world"))
        best = world.best(spec, rng(number, "best"))
        values = world.objective(random_mixtures(spec.domains, rng(number, "others"), 5000))
        assert best <= values.min() * (1 + 1e-6)
        assert best > values.min() * 0.99
        more_web = world.losses(np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]]))
        assert more_web[0, 0] < more_web[1, 0]  # more of its own domain, less loss


def test_simulated_sweeps_learn(spec):
    looks = simulate(spec, noise=0.003, seconds=8)
    assert [look.trials for look in looks] == [8, 12]
    assert all(0 <= look.mean <= look.worst < 0.05 for look in looks)
    assert looks[0].num_sweeps == looks[1].num_sweeps >= 1
    assert all(look.stated > 0 for look in looks)


def test_plan_and_doctor_say_what_todays_mixture_means_for_the_sweep(texts, monkeypatch):
    monkeypatch.chdir(texts)
    bimix("init", "web pages", "código")
    raw = yaml.safe_load((texts / "sweep.yaml").read_text())
    raw["domains"]["c-digo"]["max"] = 0.3
    raw |= {"today": {"c-digo": 9e8, "web-pages": 1e8}, "budget": {"trials": 20}}
    (texts / "sweep.yaml").write_text(yaml.safe_dump(raw, allow_unicode=True))
    plan = json.loads(bimix("plan", "sweep.yaml", "--hours", 0.5, "--seconds", 0, "--json"))
    assert plan["confirmation_trials"] == 10
    assert plan["core_hours"] == 30 * 0.5
    counted, outside = plan["stated"]
    assert counted.startswith("today sums to 1e+09, so its numbers count as numbers of tokens")
    assert outside.startswith("today's mixture breaks the bounds of c-digo (0 to 0.3)")
    said = " ".join(bimix("plan", "sweep.yaml", "--hours", 0.5, "--seconds", 0).split())
    assert "20 trials and 10 confirmation trials" in said
    assert f"note: {outside}" in said
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    findings = json.loads(bimix("doctor", "sweep.yaml", "--json"))["findings"]
    warned = [f["message"] for f in findings if f["state"] == "warning"]
    assert {counted, outside} <= {*warned}
    assert any("stated over today's mixture" in f["message"] for f in findings)
