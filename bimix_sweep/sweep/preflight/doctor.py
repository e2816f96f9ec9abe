"""Checks whether a sweep can run here: each finding says what to do if something is wrong."""

import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

from bimix_sweep import files, locations
from bimix_sweep.config import CommandConfig, SweepConfig
from bimix_sweep.data.sources import Source
from bimix_sweep.design.initial_design import too_few
from bimix_sweep.errors import BimixSweepError, ConfigError, SweepError
from bimix_sweep.sweep.jobs.auth import auth_token, token_file
from bimix_sweep.sweep.jobs.dashboard import Head
from bimix_sweep.sweep.run_checks import BYTES_PER_TOKEN, config_refusals, text_refusals

TRAINING_BYTES = 500 << 20
"""Memory in bytes of a process that trains a small proxy; torch alone takes 0.3 GB."""
DRIVER_BYTES = 1500 << 20
"""Memory in bytes of Ray's daemons, the driver and the LawActor."""
SHM = Path("/dev/shm")  # noqa: S108 - nothing is written there
"""Folder of the machine's shared memory."""
SHM_BYTES = 200 << 20
"""Shared memory in bytes that embedded Ray's object store wants."""
DISK_BYTES = 1 << 30
"""Disk space in bytes for tokens, checkpoints and logs of a small sweep."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check."""

    what: str
    """Name of the thing that was checked."""
    state: Literal["ok", "warning", "problem"]
    """State of the thing: "ok", "warning", or "problem" where a sweep cannot run."""
    said: str
    """What was found, and what to do about it."""


def examine(config_path: str | None, address: str | None) -> list[Finding]:
    """Runs all checks and returns their findings.

    The checks change nothing, except that they write a small file where the sweep will lie, and
    remove it.

    Args:
        config_path: path of the configuration; None checks the machine only.
        address: address of the Ray cluster that will run the sweep; None for this machine.
    """
    findings = [_python(), *_packages(), _token(address)]
    config = None
    if config_path is not None:
        try:
            config = SweepConfig.load(config_path)
            findings.append(
                _ok(
                    "configuration",
                    (
                        f"{config_path} is whole: {len(config.domains)} domains, "
                        f"{config.budget.trials} trials"
                    ),
                )
            )
        except ConfigError as error:
            findings += [_problem("configuration", line) for line in str(error).splitlines()]
    elsewhere = address is not None
    findings += [
        _cores(config, elsewhere),
        _memory(config, elsewhere),
        _shm(elsewhere),
        _gpu(config, elsewhere),
    ]
    findings.append(_store(config.out if config else "runs"))
    if config is not None:
        findings += [
            *_trials(config),
            *_texts(config),
            *_refused(config),
            *_trainer(config, elsewhere),
        ]
    if address is not None:
        findings += _cluster(address, config)
    return findings


def _ok(what: str, said: str) -> Finding:
    """Returns a finding in order."""
    return Finding(what=what, state="ok", said=said)


def _warning(what: str, said: str) -> Finding:
    """Returns a finding that a sweep may survive."""
    return Finding(what=what, state="warning", said=said)


def _problem(what: str, said: str) -> Finding:
    """Returns a finding that stops a sweep."""
    return Finding(what=what, state="problem", said=said)


def _python() -> Finding:
    """Checks the version of Python."""
    found = ".".join(map(str, sys.version_info[:3]))
    return (
        _ok("python", found)
        if sys.version_info >= (3, 11)
        else _problem("python", f"{found}; need 3.11 or later")
    )


def _packages() -> Iterator[Finding]:
    """Checks the versions of all packages that bimix-sweep requires."""
    wrong = []
    needed = [Requirement(line) for line in requires("bimix-sweep") or ()]
    for requirement in needed:
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            wrong.append(
                f"{requirement.name} is not installed; need "
                f"{requirement.name}{requirement.specifier}"
            )
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            wrong.append(f"{requirement.name} {found}; need {requirement.specifier}")
    if wrong:
        yield from (_problem("packages", f"{line}: pip install -U bimix-sweep") for line in wrong)
    else:
        yield _ok(
            "packages",
            ", ".join(
                f"{name} {version(name)}"
                for name in ("bimix-sweep", "ray", "torch", "optuna", "numpy")
            ),
        )


