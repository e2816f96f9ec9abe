"""The demo: an ordinary sweep of text found on this machine, which takes minutes on two cores."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from bimix_sweep import files
from bimix_sweep.config import SweepConfig
from bimix_sweep.data.demo import demo_texts
from bimix_sweep.errors import SweepError
from bimix_sweep.sweep.api import run_sweep

if TYPE_CHECKING:
    from bimix_sweep.export.recipe import Recipe

PROXY = {"sizes": [1.0e5], "steps": 400}
"""Smallest recipe under which the law still predicts unseen mixtures well (docs/evidence.md)."""
TRIALS = 16
"""Budget of trials; the stopping rule may end the sweep before."""
STOP = {"tolerance": 0.005, "patience": 7}
"""Stopping rule of the demo: a finer tolerance than the noise of a loss would take more than
minutes, and a patience of 7 after the 6 initial mixtures gives at least 12 trials, enough for a
page with visible content (docs/evidence.md)."""
BYTES_PER_TOKEN = 3.3
"""Bytes per token of such text with a vocabulary of 2048 tokens; this accuracy is enough for the
demo's natural mixture."""


def demo_config(folder: Path, *, slots: int | None = None, seed: int = 0) -> SweepConfig:
    """Returns the demo's configuration; first writes its domains as `folder/text/<domain>.jsonl`.

    Args:
        folder: folder of the demo.
        slots: trials at a time; None for "auto".
        seed: seed of the sweep.

    Raises:
        DataError: this machine lacks the text (see `demo_texts`).
    """
    domains = {}
    for name, text in demo_texts().items():
        path = folder / "text" / f"{name}.jsonl"
        files.write_text(
            path,
            "".join(json.dumps({"text": document}) + "\n" for document in text.source.documents),
        )
        domains[name] = {
            "path": str(path.resolve()),
            "tokens": round(text.available_bytes / BYTES_PER_TOKEN, -4),
        }
    return SweepConfig.parse(
        {
            "name": "demo",
            "seed": seed,
            "domains": domains,
            "proxy": PROXY,
            "budget": {"trials": TRIALS},
            "stop": STOP,
            "resources": {"slots": slots or "auto"},
            "out": str(folder),
        },
        where="demo",
    )


def run_demo(folder: Path, *, slots: int | None = None, seed: int = 0) -> "Recipe":
    """Runs the demo's sweep to its end, and returns the recipe.

    Args:
        folder: folder of the demo, new or empty.
        slots: trials at a time; None for "auto".
        seed: seed of the sweep.

    Raises:
        SweepError: the folder is not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SweepError(
            f"{folder} is not empty; need a new folder (--out), or go on with: bimix-sweep resume "
            f"{folder}"
        )
    return run_sweep(demo_config(folder, slots=slots, seed=seed))
