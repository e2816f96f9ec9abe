"""Connection to Ray: embedded Ray in this process by default, or a cluster at an address."""

import contextlib
import logging
import math
import os
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bimix_sweep.config import ResourcesConfig
from bimix_sweep.errors import SweepError
from bimix_sweep.file_lock import lock
from bimix_sweep.sweep.cluster.actor_client import NAMESPACE
from bimix_sweep.sweep.cluster.slots import Slots, ray_slots

OBJECT_STORE_BYTES = 100 << 20
"""Size of embedded Ray's object store in bytes; no large object goes through it."""
EMBEDDED, LOCK = "bimix-", "embedded-ray.lock"
"""Prefix of embedded Ray's temporary folder, and the name of the lock file there; a held lock shows
that the process which owns the folder is alive."""
RAY = "r"
"""Name of Ray's folder inside ours; Ray makes it, and most folders in it, writable for
everybody."""
MAX_PLACE = 22
"""Longest path of a folder for temporary files, in bytes; /tmp is taken instead of a longer one. A
socket's path has at most 107 bytes, and Ray appends up to 68 to its own folder."""
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

    Embedded Ray listens on the loopback interface only and requires a token, the default since Ray
    2.59. A RAY_AUTH_TOKEN_PATH that the user has set is respected.

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
        if address is None:
            folder = stack.enter_context(_own_folder())
            # Only trials use these CPUs. With "auto" Ray counts the cores, and respects the CPU
            # quota of a container.
            num_cpus = (
                None
                if resources.slots == "auto"
                else max(1, math.ceil(resources.slots * resources.cpu))
            )
            # Workers import from the same folders as this process. Ray itself would look for the
            # script's folder relative to the folder in which Ray is started, and not find it.
            # The order is reversed because a worker inserts each path before the earlier ones.
            paths = [str(Path(path).absolute()) for path in reversed(sys.path)]
            try:
                with _started_in(folder), _loopback_only():
                    context = ray.init(
                        address="local",
                        num_cpus=num_cpus,
                        include_dashboard=True,
                        dashboard_host="127.0.0.1",
                        object_store_memory=OBJECT_STORE_BYTES,
                        namespace=NAMESPACE,
                        log_to_driver=False,
                        logging_level=logging.ERROR,
                        configure_logging=False,
                        _temp_dir=str(folder / RAY),
                        job_config=ray.job_config.JobConfig(_py_driver_sys_path=paths),
                    )
            # Ray raises plain exceptions, with logs as text, when its own processes fail.
            except Exception as error:
                raise SweepError(
                    f"Ray could not be started on this machine ({_line(error, -1)}); see: "
                    "bimix-sweep doctor CONFIG"
                ) from error
        else:
            try:
                context = ray.init(
                    address=address,
                    namespace=NAMESPACE,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    configure_logging=False,
                )
            except (ConnectionError, ray.exceptions.RayError, RuntimeError, ValueError) as error:
                raise SweepError(
                    f"no Ray cluster answers at {address} ({_line(error, 0)}); check the address "
                    "and RAY_AUTH_TOKEN"
                ) from error
        url = getattr(context, "dashboard_url", None)
        # Ray prints complaints of its daemons; standard output is for results.
        with contextlib.redirect_stdout(sys.stderr):
            yield Cluster(slots=ray_slots(resources), dashboard=f"http://{url}" if url else None)
    finally:
        ray.shutdown()
        stack.close()


def _place() -> str:
    """Returns a folder for temporary files whose path is short enough for sockets in it."""
    place = tempfile.gettempdir()
    # mkdtemp makes a folder in it that only this user can enter.
    return place if len(place.encode()) <= MAX_PLACE else "/tmp"  # noqa: S108


@contextlib.contextmanager
def _started_in(folder: Path) -> Iterator[None]:
    """Starts the processes inside with `folder` as their working directory.

    The processes import from `folder`, so a cmd.py of the user does not replace Python's module,
    and make their sockets in `_place`.
    """
    before = os.environ.get("TMPDIR")
    if before is not None:
        os.environ["TMPDIR"] = _place()
    try:
        with contextlib.chdir(folder):
            yield
    finally:
        if before is not None:
            os.environ["TMPDIR"] = before


@contextlib.contextmanager
def _loopback_only() -> Iterator[None]:
    """Makes a Ray that is started inside listen on 127.0.0.1 only.

    Ray's servers otherwise listen on every interface of the machine, whatever `dashboard_host` and
    `_node_ip_address` say (Ray 2.60). Ray uses the same switch to stay local on macOS.
    """
    from ray._private import ray_constants

    name = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    before = os.environ.get(name), ray_constants.ENABLE_RAY_CLUSTER
    # Ray's processes read the environment variable.
    os.environ[name], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before[1]
        os.environ.pop(name)
        if before[0] is not None:
            os.environ[name] = before[0]


@contextlib.contextmanager
def _own_folder() -> Iterator[Path]:
    """Makes a temporary folder for this process, mode 0700; removes folders of killed processes.

    A lock on a file in the folder shows that its process is alive; the kernel releases the lock
    however the process ends. The name of the lock file is used for nothing else, because a sweep
    with its own lock may lie in the folder for temporary files, too.
    """
    place = _place()
    for left in Path(place).glob(f"{EMBEDDED}*/{LOCK}"):
        with contextlib.suppress(OSError):
            lock_file = lock(left)
            try:
                if os.fstat(lock_file).st_uid == os.getuid():
                    shutil.rmtree(left.parent, ignore_errors=True)
            finally:
                os.close(lock_file)
    folder = Path(tempfile.mkdtemp(prefix=EMBEDDED, dir=place))
    lock_file = lock(folder / "making")
    try:
        (folder / "making").rename(folder / LOCK)  # no other process finds it unlocked
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock_file)


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


def _line(error: Exception, place: int) -> str:
    """Returns the first (`place` 0) or last (`place` -1) line of the text of an exception."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[place] if lines else type(error).__name__