def _token(address: str | None) -> Finding:
    """Checks that Ray's token is found and that only its user can read it."""
    mode = os.environ.get("RAY_AUTH_MODE")
    if mode is not None and mode.lower() == "disabled":
        return _warning(
            "token", "RAY_AUTH_MODE is disabled: whoever reaches a Ray port can run code; unset it"
        )
    try:
        token = auth_token()
    except SweepError as error:
        return _problem("token", str(error))
    if token is None:
        said = "none here; embedded Ray makes its own"
        return (
            _warning("token", f"{said}, a cluster asks for its: ray get-auth-token --generate")
            if address
            else _ok("token", said)
        )
    if os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return _ok("token", "from RAY_AUTH_TOKEN")
    path = token_file()
    if path.stat().st_mode & 0o077:
        return _warning("token", f"{path} can be read by others; chmod 600 {path}")
    return _ok("token", f"from {path}")


def _cores(config: SweepConfig | None, elsewhere: bool) -> Finding:
    """Checks that this machine has the CPU cores for one trial."""
    cores = len(os.sched_getaffinity(0))
    each = config.resources.cpu if config else 1
    if cores < each and not elsewhere:
        return _problem(
            "cores", f"{cores} and a training takes {each:g}; lower resources.cpu, or use a cluster"
        )
    return _ok("cores", f"{cores}, so {int(cores // each)} trainings at a time here")


