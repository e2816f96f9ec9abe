"""What hangs on Ray Tune's loop: where a signal may stop it, who gets a free worker, which workers
are lost or killed, and what is kept of trials that ended."""

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ray
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.tune import Callback, Stopper
from ray.tune.execution import tune_controller
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler

from bimix_sweep.sweep.cluster.actor_client import ask, law_actor
from bimix_sweep.sweep.cluster.signals import Interrupt

OVERDUE_SECONDS = 3.0
"""Between questions which trials are overdue."""

TELLING = re.compile(r"[\w.]*(Error|Exception|Exit): \S|The actor is dead because")
"""How a line begins that says why a worker died; Ray's texts of many lines end with others."""


class SafePoint(Stopper):  # type: ignore[misc]
    """Asks the interrupt in every step; Tune catches no KeyboardInterrupt there."""

    def __init__(self, interrupt: Interrupt | None = None) -> None:
        self._interrupt = interrupt

    def stop_all(self) -> bool:
        """Asked by Tune in every step of its loop; never true."""
        if self._interrupt is not None:
            self._interrupt.check()
        return False

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def __reduce__(self) -> tuple[Any, ...]:
        return SafePoint, ()  # Tune pickles its arguments; handlers stay here


class NewestFirst(FIFOScheduler):  # type: ignore[misc]
    """A free worker goes to a training that was just added, not to one whose own worker is starting.

    Tune's own order gives it to the training that waits longest, and ends the worker that was starting for that one. Where trainings are
    short beside a start, most starts end so (Ray 2.60; 2000 instant trainings, 64 at a time on two cores: .183 s each so, .155 s in this order).
    """

    def __init__(self, lost: Callable[[str, str], None] | None = None) -> None:
        """Args:
        lost: told Tune's id of a training that it tries no more, and what of, just before its searcher is.
        """
        super().__init__()
        self._added: list[Trial] = []
        self._lost = lost

    def on_trial_add(self, controller: Any, trial: Trial) -> None:
        """Called by Tune when a training is new, and when it is to be tried again."""
        self._added.append(trial)

    def choose_trial_to_run(self, controller: Any) -> Trial | None:
        """Called by Tune in every step of its loop; for all other trainings it starts workers in the same step."""
        added, self._added = self._added, []
        return next((trial for trial in added if trial.status == Trial.PENDING), None)

    def on_trial_error(self, controller: Any, trial: Trial) -> None:
        """Called by Tune, which tells its searcher next, and that only that there was an error."""
        if self._lost is not None and trial.error_file:
            with contextlib.suppress(OSError):  # a full disk: it is told without
                self._lost(
                    trial.trial_id, telling_line(Path(trial.error_file).read_text(errors="replace"))
                )


class LostWorkers(RayActorManager):  # type: ignore[misc]
    """Starts and follows Tune's workers; any error of Ray that ends one is the loss of that worker.

    Tune (2.60) tries a trial again after a `RayActorError` alone and ends the whole experiment at
    any other error of Ray, as when Ray's memory monitor kills a worker (`OutOfMemoryError`).
    """

    def _actor_task_failed(self, tracked_actor_task: Any, exception: Exception) -> None:
        """Called by `RayActorManager` with what a worker's call raised."""
        if isinstance(exception, RayError) and not isinstance(
            exception, RayActorError | RayTaskError
        ):
            line = next(iter(str(exception).splitlines()), "")
            exception = RayActorError(error_msg=f"{type(exception).__name__}: {line}")
        super()._actor_task_failed(tracked_actor_task, exception)


class KillsOverdue(Callback):  # type: ignore[misc]
    """Kills the workers of trials that are silent for too long, or ended while their worker did not.

    A killed worker is a lost one, so Tune tries the trial again; where it has failed for good, the
    record says so to the next attempt. `ray.kill` ends a worker that is stuck in a call, too.
    """

    def __init__(self, actor: str = "") -> None:
        """Args:
        actor: name of the LawActor, which says what is overdue; with none nothing is killed.
        """
        self._actor = actor
        self._workers: dict[str, Any] = {}
        self._asked: Any = None
        self._next = 0.0

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called by Tune when a worker is there for a trial, a new or a used one."""
        self._workers[trial.config["trial"]] = trial.temporary_state.ray_actor

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called by Tune after the trial's last report."""
        self._workers.pop(trial.config["trial"], None)

    on_trial_error = on_trial_recover = on_trial_complete

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Called by Tune in every step of its loop."""
        if self._asked is None:
            if self._workers and self._actor and time.monotonic() > self._next:
                self._asked = law_actor(self._actor).overdue.remote(list(self._workers))
            return
        if not ray.wait([self._asked], timeout=0)[0]:
            return
        overdue, self._asked = ask(self._asked), None
        self._next = time.monotonic() + OVERDUE_SECONDS
        for name in overdue:
            if (worker := self._workers.pop(name, None)) is not None:
                ray.kill(worker)

    def __reduce__(self) -> tuple[Any, ...]:
        return KillsOverdue, ()  # Tune pickles its arguments; handles stay here


@contextlib.contextmanager
def lost_workers_tried_again() -> Iterator[None]:
    """Experiments that begin inside use `LostWorkers`; Tune has no parameter for it."""
    before = tune_controller.RayActorManager
    tune_controller.RayActorManager = LostWorkers
    try:
        yield
    finally:
        tune_controller.RayActorManager = before


def telling_line(text: str) -> str:
    """Of what Tune keeps of an error, the last line that names an exception or how a worker ended; else the last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next(
        (line for line in reversed(lines) if TELLING.match(line)), lines[-1] if lines else ""
    )


class Forgetting(Callback):  # type: ignore[misc]
    """Lets go of the running averages that Tune keeps of every metric of every ended training: 35 KB each at seven targets."""

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called by Tune after the training's last report."""
        trial.metric_analysis.clear()
        trial.metric_n_steps.clear()
