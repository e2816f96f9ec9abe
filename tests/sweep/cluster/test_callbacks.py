"""What hangs on Tune's loop, with the trials that Tune would hand it."""

import pytest
from ray import exceptions
from ray.air.execution import FixedResourceManager, ResourceRequest
from ray.air.execution._internal.tracked_actor import TrackedActor
from ray.air.execution._internal.tracked_actor_task import TrackedActorTask
from ray.tune.execution import tune_controller
from ray.tune.experiment import Trial

from bimix_sweep.sweep.cluster.callbacks import (
    LostWorkers,
    NewestFirstScheduler,
    lost_workers_tried_again,
)

UNIMPORTABLE = """Failure # 1 (occurred at 2026-11-26_06-42-31)
The actor died unexpectedly before finishing this task.
	class_name: ImplicitFunc
The actor is dead because its worker process has died. \
Worker exit type: SYSTEM_ERROR Worker exit detail: Traceback (most recent call last):
    raise RuntimeError(
RuntimeError: The actor with name ImplicitFunc failed to import on the worker. \
This may be because needed library dependencies are not installed:

Traceback (most recent call last):
    actor_class = pickle.loads(pickled_class)
                  ^^^^^^^^^^^^^^^^^^^^^^^^^^^
ModuleNotFoundError: No module named 'mine'

An unexpected internal error occurred while the worker was executing a task.
"""
KILLED = """Failure # 2 (occurred at 2026-11-26_06-43-01)
The actor died unexpectedly before finishing this task.
	class_name: ImplicitFunc
	ip: 192.0.2.2
The actor is dead because its worker process has died. \
Worker exit type: SYSTEM_ERROR Worker exit detail: End of file.
"""


class TuneTrial:
    trial_id = "id"

    def __init__(self, status=Trial.PENDING, error_file=None):
        self.status, self.error_file = status, error_file


def test_a_free_worker_goes_to_a_new_training_not_to_one_whose_own_worker_starts():
    scheduler, starting, new = NewestFirstScheduler(), TuneTrial(), TuneTrial()
    scheduler.on_trial_add(None, starting)
    assert scheduler.choose_trial_to_run(None) is starting
    assert scheduler.choose_trial_to_run(None) is None
    scheduler.on_trial_add(None, new)
    assert scheduler.choose_trial_to_run(None) is new
    scheduler.on_trial_add(None, starting)  # its worker died
    assert scheduler.choose_trial_to_run(None) is starting


def test_what_runs_already_is_not_chosen():
    scheduler, running, waiting = NewestFirstScheduler(), TuneTrial(Trial.RUNNING), TuneTrial()
    for trial in (running, waiting):
        scheduler.on_trial_add(None, trial)
    assert scheduler.choose_trial_to_run(None) is waiting


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        (UNIMPORTABLE, "ModuleNotFoundError: No module named 'mine'"),
        (
            UNIMPORTABLE + KILLED,
            "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR "
            "Worker exit detail: End of file.",
        ),
        (
            "ray.exceptions.OutOfMemoryError: Task was killed\n\tat the node",
            "ray.exceptions.OutOfMemoryError: Task was killed",
        ),
        ("an error of a kind\nthat Ray has not yet\n", "that Ray has not yet"),
        ("", ""),
    ],
)
def test_of_a_lost_training_the_line_is_told_that_says_why(tmp_path, kept, said):
    (tmp_path / "error.txt").write_text(kept)
    heard = []
    scheduler = NewestFirstScheduler(lambda *words: heard.append(words))
    for file in (tmp_path / "error.txt", tmp_path / "none", None):
        scheduler.on_trial_error(None, TuneTrial(Trial.RUNNING, file and str(file)))
    assert heard == [("id", said)]


@pytest.mark.parametrize(
    "error",
    [
        exceptions.OutOfMemoryError("2 workers were killed\nMemory on the node"),
        exceptions.NodeDiedError("2 workers were killed"),
        exceptions.RaySystemError("2 workers were killed"),
    ],
)
def test_whatever_error_of_ray_ends_a_worker_tune_is_told_that_the_worker_was_lost(error):
    """Tune tries again after a RayActorError alone, and ends the experiment at any other that is
    not of the task.
    """
    request = ResourceRequest([{"CPU": 1}])
    resources = FixedResourceManager({"CPU": 1})
    resources.request_resources(request)
    told = []
    manager = LostWorkers(resource_manager=resources)
    worker = TrackedActor(1, on_error=lambda *words: told.append(words))
    held = (None, resources.acquire_resources(request))
    manager._live_actors_to_ray_actors_resources[worker] = held
    task = TrackedActorTask(worker, on_error=lambda *words: told.append(words))
    manager._actor_task_failed(task, error)
    assert [found for found, _ in told] == [worker, worker]
    for _, lost in told:
        assert isinstance(lost, exceptions.RayActorError)
        assert str(lost).startswith(f"{type(error).__name__}: ")
        assert "2 workers were killed" in str(lost)
    resources.request_resources(request)
    assert resources.has_resources_ready(request)  # its place is free again


def test_tune_makes_its_manager_of_workers_from_ours_inside_and_from_its_own_afterwards():
    before = tune_controller.RayActorManager
    with lost_workers_tried_again():
        assert tune_controller.RayActorManager is LostWorkers
    assert tune_controller.RayActorManager is before
