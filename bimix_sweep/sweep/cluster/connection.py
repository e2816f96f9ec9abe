"""Connection to Ray: embedded Ray in this process by default, or a cluster at an address."""

import contextlib
import logging
import os
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bimix_sweep.config import ResourcesConfig
from bimix_sweep.errors import SweepError
from bimix_sweep.sweep.cluster.actor_client import NAMESPACE
from bimix_sweep.sweep.cluster.embedded_ray import own_folder, start_embedded
from bimix_sweep.sweep.cluster.slots import Slots, ray_slots

CONNECT_SECONDS = 10
"""Seconds to wait for a connection to the address."""
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # the new output prints a box even with verbose=0
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    # With Ray's default of 15 trials get no CPU beside an ordinary load; a user may `nice` the
    # whole sweep.
    "RAY_worker_niceness": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # one handler for Ctrl-C and SIGTERM, in `launch`
    "TUNE_MAX_PENDING_TRIALS_PG": "100000",  # the searcher limits the number of trials
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # the trial that goes on elsewhere reports a lost worker
    "TUNE_WARN_THRESHOLD_S": "30",
}
"""Environment variables for Ray; a value that the user has set is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """The Ray cluster that this process is connected to."""

    slots: Slots
    """Number of trials at a time; it changes as nodes come and go."""
    dashboard: str | None
    """URL of Ray's dashboard; None without one."""


@contextlib.contextmanager
def cluster(address: str | None, resources: ResourcesConfig) -> Iterator[Cluster]:
    """Starts embedded Ray, or connects to `address`; removes everything of embedded Ray afterwards.

    Args:
        address: address of the Ray cluster; None for embedded Ray.
        resources: what a trial needs, and how many slots the user wants.

    Raises:
        SweepError: no Ray answers at the address, or it has too few resources for one trial.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    # RAY_AUTH_MODE is not set here: Ray makes a token for a new local cluster only if it is unset.
    # If it is set on a machine without ~/.ray/auth_token, the server finds no token and dies, and
    # ray.init waits for the server in vain (Ray 2.60).
    import ray

    threading.Thread(target=_import_tune, name="import of Tune", daemon=True).start()
    stack = contextlib.ExitStack()
    # The journal holds the error of a trial, and its reason is shown to the user.
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    try:
        context = (
            start_embedded(stack.enter_context(own_folder()), resources)
            if address is None
            else _connect(address)
        )
        url = getattr(context, "dashboard_url", None)
        # Ray prints complaints of its daemons; standard output is for results.
        with contextlib.redirect_stdout(sys.stderr):
            yield Cluster(slots=ray_slots(resources), dashboard=f"http://{url}" if url else None)
    finally:
        ray.shutdown()
        stack.close()


def _connect(address: str) -> Any:
    """Connects to the cluster at an address; returns Ray's context.

    Raises:
        SweepError: no Ray answers at the address.
    """
    import ray

    try:
        return ray.init(
            address=address,
            namespace=NAMESPACE,
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=False,
        )
    except (ConnectionError, ray.exceptions.RayError, RuntimeError, ValueError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise SweepError(
            f"no Ray cluster answers at {address} ({lines[0] if lines else type(error).__name__}); "
            "check the address and RAY_AUTH_TOKEN"
        ) from error


def check_address(address: str | None) -> None:
    """Checks that something listens at the address, because Ray itself would try for many minutes.

    Raises:
        SweepError: nothing listens there, or the text is not an address.
    """
    if address is None or address == "auto":
        return
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not host or not port.isdigit():
        raise SweepError(f"address {address!r} is not host:port or ray://host:port")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise SweepError(
            f"nothing listens at {address} ({error}); need the address of a Ray head, usually port "
            "6379"
        ) from error


def _import_tune() -> None:
    """Imports Ray Tune and Optuna, which takes two seconds, while Ray's own processes start."""
    import optuna  # noqa: F401
    from ray import tune  # noqa: F401
