"""Number of trials that a cluster holds at a time.

The count is made node by node, because the part of a trial on one node never spans two nodes, and
is made again as nodes come and go.
"""

import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bimix_sweep.config import ResourcesConfig
from bimix_sweep.errors import SweepError

COUNT_SECONDS = 5.0
"""Seconds between two counts of the nodes."""
WAIT_SECONDS = 60.0
"""Seconds to wait for the first worker node of a cluster that just started and whose head holds no
trial."""
WHOLE = 1e-9
"""Tolerance of the division, because a fraction of a CPU or GPU is a decimal number: 1 / 0.1 is
ten."""


def places(node: Mapping[str, float], resources: ResourcesConfig) -> int:
    """Returns the number of trials (or of their parts) that one node holds.

    A fraction of a GPU never spans two GPUs.

    Args:
        node: {"CPU": number, "GPU": number} of the node.
        resources: what a trial needs on each of its nodes.
    """
    count = math.floor(node.get("CPU", 0.0) / resources.cpu + WHOLE)
    if resources.gpu >= 1:
        count = min(count, math.floor(node.get("GPU", 0.0) / resources.gpu + WHOLE))
    elif resources.gpu:
        count = min(
            count, math.floor(node.get("GPU", 0.0) + WHOLE) * math.floor(1 / resources.gpu + WHOLE)
        )
    return count


def fitting(nodes: Sequence[Mapping[str, float]], resources: ResourcesConfig) -> int:
    """Returns how many trials the nodes hold at a time, each on `resources.nodes` different nodes.

    t trials of k nodes fit if sum_i min(places_i, t) >= k t, because no node takes two parts of one
    trial.
    """
    each = [places(node, resources) for node in nodes]
    if resources.nodes == 1:
        return sum(each)
    trials = sum(each) // resources.nodes
    while trials and sum(min(count, trials) for count in each) < resources.nodes * trials:
        trials -= 1
    return trials


def _need(resources: ResourcesConfig) -> str:
    where = f"each of {resources.nodes} nodes" if resources.nodes > 1 else "one node"
    return f"{resources.cpu:g} CPUs and {resources.gpu:g} GPUs on {where}"


class Slots:
    """Number of trials to run at a time; call the object for the number now."""

    def __init__(
        self, resources: ResourcesConfig, nodes: Callable[[], list[dict[str, float]]], scales: bool
    ) -> None:
        """Counts the nodes; waits up to `WAIT_SECONDS` for the first one if no autoscaler runs.

        Args:
            resources: what a trial needs, and how many slots the user wants.
            nodes: returns the resources of each node that takes work.
            scales: whether an autoscaler adds nodes when trials wait for one.

        Raises:
            SweepError: no node holds a trial, and no autoscaler will add one.
        """
        self._resources, self._nodes, self._scales = resources, nodes, scales
        until, counted = time.monotonic() + WAIT_SECONDS, nodes()
        while (
            not scales
            and not any(node.get("CPU", 0.0) for node in counted)
            and time.monotonic() < until
        ):
            time.sleep(1)
            counted = nodes()
        self._fit, self._counted = fitting(counted, resources), time.monotonic()
        if not self._fit and not scales:
            shown = (
                ", ".join(
                    f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs"
                    for node in counted[:8]
                )
                or "none"
            )
            raise SweepError(
                f"a trial needs {_need(resources)}; the nodes have {shown}"
                f"{', ...' if len(counted) > 8 else ''}; lower resources.cpu, resources.gpu or "
                "resources.nodes"
            )

    @property
    def shortage(self) -> str:
        """What a trial needs, in words, if no node held one at the last count; else empty."""
        return "" if self._fit else _need(self._resources)

    def __call__(self) -> int:
        """Returns the number of trials to run at a time.

        With `slots: auto` the number is what the nodes hold, at least one. With a number in `slots`
        it is at most this number; with an autoscaler it is this number, because the autoscaler adds
        nodes only when it sees trials that wait. With `auto` one trial waits, which wakes a cluster
        that has scaled to nothing.
        """
        if time.monotonic() - self._counted > COUNT_SECONDS:
            # While Ray's head is away, the count fails and is made again later.
            with contextlib.suppress(OSError, RuntimeError):
                self._fit = fitting(self._nodes(), self._resources)
            self._counted = time.monotonic()
        wanted = self._resources.slots
        if wanted == "auto":
            return max(1, self._fit)
        return wanted if self._scales else max(1, min(wanted, self._fit))


def ray_slots(resources: ResourcesConfig) -> Slots:
    """Returns the slots of the Ray cluster that this process is connected to.

    Raises:
        SweepError: as for `Slots`.
    """
    return Slots(
        resources, lambda: [resources_of(node) for node in working_nodes()], scales=_scales()
    )


def working_nodes() -> list[dict[str, Any]]:
    """Returns the nodes that take work, as Ray describes them."""
    import ray

    from bimix_sweep.sweep.cluster.preemption import draining

    leaving: set[str] = set()
    # A client (ray://) has no connection of its own to the head, hence AttributeError.
    with contextlib.suppress(ray.exceptions.RayError, AttributeError):
        leaving = draining()
    return [node for node in ray.nodes() if node["Alive"] and node["NodeID"] not in leaving]


def resources_of(node: Mapping[str, Any]) -> dict[str, float]:
    """Returns the CPUs and GPUs of one node of `working_nodes`."""
    return {name: float(node["Resources"].get(name, 0.0)) for name in ("CPU", "GPU")}


def _scales() -> bool:
    """Returns whether an autoscaler has told Ray which nodes it may add."""
    import ray

    try:
        return bool(ray._private.state.state.get_max_resources_from_cluster_config())
    except (ray.exceptions.RayError, ray.exceptions.RaySystemError, AttributeError):
        return False
