"""Starts the LawActor of a sweep on this node, and closes it when the driver stops."""

import contextlib
from typing import Any

from bimix_sweep.errors import SweepError
from bimix_sweep.sweep.history.attempts import AttemptLimits
from bimix_sweep.sweep.history.events import ChangeEvent, SweepEvent

CALLS = 64
"""Number of calls that the LawActor serves at a time; calls that wait for the disk share a
flush."""
START_SECONDS = 120
"""Seconds that the LawActor may take to start and read the journal."""


def start_actor(
    name: str, folder: str, first: SweepEvent, change: ChangeEvent | None, limits: AttemptLimits
) -> Any:
    """Starts the LawActor of the sweep on this node, and waits until it is ready.

    Raises:
        SweepError: another driver runs the sweep, or the actor did not start in time.
        JournalError: the journal does not fit the configuration and the data.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from bimix_sweep.sweep.cluster.actor_client import NAMESPACE, ask
    from bimix_sweep.sweep.cluster.gauges import SweepGauges
    from bimix_sweep.sweep.coordinator.actor import LawActor

    options = {
        # Without this setting each thread keeps the memory of the largest fit that ran on it.
        "runtime_env": {"env_vars": {"MALLOC_ARENA_MAX": "2"}},
        "name": name,
        "namespace": NAMESPACE,
        "num_cpus": 0,
        "max_restarts": -1,
        "max_task_retries": -1,
        "max_concurrency": CALLS,
        "scheduling_strategy": NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        ),
    }
    try:
        actor = (
            ray.remote(LawActor)
            .options(**options)
            .remote(folder, first, publish=SweepGauges(folder), change=change, limits=limits)
        )
    except ValueError as error:
        raise SweepError(
            f"{folder}: another driver runs this sweep on the cluster; stop that one first"
        ) from error
    import ray.tune  # the actor starts during this import, which takes a second

    try:
        ask(actor.ready.remote(), timeout=START_SECONDS)
    except ray.exceptions.GetTimeoutError as error:
        raise SweepError(
            f"{folder}: the LawActor did not start in {START_SECONDS} seconds; look at Ray's logs "
            "on this node"
        ) from error
    return actor


def close_actor(actor: Any) -> None:
    """Makes the actor close the journal now.

    The next driver then need not wait until the cluster notices that this driver is gone.
    """
    import ray

    with contextlib.suppress(ray.exceptions.RayError):
        ray.get(actor.close.remote(), timeout=5)
