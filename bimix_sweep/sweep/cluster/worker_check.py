"""Checks that every node can load the trainer, before a sweep begins.

A trainer travels pickled, and its pickle names modules, which a worker imports. If a worker cannot
import them, Tune starts each trial many times before it gives up (docs/evidence.md).
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
"""Seconds that the nodes may take to load the trainer; the first trial waits for a slower node."""


def check_loadable(
    trainer: Trainer, resources: ResourcesConfig, say: Callable[[str], None]
) -> None:
    """Loads the trainer once in a worker on each node that can hold a trial.

    Other nodes may lack the trainer. The sweep is refused only if a module is missing, or lacks a
    name that the trainer takes from it. Any other error is only passed to `say`, because a trial
    may succeed where this task, which has no GPU, fails.

    Args:
        trainer: the prepared trainer.
        resources: what a trial needs on each of its nodes.
        say: called with warnings.

    Raises:
        SweepError: a node lacks a module, or has another version of it.
    """
    import ray

    loading = _start_loading(trainer, resources)
    ready, late = (
        ray.wait(list(loading), num_returns=len(loading), timeout=LOAD_SECONDS)
        if loading
        else ([], [])
    )
    what = f"the trainer {type(trainer).__module__}.{type(trainer).__qualname__}"
    for reference in ready:
        # If the worker or the node died, the trials run elsewhere.
        with contextlib.suppress(ray.exceptions.RayError):
            missing, problem = ray.get(reference)
            problem = masked(" ".join(problem.split()))
            if missing:
                raise SweepError(
                    f"{what} cannot be loaded by a worker on node {loading[reference]} "
                    f"({problem}); workers import its modules by name, so install them on every "
                    "node or put their folder on the PYTHONPATH there, or define the trainer in "
                    "the script itself, or have it travel whole: "
                    "ray.cloudpickle.register_pickle_by_value(MODULE)"
                )
            if problem:
                say(
                    f"warning: {what} could not be loaded by a worker on node "
                    f"{loading[reference]} ({problem})"
                )
    if late:
        say(
            f"{what} is still being loaded on {len(late)} nodes after {LOAD_SECONDS:g} s, the "
            f"first on {loading[late[0]]}; going on"
        )


def _start_loading(trainer: Trainer, resources: ResourcesConfig) -> dict[Any, str]:
    """Starts a task on each node that can hold a trial, which loads the trainer.

    Returns:
        {reference of the answer: address of the node}. The answer is whether a module or a name is
        missing, and the text of the error or "".
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    # A local function travels whole; a worker that lacks bimix_sweep can run it, too.
    def load(pickled: bytes) -> tuple[bool, str]:
        import pickle

        try:
            pickle.loads(pickled)  # noqa: S301 - Ray does the same with a trainer
        except Exception as error:  # noqa: BLE001 - a user's module may fail in any way
            return isinstance(
                error, ModuleNotFoundError | AttributeError
            ), f"{type(error).__name__}: {error}"
        return False, ""

    pickled = ray.put(ray.cloudpickle.dumps(trainer))
    # With max_calls=1 the process of the task ends; the modules that it loaded may be large.
    task = ray.remote(num_cpus=0, max_retries=0, max_calls=1)(load)
    loading: dict[Any, str] = {}
    for node in working_nodes():
        if places(resources_of(node), resources):
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            reference = task.options(scheduling_strategy=there).remote(pickled)
            loading[reference] = node["NodeManagerAddress"]
    return loading
