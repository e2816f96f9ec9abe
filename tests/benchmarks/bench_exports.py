"""Claim: the newest release of each trainer takes the exported file and trains on the recipe's proportions of tokens.

Each trainer is installed in an environment of its own (`--venvs`, default in the cache folder), where the package index has it. Its own code
reads the file, mixes and draws from documents of unequal length, and the tokens of each domain are counted. A trainer that cannot be installed or
sampled is marked so; its form is held to the trainer's written rule in tests/export.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from bimix_sweep.export.registry import FORMS, export_recipe
from tests.benchmarks.recording import Claim, record
from tests.benchmarks.trainer_environments import ROOT, TRAINERS, Trainer, interpreter, run
from tests.benchmarks.trainer_recipes import CASES, LENGTHS, SAMPLES, Case

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "bimix-sweep" / "trainers"
"""Default folder of the trainers' environments."""


def prove(trainer: Trainer, venvs: Path, folder: Path) -> dict[str, Any]:
    """What one trainer does with its forms: {"versions", "errors": {form: {case: error}}, "refused"}."""
    python, problem = interpreter(trainer, venvs)
    if problem:
        return {"not installed": problem}
    cases = [{**case.to_job(folder / f"case-{CASES.index(case)}"), "files": []} for case in CASES]
    job = {"proof": trainer.proof, "packages": trainer.proved, "samples": SAMPLES, "cases": cases}
    places, problem = run(python, "prepare", job, folder)
    if problem:
        return {"not sampled": problem}
    refused: dict[str, str] = {}
    for case, entry in zip(CASES, cases, strict=True):
        paths = places["found"][case.name]
        entry["held"] = {paths[one["name"]]: one["tokens"] for one in entry["domains"]}
        entry["files"] = _export(
            trainer, case, paths, folder / f"case-{CASES.index(case)}", refused
        )
    drawn, problem = run(python, "draw", job, folder)
    if problem:
        return {"not sampled": problem}
    errors: dict[str, dict[str, float]] = {}
    for case, entry in zip(CASES, cases, strict=True):
        for file in entry["files"]:
            name, counts = Path(file).name, drawn["found"][file]
            if isinstance(counts, str):
                refused[f"{name}, {case.name}"] = counts
            else:
                errors.setdefault(name, {})[case.name] = case.largest_error(counts)
    return {"versions": drawn["versions"], "errors": errors, "refused": refused}


def _export(
    trainer: Trainer, case: Case, paths: dict[str, str], folder: Path, refused: dict[str, str]
) -> list[str]:
    """Write every form of the trainer; what the export itself refuses is a refusal, too."""
    (folder / "names.json").write_text(json.dumps(paths))
    domains = folder / "domains.yaml"
    entries = {
        name: {
            "path": path,
            "tokens_per_document": case.mean_length(name),
            "tokens": case.held(name),
        }
        for name, path in paths.items()
    }
    domains.write_text(yaml.safe_dump(entries))
    files = []
    for form in FORMS:
        if form.name not in trainer.forms:
            continue
        out = folder / form.file_name
        export_recipe(case.recipe(), form.name, out, domains)
        files.append(str(out))
    return files


def main() -> None:
    started = time.perf_counter()
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--venvs", type=Path, default=CACHE, help="folder of the environments")
    options.add_argument(
        "--only", default="", help="trainers to prove, with commas; others stay as recorded"
    )
    given = options.parse_args()
    chosen = [t for t in TRAINERS if not given.only or t.proof in given.only.split(",")]
    recorded = ROOT / "results" / "benchmarks" / "exports.json"
    found: dict[str, dict[str, Any]] = {}
    if given.only and recorded.exists():
        found = json.loads(recorded.read_text())["trainers"]
    for trainer in chosen:
        with tempfile.TemporaryDirectory() as folder:
            found[trainer.proof] = prove(trainer, given.venvs, Path(folder))
        print(trainer.proof, json.dumps(found[trainer.proof]), flush=True)
    _record(found, time.perf_counter() - started)


def _record(found: dict[str, dict[str, Any]], seconds: float) -> None:
    """Write the claims, the versions and what could not be sampled."""
    worst = {
        f"{proof} {form}": max(cases.values())
        for proof, one in found.items()
        for form, cases in one.get("errors", {}).items()
    }
    refused = [
        f"{p}: {w}: {e}" for p, one in found.items() for w, e in one.get("refused", {}).items()
    ]
    sampled = {name for t in TRAINERS for name in t.forms if found.get(t.proof, {}).get("errors")}
    by_rule = sorted({form.name for form in FORMS} - sampled - {"json"})
    versions = {k: v for one in found.values() for k, v in one.get("versions", {}).items()}
    missing = [
        f"{proof}: {what}: {one[what]}"
        for proof, one in found.items()
        for what in ("not installed", "not sampled")
        if what in one
    ]
    largest = max(worst.values(), default=1.0)
    claims = [
        Claim(
            claim=f"largest error of a domain's realised proportion of tokens, {len(worst)} forms of "
            f"{len(versions)} packages",
            goal="<= 0.01",
            value=largest,
            spread=worst,
            holds=largest <= 0.01,
        ),
        Claim(
            claim="files refused by the newest release",
            goal="0",
            value=len(refused),
            holds=not refused,
        ),
        Claim(
            claim="forms whose own trainer read and drew them",
            goal=">= 10",
            value=len(sampled),
            holds=len(sampled) >= 10,
        ),
    ]
    notes = [
        "Versions: "
        + ", ".join(f"{name} {number}" for name, number in sorted(versions.items()))
        + ".",
        f"Held to the trainer's written rule in tests/export only: {', '.join(by_rule)}.",
        *[f"Not sampled: {one}." for one in missing],
    ]
    record(
        "exports",
        claims,
        seconds=seconds,
        notes=notes,
        extra={"trainers": found, "refused": refused, "mean lengths": LENGTHS},
    )


if __name__ == "__main__":
    main()
