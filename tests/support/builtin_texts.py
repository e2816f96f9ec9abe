"""Texts and configuration of small sweeps with the builtin trainer."""

import json

import numpy as np

from bimix_sweep.config import SweepConfig

WORDS = {
    "latin": ("lorem", "ipsum", "dolor", "sit", "amet", "consectetur"),
    "digits": ("one", "two", "three", "four", "five", "six"),
}


def write_texts(folder):
    """Writes two domains and a mixed held-out text, the same on every call."""
    for name, words in WORDS.items():
        generator = np.random.default_rng(len(name))
        lines = (
            json.dumps({"text": " ".join(generator.choice(words, 200)) + f" {number}"})
            for number in range(400)
        )
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "mixed.jsonl").write_text(
        "".join(
            json.dumps({"text": f"one lorem two ipsum {n} dolor three " * 9}) + "\n"
            for n in range(90)
        )
    )


def config(text, **changes):
    content = {
        "domains": {name: {"path": str(text / f"{name}.jsonl")} for name in WORDS},
        "targets": {
            "latin": {"domain": "latin"},
            "digits": {"domain": "digits"},
            "mixed": {"path": str(text / "mixed.jsonl"), "unit": "bits_per_byte", "weight": 0},
        },
        "proxy": {"sizes": [2e4], "steps": 16, "context": 16, "batch": 2, "vocabulary": 300},
    }
    return SweepConfig.parse(content | changes)
