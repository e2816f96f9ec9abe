"""Whether the trainer can be loaded where it will train, before anything is begun.

A trainer travels pickled, and what it is of a module travels by name: a worker imports that module. Where it cannot, Tune starts
each training 21 times before it gives it up, and three of them take two minutes (Ray 2.60, two slots).
"""

import contextlib
from collections.abc import Callable
from typing import Any

from bimix_sweep.config import ResourcesConfig
from bimix_sweep.errors import SweepError
from bimix_sweep.sweep.cluster.slots import places, resources_of, working_nodes
from bimix_sweep.sweep.trainers.base import Trainer
from bimix_sweep.sweep.workspace.redaction import masked

LOAD_SECONDS = 60.0
"""For the nodes to load the trainer. One that takes longer is not waited for: its first training will."""


def check_loadable(
    trainer: Trainer, resources: ResourcesConfig, say: Callable[[str], None]
) -> None:
    """Load the trainer once in a worker on each node that can hold a training; the others may lack it.

    The sweep is refused only for a module that is missing, or that lacks what the trainer takes from it. Of anything else `say` is told:
    with it a training may fare better than this task, which has no GPU.

    Raises:
        SweepError: a node lacks a module, or has another version of it.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def load(
        pickled: bytes,
    ) -> tuple[bool, str]:  # local, so that it travels whole: bimix_sweep may be what is missing
        import pickle

        try:
            pickle.loads(pickled)  # noqa: S301 - as Ray does with it
        except Exception as error:  # noqa: BLE001 - modules of a user's may fail in any way
            return isinstance(
                error, ModuleNotFoundError | AttributeError
            ), f"{type(error).__name__}: {error}"
        return False, ""

    pickled = ray.put(ray.cloudpickle.dumps(trainer))
    task = ray.remote(num_cpus=0, max_retries=0, max_calls=1)(
        load
    )  # its process ends: what it loaded may be large
    asked: dict[Any, str] = {}
    for node in working_nodes():
        if places(resources_of(node), resources):
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            asked[task.options(scheduling_strategy=there).remote(pickled)] = node[
                "NodeManagerAddress"
            ]
    ready, late = (
        ray.wait(list(asked), num_returns=len(asked), timeout=LOAD_SECONDS) if asked else ([], [])
    )
    what = f"the trainer {type(trainer).__module__}.{type(trainer).__qualname__}"
    for reference in ready:
        with contextlib.suppress(
            ray.exceptions.RayError
        ):  # its worker or its node died: the trainings go elsewhere
            missing, said = ray.get(reference)
            said = masked(" ".join(said.split()))
            if missing:
                raise SweepError(
                    f"{what} cannot be loaded by a worker on node {asked[reference]} ({said}); workers import its modules by name, so install them on every node "
                    "or put their folder on the PYTHONPATH there, or define the trainer in the script itself, or have it travel whole: "
                    "ray.cloudpickle.register_pickle_by_value(MODULE)"
                )
            if said:
                say(
                    f"warning: {what} could not be loaded by a worker on node {asked[reference]} ({said})"
                )
    if late:
        say(
            f"{what} is still being loaded on {len(late)} nodes after {LOAD_SECONDS:g} s, the first on {asked[late[0]]}; going on"
        )
