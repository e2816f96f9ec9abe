"""Ray, quietly: embedded in this process by default, or a cluster at an address."""

import contextlib
import fcntl
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
from bimix_sweep.sweep.cluster.actor_client import NAMESPACE
from bimix_sweep.sweep.cluster.slots import Slots, ray_slots

OBJECT_STORE_BYTES = 100 << 20
"""Of embedded Ray: nothing large goes through it."""
EMBEDDED, LOCK = "bimix-", "embedded-ray.lock"
"""Prefix of its temporary folder, and the file there by which its owner is known to live."""
RAY = "r"
"""Ray's own folder inside of ours; Ray makes it, and most folders in it, writable for everybody."""
LONGEST_PLACE = 22
"""Of a folder for temporary files, in bytes; where it is longer, /tmp is taken. A socket's path has
at most 107 bytes, and Ray appends up to 68 to its own folder."""
CONNECT_SECONDS = 10
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # its box is printed even when asked for silence
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "RAY_worker_niceness": "0",  # Ray's 15 lets trainings starve beside any ordinary load; who starts a sweep may `nice` all of it
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # one handler for Ctrl-C and SIGTERM, in `launch`
    "TUNE_MAX_PENDING_TRIALS_PG": "100000",  # the searcher says how many
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # a lost worker is told by the training that goes on elsewhere
    "TUNE_WARN_THRESHOLD_S": "30",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A Ray this process is connected to."""

    slots: Slots
    """Trainings at a time, as nodes come and go."""
    dashboard: str | None
    """Where its dashboard listens."""


@contextlib.contextmanager
def cluster(address: str | None, resources: ResourcesConfig) -> Iterator[Cluster]:
    """Start embedded Ray (or connect to `address`) and leave nothing of it behind.

    Embedded Ray listens on the loopback interface only and asks for a token, as Ray 2.59 and later do by default; a
    RAY_AUTH_TOKEN_PATH of the user's is respected.

    Raises:
        SweepError: no Ray answers at the address, or it has too little for one training.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    # RAY_AUTH_MODE is left alone: Ray makes a token for a new local cluster only where it is unset; set by hand on a machine without
    # ~/.ray/auth_token, the server finds no token and dies, and ray.init waits for it in vain (seen in 2.60)
    import ray

    threading.Thread(target=_import_tune, name="import of Tune", daemon=True).start()
    stack = contextlib.ExitStack()
    logging.getLogger("ray").setLevel(
        logging.CRITICAL
    )  # errors of a training are journalled and told by its reason
    try:
        if address is None:
            folder = stack.enter_context(_own_folder())
            # trainings are all that runs there; without a wish Ray counts the cores, quotas of containers included
            num_cpus = (
                None
                if resources.slots == "auto"
                else max(1, math.ceil(resources.slots * resources.cpu))
            )
            # workers import from where this process does; Ray itself would look for the script's folder from the one that it is started in, in vain
            paths = [
                str(Path(path).absolute()) for path in reversed(sys.path)
            ]  # a worker puts each before those before it
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
            except (
                Exception
            ) as error:  # of its own processes Ray raises plain exceptions with their logs
                raise SweepError(
                    f"Ray could not be started on this machine ({_line(error, -1)}); see: bimix-sweep doctor CONFIG"
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
                    f"no Ray cluster answers at {address} ({_line(error, 0)}); check the address and RAY_AUTH_TOKEN"
                ) from error
        url = getattr(context, "dashboard_url", None)
        with contextlib.redirect_stdout(
            sys.stderr
        ):  # Ray prints what its daemons complain of; standard output is for results
            yield Cluster(slots=ray_slots(resources), dashboard=f"http://{url}" if url else None)
    finally:
        ray.shutdown()
        stack.close()


def _place() -> str:
    """A folder for temporary files with a path short enough for sockets in it."""
    place = tempfile.gettempdir()
    return place if len(place.encode()) <= LONGEST_PLACE else "/tmp"  # noqa: S108 - mkdtemp makes a folder there that only this user can enter


@contextlib.contextmanager
def _started_in(folder: Path) -> Iterator[None]:
    """Processes started meanwhile import from there, where a cmd.py of the user's does not pass for Python's, and make their sockets in `_place`."""
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
    """A Ray started inside listens on 127.0.0.1 alone.

    Its servers otherwise listen on every interface of the machine, whatever `dashboard_host` and
    `_node_ip_address` say (Ray 2.60). The switch is the one by which Ray stays local on macOS.
    """
    from ray._private import ray_constants

    name = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    before = os.environ.get(name), ray_constants.ENABLE_RAY_CLUSTER
    os.environ[name], ray_constants.ENABLE_RAY_CLUSTER = "0", False  # its processes read the former
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before[1]
        os.environ.pop(name)
        if before[0] is not None:
            os.environ[name] = before[0]


@contextlib.contextmanager
def _own_folder() -> Iterator[Path]:
    """A temporary folder of this process, mode 0700; those that killed processes left are removed.

    Whose process lives is told by its lock on a file in it, of which the kernel lets go however the process ends. The file's name
    is one that nothing else has: a sweep may lie in the temporary folder, too, and has a lock of its own.
    """
    place = _place()
    for left in Path(place).glob(f"{EMBEDDED}*/{LOCK}"):
        with contextlib.suppress(OSError):
            lock_file = os.open(left, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(lock_file).st_uid == os.getuid():
                    shutil.rmtree(left.parent, ignore_errors=True)
            finally:
                os.close(lock_file)
    folder = Path(tempfile.mkdtemp(prefix=EMBEDDED, dir=place))
    lock_file = os.open(folder / "making", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX)
        (folder / "making").rename(folder / LOCK)  # locked before anybody finds it
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock_file)


def check_address(address: str | None) -> None:
    """Ray itself would try for many minutes.

    Raises:
        SweepError: nothing listens there, or the address is none.
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
            f"nothing listens at {address} ({error}); need the address of a Ray head, usually port 6379"
        ) from error


def _import_tune() -> None:
    """Ray Tune and Optuna take two seconds to import; Ray's own processes start meanwhile."""
    import optuna  # noqa: F401
    from ray import tune  # noqa: F401


def _line(error: Exception, place: int) -> str:
    """The first or last line (0 or -1) of what an exception says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[place] if lines else type(error).__name__
