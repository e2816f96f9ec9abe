import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from bimix_sweep.config import SweepConfig
from bimix_sweep.data.store_writing import Split, write_store
from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.errors import ExportError, SweepError
from bimix_sweep.export.recipe import Recipe
from bimix_sweep.export.registry import export_all, export_recipe
from bimix_sweep.journal.segments import LAST
from bimix_sweep.report.packing import unpack
from bimix_sweep.sweep.coordinator.actor import LawActor
from bimix_sweep.sweep.history.events import SweepEvent
from bimix_sweep.sweep.history.rebuilding import replay
from bimix_sweep.sweep.history.stored_spec import StoredSpec
from bimix_sweep.sweep.results import _write_domains, write_page, write_results
from bimix_sweep.sweep.stored_law import law_of_sweep

NAMES = ("web", "code", "books")
STEPS = (100, 200, 400)
LENGTHS = {"web": 30, "code": 50, "books": 90}
READ = {
    name: {"bytes_read": 5, "bytes": 50, "tokens_per_document": length}
    for name, length in LENGTHS.items()
}


def planted(proposal, step):
    noise = np.random.default_rng([proposal.seed % 2**31, step]).normal(size=3)
    shares = proposal.mixture.as_array(NAMES)
    values = (
        (shares + 0.03) ** -np.array([0.1, 0.16, 0.13])
        * (8 * step**-0.45 + 2)
        * np.exp(0.002 * noise)
    )
    return dict(zip(NAMES, values.tolist(), strict=True))


def swept(folder, trials=7, digest="", domains=None):
    """A sweep of `trials` planted trainings and its confirmation trials, or of one point where that is 0;
    returns its configuration.
    """
    config = SweepConfig.parse(
        {
            "domains": domains or {name: {"path": f"/text/{name}.jsonl"} for name in NAMES},
            "objective": "worst",
            "budget": {"trials": trials or 7},
            "proxy": {"steps": 400, "batch": 1},
        }
    )
    feasible = config.domain_set(dict(zip(NAMES, (1e9, 3e9, 2e9), strict=True)))
    spec = SweepSpec(
        domains=feasible,
        targets=NAMES,
        weights=config.weights(),
        own=config.own(),
        objective="worst",
        steps=400,
        size=1e5,
        eval_steps=STEPS,
        min_step=100,
        max_trials=trials or 7,
        tolerance=1e-7,
    )
    first = SweepEvent(
        name="s",
        config=config.public(),
        config_digest=config.digest,
        data={"store": digest},
        spec=StoredSpec.of(spec),
        versions={},
    )
    actor = LawActor(str(folder), first, lock_seconds=0)
    actor.ready()
    number = 0
    while (
        proposal := actor.propose(f"t{number:04d}")
        or actor.final([past.proposal.trial for past in actor.past()])
    ) is not None:
        actor.start(proposal.trial, "here")
        for step in STEPS:
            actor.record(proposal.trial, step, planted(proposal, step))
            if not trials:
                actor.close()
                return config
        actor.finish(proposal.trial)
        number += 1
    actor.close()
    return config


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    documents = {  # the last one is cut, as a cap cuts it
        name: Split(documents=[np.arange(length)] * 2 + [np.arange(4)])
        for name, length in LENGTHS.items()
    }
    store = write_store(
        folder / "store",
        train=documents,
        validation=documents,
        vocabulary=300,
        notes={"domains": READ, "held_out": [{"web": ["ab"]}]},
    )
    return folder, swept(folder, digest=store.digest)


def test_a_finished_sweep_exports_to_every_trainer_with_the_domains_file_beside_it(
    finished, tmp_path
):
    folder, config = finished
    write_results(folder, config)
    written, skipped = export_all(
        Recipe.read(folder / "RECIPE.json"), tmp_path, folder / "domains.yaml"
    )
    assert set(skipped) == {"axolotl.yaml"}  # its fractions need the tokens of each domain
    assert "/text/code.jsonl" in (tmp_path / "levanter.yaml").read_text()
    assert str(tmp_path / "megatron-lm.txt") in [one.path for one in written]
    assert yaml.safe_load((folder / "domains.yaml").read_text()) == {
        name: {"path": f"/text/{name}.jsonl", "tokens_per_document": length}
        for name, length in LENGTHS.items()
    }


