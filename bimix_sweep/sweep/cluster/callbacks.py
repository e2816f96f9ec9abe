"""Extensions of Ray Tune's loop.

They stop the loop after a signal, order the trials that wait for a worker, follow lost workers,
kill workers that are overdue, and free memory of trials that ended.
"""

import contextlib
import importlib
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ray
from ray.air._internal import usage
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.tune import Callback, Stopper
from ray.tune.execution import tune_controller
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler

from bimix_sweep.sweep.cluster.actor_client import ask, law_actor
from bimix_sweep.sweep.cluster.signals import Interrupt

OVERDUE_SECONDS = 3.0
"""Seconds between two queries of the actor for trials that are overdue."""

TELLING = re.compile(r"[\w.]*(Error|Exception|Exit): \S|The actor is dead because")
"""Pattern for the beginning of a line that says why a worker died; a message of Ray with many lines
may have other lines at its end."""


class InterruptStopper(Stopper):  # type: ignore[misc]
    """Checks for an interrupt in every step of Tune's loop.

    Tune catches no KeyboardInterrupt that is raised at this point.
    """

    def __init__(self, interrupt: Interrupt | None = None) -> None:
        self._interrupt = interrupt

    def stop_all(self) -> bool:
        """Raises KeyboardInterrupt after a signal, and otherwise returns False.

        Tune calls it in every step of its loop.
        """
        if self._interrupt is not None:
            self._interrupt.check()
        return False

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Returns False: no result of a trial stops that trial."""
        return False

    def __reduce__(self) -> tuple[Any, ...]:
        return (
            InterruptStopper,
            (),
        )  # Tune pickles its arguments; the interrupt stays in this process


class NewestFirstScheduler(FIFOScheduler):  # type: ignore[misc]
    """Gives a free worker to a trial just added, not to one whose own worker is starting.

    Tune's own order gives the worker to the trial that has waited longest, and ends the worker that
    was starting for this trial. Where trials are short compared with the start of a worker, most
    starts end in this way (docs/evidence.md).
    """

    def __init__(self, lost: Callable[[str, str], None] | None = None) -> None:
        """Creates the scheduler.

        Args:
            lost: called with Tune's id of a trial that Tune does not try again and the line that
                says why, just before Tune tells its searcher.
        """
        super().__init__()
        self._added: list[Trial] = []
        self._lost = lost

    def on_trial_add(self, controller: Any, trial: Trial) -> None:
        """Notes a trial; Tune calls it when a trial is new and when it is to be tried again."""
        self._added.append(trial)

    def choose_trial_to_run(self, controller: Any) -> Trial | None:
        """Returns the first pending trial of those just added, or None.

        Tune calls it in every step of its loop, and starts workers for all other trials in the same
        step.
        """
        added, self._added = self._added, []
        return next((trial for trial in added if trial.status == Trial.PENDING), None)

    def on_trial_error(self, controller: Any, trial: Trial) -> None:
        """Passes on why a trial failed.

        Tune calls it, and then tells its searcher only that there was an error.
        """
        if self._lost is not None and trial.error_file:
            with contextlib.suppress(OSError):  # full disk: the searcher gets no reason
                self._lost(
                    trial.trial_id, telling_line(Path(trial.error_file).read_text(errors="replace"))
                )


class LostWorkers(RayActorManager):  # type: ignore[misc]
    """Starts and follows Tune's workers; treats any Ray error that ends a worker as its loss.

    Tune (2.60) tries a trial again only after a `RayActorError`, and ends the whole experiment at
    any other error of Ray, for example when Ray's memory monitor kills a worker
    (`OutOfMemoryError`).
    """

    def _actor_task_failed(self, tracked_actor_task: Any, exception: Exception) -> None:
        """Turns any Ray error that is not of the trainer's code into a `RayActorError`.

        `RayActorManager` calls it with the error that a call to a worker raised.
        """
        if isinstance(exception, RayError) and not isinstance(
            exception, RayActorError | RayTaskError
        ):
            line = next(iter(str(exception).splitlines()), "")
            exception = RayActorError(error_msg=f"{type(exception).__name__}: {line}")
        super()._actor_task_failed(tracked_actor_task, exception)


class KillsOverdue(Callback):  # type: ignore[misc]
    """Kills workers of trials that are silent for too long, or that ended while the worker did not.

    Tune treats a killed worker as a lost one and tries the trial again. If the trial has failed for
    good, the next attempt learns so from the record. `ray.kill` also ends a worker that is stuck in
    a call.
    """

    def __init__(self, actor: str = "") -> None:
        """Creates the callback.

        Args:
            actor: name of the LawActor, which says which trials are overdue; with an empty name no
                worker is killed.
        """
        self._actor = actor
        self._workers: dict[str, Any] = {}
        self._query: Any = None
        self._next = 0.0

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Notes the worker of a trial, new or reused; Tune calls it when the worker is ready."""
        self._workers[trial.config["trial"]] = trial.temporary_state.ray_actor

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Removes the worker of a trial; Tune calls it after the last report of the trial."""
        self._workers.pop(trial.config["trial"], None)

    on_trial_error = on_trial_recover = on_trial_complete

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Asks the actor for overdue trials and kills their workers.

        Tune calls it in every step of its loop.
        """
        if self._query is None:
            if self._workers and self._actor and time.monotonic() > self._next:
                self._query = law_actor(self._actor).overdue.remote(list(self._workers))
            return
        if not ray.wait([self._query], timeout=0)[0]:
            return
        overdue, self._query = ask(self._query), None
        self._next = time.monotonic() + OVERDUE_SECONDS
        for name in overdue:
            if (worker := self._workers.pop(name, None)) is not None:
                ray.kill(worker)

    def __reduce__(self) -> tuple[Any, ...]:
        return KillsOverdue, ()  # Tune pickles its arguments; handles stay in this process


@contextlib.contextmanager
def lost_workers_tried_again() -> Iterator[None]:
    """Makes experiments that begin inside use `LostWorkers`, as Tune has no parameter for it."""
    before = tune_controller.RayActorManager
    tune_controller.RayActorManager = LostWorkers
    try:
        yield
    finally:
        tune_controller.RayActorManager = before


@contextlib.contextmanager
def without_unused_imports() -> Iterator[None]:
    """Keeps experiments that begin inside from importing packages that a sweep does not use.

    Tune's logger for TensorBoard imports torch, which it needs only for images, and Tune's
    statistics of use import the clients of W&B and MLflow where they are installed. Together they
    would take about half of the driver's start.
    """
    if "torch" not in sys.modules:
        sys.modules["torch"] = None  # type: ignore[assignment]  # makes an import fail
        try:
            importlib.import_module("tensorboardX")
        finally:
            del sys.modules["torch"]
    before = usage.tag_callbacks
    usage.tag_callbacks = lambda callbacks: False
    try:
        yield
    finally:
        usage.tag_callbacks = before


def telling_line(text: str) -> str:
    """Returns the last line of an error text that names an exception or says how a worker ended.

    Args:
        text: the error text that Tune keeps.

    Returns:
        that line; the last line where no line names a cause; "" for an empty text.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next(
        (line for line in reversed(lines) if TELLING.match(line)), lines[-1] if lines else ""
    )


class MetricCleaner(Callback):  # type: ignore[misc]
    """Frees the memory of Tune's running averages of ended trials.

    Tune keeps running averages of every metric of every trial (docs/evidence.md).
    """

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Clears the averages of a trial; Tune calls it after the last report of the trial."""
        trial.metric_analysis.clear()
        trial.metric_n_steps.clear()
