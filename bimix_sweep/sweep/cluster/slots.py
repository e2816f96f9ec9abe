"""How many trainings a cluster holds: counted node by node, as a training's part on a node never spans two, and again as nodes come and go."""

import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bimix_sweep.config import ResourcesConfig
from bimix_sweep.errors import SweepError

COUNT_SECONDS = 5.0
"""Between counts of the nodes."""
WAIT_SECONDS = 60.0
"""For the first worker of a cluster that just came up, where its head trains nothing."""
WHOLE = 1e-9
"""Shares of a CPU or GPU are decimals: 1 / .1 holds ten."""


def places(node: Mapping[str, float], resources: ResourcesConfig) -> int:
    """Trainings (or their parts) that one node holds; a share of a GPU never spans two of them."""
    found = math.floor(node.get("CPU", 0.0) / resources.cpu + WHOLE)
    if resources.gpu >= 1:
        found = min(found, math.floor(node.get("GPU", 0.0) / resources.gpu + WHOLE))
    elif resources.gpu:
        found = min(
            found, math.floor(node.get("GPU", 0.0) + WHOLE) * math.floor(1 / resources.gpu + WHOLE)
        )
    return found


def fitting(nodes: Sequence[Mapping[str, float]], resources: ResourcesConfig) -> int:
    """Trainings at a time that the nodes hold, each on `resources.nodes` different ones.

    t trainings of k nodes fit where sum_i min(places_i, t) >= k t: no node takes two parts of one training.
    """
    each = [places(node, resources) for node in nodes]
    if resources.nodes == 1:
        return sum(each)
    trainings = sum(each) // resources.nodes
    while trainings and sum(min(count, trainings) for count in each) < resources.nodes * trainings:
        trainings -= 1
    return trainings


class Slots:
    """Trainings to have at a time, now."""

    def __init__(
        self, resources: ResourcesConfig, nodes: Callable[[], list[dict[str, float]]], scales: bool
    ) -> None:
        """Args:
            nodes: resources of each node that takes work.
            scales: an autoscaler adds nodes where trainings wait for one.

        Raises:
            SweepError: no node holds a training, and none will come.
        """
        self._resources, self._nodes, self._scales = resources, nodes, scales
        until, found = time.monotonic() + WAIT_SECONDS, nodes()
        while (
            not scales
            and not any(node.get("CPU", 0.0) for node in found)
            and time.monotonic() < until
        ):
            time.sleep(1)
            found = nodes()
        self._fit, self._counted = fitting(found, resources), time.monotonic()
        if not self._fit and not scales:
            shown = (
                ", ".join(
                    f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs"
                    for node in found[:8]
                )
                or "none"
            )
            where = (
                f" on each of {resources.nodes} nodes" if resources.nodes > 1 else " on one node"
            )
            raise SweepError(
                f"a training needs {resources.cpu:g} CPUs and {resources.gpu:g} GPUs{where}; the nodes have {shown}"
                f"{', ...' if len(found) > 8 else ''}; lower resources.cpu, resources.gpu or resources.nodes"
            )

    def __call__(self) -> int:
        """With `slots: auto` as many as the nodes hold; with a number at most so many.

        Trainings wait for nodes only where an autoscaler sees them waiting: as many as `slots` says, with auto one, which
        wakes a cluster that has scaled to nothing.
        """
        if time.monotonic() - self._counted > COUNT_SECONDS:
            with contextlib.suppress(
                OSError, RuntimeError
            ):  # Ray's head is away: count again later
                self._fit = fitting(self._nodes(), self._resources)
            self._counted = time.monotonic()
        wanted = self._resources.slots
        if wanted == "auto":
            return max(1, self._fit)
        return wanted if self._scales else max(1, min(wanted, self._fit))


def ray_slots(resources: ResourcesConfig) -> Slots:
    """Of the Ray this process is connected to.

    Raises:
        SweepError: as for `Slots`.
    """
    return Slots(
        resources, lambda: [resources_of(node) for node in working_nodes()], scales=_scales()
    )


def working_nodes() -> list[dict[str, Any]]:
    """Those that take work, as Ray describes them."""
    import ray

    from bimix_sweep.sweep.cluster.preemption import draining

    leaving: set[str] = set()
    with contextlib.suppress(
        ray.exceptions.RayError, AttributeError
    ):  # a client (ray://) has no such connection
        leaving = draining()
    return [node for node in ray.nodes() if node["Alive"] and node["NodeID"] not in leaving]


def resources_of(node: Mapping[str, Any]) -> dict[str, float]:
    """What one of them has for trainings."""
    return {name: float(node["Resources"].get(name, 0.0)) for name in ("CPU", "GPU")}


def _scales() -> bool:
    """An autoscaler has told Ray which nodes it may add."""
    import ray

    try:
        return bool(ray._private.state.state.get_max_resources_from_cluster_config())
    except (ray.exceptions.RayError, ray.exceptions.RaySystemError, AttributeError):
        return False
