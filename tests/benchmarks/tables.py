"""Writes the tables of measured numbers in README.md and results/README.md from results/benchmarks/*.json: run it after a benchmark."""

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BEGIN, END = "<!-- measured: written by tests/benchmarks/tables.py -->", "<!-- end -->"
HIGHLIGHTS = (
    ("efficiency", "rank correlation on 256 unseen 1M mixtures, 32 random runs"),
    ("regret", "law-like: mean regret at 32 runs"),
    ("calibration", "realised regret within upper95"),
    ("faults", "acknowledged points lost"),
    ("thousands", "seconds a trial"),
)
"""(benchmark, beginning of a claim) shown in README.md; all others are in results/README.md."""


def results() -> dict[str, dict[str, Any]]:
    """{benchmark: its JSON}, by name."""
    return {
        path.stem: json.loads(path.read_text())
        for path in sorted((ROOT / "results" / "benchmarks").glob("*.json"))
    }


def row(name: str, claim: dict[str, Any]) -> str:
    """A line of the table; numbers are written with a leading zero."""
    holds = "yes" if claim["holds"] else "**no**"
    text = f"| `{name}` | {claim['claim']} | {claim['value']:.4g} | {claim['goal']} | {holds} |"
    return re.sub(r"(?<![\w.])\.(?=\d)", "0.", text)


def table(rows: list[str]) -> str:
    return "\n".join(
        [
            "| `make bench NAME=` | what | measured | goal | holds |",
            "| --- | --- | --- | --- | --- |",
            *rows,
        ]
    )


def readme_block(found: dict[str, dict[str, Any]]) -> str:
    """The highlights, between the markers."""
    rows = [
        row(name, claim)
        for name, start in HIGHLIGHTS
        for claim in found.get(name, {}).get("claims", ())
        if claim["claim"].startswith(start)
    ]
    return f"{BEGIN}\n{table(rows)}\n{END}"


def results_page(found: dict[str, dict[str, Any]]) -> str:
    """Every claim of every benchmark, and on what it was measured."""
    parts = [
        "# What was measured\n\nEach table row is a claim of a benchmark in `tests/benchmarks`; goals that were missed stay here.\n"
    ]
    for name, result in found.items():
        host = result["host"]
        notes = "".join(f"{note}\n\n" for note in result.get("notes", ()))
        parts.append(
            f"## {name}\n\n{table([row(name, claim) for claim in result['claims']])}\n\n{notes}"
            f"{result['seconds']:g} s on {host['cores']} cores ({host['cpu']}), commit {result['commit'][:12]}{' and uncommitted changes' if result['dirty'] else ''}.\n"
        )
    return "\n".join(parts)


def with_block(text: str, block: str) -> str:
    """README.md with the block between the markers replaced."""
    head, rest = text.split(BEGIN)
    return head + block + rest.split(END, 1)[1]


if __name__ == "__main__":
    found = results()
    readme = ROOT / "README.md"
    readme.write_text(with_block(readme.read_text(), readme_block(found)))
    (ROOT / "results" / "README.md").write_text(results_page(found))
