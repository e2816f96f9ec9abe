"""Embedded Ray: a Ray of this process alone, in its own folder and on the loopback interface."""

import contextlib
import logging
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bimix_sweep.config import ResourcesConfig
from bimix_sweep.errors import SweepError
from bimix_sweep.file_lock import lock
from bimix_sweep.sweep.cluster.actor_client import NAMESPACE

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


def start_embedded(folder: Path, resources: ResourcesConfig) -> Any:
    """Starts Ray on this machine and connects to it; returns Ray's context.

    Embedded Ray listens on the loopback interface only and requires a token, the default since Ray
    2.59. A RAY_AUTH_TOKEN_PATH that the user has set is respected.

    Args:
        folder: folder of `own_folder` for everything that Ray writes.
        resources: what a trial needs, and how many slots the user wants.

    Raises:
        SweepError: Ray could not be started.
    """
    import ray

    # Only trials use these CPUs. With "auto" Ray counts the cores, and respects the CPU quota of a
    # container.
    num_cpus = (
        None if resources.slots == "auto" else max(1, math.ceil(resources.slots * resources.cpu))
    )
    # Workers import from the same folders as this process. Ray itself would look for the script's
    # folder relative to the folder in which Ray is started, and not find it. The order is reversed
    # because a worker inserts each path before the earlier ones.
    paths = [str(Path(path).absolute()) for path in reversed(sys.path)]
    try:
        with _started_in(folder), _loopback_only():
            return ray.init(
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
            f"Ray could not be started on this machine ({_last_line(error)}); see: "
            "bimix-sweep doctor CONFIG"
        ) from error


def _temp_place() -> str:
    """Returns a folder for temporary files whose path is short enough for sockets in it."""
    place = tempfile.gettempdir()
    # mkdtemp makes a folder in it that only this user can enter.
    return place if len(place.encode()) <= MAX_PLACE else "/tmp"  # noqa: S108


@contextlib.contextmanager
def _started_in(folder: Path) -> Iterator[None]:
    """Starts the processes inside with `folder` as their working directory.

    The processes import from `folder`, so a cmd.py of the user does not replace Python's module,
    and make their sockets in `_temp_place`.
    """
    before = os.environ.get("TMPDIR")
    if before is not None:
        os.environ["TMPDIR"] = _temp_place()
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
def own_folder() -> Iterator[Path]:
    """Makes a temporary folder for this process, mode 0700; removes folders of killed processes.

    A lock on a file in the folder shows that its process is alive; the kernel releases the lock
    however the process ends. The name of the lock file is used for nothing else, because a sweep
    with its own lock may lie in the folder for temporary files, too.
    """
    place = _temp_place()
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


def _last_line(error: Exception) -> str:
    """Returns the last line of the text of an exception; its type without a text."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
