"""Checks of this machine: Python, packages, the token for Ray, cores, memory and GPUs."""

import os
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from bimix_sweep.config import SweepConfig
from bimix_sweep.errors import SweepError
from bimix_sweep.sweep.jobs.auth import auth_token, token_file
from bimix_sweep.sweep.preflight.finding import Finding, gigabytes, ok, problem, warning

TRIAL_BYTES = 500 << 20
"""Memory in bytes of a process that trains a small proxy; torch alone takes 0.3 GB."""
DRIVER_BYTES = 1500 << 20
"""Memory in bytes of Ray's daemons, the driver and the LawActor."""
SHM = Path("/dev/shm")  # noqa: S108 - nothing is written there
"""Folder of the machine's shared memory."""
SHM_BYTES = 200 << 20
"""Shared memory in bytes that embedded Ray's object store wants."""


def check_python() -> Finding:
    """Checks the version of Python."""
    running = ".".join(map(str, sys.version_info[:3]))
    return (
        ok("python", running)
        if sys.version_info >= (3, 11)
        else problem("python", f"{running}; need 3.11 or later")
    )


def check_packages() -> Iterator[Finding]:
    """Checks the versions of all packages that bimix-sweep requires."""
    wrong = []
    needed = [Requirement(line) for line in requires("bimix-sweep") or ()]
    for requirement in needed:
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            wrong.append(
                f"{requirement.name} is not installed; need "
                f"{requirement.name}{requirement.specifier}"
            )
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            wrong.append(f"{requirement.name} {installed}; need {requirement.specifier}")
    if wrong:
        yield from (problem("packages", f"{line}: pip install -U bimix-sweep") for line in wrong)
    else:
        yield ok(
            "packages",
            ", ".join(
                f"{name} {version(name)}"
                for name in ("bimix-sweep", "ray", "torch", "optuna", "numpy")
            ),
        )


def check_token(address: str | None) -> Finding:
    """Checks that Ray's token is found and that only its user can read it."""
    mode = os.environ.get("RAY_AUTH_MODE")
    if mode is not None and mode.lower() == "disabled":
        return warning(
            "token", "RAY_AUTH_MODE is disabled: whoever reaches a Ray port can run code; unset it"
        )
    try:
        token = auth_token()
    except SweepError as error:
        return problem("token", str(error))
    if token is None:
        message = "none here; embedded Ray makes its own"
        return (
            warning("token", f"{message}, a cluster asks for its: ray get-auth-token --generate")
            if address
            else ok("token", message)
        )
    if os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return ok("token", "from RAY_AUTH_TOKEN")
    path = token_file()
    if path.stat().st_mode & 0o077:
        return warning("token", f"{path} can be read by others; chmod 600 {path}")
    return ok("token", f"from {path}")


def check_cores(config: SweepConfig | None, elsewhere: bool) -> Finding:
    """Checks that this machine has the CPU cores for one trial."""
    cores = len(os.sched_getaffinity(0))
    each = config.resources.cpu if config else 1
    if cores < each and not elsewhere:
        return problem(
            "cores", f"{cores} and a trial takes {each:g}; lower resources.cpu, or use a cluster"
        )
    return ok("cores", f"{cores}, so {int(cores // each)} trials at a time here")


def check_memory(config: SweepConfig | None, elsewhere: bool) -> Finding:
    """Checks that the free memory suffices for the driver and the trials at a time."""
    free = _available_memory()
    cores = len(os.sched_getaffinity(0))
    at_once = max(1, int(cores // (config.resources.cpu if config else 1)))
    if config is not None and config.resources.slots != "auto":
        at_once = min(at_once, config.resources.slots)
    need = DRIVER_BYTES + (0 if elsewhere else at_once * TRIAL_BYTES)
    message = f"{gigabytes(free)} free, about {gigabytes(need)} wanted"
    return (
        ok("memory", message)
        if free >= need
        else warning("memory", f"{message} for {at_once} trials at a time; lower resources.slots")
    )


def _available_memory() -> int:
    """Returns the bytes of memory that are still free, for the machine and for its container."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(
            int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")
        )
    except (OSError, StopIteration, ValueError):  # not Linux
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    group = Path("/sys/fs/cgroup")
    try:
        limit = (group / "memory.max").read_text().strip()
        if limit != "max":
            free = min(free, int(limit) - int((group / "memory.current").read_text()))
    except (OSError, ValueError):
        return free
    return max(0, free)


def check_shared_memory(elsewhere: bool) -> Finding:
    """Checks that embedded Ray finds enough shared memory."""
    if elsewhere or not SHM.is_dir():
        return ok(
            "shared memory",
            "not needed here" if elsewhere else "no /dev/shm; Ray uses /tmp, which is slower",
        )
    free = shutil.disk_usage(SHM).free
    if free < SHM_BYTES:
        return warning(
            "shared memory",
            f"{gigabytes(free)} free in /dev/shm; need {gigabytes(SHM_BYTES)} (containers: "
            "--shm-size=1g)",
        )
    return ok("shared memory", f"{gigabytes(free)} free")


def check_gpus(config: SweepConfig | None, elsewhere: bool) -> Finding:
    """Checks that torch finds a GPU where a trial needs one."""
    from bimix_sweep.proxy.timing import visible_gpus

    wanted = config.resources.gpu if config else 0
    gpus = visible_gpus()
    if gpus:
        unused = (
            "; resources.gpu is 0, so they will not be used"
            if config is not None and not wanted and not elsewhere
            else ""
        )
        return ok("gpu", f"{len(gpus)} x {gpus[0]}{unused}")
    if wanted and not elsewhere:
        return problem(
            "gpu",
            (
                f"torch sees none and a trial takes {wanted:g}; install torch for CUDA, or set "
                "resources.gpu: 0"
            ),
        )
    return ok("gpu", "none here, none needed")
