"""Information about the nodes of a trial: whether one will go away, and whether the others fail."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from bimix_sweep.errors import BimixSweepError, TrainingError, TryAgainError
from bimix_sweep.sweep.trainers.command_process import (
    GRACE_SECONDS,
    TRY_AGAIN,
    exit_words,
    supervise,
)
from bimix_sweep.sweep.workspace.trial_log import TrialLog

POLL_SECONDS = 3.0
"""Seconds between two queries whether a node is being drained."""
ANSWER_SECONDS = 5
"""Seconds that Ray's head may take to answer the query."""
END_SECONDS = 10.0
"""Seconds, in addition to the grace period, for the commands of other nodes to end."""


@contextlib.contextmanager
def watching(
    nodes: Sequence[str], preempted: threading.Event, ended: Callable[[], bool]
) -> Iterator[None]:
    """Sets `preempted` when Ray drains one of the nodes, or when the sweep has ended the trial.

    A node is drained by an autoscaler, by KubeRay, by `ray drain-node`, or after a notice from the
    cloud that is passed on to Ray. The sweep ends a trial when its budget is spent or the trial has
    lasted too long.

    The queries are needed because no signal tells a worker so. A worker whose driver stops gets
    SIGTERM and is killed almost at once, whatever RAY_kill_worker_timeout_milliseconds says, and
    `ray.kill` sends only SIGKILL (docs/evidence.md).

    Args:
        nodes: ids of the trial's nodes.
        preempted: the event to set.
        ended: returns True when the sweep has ended the trial.
    """
    over = threading.Event()

    def poll() -> None:
        while not over.wait(POLL_SECONDS):
            # While the head is away, the query fails and is made again.
            with contextlib.suppress(RayError, OSError, RuntimeError):
                if draining().intersection(nodes) or ended():
                    preempted.set()
                    return

    threading.Thread(target=poll, name="drains", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def draining() -> set[str]:
    """Returns the ids of nodes that take no more work and will go away."""
    return set(
        ray._private.worker.global_worker.gcs_client.get_draining_nodes(timeout=ANSWER_SECONDS)
    )


class RayPeers:
    """Runs the command of a trial on the trial's other nodes.

    An actor in each further bundle of the trial's placement group runs the command there.
    """

    def __init__(
        self, group: Any, num_nodes: int, resources: Mapping[str, float], folder: str, trial: str
    ) -> None:
        here = ray.get_runtime_context().get_node_id()
        self.master = str(
            next(node["NodeManagerAddress"] for node in ray.nodes() if node["NodeID"] == here)
        )
        self._actors = [
            ray.remote(_Peer)
            .options(
                num_cpus=resources["cpu"],
                num_gpus=resources["gpu"],
                max_concurrency=2,
                scheduling_strategy=PlacementGroupSchedulingStrategy(
                    group, placement_group_bundle_index=rank
                ),
            )
            .remote(folder, f"{trial}.rank{rank}")
            for rank in range(1, num_nodes)
        ]
        self._running: list[Any] = []
        self._ranks: dict[Any, int] = {}

    def start(self, orders: Sequence[Mapping[str, Any]]) -> None:
        """Starts the command on each further node; `orders` holds one order for each, by rank."""
        self._running = [
            actor.run.remote(dict(order)) for actor, order in zip(self._actors, orders, strict=True)
        ]
        self._ranks = {reference: rank for rank, reference in enumerate(self._running, start=1)}

    def failed(self) -> TrainingError | None:
        """Returns the error of a node that was lost or whose command failed; None without one."""
        ready, self._running = (
            ray.wait(self._running, num_returns=len(self._running), timeout=0)
            if self._running
            else ([], [])
        )
        for reference in ready:
            try:
                code, words = ray.get(reference)
            except RayError as error:
                return TryAgainError(
                    f"node {self._ranks[reference]} of the trial was lost: {type(error).__name__}"
                )
            if code != 0:
                kind = TryAgainError if code == TRY_AGAIN else TrainingError
                return kind(
                    f"the command on node {self._ranks[reference]} "
                    f"{exit_words(code) if code is not None else 'failed'}; its last lines: {words}"
                )
        return None

    def stop(self) -> None:
        """Stops the commands and kills the actors.

        The commands get the grace period and `END_SECONDS` to end.
        """
        for actor in self._actors:
            actor.stop.remote()
        if self._ranks:
            ray.wait(
                list(self._ranks), num_returns=len(self._ranks), timeout=GRACE_SECONDS + END_SECONDS
            )
        for actor in self._actors:
            ray.kill(actor)


class _Peer:
    """Runs the command on one further node."""

    def __init__(self, folder: str, name: str) -> None:
        self._folder, self._name = folder, name
        self._stopping = threading.Event()

    def run(self, order: Mapping[str, Any]) -> tuple[int | None, str]:
        """Runs the command.

        Returns:
            (exit status, last lines of output); the status is None if the command could not run.
        """
        log = TrialLog(self._folder, self._name)
        try:
            return supervise(
                order, log.say, log.say, self._stopping.is_set
            ).code, log.last_words() or "none"
        except BimixSweepError as error:
            return None, str(error)
        finally:
            log.close()

    def stop(self) -> None:
        """Asks the command to end."""
        self._stopping.set()