def _memory(config: SweepConfig | None, elsewhere: bool) -> Finding:
    """Checks that the free memory suffices for the driver and the trials at a time."""
    free = _available_memory()
    cores = len(os.sched_getaffinity(0))
    at_once = max(1, int(cores // (config.resources.cpu if config else 1)))
    if config is not None and config.resources.slots != "auto":
        at_once = min(at_once, config.resources.slots)
    need = DRIVER_BYTES + (0 if elsewhere else at_once * TRAINING_BYTES)
    said = f"{_size(free)} free, about {_size(need)} wanted"
    return (
        _ok("memory", said)
        if free >= need
        else _warning("memory", f"{said} for {at_once} trainings at a time; lower resources.slots")
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


def _shm(elsewhere: bool) -> Finding:
    """Checks that embedded Ray finds enough shared memory."""
    if elsewhere or not SHM.is_dir():
        return _ok(
            "shared memory",
            "not needed here" if elsewhere else "no /dev/shm; Ray uses /tmp, which is slower",
        )
    free = shutil.disk_usage(SHM).free
    if free < SHM_BYTES:
        return _warning(
            "shared memory",
            f"{_size(free)} free in /dev/shm; need {_size(SHM_BYTES)} (containers: --shm-size=1g)",
        )
    return _ok("shared memory", f"{_size(free)} free")


def _gpu(config: SweepConfig | None, elsewhere: bool) -> Finding:
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
        return _ok("gpu", f"{len(gpus)} x {gpus[0]}{unused}")
    if wanted and not elsewhere:
        return _problem(
            "gpu",
            (
                f"torch sees none and a training takes {wanted:g}; install torch for CUDA, or set "
                "resources.gpu: 0"
            ),
        )
    return _ok("gpu", "none here, none needed")


def _store(out: str) -> Finding:
    """Checks that the sweep's folder can be written, and that there is room."""
    if locations.is_uri(out):
        probe = locations.join(out, f".doctor-{secrets.token_hex(4)}")
        try:
            files.write_text(probe, "bimix-sweep doctor\n")
            same = files.read_text(probe) == "bimix-sweep doctor\n"
            files.delete(probe)
        except OSError as error:
            return _problem(
                "out",
                (
                    f"{out} cannot be written and read: {error.strerror or error}; check the URI "
                    "and the credentials"
                ),
            )
        return (
            _ok("out", f"{out} can be written and read")
            if same
            else _problem("out", f"{out} gives back something else than was written")
        )
    place = Path(out).expanduser().absolute()
    while not place.exists():
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place if place.is_dir() else place.parent) as probe_file:
            probe_file.write(b"bimix-sweep doctor\n")
    except OSError as error:
        return _problem("out", f"{place} cannot be written ({error.strerror}); take another out")
    free = shutil.disk_usage(place).free
    said = f"{_size(free)} free at {place}"
    return (
        _ok("out", said)
        if free >= DISK_BYTES
        else _problem("out", f"{said}; need {_size(DISK_BYTES)}")
    )


def _trials(config: SweepConfig) -> Iterator[Finding]:
    """Checks that the budget has enough trials for the number of domains and fidelities."""
    said = too_few(
        len(config.domains),
        len(config.proxy.sizes) * len(config.proxy.lengths),
        config.budget.trials,
    )
    if said is not None:
        yield _warning("trials", said)


def _texts(config: SweepConfig) -> Iterator[Finding]:
    """Checks that the text of each domain and target can be read, and that it is large enough."""
    wanted = config.proxy.tokens
    for kind, entries in (("domain", config.domains), ("target", config.targets)):
        for name, entry in entries.items():
            path = entry.path
            if path is None:
                continue
            what = f"{kind} {name}"
            try:
                source = Source(path=path)
                first = (
                    next(iter(source.texts()), None)
                    if config.trainer == "builtin" and not source.holds_tokens()
                    else ""
                )
                tokens = source.stored_bytes() / BYTES_PER_TOKEN
            except (BimixSweepError, OSError) as error:
                yield _problem(what, str(error))
                continue
            if first is None:
                yield _problem(what, f"{path} holds no text; need documents")
            elif kind == "domain" and config.trainer == "builtin" and tokens * 4 < wanted:
                yield _warning(
                    what,
                    (
                        f"about {tokens:.2g} tokens; a proxy of {wanted:.2g} tokens on it alone "
                        f"would repeat it {wanted / tokens:.0f} times, so lower proxy.steps or "
                        "give it a max"
                    ),
                )
            else:
                yield _ok(what, f"about {tokens:.2g} tokens at {path}")


def _refused(config: SweepConfig) -> Iterator[Finding]:
    """Yields what `run` would refuse, as far as the text can be read."""
    yield from (_problem("run", line) for line in config_refusals(config))
    try:
        yield from [_problem("run", line) for line in text_refusals(config)]
    except (BimixSweepError, OSError):  # `_texts` reports it for the domain
        return


def _trainer(config: SweepConfig, elsewhere: bool) -> Iterator[Finding]:
    """Checks that the user's own trainer can be found and loaded."""
    trainer = config.trainer
    if trainer == "builtin":
        return
    folder = Path(trainer.folder)
    if not folder.is_dir():
        yield _problem("trainer", f"its folder {folder} is not there")
    elif isinstance(trainer, CommandConfig):
        program = trainer.command[0]
        found = (
            shutil.which(program, path=None if "/" not in program else str(folder))
            or (folder / program).exists()
        )
        yield (
            _ok("trainer", f"program {program}")
            if found
            else _problem("trainer", f"program {program} is not on the PATH nor in {folder}")
        )
    else:
        from bimix_sweep.sweep.trainers.function import prepare_function

        try:
            prepare_function(config, trainer)
            yield _ok("trainer", f"{trainer.function} can be imported and called")
        except ConfigError as error:  # a cluster may have what this machine lacks
            said = str(error).removeprefix("trainer ")
            yield (
                _warning("trainer", f"{said}; it must be there on every node")
                if elsewhere
                else _problem("trainer", said)
            )


def _cluster(address: str, config: SweepConfig | None) -> Iterator[Finding]:
    """Checks that the cluster answers, runs the same Ray, and holds a trial."""
    if not address.startswith(("http://", "https://")):
        yield from _core_address(address)
        return
    try:
        head = Head.reach(address)
        resources = head.resources()
    except SweepError as error:
        yield _problem("cluster", str(error))
        return
    import ray

    if head.ray_version.split(".")[:2] != ray.__version__.split(".")[:2]:
        yield _warning(
            "cluster",
            (
                f"{head.address} runs Ray {head.ray_version}, this machine {ray.__version__}; use "
                "one version"
            ),
        )
    cpus, gpus = resources.get("CPU", 0.0), resources.get("GPU", 0.0)
    said = f"{head.address}: Ray {head.ray_version}, {cpus:g} CPUs, {gpus:g} GPUs now"
    if config is None:
        yield _ok("cluster", said)
        return
    fits = [cpus // config.resources.cpu] + (
        [gpus // config.resources.gpu] if config.resources.gpu else []
    )
    slots = int(min(fits)) // config.resources.nodes
    yield (
        _ok("cluster", f"{said}, so at most {slots} trainings at a time")
        if slots
        else _warning(
            "cluster",
            (
                f"{said}, too little for one training of {config.resources.cpu:g} CPUs and "
                f"{config.resources.gpu:g} GPUs unless it grows"
            ),
        )
    )


def _core_address(address: str) -> Iterator[Finding]:
    """Checks that something listens at an address that is not a dashboard's."""
    from bimix_sweep.sweep.cluster.connection import check_address

    try:
        check_address(address)
        yield _ok(
            "cluster",
            f"something listens at {address}; give the dashboard's http:// address to look closer",
        )
    except SweepError as error:
        yield _problem("cluster", str(error))


def _size(count: float) -> str:
    """Returns a number of bytes as text, in GB."""
    return f"{count / 2**30:.1f} GB"
