"""The demo: an ordinary sweep of text found on this machine, small enough for minutes on two cores."""

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
"""The smallest recipe under which the law still predicts unseen mixtures to .2-.9 %."""
TRIALS = 16
"""Budget of trainings; the stopping rule may end the sweep before."""
STOP = {"tolerance": 0.005, "patience": 7}
"""Two seeds of one mixture differ by about .3 % at this size, so a finer answer would take more than minutes; a patience of 7
after the 6 first mixtures gives at least 12 trainings, enough for a page with something to see."""
BYTES_PER_TOKEN = 3.3
"""Of such text with 2048 tokens; the demo's natural mixture needs no better."""


def demo_config(folder: Path, *, slots: int | None = None, seed: int = 0) -> SweepConfig:
    """The demo's configuration; writes its three domains as `folder/text/<domain>.jsonl` first.

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
    """Run the demo's sweep to its end.

    Raises:
        SweepError: the folder is not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SweepError(
            f"{folder} is not empty; need a new folder (--out), or go on with: bimix-sweep resume {folder}"
        )
    return run_sweep(demo_config(folder, slots=slots, seed=seed))
