"""Checks that the Ray of this driver is alive.

Without this check, calls to a dead Ray wait for minutes or for ever. The processes of embedded Ray
are children of this process, so a dead one is noticed within seconds. The head (GCS) of any Ray is
asked every few seconds whether this driver's node is alive; it counts a node as dead some
15 seconds after the node's raylet has died or stopped. Ray's own client ends the whole process,
without a message to the user, when a head has not answered for a minute; this module therefore
gives up a little earlier.
"""

import contextlib
import shlex
import threading
import time
from collections.abc import Callable, Iterator

import ray

from bimix_sweep.errors import SweepError

CHECK_SECONDS = 2.0
"""Seconds between two checks."""
VITAL = ("gcs_server", "raylet")
"""Ray processes that a sweep needs; a sweep goes on without Ray's dashboard and monitors."""
RECONNECT_SECONDS = 60.0
"""Seconds after which Ray's client ends the process (RAY_gcs_rpc_server_reconnect_timeout_s)."""
ANSWER_SECONDS = 5
"""Seconds that the head may take to answer."""
AWAY_SECONDS = RECONNECT_SECONDS - 20.0
"""Seconds without an answer after which the head is given up; a head that restarts has this
time."""


class Lifeline:
    """Checks whether Ray is alive."""

    def __init__(self, address: str | None, folder: str) -> None:
        """Creates the check; the head counts as having answered now.

        Args:
            address: address of the cluster; None for embedded Ray.
            folder: folder of the sweep, for the message.
        """
        self._address, self._folder = address, folder
        self._answered = time.monotonic()

    def broken(self) -> SweepError | None:
        """Returns an error that says what died and how to go on; None while Ray is alive."""
        what = (self._dead_process() if self._address is None else None) or self._lost()
        if what is None:
            return None
        return SweepError(
            f"{what}; what was acknowledged is in the journal, go on with: bimix-sweep resume "
            f"{shlex.quote(self._folder)}"
        )

    def _dead_process(self) -> str | None:
        node = ray._private.worker._global_node
        dead = [name for name, _ in node.dead_processes() if name in VITAL] if node else []
        return f"Ray's process {dead[0]} on this machine died" if dead else None

    def _lost(self) -> str | None:
        place = "Ray" if self._address is None else f"the Ray cluster at {self._address}"
        try:
            alive = _node_alive()
        except AttributeError:  # a client (ray://) has no connection of its own to the head
            alive = True
        except (ray.exceptions.RayError, OSError, RuntimeError):
            away = time.monotonic() - self._answered
            if away > AWAY_SECONDS:
                return f"the head of {place} has not answered for {away:.0f} s"
            return None
        self._answered = time.monotonic()
        return None if alive else f"the node of this machine in {place} died"


def _node_alive() -> bool:
    """Asks the head whether the node of this driver is alive."""
    worker = ray._private.worker.global_worker
    node = worker.current_node_id
    return bool(worker.gcs_client.check_alive([node], timeout=ANSWER_SECONDS)[0])


@contextlib.contextmanager
def lifeline(
    address: str | None, folder: str, fail: Callable[[SweepError], None]
) -> Iterator[Lifeline]:
    """Calls `fail` from a thread when Ray has died, at most once and only inside the context.

    Args:
        address: address of the cluster; None for embedded Ray.
        folder: folder of the sweep, for the message.
        fail: called with the error.
    """
    line, over = Lifeline(address, folder), threading.Event()

    def check() -> None:
        while not over.wait(CHECK_SECONDS):
            error = line.broken()
            if error is not None:
                # A signal that ended Ray, too, reaches this process meanwhile.
                if not over.wait(CHECK_SECONDS):
                    fail(error)
                return

    threading.Thread(target=check, name="lifeline", daemon=True).start()
    try:
        yield line
    finally:
        over.set()
