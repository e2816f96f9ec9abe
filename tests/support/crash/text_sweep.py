"""A small sweep of the built-in trainer over real text, driven in this process; the losses are
planted.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bimix_sweep import files, locations
from bimix_sweep.config import SweepConfig
from bimix_sweep.sweep.config_staging import check_change, settle, stage, stage_store, take_up
from bimix_sweep.sweep.coordinator.actor import LawActor
from bimix_sweep.sweep.history.history import SweepHistory
from bimix_sweep.sweep.history.rebuilding import replay
from bimix_sweep.sweep.history.spec import first_event, sweep_spec
from bimix_sweep.sweep.trainers.builtin import prepare_builtin
from bimix_sweep.sweep.trainers.texts import check_texts, restore_store
from bimix_sweep.sweep.workspace.paths import CONFIG
from tests.support.in_process import run

DOMAINS = ("web", "code", "books")
MORE = (*DOMAINS, "math")
WORDS = [
    "lorem",
    "ipsum",
    "dolor",
    "sit",
    "amet",
    "consectetur",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
]


def write_texts(folder: Path) -> None:
    """A file of text for each domain."""
    folder.mkdir()
    for number, name in enumerate(MORE):
        draw = np.random.default_rng(number)
        lines = [
            json.dumps({"text": " ".join(draw.choice(WORDS, 60)) + f" {name} {line}"}) + "\n"
            for line in range(60)
        ]
        (folder / f"{name}.jsonl").write_text("".join(lines))


def complete_sweep(folder: Path) -> tuple[Path, Path]:
    """A sweep that ran to its end, and the folder of its texts."""
    sweep, texts = folder / "sweep", folder / "texts"
    write_texts(texts)
    sweep.mkdir()
    _drive(start(str(sweep), configuration(texts, 3)))
    return sweep, texts


def configuration(texts: Path, trials: int, domains: tuple[str, ...] = DOMAINS) -> SweepConfig:
    return SweepConfig.parse(
        {
            "name": "text",
            "domains": {name: {"path": str(texts / f"{name}.jsonl")} for name in domains},
            "targets": {name: {"domain": name} for name in DOMAINS},
            "proxy": {"sizes": [2e4], "steps": 400, "context": 16, "batch": 1, "vocabulary": 300},
            "data": {"validation_tokens": 256},
            "budget": {"trials": trials},
            "stop": {"tolerance": 1e-7},
        }
    )


def start(
    folder: str, config: SweepConfig, told: Callable[[str], object] = lambda what: None
) -> LawActor:
    """What `run` does before the first trial.

    Args:
        told: called when the sweep has begun.
    """
    trainer = prepare_builtin(config, folder, lambda line: None)
    config = config.model_copy(update={"out": folder})
    files.write_text(locations.join(folder, CONFIG), config.to_yaml())
    spec = sweep_spec(config, trainer.facts)
    actor = LawActor(folder, first_event(config, trainer.facts.data, spec, 1), lock_seconds=0)
    actor.ready()
    told("begun")
    return actor


def change(
    folder: str, config: SweepConfig | None, told: Callable[[str], object] = lambda what: None
) -> SweepHistory:
    """What `resume` does before it continues the trials, with another configuration or without.

    Args:
        told: called when the change is acknowledged.
    """
    say = lambda line: None  # noqa: E731
    history = replay(folder)
    changed = take_up(folder, history, config)
    restore_store(folder, history, say)
    check_texts(folder, changed.config, changed.added, say)
    stage_store(folder, changed, say)
    trainer = prepare_builtin(changed.config, folder, say)
    spec = sweep_spec(changed.config, trainer.facts)
    if changed.what:
        check_change(history, changed, spec, trainer.facts.data)
        stage(folder, changed)
    first = first_event(changed.config, trainer.facts.data, spec, 1)
    event = changed.event(first)
    actor = LawActor(folder, first, lock_seconds=0, change=event)
    try:
        actor.ready()
        told("change")
        if event is not None:
            settle(folder, event)
    finally:
        actor.close()
    return replay(folder)


def resume(folder: str, most: int) -> tuple[int, SweepHistory]:
    """What `resume` does, with the trials that are left, at most so many.

    Returns:
        The number of trials that ran, and the history.
    """
    history = change(folder, None)
    config = SweepConfig.load(locations.join(folder, CONFIG))
    trainer = prepare_builtin(config, folder, lambda line: None)
    spec = sweep_spec(config, trainer.facts)
    first = first_event(config, history.first.data, spec, 1)
    actor = LawActor(folder, first, lock_seconds=0)
    actor.ready()
    ran = _drive(actor, most)
    return ran, replay(folder)


def _drive(actor: LawActor, most: int = 1000) -> int:
    try:
        return len(run(actor, most))
    finally:
        actor.close()
