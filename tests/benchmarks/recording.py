"""Writes what a benchmark claims and what it measured into results/benchmarks, with where and on what it ran."""

import json
import os
import platform
import random
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"
PACKAGES = (
    "numpy",
    "scipy",
    "torch",
    "ray",
    "optuna",
    "pyarrow",
    "lightgbm",
    "scikit-learn",
    "cmaes",
)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One thing the benchmark says, the goal, and what was measured."""

    claim: str
    """In words, with the unit."""
    goal: str
    """What was asked for: `<= 1.15`."""
    value: float
    """Measured (mean or median as the claim says)."""
    spread: Sequence[float] | Mapping[str, float] | None = None
    """[min, max] or quantiles over repetitions."""
    holds: bool
    """Whether the value meets the goal."""


def shared(*parts: str) -> Path:
    """A file of the published runs; where it is absent the benchmark says how to get it and ends with 0."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        print(
            f"skipped: {'/'.join(parts)} is not beside the checkout (published runs: sail-sg/regmix data/, yegcjs/mixinglaws data/RedPajama)"
        )
        sys.exit(0)
    return path


def scatter_of_bounds(groups: Sequence[Sequence[Mapping[str, Any]]], times: int = 2000) -> float:
    """Standard error of mean "upper95" over mean "realised" of all rows, by drawing the rows of each group anew."""
    pick, found = random.Random(0), []
    for _ in range(times):
        rows = [row for group in groups for row in pick.choices(group, k=len(group))]
        found.append(sum(row["upper95"] for row in rows) / sum(row["realised"] for row in rows))
    return statistics.stdev(found)


def record(
    name: str,
    claims: Sequence[Claim],
    *,
    seconds: float,
    extra: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
) -> None:
    """Write results/benchmarks/<name>.json, print the claims, exit 1 where one does not hold.

    Args:
        notes: sentences that stand under the table of claims: what limits a number, and what was tried.
    """
    git = lambda *words: subprocess.run(  # noqa: E731
        ["git", *words],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    result = {
        "claims": [asdict(claim) for claim in claims],
        "notes": list(notes),
        "host": {"cpu": _cpu(), "cores": os.cpu_count(), "system": platform.platform()},
        "versions": versions,
        "commit": git("rev-parse", "HEAD"),
        "dirty": bool(
            git("status", "--porcelain", "--untracked-files=no", "--", "bimix_sweep", "tests")
        ),
        "seconds": round(seconds, 1),
        **(extra or {}),
    }
    path = ROOT / "results" / "benchmarks" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    beside.write_text(json.dumps(result, indent=1) + "\n")
    beside.replace(path)
    for claim in claims:
        print(
            f"{'holds ' if claim.holds else 'FAILS '} {claim.claim}: {claim.value:.5g} (goal {claim.goal})"
        )
    sys.exit(0 if all(claim.holds for claim in claims) else 1)


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )
