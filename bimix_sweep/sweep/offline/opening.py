"""Opens a sweep whose trials are trained elsewhere: its trainer, its configuration, its LawActor."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace

from bimix_sweep.config import SweepConfig
from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.errors import SweepError
from bimix_sweep.sweep.config_change import VersionChange
from bimix_sweep.sweep.config_staging import check_change, settle, stage, take_up
from bimix_sweep.sweep.coordinator.actor import LawActor
from bimix_sweep.sweep.history.events import ELSEWHERE, ChangeEvent
from bimix_sweep.sweep.history.rebuilding import replay
from bimix_sweep.sweep.history.spec import first_event, sweep_spec
from bimix_sweep.sweep.history.trainer_facts import TrainerFacts
from bimix_sweep.sweep.workspace.paths import begun, held, sweep_folder

WAIT_SECONDS = 600.0
"""Seconds that a call waits for other processes in the same folder: the tasks of a job array end at
about the same time, and each task needs the sweep for seconds.
"""


@contextlib.contextmanager
def opened(
    folder: str, given: SweepConfig | None, versions: VersionChange, say: Callable[[str], None]
) -> Iterator[tuple[LawActor, SweepConfig]]:
    """Yields the actor and the configuration of a sweep that has begun; first applies a change.

    Args:
        folder: folder of the sweep.
        given: a changed configuration to go on with; None: the folder's.
        versions: how new versions of domains are handled.
        say: told when another process that uses the sweep is waited for.

    Raises:
        SweepError: no sweep has begun there, the sweep runs on Ray, another process uses it for too
            long, or the configuration has a change that is not allowed.
    """
    path = sweep_folder(folder)
    if not begun(path):
        raise SweepError(
            f"{folder} holds no sweep that has begun; begin one with: bimix-sweep propose CONFIG "
            "--count K -o MIXTURES.csv"
        )
    with held(path, say, wait_seconds=WAIT_SECONDS):
        history = replay(path)
        if not history.elsewhere:
            raise SweepError(
                f"{folder}: this sweep's trials run on Ray; go on with: bimix-sweep resume {folder}"
            )
        change = take_up(path, history, given, versions)
        facts = _facts(change.config)
        spec = replace(_spec(change.config, facts), slots=history.spec.slots)
        event = change.event(first_event(change.config, facts.data, spec, spec.slots))
        if event is not None:
            check_change(history, change, spec, facts.data)
            stage(path, change)
        with actor_of(path, change.config, event) as actor:
            if event is not None:
                settle(path, event)
            yield actor, change.config


@contextlib.contextmanager
def actor_of(
    folder: str, config: SweepConfig, change: ChangeEvent | None = None
) -> Iterator[LawActor]:
    """Yields the actor of a sweep, in this process; closes the actor at the end."""
    facts = _facts(config)
    spec = _spec(config, facts)
    first = first_event(config, facts.data, spec, spec.slots)
    actor = LawActor(folder, first, lock_seconds=0, change=change)
    actor.ready()
    try:
        yield actor
    finally:
        actor.close()


def _facts(config: SweepConfig) -> TrainerFacts:
    """Facts of trials that are trained elsewhere; they compare mixtures at the last step alone."""
    steps = config.proxy.lengths[-1]
    return TrainerFacts(
        steps=steps, eval_steps=(steps,), sizes=config.proxy.sizes, data=dict(ELSEWHERE)
    )


def _spec(config: SweepConfig, facts: TrainerFacts) -> SweepSpec:
    """Returns the specification; the configuration alone describes trials trained elsewhere."""
    return replace(sweep_spec(config, facts), min_step=0, as_configured=True)