def test_the_sources_of_a_fixed_blend_are_exported_with_weights_of_their_own(tmp_path):
    sources = [
        {"path": "/text/old.jsonl", "proportion": 0.8},
        {"path": ["/text/new", "/text/newer"], "proportion": 0.2},
    ]
    domains = {"web": {"path": "/a"}, "code": {"path": "/b"}, "books": {"sources": sources}}
    each = [{"tokens_per_document": 70}, {"tokens_per_document": 110}]
    documents = {name: Split(documents=[np.arange(9)] * 3) for name in NAMES}
    notes = {"domains": READ | {"books": READ["books"] | {"sources": each}}, "held_out": []}
    split = {"train": documents, "validation": documents}
    store = write_store(tmp_path / "s" / "store", **split, vocabulary=300, notes=notes)
    config = swept(tmp_path / "s", digest=store.digest, domains=domains)
    recipe = write_results(str(tmp_path / "s"), config)
    assert recipe.blends == {"books": {"books-1": 0.8, "books-2": 0.2}}
    given = yaml.safe_load((tmp_path / "s" / "domains.yaml").read_text())
    assert given["books-1"] == {"path": "/text/old.jsonl", "tokens_per_document": 70}
    assert given["books-2"] == {"path": ["/text/new", "/text/newer"], "tokens_per_document": 110}
    assert "books" not in given
    export_recipe(recipe, "json", tmp_path / "mix.json", tmp_path / "s" / "domains.yaml")
    written = json.loads((tmp_path / "mix.json").read_text())["domains"]
    books = recipe.proportions["books"]
    assert written["books-1"]["proportion"] == pytest.approx(0.8 * books, abs=1e-6)
    assert written["books-2"]["proportion"] == pytest.approx(0.2 * books, abs=1e-6)
    kept = law_of_sweep(str(tmp_path / "s"))
    best = kept.recipe(replace(kept.problem, objective="mean"), 0.005, {})
    assert best.blends == recipe.blends  # also of another problem than the sweep's


def test_the_recipe_says_what_was_read_of_the_text_and_what_trials_made_of_their_proportions(
    finished, tmp_path
):
    folder, config = finished
    provenance = write_results(folder, config).provenance
    assert provenance["text"] == {
        "domains": READ,
        "targets": {},
        "shared_documents": {},
    }
    with (folder / "runs.csv").open() as lines:
        runs = {row["trial"]: row for row in csv.DictReader(lines)}
    for trial, row in runs.items():
        for name in NAMES:
            asked = float(row[f"r_{name}"])
            told = provenance.get("realised", {}).get(trial, {}).get(name)
            near = [count for count in range(401) if abs(count - 400 * asked) < 1]
            if told is None:  # some whole number of 400 sequences is within 10 %
                assert asked == 0 or any(abs(count / 400 / asked - 1) <= 0.1 for count in near)
            else:
                assert told[0] == pytest.approx(asked)
                assert told[1] in [count / 400 for count in near]
                assert abs(told[1] / asked - 1) > 0.1


def test_without_paths_the_domains_file_leaves_them_out_and_says_what_to_fill_in(
    finished, tmp_path
):
    config = SweepConfig.parse({"domains": {name: {} for name in NAMES}, "trainer": "mine:train"})
    _write_domains(str(tmp_path), config, None)
    text = (tmp_path / "domains.yaml").read_text()
    assert yaml.safe_load(text) == {name: {} for name in NAMES}
    assert "fill in where your trainer's tokens lie" in text
    recipe = Recipe(proportions={"web": 0.5, "code": 0.5, "books": 0.0})
    export_recipe(recipe, "json", tmp_path / "mix.json", tmp_path / "domains.yaml")
    assert (tmp_path / "mix.json").exists()
    with pytest.raises(
        ExportError,
        match=r"gives domain web no path; need web: \{path: ...\}, where your trainer's tokens",
    ):
        export_recipe(recipe, "megatron-lm", tmp_path / "mix.txt", tmp_path / "domains.yaml")


def test_results_and_page_refuse_a_configuration_that_the_sweep_did_not_begin_with(finished):
    folder, config = finished
    for write in (write_results, write_page):
        with pytest.raises(SweepError, match=r"config\.yaml was changed since the sweep last ran"):
            write(folder, config.model_copy(update={"seed": 7}))


def test_the_page_of_a_worst_case_sweep_draws_the_objective_that_was_compared(finished):
    folder, config = finished
    write_results(folder, config)
    figure = re.search(
        r'id="confirmation-figure">(.*?)</script>', (folder / "report.html").read_text()
    )
    first, second, mean = (trace["x"] for trace in json.loads(unpack(figure.group(1)))["data"])
    assert (np.array(first) + second) / 2 == pytest.approx(mean, abs=1e-5)


@pytest.mark.parametrize("points", [0, 1])
def test_a_sweep_that_has_just_begun_has_a_page_without_a_law(tmp_path, points):
    config = swept(tmp_path, trials=0)
    if not points:
        (segment,) = (tmp_path / "journal").glob("*.jsonl")
        segment.write_bytes(b"".join(segment.read_bytes().splitlines(keepends=True)[:2]))
        (tmp_path / "journal" / LAST).unlink()
    assert Path(write_page(str(tmp_path), config)).stat().st_size > 1000


def test_a_sweep_whose_only_trial_failed_has_a_page(tmp_path):
    config = swept(tmp_path, trials=0)
    actor = LawActor(str(tmp_path), replay(tmp_path).first, lock_seconds=0)
    actor.ready()
    actor.abandon("t0000", "exploded")
    actor.close()
    assert "exploded" in Path(write_page(str(tmp_path), config)).read_text()
