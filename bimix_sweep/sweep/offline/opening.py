"""Opens a sweep whose trials are trained elsewhere: its trainer, its configuration, its LawActor."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bimix_sweep.config import SweepConfig
from bimix_sweep.design.problem import SweepSpec
from bimix_sweep.errors import SweepError
from bimix_sweep.sweep.config_change import VersionChange
from bimix_sweep.sweep.config_staging import check_change, settle, stage, take_up
from bimix_sweep.sweep.coordinator.actor import LawActor
from bimix_sweep.sweep.history.events import ELSEWHERE, ChangeEvent
from bimix_sweep.sweep.history.rebuilding import replay
from bimix_sweep.sweep.history.spec import first_event, sweep_spec
from bimix_sweep.sweep.workspace.paths import begun, held, sweep_folder

WAIT_SECONDS = 600.0
"""Seconds that a call waits for other processes in the same folder: the tasks of a job array end at
about the same time, and each task needs the sweep for seconds.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """Trainer description that `sweep_spec` needs, for trials that are trained elsewhere."""

    steps: int
    sizes: tuple[float, ...]
    data: Mapping[str, Any] = field(default_factory=lambda: dict(ELSEWHERE))
    domain_tokens: Mapping[str, float] = field(default_factory=dict)

    @property
    def eval_steps(self) -> tuple[int, ...]:
        """Last step alone, where mixtures are compared; recorded tables may have other steps."""
        return (self.steps,)


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
        trainer = _elsewhere(change.config)
        spec = replace(_spec(change.config, trainer), slots=history.spec.slots)
        event = change.event(first_event(change.config, trainer.data, spec, spec.slots))
        if event is not None:
            check_change(history, change, spec, trainer.data)
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
    trainer = _elsewhere(config)
    spec = _spec(config, trainer)
    first = first_event(config, trainer.data, spec, spec.slots)
    actor = LawActor(folder, first, lock_seconds=0, change=change)
    actor.ready()
    try:
        yield actor
    finally:
        actor.close()


def _elsewhere(config: SweepConfig) -> Elsewhere:
    return Elsewhere(steps=config.proxy.lengths[-1], sizes=config.proxy.sizes)


def _spec(config: SweepConfig, trainer: Elsewhere) -> SweepSpec:
    """Returns the specification; the configuration alone describes trials trained elsewhere."""
    return replace(sweep_spec(config, trainer), min_step=0, as_configured=True)
